package spec

import (
	"encoding/json"
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
