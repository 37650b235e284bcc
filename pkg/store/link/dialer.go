package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gti/gtm/pkg/store/server"
)

// dialer connects for grpc. It resolves unix endpoints itself, because neither grpc's targets nor the
// kernel (107 bytes) take every path; and it shakes hands for TLS itself, so that it can remember why the
// last attempt failed, which the layers above seldom tell.
type dialer struct {
	targets []string          // what etcd's client is given
	sockets map[string]string // target address → socket path
	tls     *tls.Config
	certs   *Certs // in its place, as its files are now; nil: there are none

	mu   sync.Mutex
	last string
}

func newDialer(endpoints []string, conf *tls.Config) (*dialer, error) {
	scheme, err := checkEndpoints(endpoints, conf != nil)
	if err != nil {
		return nil, err
	}
	d := &dialer{sockets: map[string]string{}}
	if scheme == "https" {
		if conf == nil {
			conf = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		d.tls = conf.Clone()
		d.tls.NextProtos = []string{"h2"}
	}
	for i, e := range endpoints {
		if scheme != "unix" {
			_, host, _ := strings.Cut(strings.TrimSuffix(e, "/"), "://")
			d.targets = append(d.targets, "http://"+host) // whatever it is: grpc gets a connection that is ready
			continue
		}
		path := strings.TrimPrefix(strings.TrimPrefix(e, "unix:"), "//")
		name := fmt.Sprintf("socket-%d.invalid:1", i)
		d.sockets[name] = path
		d.targets = append(d.targets, "http://"+name)
	}
	return d, nil
}

func (d *dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := d.open(ctx, addr)
	if err == nil && d.tls != nil {
		conn, err = d.encrypt(ctx, conn, addr)
	}
	if err != nil {
		d.note(err.Error())
		return nil, err
	}
	return &firstRead{Conn: conn, note: d.note}, nil
}

func (d *dialer) open(ctx context.Context, addr string) (net.Conn, error) {
	nd := &net.Dialer{Timeout: dialPatience}
	path, ok := d.sockets[addr]
	if !ok {
		return nd.DialContext(ctx, "tcp", addr)
	}
	short, release, err := server.ShortSocketPath(path)
	if err != nil {
		return nil, err
	}
	defer release()
	return nd.DialContext(ctx, "unix", short)
}

func (d *dialer) encrypt(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	conf := d.tls
	if d.certs != nil {
		conf = d.certs.Config()
		conf.NextProtos = d.tls.NextProtos
	}
	if conf.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		conf = conf.Clone()
		conf.ServerName = host
	}
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	secure := tls.Client(conn, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// dialPatience bounds connecting and shaking hands.
const dialPatience = 5 * time.Second

// firstRead notes what a server that does not speak as expected does first.
type firstRead struct {
	net.Conn
	note func(string)
	done bool
}

// tlsAlert is the first byte of what a TLS server says to who does not speak TLS.
const tlsAlert = 0x15

func (f *firstRead) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if f.done {
		return n, err
	}
	f.done = true
	switch {
	case n > 0 && b[0] == tlsAlert:
		f.note("it answers in TLS")
	case n > 0:
		f.note("")
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		f.note("it closes the connection without a word")
	}
	return n, err
}

func (d *dialer) note(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = s
}

func (d *dialer) lastError() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// checkEndpoints reports whether all endpoints are well-formed and of one kind, and which kind that is.
func checkEndpoints(endpoints []string, withTLS bool) (string, error) {
	if len(endpoints) == 0 {
		return "", errors.New("no etcd endpoint is given; use --etcd http://HOST:2379 (or https://)")
	}
	scheme := ""
	for _, e := range endpoints {
		u, err := url.Parse(e)
		if strings.HasPrefix(e, "unix:") {
			u, err = &url.URL{Scheme: "unix"}, nil // a path is not read as a URL: it may hold anything
		}
		if err != nil || u.Scheme == "" {
			return "", fmt.Errorf("the etcd endpoint %q is not a URL; write it as http://HOST:2379 or https://HOST:2379", e)
		}
		switch u.Scheme {
		case "unix":
		case "http", "https":
			if u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" {
				return "", fmt.Errorf("the etcd endpoint %q needs a host and a port, and no path: %s://HOST:2379", e, u.Scheme)
			}
		default:
			return "", fmt.Errorf("the etcd endpoint %q has the scheme %q; http, https and unix are known", e, u.Scheme)
		}
		if scheme != "" && scheme != u.Scheme {
			return "", fmt.Errorf("the etcd endpoints mix %s and %s; they must all be of one scheme", scheme, u.Scheme)
		}
		scheme = u.Scheme
	}
	if withTLS && scheme != "https" {
		return "", fmt.Errorf("TLS files are given for etcd, but the endpoint %q is not encrypted; use https://", endpoints[0])
	}
	return scheme, nil
}
