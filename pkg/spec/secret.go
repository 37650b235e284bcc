package spec

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Header is the value of a request header: text, or what stands in a file of the prober. In YAML and JSON it is either the text alone
// or {file: NAME}.
type Header struct {
	Text string
	File string // the name of the secret; empty: Text counts
}

// SecretFile names a file of the prober: see CheckSecret. It is also the long form of a Header.
type SecretFile struct {
	File string `json:"file" yaml:"file"`
}

func (h *Header) decodeNode(d *decoder, n *node, path string) {
	if n.shape != shapeMap {
		h.Text = d.text(n, path, false)
		return
	}
	var long SecretFile
	d.value(n, path, reflect.ValueOf(&long).Elem(), "")
	if h.File = long.File; h.File == "" && d.mode == Strict {
		d.fail(n.line, path, "", "wants a text, or {file: NAME} of a secret of the prober")
	}
}

// UnmarshalJSON reads a text or {"file": NAME}.
func (h *Header) UnmarshalJSON(data []byte) error { return unmarshalTolerant(data, h) }

// MarshalJSON gives the text alone where there is no file.
func (h Header) MarshalJSON() ([]byte, error) {
	if h.File == "" {
		return json.Marshal(h.Text)
	}
	return json.Marshal(SecretFile{h.File})
}

// CheckSecret tells what is wrong with the name of a secret. It is one name of letters, digits, -, _ and dots inside, so that it leads
// nowhere but into the tenant's own folder.
func CheckSecret(name string) error {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}
	if name == "" || len(name) > 128 || name[0] == '.' || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("wants the name of a file as in api-token, in the tenant's folder of the prober's --probe-secrets, not %q",
			shorten(name))
	}
	return nil
}

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
