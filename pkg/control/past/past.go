// Package past tells what a client would have got some time ago. Of the configuration every generation is in the store; of verdicts, which
// change without leaving a trace there, it keeps what they were, for a while, in memory.
package past

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/explain"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table/compile"
)

// MostBytes is how much a Past keeps unless Config says otherwise.
const MostBytes = 64 << 20

// A change is looked for among so many of its tenant: most are of the last hours, and records can be large.
const (
	fewRecords  = 100
	mostRecords = 10_000
)

// Store is what is asked for generations. It is a *store.Client.
type Store interface {
	Read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error)
	History(ctx context.Context, tenant string, limit int) ([]state.Record, error)
}

// Config is what a Past needs.
type Config struct {
	Store  Store
	Mirror *state.Mirror    // changed by Apply alone
	Geo    []string         // MMDB files; none: the built-in database
	Keep   time.Duration    // how long
	Most   int              // bytes of verdicts, about; 0: MostBytes
	Now    func() time.Time // nil: time.Now
	// Replaced hears what each update replaced of verdicts, behind the mirror. It must neither block nor call the Past. nil: nobody does.
	Replaced func(News)
}

// Past keeps the past. It is safe for concurrent use.
type Past struct {
	cfg  Config
	busy chan struct{} // whose turn it is to compile

	mu      sync.Mutex
	changes []change // oldest first
	bytes   int
	since   time.Time // from when on verdicts are known; zero: they are not
	epoch   int64
	cluster uint64
}

// New makes a Past that knows nothing yet.
func New(cfg Config) *Past {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Most == 0 {
		cfg.Most = MostBytes
	}
	return &Past{cfg: cfg, busy: make(chan struct{}, 1)}
}

// Status tells what is kept.
func (p *Past) Status() *api.Past {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(p.cfg.Now())
	return &api.Past{Since: p.from(), Changes: len(p.changes), Bytes: p.bytes, Most: p.cfg.Most, Keep: p.cfg.Keep.String()}
}

// from gives the time from which on everything is known.
func (p *Past) from() time.Time {
	if oldest := p.cfg.Now().Add(-p.cfg.Keep); p.since.Before(oldest) && !p.since.IsZero() {
		return oldest
	}
	return p.since
}

// Explain tells what a client would have got at a time, by the code that edges run. The parameters are those of explain.Of.
func (p *Past) Explain(ctx context.Context, at time.Time, param func(string) string) (*api.Explanation, error) {
	p.mu.Lock()
	from := p.from()
	p.mu.Unlock()
	switch {
	case at.After(p.cfg.Now()):
		return nil, &explain.Error{Code: http.StatusBadRequest, Text: fmt.Sprintf("%s is yet to come", stamp(at))}
	case from.IsZero() || at.Before(from):
		return nil, &explain.Error{Code: http.StatusNotFound, Text: p.tooOld(at, from)}
	}
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	names, tenants, err := p.tenantsFor(ctx, at, param("host"))
	if err != nil {
		return nil, err
	}
	atlas, err := geo.Open(p.cfg.Geo...)
	if err != nil {
		return nil, err
	}
	c := compile.New(compile.Config{Seed: rand.Uint64(), Workers: 1}, atlas)
	state := p.everything(at, names, tenants)
	c.Apply(state)
	view, broken, _ := c.Compile(at)
	out, refused := explain.Of(view, "control as of "+stamp(at), uint32(at.Unix()), param)
	if refused != nil {
		if refused.Code == http.StatusNotFound {
			refused.Text = fmt.Sprintf("no service stood at %q at %s", param("host"), stamp(at))
		}
		return nil, refused
	}
	out.At = &at
	told := append(notes(view.Atlas.Info(), broken), foundNotes(state)...)
	out.Notes, out.Text = append(out.Notes, told...), append(out.Text, told...)
	return out, nil
}

