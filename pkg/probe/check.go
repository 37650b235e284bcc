package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// Limits on what a target may make a check read.
const (
	bodyLimit   = 64 << 10
	headerLimit = 64 << 10
	interimMax  = 8 // 1xx responses before the real one
)

// Checker makes checks, each over connections of its own. The zero value works, with the default Guard. It is safe for
// concurrent use.
type Checker struct {
	Guard    Guard
	Resolver *net.Resolver  // nil: the system's
	Roots    *x509.CertPool // nil: the system's
	Secrets  string         // the folder of secrets; empty: there are none
	Clock    func() time.Time
}

// Check makes one check. It returns within c.Timeout, or when ctx ends. Result.ID is left empty.
func (k *Checker) Check(ctx context.Context, c Check) Result {
	now := k.Clock
	if now == nil {
		now = time.Now
	}
	start := now()
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var r Result
	if len(c.Addrs) == 0 {
		r = conclude(c, k.checkOne(limited, c, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))))
	} else {
		r = k.checkAll(limited, c)
	}
	if ctx.Err() != nil {
		r = Result{Outcome: Unable, Reason: "cancelled"}
	}
	r.At = now()
	r.Latency = r.At.Sub(start)
	return r
}

// checkAll checks every address at once, so that a dead one does not take the time of the next; of an endpoint that has more than one may
// have, which an older program allowed, so many at a time.
func (k *Checker) checkAll(ctx context.Context, c Check) Result {
	results := make([]Result, len(c.Addrs))
	slots := make(chan struct{}, c.sockets())
	var wg sync.WaitGroup
	for i, addr := range c.Addrs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			results[i] = conclude(c, k.checkOne(ctx, c, addr.String()))
		})
	}
	wg.Wait()
	// A failure tells; else a pass tells; else nothing is known.
	for _, o := range []Outcome{Failed, Passed, Unable} {
		i := slices.IndexFunc(results, func(r Result) bool { return r.Outcome == o })
		if i < 0 {
			continue
		}
		if len(results) > 1 && o != Passed {
			results[i].Reason = c.Addrs[i].Addr().String() + ": " + results[i].Reason
		}
		return results[i]
	}
	return Result{}
}

// checkOne connects to one address and does what the check asks. nil: passed.
func (k *Checker) checkOne(ctx context.Context, c Check, address string) error {
	dialer := net.Dialer{ControlContext: k.Guard.control(c.Lent), Resolver: k.Resolver, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return k.connectError(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if c.Type == "tcp" {
		return nil
	}
	name := c.Name
	if name == "" {
		name = address
	}
	if c.Type == "https" {
		secure := tls.Client(conn, k.tlsConfig(c, name))
		if err := secure.HandshakeContext(ctx); err != nil {
			return tlsError(err)
		}
		conn = secure
	}
	return k.exchange(conn, &c, name)
}

// roots are the authorities of a check.
func (k *Checker) roots(c Check) *x509.CertPool {
	if c.CA == "" {
		return k.Roots
	}
	pool, err := spec.Authorities(c.CA)
	if err != nil { // NewCheck has read it
		return x509.NewCertPool()
	}
	return pool
}

func (k *Checker) tlsConfig(c Check, name string) *tls.Config {
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	return &tls.Config{
		ServerName:         strings.Trim(name, "[]"),
		RootCAs:            k.roots(c),
		InsecureSkipVerify: c.Insecure, // the tenant's own choice, for its own endpoint
		NextProtos:         []string{"http/1.1"},
	}
}

// exchange sends the request and looks at the response.
func (k *Checker) exchange(conn net.Conn, c *Check, name string) error {
	request, err := c.request(name)
	if err != nil {
		return fail("request", err)
	}
	if err := k.addSecrets(request.Header, c.Secrets); err != nil {
		return err
	}
	if err := request.Write(conn); err != nil {
		return fail("send", err)
	}
	// The limit is for header and body together; the body has its own below.
	r := bufio.NewReader(io.LimitReader(conn, headerLimit+2*bodyLimit))
	response, err := http.ReadResponse(r, request)
	for i := 0; err == nil && response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols; i++ {
		if i == interimMax {
			return fail("response", errors.New("too many interim responses"))
		}
		response, err = http.ReadResponse(r, request)
	}
	if err != nil {
		return readError("response", err)
	}
	defer response.Body.Close()
	if !c.expects(response.StatusCode) {
		return fmt.Errorf("status %d, want %s", response.StatusCode, c.wanted())
	}
	if c.Body == "" {
		return nil
	}
	// A connection that breaks behind the text has still shown the text.
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	switch {
	case strings.Contains(string(body), c.Body):
		return nil
	case err != nil:
		return readError("body", err)
	}
	return fmt.Errorf("body: its first 64 KiB do not contain %q", clip(c.Body, 40))
}

func (c *Check) request(name string) (*http.Request, error) {
	u, err := url.Parse(c.Type + "://host" + c.Path)
	if err != nil {
		return nil, err
	}
	header := http.Header{"User-Agent": {"gtm-probe"}, "Accept-Encoding": {"identity"}}
	for k, v := range c.Headers {
		header.Set(k, v)
	}
	u.Host = hostHeader(name, c.Type)
	return &http.Request{Method: c.Method, URL: u, Host: u.Host, Header: header, Close: true}, nil
}

// hostHeader leaves the port out where the scheme implies it (RFC 9110, 7.2), and puts brackets around a bare IPv6 address.
func hostHeader(name, scheme string) string {
	host, port, err := net.SplitHostPort(name)
	if err != nil {
		host, port = strings.Trim(name, "[]"), ""
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + host + "]"
	}
	if port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		return host
	}
	return host + ":" + port
}

func (c *Check) expects(code int) bool {
	return slices.ContainsFunc(c.Status, func(r StatusRange) bool { return r.First <= code && code <= r.Last })
}

func (c *Check) wanted() string {
	texts := make([]string, len(c.Status))
	for i, r := range c.Status {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}
