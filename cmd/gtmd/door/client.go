package door

import (
	"crypto/tls"
	"sync"
)

// ClientCertificate gives what shows a client certificate, read from its files anew for each connection. Files that cannot be used leave
// the pair before in use; at the start they are an error.
func ClientCertificate(cert, key string) (func(*tls.CertificateRequestInfo) (*tls.Certificate, error), error) {
	first, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	last := &first
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if now, err := tls.LoadX509KeyPair(cert, key); err == nil {
			last = &now
		}
		return last, nil
	}, nil
}
