package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// setSecurity takes over what a monitor says of TLS.
func setSecurity(c *probe.Check, m *spec.Monitor) error {
	c.Insecure, c.CA = m.Insecure, m.CA
	if c.CA == "" {
		return nil
	}
	if _, err := spec.Authorities(c.CA); err != nil {
		return fmt.Errorf("ca %w", err)
	}
	return nil
}

// secure makes the handshake on a connection, which ends with it where that fails.
func (a *attempt) secure(ctx context.Context, conn net.Conn, protocols ...string) (*tls.Conn, error) {
	config := &tls.Config{
		ServerName:         serverName(a.name()),
		RootCAs:            a.roots(),
		InsecureSkipVerify: a.Insecure, // the tenant's own choice, for its own endpoint
		NextProtos:         protocols,
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, tlsError(err)
	}
	return secure, nil
}

// roots are the authorities of a check.
func (a *attempt) roots() *x509.CertPool {
	if a.CA == "" {
		return a.k.Roots
	}
	pool, err := spec.Authorities(a.CA)
	if err != nil { // NewCheck has read it
		return x509.NewCertPool()
	}
	return pool
}

// serverName is a name without a port, and without the brackets of an IPv6 address.
func serverName(name string) string {
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	return strings.Trim(name, "[]")
}
