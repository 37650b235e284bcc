package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// setSecurity takes over what a monitor says of TLS.
func setSecurity(c *probe.Check, tenant string, m *spec.Monitor) error {
	c.ServerName, c.Insecure, c.CA, c.ValidFor = m.ServerName, m.Insecure, m.CA, time.Duration(m.ValidFor)
	if f := m.ClientCertificate; f != nil {
		c.Client = probe.Secret{Tenant: tenant, Name: f.File}
	}
	if c.CA == "" {
		return nil
	}
	if _, err := spec.Authorities(c.CA); err != nil {
		return fmt.Errorf("ca %w", err)
	}
	return nil
}

// tlsConfig says how a check speaks TLS.
func (a *attempt) tlsConfig(protocols ...string) (*tls.Config, error) {
	config := &tls.Config{
		ServerName:         a.serverName(),
		RootCAs:            a.roots(),
		InsecureSkipVerify: a.Insecure, // the tenant's own choice, for its own endpoint
		NextProtos:         protocols,
		VerifyConnection:   a.verifyDates,
		Time:               a.k.Clock,
	}
	if a.Client.Name != "" {
		pair, err := a.k.clientCertificate(a.Client)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// secure makes the handshake on a connection, which stays open if that fails.
func (a *attempt) secure(ctx context.Context, conn net.Conn, protocols ...string) (*tls.Conn, error) {
	config, err := a.tlsConfig(protocols...)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, tlsError(err)
	}
	return secure, nil
}

// certificateError is what a check has against a certificate that is valid otherwise.
type certificateError struct{ text string }

func (e *certificateError) Error() string { return e.text }

// verifyDates looks at how long the certificates hold: of the chain that holds longest, the one that ends first counts. The server's own
// is all there is to see where it is not verified.
func (a *attempt) verifyDates(s tls.ConnectionState) error {
	if a.ValidFor == 0 {
		return nil
	}
	chains := s.VerifiedChains
	if len(chains) == 0 {
		chains = [][]*x509.Certificate{s.PeerCertificates[:1]}
	}
	var end time.Time
	for _, chain := range chains {
		first := chain[0].NotAfter
		for _, cert := range chain[1:] {
			if cert.NotAfter.Before(first) {
				first = cert.NotAfter
			}
		}
		if first.After(end) {
			end = first
		}
	}
	left := end.Sub(a.k.now())
	if left >= a.ValidFor {
		return nil
	}
	return &certificateError{fmt.Sprintf("%s for %s, want %s", heldFor(left), days(max(left, -left)), days(a.ValidFor))}
}

func heldFor(left time.Duration) string {
	if left < 0 {
		return "expired"
	}
	return "valid"
}

// days gives 13d, or hours and minutes where it is less than two days.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%dd", d/day)
	}
	return spec.Duration(d.Truncate(time.Minute)).String()
}

// roots are the authorities of a check.
func (a *attempt) roots() *x509.CertPool {
	if a.CA == "" {
		return a.k.Roots
	}
	pool, err := spec.Authorities(a.CA)
	if err != nil { // New has read it
		return x509.NewCertPool()
	}
	return pool
}

// serverName is whom a server shall be: a name without a port, and without the brackets of an IPv6 address.
func (a *attempt) serverName() string {
	name := a.ServerName
	if name == "" {
		name = a.name()
	}
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	return strings.Trim(name, "[]")
}
