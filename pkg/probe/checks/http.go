package checks

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/probe/script"
	"github.com/gti/gtm/pkg/spec"
)

// Limits on what a target may make a check read.
const (
	bodyLimit   = 64 << 10
	headerLimit = 64 << 10
	interimMax  = 8 // 1xx responses before the real one
)

// compileHTTP is for http and https.
func compileHTTP(c *probe.Check, tenant string, m *spec.Monitor) error {
	c.Path, c.Method, c.Name, c.Send, c.Protocol = m.Path, m.Method, m.Host, m.Send, m.Protocol
	setBody(c, m)
	if m.Script != nil {
		c.Script = m.Script.CEL // whoever planned it has compiled it
	}
	setHeaders(c, tenant, m.Headers)
	if _, err := request(c, "host"); err != nil {
		return fmt.Errorf("path %q is not part of a URL", c.Path)
	}
	return setStatus(c, m.Status)
}

func setHeaders(c *probe.Check, tenant string, headers map[string]spec.Header) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if h := headers[name]; h.File != "" {
			c.Secrets = append(c.Secrets, probe.Secret{Header: name, Tenant: tenant, Name: h.File})
		} else if c.Headers == nil {
			c.Headers = map[string]string{name: h.Text}
		} else {
			c.Headers[name] = h.Text
		}
	}
}

func setStatus(c *probe.Check, texts []string) error {
	for _, text := range texts {
		low, high, err := spec.ParseStatus(text)
		if err != nil {
			return fmt.Errorf("status %w", err)
		}
		c.Status = append(c.Status, probe.StatusRange{First: low, Last: high})
	}
	return nil
}

func runHTTP(ctx context.Context, a *attempt) error {
	if a.Protocol == "h3" {
		return runHTTP3(ctx, a)
	}
	conn, done, err := a.dial(ctx, "tcp")
	if err != nil {
		return err
	}
	defer done()
	if a.Type == "http" {
		return a.exchange(ctx, conn)
	}
	secure, err := a.secure(ctx, conn, cmp.Or(a.Protocol, "http/1.1"))
	switch {
	case err != nil:
		return err
	case a.Protocol != "h2":
		return a.exchange(ctx, secure)
	case secure.ConnectionState().NegotiatedProtocol != "h2":
		return fail("tls", errors.New("the server does not speak h2"))
	}
	return a.exchangeHTTP2(ctx, secure)
}

// exchange sends the request and looks at the response.
func (a *attempt) exchange(ctx context.Context, conn net.Conn) error {
	request, err := request(a.Check, a.name())
	if err != nil {
		return fail("request", err)
	}
	if err := a.k.addSecrets(request.Header, a.Secrets); err != nil {
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
	return a.look(ctx, response)
}

// exchangeHTTP2 is exchange over HTTP/2.
func (a *attempt) exchangeHTTP2(ctx context.Context, conn net.Conn) error {
	transport := http.Transport{
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		Protocols:              new(http.Protocols),
		MaxResponseHeaderBytes: headerLimit,
		DisableCompression:     true,
	}
	transport.Protocols.SetHTTP2(true)
	defer transport.CloseIdleConnections()
	return a.roundTrip(ctx, &transport)
}

// roundTrip sends the request by a transport of net/http, which follows no redirects.
func (a *attempt) roundTrip(ctx context.Context, by http.RoundTripper) error {
	request, err := request(a.Check, a.name())
	if err != nil {
		return fail("request", err)
	}
	if err := a.k.addSecrets(request.Header, a.Secrets); err != nil {
		return err
	}
	request.Close = false
	response, err := by.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return roundTripError(err)
	}
	defer response.Body.Close()
	response.Body = timedBody{response.Body, ctx}
	return a.look(ctx, response)
}

// timedBody says of a body that broke because the time was over that this was why.
type timedBody struct {
	io.ReadCloser
	ctx context.Context
}

func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = b.ctx.Err()
	}
	return n, err
}

// look says whether a response is as wanted.
func (a *attempt) look(ctx context.Context, response *http.Response) error {
	c, took := a.Check, a.k.now().Sub(a.start)
	if !expects(c, response.StatusCode) {
		return fmt.Errorf("status %d, want %s", response.StatusCode, wanted(c))
	}
	if !readsBody(c) && c.Script == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	if err != nil {
		err = readError("body", err)
	}
	if missing := lookInto(c, body, err); missing != nil || c.Script == "" {
		return missing
	}
	if err != nil {
		return err
	}
	return a.evaluate(ctx, response, body, took)
}

// evaluate says whether the script is true of an answer.
func (a *attempt) evaluate(ctx context.Context, response *http.Response, body []byte, took time.Duration) error {
	program, err := a.k.scripts.Get(a.Script)
	if err != nil {
		return unable{fail("script", err)}
	}
	answer := script.Answer{Status: response.StatusCode, Body: string(body), Time: took, Headers: map[string]string{}}
	for name, values := range response.Header {
		answer.Headers[strings.ToLower(name)] = values[0]
	}
	is, err := program.Eval(ctx, answer)
	switch {
	case err != nil:
		return fail("script", err)
	case !is:
		return fmt.Errorf("script: not true: %s", clip(a.Script, 80))
	}
	return nil
}

// name is whom the request is for: the Host header.
func (a *attempt) name() string {
	if a.Name != "" {
		return a.Name
	}
	return a.address
}

func request(c *probe.Check, name string) (*http.Request, error) {
	scheme := "http"
	if c.Type == "https" || c.TLS {
		scheme = "https"
	}
	u, err := url.Parse(scheme + "://host" + c.Path)
	if err != nil {
		return nil, err
	}
	header := http.Header{"User-Agent": {"gtm-probe"}, "Accept-Encoding": {"identity"}}
	for k, v := range c.Headers {
		header.Set(k, v)
	}
	u.Host = hostHeader(name, scheme)
	request := &http.Request{Method: c.Method, URL: u, Host: u.Host, Header: header, Close: true}
	if c.Send != "" {
		request.Body, request.ContentLength = io.NopCloser(strings.NewReader(c.Send)), int64(len(c.Send))
	}
	return request, nil
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

func expects(c *probe.Check, code int) bool {
	return slices.ContainsFunc(c.Status, func(r probe.StatusRange) bool { return r.First <= code && code <= r.Last })
}

func wanted(c *probe.Check) string {
	texts := make([]string, len(c.Status))
	for i, r := range c.Status {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}
