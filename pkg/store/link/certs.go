package link

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// certsEvery is how often files of certificates are looked at, at most: with the next connection.
const certsEvery = time.Second

// LoadCerts reads the files by which a client knows etcd, and etcd the client. They are read again when they change, for the next
// connection. What cannot be used then is passed over, and what was read before stays in use. ca empty: the system's authorities; cert and
// key empty: no certificate.
func LoadCerts(ca, cert, key string) (*Certs, error) {
	c := &Certs{ca: ca, cert: cert, key: key, clock: time.Now}
	return c, c.read()
}

// Certs are the files, and what was read of them.
type Certs struct {
	ca, cert, key string
	clock         func() time.Time

	mu     sync.Mutex
	looked time.Time
	stamps string // of the files as they were read
	roots  *x509.CertPool
	pair   *tls.Certificate
}

// Config gives what the files hold, or did when they could be used last.
func (c *Certs) Config() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clock().Sub(c.looked) >= certsEvery {
		_ = c.read() // it is tried again, and the connection tells if what is in use is no good any more
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots}
	if c.pair != nil {
		conf.Certificates = []tls.Certificate{*c.pair}
	}
	return conf
}

// read takes the files in, if they have changed and can be used; c.mu is held, or c is not shared yet.
func (c *Certs) read() error {
	c.looked = c.clock()
	stamps := ""
	for _, path := range []string{c.ca, c.cert, c.key} {
		if info, err := os.Stat(path); path != "" && err == nil {
			stamps += fmt.Sprintf("%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		}
	}
	if stamps == c.stamps && stamps != "" {
		return nil
	}
	var roots *x509.CertPool
	var pair *tls.Certificate
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return fmt.Errorf("--etcd-ca: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--etcd-ca: %s holds no certificate in PEM form", c.ca)
		}
	}
	if c.cert != "" || c.key != "" {
		read, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return fmt.Errorf("--etcd-cert and --etcd-key: %w", err)
		}
		pair = &read
	}
	c.stamps, c.roots, c.pair = stamps, roots, pair
	return nil
}
