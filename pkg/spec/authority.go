package spec

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Bounds of the authorities of a monitor.
const (
	maxAuthorities   = 16
	maxAuthorityText = 32 << 10
)

// Authorities reads certificates in PEM form, one at least. The error names the block that is wrong, and quotes nothing of it.
func Authorities(text string) (*x509.CertPool, error) {
	if len(text) > maxAuthorityText {
		return nil, fmt.Errorf("is %d bytes long: it can have at most %d", len(text), maxAuthorityText)
	}
	pool, n := x509.NewCertPool(), 0
	for rest := []byte(text); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			if strings.Contains(string(rest), "-----BEGIN") {
				return nil, fmt.Errorf("block %d is not whole PEM", n+1)
			}
			break
		}
		n++
		if b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is no certificate; only certificates belong here, and never a key", n)
		}
		if n > maxAuthorities {
			return nil, fmt.Errorf("has more than %d certificates", maxAuthorities)
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read", n)
		}
		pool.AddCert(cert)
	}
	if n == 0 {
		return nil, errors.New("holds no certificate in PEM form")
	}
	return pool, nil
}