func (p *Past) tooOld(at, from time.Time) string {
	if from.IsZero() {
		return "verdicts of the past are not known yet: control has not heard the store"
	}
	return fmt.Sprintf("what verdicts were at %s is not known: control knows them since %s (from its start on, for %s, "+
		"and no more than %d MiB)", stamp(at), stamp(from), p.cfg.Keep, p.cfg.Most>>20)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// notes tell on what the explanation stands that may differ from what edges had.
func notes(info []geo.Info, broken []compile.Broken) (list []string) {
	var files []string
	for _, i := range info {
		files = append(files, fmt.Sprintf("%s of %s", i.File, i.Built.Format(time.DateOnly)))
	}
	list = append(list, "places are by control's geography of today: "+strings.Join(files, ", "),
		"what edges alone knew is left out: latency tables, map files, and addresses of hosts elsewhere that aliases lead to")
	for _, b := range broken {
		list = append(list, fmt.Sprintf("%s was not served as declared: %v", b.Key, b.Err))
	}
	return list
}

// foundNotes tells of pools with sources: what these had then is not known.
func foundNotes(state compile.Change) []string {
	for i := range state.Tenants {
		for _, it := range state.Tenants[i].Put {
			if p, ok := it.Resource.Spec.(*spec.Pool); ok && len(p.Discover) > 0 {
				return []string{"endpoints that were found by spec.discover are those of today"}
			}
		}
	}
	return nil
}

// tenantsFor gives the state, at a time, of the platform and of the tenants that may have had a service at a host.
func (p *Past) tenantsFor(ctx context.Context, at time.Time, host string) (names []string, states []state.TenantState, err error) {
	platform, err := p.tenantAt(ctx, spec.Platform, at)
	if err != nil {
		return nil, nil, err
	}
	names, states = []string{spec.Platform}, []state.TenantState{platform}
	for _, name := range grantedAt(platform, host) {
		tenant, err := p.tenantAt(ctx, name, at)
		if err != nil {
			return nil, nil, err
		}
		names, states = append(names, name), append(states, tenant)
	}
	return names, states, nil
}

// grantedAt gives the tenants that zones allow names at or above a host.
func grantedAt(platform state.TenantState, host string) (tenants []string) {
	host = strings.ToLower(strings.TrimSuffix(host, ".")) + "."
	for _, v := range platform.Resources.All() {
		zone, ok := v.Resource.Spec.(*spec.Zone)
		if !ok {
			continue
		}
		for tenant, names := range zone.Grants {
			within := func(name string) bool { return host == name || strings.HasSuffix(host, "."+name) }
			if tenant != spec.Platform && slices.ContainsFunc(names, within) && !slices.Contains(tenants, tenant) {
				tenants = append(tenants, tenant)
			}
		}
	}
	slices.Sort(tenants)
	return tenants
}

// tenantAt gives a tenant's state at a time; empty where there was no such tenant yet.
func (p *Past) tenantAt(ctx context.Context, name string, at time.Time) (state.TenantState, error) {
	for limit := fewRecords; limit <= mostRecords; limit *= 10 {
		records, err := p.cfg.Store.History(ctx, name, limit)
		if err != nil {
			return state.TenantState{}, err
		}
		for i := range records {
			if r := &records[i]; !r.Time.IsZero() && !r.Time.After(at) { // that of a damaged one is not known
				return p.read(ctx, name, r.Generation)
			}
		}
		if len(records) < limit {
			return state.TenantState{}, nil
		}
	}
	return state.TenantState{}, &explain.Error{Code: http.StatusNotFound, Text: fmt.Sprintf(
		"%s changed more than %d times since %s: too often to look for what it was then", name, mostRecords, stamp(at))}
}

// read gives a tenant's state at a generation; what is damaged is told in it.
func (p *Past) read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	t, err := p.cfg.Store.Read(ctx, tenant, at)
	var damaged *store.DamagedError
	if errors.As(err, &damaged) {
		err = nil
	}
	return t, err
}

// everything is the state of some tenants at a time, as news for a compiler. It has no keys of zones, on which no decision depends.
func (p *Past) everything(at time.Time, names []string, tenants []state.TenantState) compile.Change {
	all := compile.Change{Full: true, Verdicts: p.verdictsAt(at, tenants, names)}
	for i, name := range names {
		t := compile.TenantChange{Tenant: name, Head: uint64(tenants[i].Head)}
		for _, v := range tenants[i].Resources.All() {
			if _, opaque := v.Resource.Spec.(*spec.Opaque); opaque {
				continue
			}
			t.Put = append(t.Put, compile.Item{Resource: p.cfg.Mirror.Join(v.Resource), Generation: uint64(v.Generation)})
		}
		for key, b := range tenants[i].Broken {
			t.Broken = append(t.Broken, compile.Broken{Key: key, Err: b.Err})
		}
		all.Tenants = append(all.Tenants, t)
	}
	return all
}
