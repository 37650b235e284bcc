package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gti/gtm/pkg/spec"
)

// stripText takes a zone's content out of a resource. The resource given stays as it is.
func StripText(r *spec.Resource) (*spec.Resource, string) {
	z, ok := r.Spec.(*spec.Zone)
	if !ok || z.Content == "" {
		return r, ""
	}
	bare := *z
	bare.Content = ""
	return r.With(&bare), z.Content
}

// marshalPlain is json.Marshal without the escapes for HTML.
func MarshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// digestOf tells stored versions of one generation apart. It is never 0.
func DigestOf(value []byte) uint64 {
	sum := sha256.Sum256(value)
	return max(1, binary.BigEndian.Uint64(sum[:]))
}

// decodeResource makes the resource of a stored version whose content was joined to text. A key that is
// not zero is what the resource must say that it is.
func DecodeResource(reader *spec.Reader, key spec.Key, raw []byte, text string) (*spec.Resource, error) {
	r, err := reader.Decode(raw)
	if err != nil {
		return nil, err
	}
	if key != (spec.Key{}) && r.Key != key {
		return nil, fmt.Errorf("it stands under the key of %s, but says that it is %s", key, r.Key)
	}
	if r.Spec == nil {
		return nil, errors.New("it has no spec")
	}
	if z, ok := r.Spec.(*spec.Zone); ok && text != "" {
		z.Content = text
	}
	return r, nil
}
