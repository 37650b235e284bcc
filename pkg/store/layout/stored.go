package layout

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Version is a version as it stands in etcd.
type Version struct {
	Deleted  bool            `json:"deleted,omitempty"`
	Resource json.RawMessage `json:"resource,omitempty"`
	// Text lists the runs that make a zone's content; the resource holds none then.
	Text []string `json:"text,omitempty"`
}

// Record is a state.Record as it stands in etcd. Digest is the generation's ID; it also tells a writer whose answer was lost whether
// the generation is its own.
type Record struct {
	state.Record
	Digest string `json:"digest,omitempty"`
}

// EncodeVersion gives a resource's stored form, and the runs that it refers to.
func EncodeVersion(r *spec.Resource) (value []byte, runs []Run, err error) {
	bare, text := state.StripText(r)
	v := Version{}
	if v.Resource, err = state.MarshalPlain(bare); err != nil {
		return nil, nil, fmt.Errorf("%s cannot be encoded: %w", r.Key, err)
	}
	runs = splitText(text)
	for _, c := range runs {
		v.Text = append(v.Text, c.Hash)
	}
	value, err = state.MarshalPlain(v)
	return value, runs, err
}

// ParseVersion reads a stored version without its content.
func ParseVersion(value []byte) (Version, error) {
	var v Version
	if err := json.Unmarshal(value, &v); err != nil {
		return v, fmt.Errorf("the stored version is not understood: %w", err)
	}
	if !v.Deleted && len(v.Resource) == 0 {
		return v, errors.New("the stored version has no resource and is no deletion")
	}
	return v, nil
}

// Oldest is the oldest generation of a tenant that is whole: of older ones, some or all of what they were is removed.
type Oldest struct {
	Generation state.Generation `json:"generation"`
	// Clearing tells that not all of what only older ones needed is removed yet.
	Clearing bool `json:"clearing,omitempty"`
}

// ParseOldest reads one; an absent value is that of a tenant of which nothing was removed.
func ParseOldest(value []byte) (Oldest, error) {
	o := Oldest{Generation: 1}
	if len(value) == 0 {
		return o, nil
	}
	if err := json.Unmarshal(value, &o); err != nil || o.Generation == 0 {
		return Oldest{}, fmt.Errorf("what is the oldest generation is not understood: %.40q", value)
	}
	return o, nil
}
