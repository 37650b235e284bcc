// Package cert holds the certificates that TLS, HTTPS and QUIC show, and follows their files.
package cert

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Files names the files of one certificate: PEM, the certificate's with the chain below it.
type Files struct{ Cert, Key string }

// Keyring holds the certificates, and reads their files anew when they change. What can't be used is refused, and the
// one before stays in use. Safe for concurrent use; a nil keyring is empty.
type Keyring struct {
	log *slog.Logger
	now func() time.Time
	use atomic.Pointer[[]tls.Certificate] // never changed once stored

	mu    sync.Mutex
	pairs []keyPair
}

// keyPair is one certificate with its key: the files, and what was last read from them and is in use.
type keyPair struct {
	Files
	cert, key []byte
	parsed    tls.Certificate
	complaint string // about what the files hold now; empty: it is in use
}

// New reads all files, or says which can't be used.
func New(files []Files, log *slog.Logger, now func() time.Time) (*Keyring, error) {
	k := &Keyring{log: log, now: now}
	for _, f := range files {
		p := keyPair{Files: f}
		if err := p.read(); err != nil {
			return nil, fmt.Errorf("serve: %w", err)
		}
		if end := p.parsed.Leaf.NotAfter; end.Before(now()) {
			log.Error("a certificate has expired; clients that check it will not come", "file", f.Cert, "expired", end)
		}
		k.pairs = append(k.pairs, p)
	}
	k.publish()
	return k, nil
}

// read takes in the files, if they have changed and can be used.
func (p *keyPair) read() error {
	cert, err := os.ReadFile(p.Cert)
	if err != nil {
		return fmt.Errorf("the certificate can't be read: %w", err)
	}
	key, err := os.ReadFile(p.Key)
	if err != nil {
		return fmt.Errorf("the certificate's key can't be read: %w", err)
	}
	if bytes.Equal(cert, p.cert) && bytes.Equal(key, p.key) {
		return nil
	}
	parsed, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w; give PEM files that belong together", p.Cert, p.Key, err)
	}
	p.cert, p.key, p.parsed = cert, key, parsed
	return nil
}

// publish puts what has been read to use. mu is held, or k is not shared yet.
func (k *Keyring) publish() {
	use := make([]tls.Certificate, len(k.pairs))
	for i := range k.pairs {
		use[i] = k.pairs[i].parsed
	}
	k.use.Store(&use)
}

// Refresh reads the files again.
func (k *Keyring) Refresh() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.pairs {
		p := &k.pairs[i]
		next := *p
		err := next.read()
		renewed := !bytes.Equal(next.cert, p.cert)
		if err == nil && renewed && next.parsed.Leaf.NotAfter.Before(k.now()) {
			err = errors.New("the new certificate in " + p.Cert + " has expired")
		}
		switch {
		case err != nil && err.Error() != p.complaint: // said once, not every time
			k.log.Error("a certificate was not renewed; the one before stays in use", "error", err)
			p.complaint = err.Error()
		case err == nil:
			if renewed {
				k.log.Info("a certificate was renewed", "file", p.Cert, "until", next.parsed.Leaf.NotAfter)
			}
			*p = next
			p.complaint = ""
		}
	}
	k.publish()
}

// Run refreshes every so often, until ctx ends.
func (k *Keyring) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.Refresh()
		}
	}
}

// Config makes the TLS configuration for the protocols named (ALPN). There is no 0-RTT, whose messages could be
// replayed.
func (k *Keyring) Config(protocols ...string) *tls.Config {
	return &tls.Config{GetCertificate: k.choose, NextProtos: protocols, MinVersion: tls.VersionTLS12}
}

// choose gives the first certificate that suits the client, or else the first.
func (k *Keyring) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	use := *k.use.Load()
	if len(use) == 1 { // it is given anyway
		return &use[0], nil
	}
	for i := range use {
		if hello.SupportsCertificate(&use[i]) == nil {
			return &use[i], nil
		}
	}
	return &use[0], nil
}

// Status is one certificate's state, for metrics.
type Status struct {
	File    string
	Expiry  time.Time
	Refused float64
}

// Status gives the state of each certificate.
func (k *Keyring) Status() (all []Status) {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pairs {
		s := Status{File: p.Cert, Expiry: p.parsed.Leaf.NotAfter}
		if p.complaint != "" {
			s.Refused = 1
		}
		all = append(all, s)
	}
	return all
}
