package plans

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// Waiting is what keeps changes that wait. It is a *store.Client.
type Waiting interface {
	PutPending(ctx context.Context, p store.Pending) error
	Pendings(ctx context.Context, tenant string) ([]store.Pending, error)
	DropPending(ctx context.Context, tenant, id string) error
}

// idLength is of the names of changes that wait, which people type.
const idLength = 8

// Wait has a plan wait that only a second person is missing for.
func Wait(ctx context.Context, w Waiting, p *change.Plan, refused *change.RefusedError, now time.Time) (*api.Pending, error) {
	first := guards.Shortest(refused.Refusals)
	stored := store.Pending{ID: strings.ToLower(rand.Text()[:idLength]), Tenant: tenantOf(p), Author: p.Author, Message: p.Message,
		Time: now.UTC(), Expires: now.Add(first.Waits).UTC(), Versions: map[string]state.Generation{}}
	for _, r := range refused.Refusals {
		stored.Why = append(stored.Why, r.Fault().Error())
	}
	for _, part := range p.Parts {
		for i := range part.Steps {
			st := &part.Steps[i]
			stored.Versions[st.Key.String()] = p.Version(st.Key)
			r := st.Resource()
			if r == nil {
				stored.Delete = append(stored.Delete, st.Key)
				continue
			}
			wire, err := api.FromSpec(r)
			if err != nil {
				return nil, err
			}
			data, err := json.Marshal(wire)
			if err != nil {
				return nil, err
			}
			stored.Put = append(stored.Put, data)
		}
	}
	if err := w.PutPending(ctx, stored); err != nil {
		return nil, err
	}
	return Pending(&stored), nil
}

// tenantOf gives the tenant among whose changes one waits: the first that it changes, the platform last. So no tenant fills the room of
// others.
func tenantOf(p *change.Plan) string {
	for _, part := range p.Parts {
		if part.Tenant != spec.Platform {
			return part.Tenant
		}
	}
	return spec.Platform
}

// Pending gives a change that waits the form of the API.
func Pending(p *store.Pending) *api.Pending {
	out := &api.Pending{Tenant: p.Tenant, ID: p.ID, Author: p.Author, Message: p.Message, Time: p.Time, Expires: p.Expires, Why: p.Why,
		Deleted: p.Delete}
	for _, data := range p.Put {
		var r api.Resource
		if json.Unmarshal(data, &r) == nil {
			out.Put = append(out.Put, r.Key())
		}
	}
	return out
}

// Find gives a change that waits; nil: there is none of that name.
func Find(ctx context.Context, w Waiting, tenant, id string) (*store.Pending, error) {
	all, err := w.Pendings(ctx, tenant)
	for i := range all {
		if all[i].ID == id {
			return &all[i], err
		}
	}
	return nil, err
}

// Input gives a change that waits as it is to be made, approved by somebody. It is refused where what it changes is not any more what it
// was made from.
func Input(p *store.Pending, approver string) (change.Input, error) {
	var put []*spec.Resource
	for _, data := range p.Put {
		var wire api.Resource
		if err := json.Unmarshal(data, &wire); err != nil {
			return change.Input{}, fmt.Errorf("the change cannot be read any more: %w; ask for it anew", err)
		}
		wire.Generation = 0
		r, err := wire.ToSpec(spec.Tolerant)
		if err != nil {
			return change.Input{}, fmt.Errorf("the change cannot be read any more: %w; ask for it anew", err)
		}
		put = append(put, r)
	}
	in := change.Input{Author: p.Author, Message: p.Message, Approved: approver, Delete: p.Delete, Match: map[spec.Key]state.Generation{}}
	for _, r := range put {
		in.Match[r.Key] = p.Versions[r.Key.String()]
	}
	for _, k := range p.Delete {
		in.Match[k] = p.Versions[k.String()]
	}
	// As an edit: what it does not understand of a resource it has from the plan, and declares nothing.
	in.Edit = func(*change.State) ([]*spec.Resource, []spec.Key, error) { return put, nil, nil }
	return in, nil
}
