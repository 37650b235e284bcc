package change

import (
	"context"
	"strings"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Undone is one resource that a plan takes back to what it was before somebody else changed or deleted it.
type Undone struct {
	Key     spec.Key
	Changes []spec.FieldChange // absent: it was deleted
	// By is the change that is undone.
	By state.Record
}

// Fields names the fields that are set back, at most ten.
func (u Undone) Fields() string {
	const most = 10
	if len(u.Changes) == 0 {
		return "all: it was deleted"
	}
	var words []string
	for i, ch := range u.Changes {
		if i == most {
			words = append(words, "...")
			break
		}
		words = append(words, ch.Path)
	}
	return strings.Join(words, ", ")
}

// SetBack gives what a plan of whole resources undoes that others than author wrote, as far as history tells: its last thousand
// changes of each tenant.
func (c *Changer) SetBack(ctx context.Context, p *Plan, author string) (undone []Undone) {
	const most = 1000
	for _, part := range p.Parts {
		records, err := c.cfg.Store.History(ctx, part.Tenant, most)
		if err != nil {
			continue // the change is worth making without it
		}
		last := lastOf(records)
		for _, st := range part.Steps {
			by, known := last[st.Key]
			if st.Action == Delete || !known || by.Author == author {
				continue
			}
			u := Undone{Key: st.Key, By: by}
			if st.Action == Update {
				u.Changes = st.Changes
			}
			undone = append(undone, u)
		}
	}
	return undone
}

// lastOf gives the last change of each resource; records are newest first.
func lastOf(records []state.Record) map[spec.Key]state.Record {
	last := map[spec.Key]state.Record{}
	for _, rec := range records {
		for _, keys := range [][]spec.Key{rec.Put, rec.Deleted} {
			for _, k := range keys {
				if _, later := last[k]; !later {
					last[k] = rec
				}
			}
		}
	}
	return last
}
