package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// compared is how many names are compared before anything is measured.
const compared = 200

// asker asks one question.
type asker func(ctx context.Context, m *dns.Msg) (*dns.Msg, error)

// compareAnswers asks every server the same by each of its transports, and says what they agree in. Another answer is an
// error: a server that answers something else is not to be compared.
func compareAnswers(ctx context.Context, o options, servers []*server) (string, error) {
	kinds := map[string]bool{}
	for _, s := range servers {
		if s.ports[tcp] == 0 { // it answers with a constant
			continue
		}
		for t, port := range s.ports {
			if port == 0 {
				continue
			}
			if err := s.compare(ctx, o, transport(t)); err != nil {
				return "", fmt.Errorf("%s, %s: %w", s.name, transport(t), err)
			}
			if t == int(dot) || t == int(doh) {
				kind, err := negotiated(ctx, o, transport(t), port)
				if err != nil {
					return "", fmt.Errorf("%s, %s: %w", s.name, transport(t), err)
				}
				kinds[kind] = true
			}
		}
	}
	if len(kinds) != 1 {
		return "", fmt.Errorf("not the same TLS with all: %v", kinds)
	}
	for kind := range kinds {
		return fmt.Sprintf("Before: %d answers by each transport are the same from all servers. TLS with OpenSSL is %s, with all of them.",
			compared, kind), nil
	}
	return "", nil
}

// compare asks by one transport, and looks at all that a client goes by.
func (s *server) compare(ctx context.Context, o options, t transport) error {
	ask, end, err := newAsker(ctx, o, t, s.ports[t])
	if err != nil {
		return err
	}
	defer end()
	for i := range compared {
		name := fmt.Sprintf("s%d.%s", i*31%o.names, zone)
		got, err := ask(ctx, new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false))
		if err != nil {
			return err
		}
		n := i * 31 % o.names
		want := fmt.Sprintf("%s\t60\tIN\tA\t10.%d.%d.%d", name, n>>16&255, n>>8&255, n&255)
		if got.Rcode != dns.RcodeSuccess || !got.Authoritative || len(got.Answer) != 1 || got.Answer[0].String() != want {
			return fmt.Errorf("not the expected answer %q: %s", want, strings.ReplaceAll(got.String(), "\n", " | "))
		}
	}
	return nil
}

// reachable reports whether the server answers by each of its transports.
func (s *server) reachable(ctx context.Context, o options) error {
	for t, port := range s.ports {
		if port == 0 {
			continue
		}
		ask, end, err := newAsker(ctx, o, transport(t), port)
		if err != nil {
			return err
		}
		got, err := ask(ctx, new(dns.Msg).SetQuestion("s0."+zone, dns.TypeA))
		end()
		if err != nil {
			return err
		}
		if len(got.Answer) == 0 && s.ports[tcp] != 0 {
			return errors.New("no answer yet")
		}
	}
	return nil
}

// newAsker makes what asks a server by one transport, over one connection, until end.
func newAsker(ctx context.Context, o options, t transport, port int) (ask asker, end func(), err error) {
	trust, err := trusted(o.Tmp)
	if err != nil {
		return nil, nil, err
	}
	switch t {
	case doh:
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}}
		return func(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
			return askHTTPS(ctx, client, "https://"+local(port)+"/dns-query", m)
		}, client.CloseIdleConnections, nil
	case doq:
		return newQUICAsker(ctx, trust, local(port))
	}
	client := &dns.Client{Net: "tcp", Timeout: 5 * time.Second, TLSConfig: trust}
	if t == dot {
		client.Net = "tcp-tls"
	}
	conn, err := client.DialContext(ctx, local(port))
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
		r, _, err := client.ExchangeWithConnContext(ctx, m, conn)
		return r, err
	}, func() { conn.Close() }, nil
}

// trusted is a TLS configuration that trusts the job's certificate.
func trusted(dir string) (*tls.Config, error) {
	cert, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}, nil
}

func askHTTPS(ctx context.Context, client *http.Client, url string, m *dns.Msg) (*dns.Msg, error) {
	raw, err := m.Pack()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/dns-message")
	got, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		return nil, err
	}
	if got.ProtoMajor != 2 || got.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s", got.Proto, got.Status, body)
	}
	reply := new(dns.Msg)
	return reply, reply.Unpack(body)
}

// negotiated tells which TLS OpenSSL gets from a server, set up as for dnsperf.
func negotiated(ctx context.Context, o options, t transport, port int) (string, error) {
	protocol := map[transport]string{dot: "dot", doh: "h2"}[t]
	text, err := process.Output(ctx, process.Command{Env: o.openssl(),
		Args: []string{"openssl", "s_client", "-connect", local(port), "-alpn", protocol, "-brief"}})
	if err != nil {
		return "", err
	}
	var kind []string
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "Protocol version", "Ciphersuite", "Signature type", "Server Temp Key":
			kind = append(kind, value)
		}
	}
	return strings.Join(kind, ", "), nil
}
