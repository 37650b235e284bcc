package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gti/gtm/pkg/spec"
)

// storedVersion is a version as it stands in etcd.
type storedVersion struct {
	Deleted  bool            `json:"deleted,omitempty"`
	Resource json.RawMessage `json:"resource,omitempty"`
	// Text lists the runs that make a zone's content; the resource holds none then.
	Text []string `json:"text,omitempty"`
}

// storedRecord is a Record as it stands in etcd. Digest is the generation's ID; it also tells a writer whose answer was lost whether
// the generation is its own.
type storedRecord struct {
	Record
	Digest string `json:"digest,omitempty"`
}

// stripText takes a zone's content out of a resource. The resource given stays as it is.
func stripText(r *spec.Resource) (*spec.Resource, string) {
	z, ok := r.Spec.(*spec.Zone)
	if !ok || z.Content == "" {
		return r, ""
	}
	bare := *z
	bare.Content = ""
	return &spec.Resource{Key: r.Key, Spec: &bare}, z.Content
}

// encodeVersion gives a resource's stored form, and the runs that it refers to.
func encodeVersion(r *spec.Resource) (value []byte, runs []run, err error) {
	bare, text := stripText(r)
	v := storedVersion{}
	if v.Resource, err = marshalPlain(bare); err != nil {
		return nil, nil, fmt.Errorf("%s cannot be encoded: %w", r.Key, err)
	}
	runs = splitText(text)
	for _, c := range runs {
		v.Text = append(v.Text, c.hash)
	}
	value, err = marshalPlain(v)
	return value, runs, err
}

// marshalPlain is json.Marshal without the escapes for HTML.
func marshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// digestOf tells stored versions of one generation apart. It is never 0.
func digestOf(value []byte) uint64 {
	sum := sha256.Sum256(value)
	return max(1, binary.BigEndian.Uint64(sum[:]))
}

// parseVersionValue reads a stored version without its content.
func parseVersionValue(value []byte) (storedVersion, error) {
	var v storedVersion
	if err := json.Unmarshal(value, &v); err != nil {
		return v, fmt.Errorf("the stored version is not understood: %w", err)
	}
	if !v.Deleted && len(v.Resource) == 0 {
		return v, errors.New("the stored version has no resource and is no deletion")
	}
	return v, nil
}

// decodeResource makes the resource of a stored version whose content was joined to text. A key that is
// not zero is what the resource must say that it is.
func decodeResource(reader *spec.Reader, key spec.Key, raw []byte, text string) (*spec.Resource, error) {
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
