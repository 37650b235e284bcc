// Package alias keeps what aliases outside of our zones lead to resolved: it asks recursive resolvers in the background, as
// often as the answers' TTLs say, and keeps the last good results, on disk too.
package alias

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
)

// Config says whom to ask, and what to do with the answers.
type Config struct {
	// Resolvers are asked in turn until one answers.
	Resolvers []netip.AddrPort
	// Timeout bounds each question to one resolver. 0: 2s.
	Timeout time.Duration
	// Shortest and Longest bound how often a name is asked for, whatever its TTL. 0: 5s and 1h.
	Shortest, Longest time.Duration
	// File keeps the last good results. Empty: they are lost at the end.
	File string
	// Deliver is told each target whose addresses or TTL changed. Run calls it, one call at a time; it may block until ctx ends.
	Deliver    func(ctx context.Context, t compile.Target, r *compile.Resolved)
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time
	// Random spreads the times of questions, and makes them hard to guess. Nil: that of math/rand/v2, which is strong.
	Random func() uint64
}

// Keeper resolves what is wanted. Its methods are safe for concurrent use.
type Keeper struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{}

	mu      sync.Mutex
	targets map[compile.Target]*target
	kept    map[compile.Target]*target // read from File, not wanted yet
	queues  [lanes]queue
	changed map[*target]bool // to be delivered
	unsaved bool
	samples map[bool][]geo.Sample // by country, of atlas
	atlas   *geo.Atlas
}

// target is what is known of one.
type target struct {
	compile.Target
	names     []string // of places, in order; the first is everywhere
	entries   map[string]*entry
	delivered *compile.Resolved
}

// everywhere is the place of clients that no other place is for.
const everywhere = ""

// entry is one question that is asked over and over.
type entry struct {
	of      *target
	place   string
	network netip.Prefix // that stands for the place; not valid: none
	gone    bool

	due      time.Time
	at       int  // in its queue; -1: being asked
	lane     lane // of its queue
	failures int  // in a row
	err      string
	result   result
}

// result is the last good one. It is never changed.
type result struct {
	Addresses []netip.Addr `json:"addresses,omitempty"` // sorted
	TTL       uint32       `json:"ttl"`                 // seconds
	At        time.Time    `json:"at"`                  // zero: there never was one
}

// State tells of a target, for people.
type State struct {
	compile.Target
	Addresses []netip.Addr // for those that no place is told apart for
	Resolved  time.Time    // when that was last resolved well; zero: never
	Failing   int          // how many of its questions failed last time
	Error     string       // of one of them
}

// New makes a Keeper and reads what File kept.
func New(cfg Config) (*Keeper, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Uint64
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 2*time.Second)
	cfg.Shortest, cfg.Longest = cmp.Or(cfg.Shortest, 5*time.Second), cmp.Or(cfg.Longest, time.Hour)
	k := &Keeper{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), targets: map[compile.Target]*target{},
		kept: map[compile.Target]*target{}, changed: map[*target]bool{}, samples: map[bool][]geo.Sample{}}
	if err := k.load(); err != nil {
		k.log.Error("the results of aliases on disk cannot be used; they are resolved anew", "error", err)
	}
	var err error
	k.metrics, err = newMetrics(k, cfg.Registerer)
	return k, err
}

// Kept gives the results that File kept.
func (k *Keeper) Kept() map[compile.Target]*compile.Resolved {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[compile.Target]*compile.Resolved{}
	for t, of := range k.kept {
		if r := of.resolved(); r != nil {
			of.delivered, out[t] = r, r
		}
	}
	return out
}

// Want says what is to be resolved from now on; atlas gives the networks that stand for places. It gives what was wanted or
// kept until now, and is no more.
func (k *Keeper) Want(targets []compile.Target, atlas *geo.Atlas) (gone []compile.Target) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.atlas != atlas {
		k.atlas = atlas
		clear(k.samples)
	}
	wanted := map[compile.Target]bool{}
	for _, t := range targets {
		wanted[t] = true
		if k.targets[t] == nil {
			if k.targets[t] = k.kept[t]; k.targets[t] == nil {
				k.targets[t] = &target{Target: t, entries: map[string]*entry{}}
			}
		}
		k.arrange(k.targets[t])
	}
	for _, list := range []map[compile.Target]*target{k.targets, k.kept} {
		for t, of := range list {
			if wanted[t] {
				continue
			}
			for _, e := range of.entries {
				e.gone = true
			}
			delete(list, t)
			delete(k.changed, of)
			gone = append(gone, t)
			k.unsaved = true
		}
	}
	clear(k.kept)
	k.wakeUp()
	return gone
}

// arrange has a target ask for the places that there are.
func (k *Keeper) arrange(t *target) {
	networks := map[string]netip.Prefix{}
	names := []string{everywhere}
	if t.By != "" {
		for _, s := range k.sample(t.By == spec.ByCountry) {
			names = append(names, s.Place.String())
			networks[s.Place.String()] = s.Network
		}
	}
	for _, name := range names {
		e := t.entries[name]
		if e == nil {
			e = &entry{of: t, place: name, at: -1}
			t.entries[name] = e
		}
		if e.network = networks[name]; e.at < 0 && e.due.IsZero() {
			e.due = k.cfg.Now()
			k.queues[e.lane].add(e)
		}
	}
	for name, e := range t.entries {
		if !slices.Contains(names, name) {
			e.gone = true
			delete(t.entries, name)
		}
	}
	if !slices.Equal(t.names, names) {
		t.names = names
		k.changed[t] = true
	}
}

func (k *Keeper) sample(countries bool) []geo.Sample {
	if k.samples[countries] == nil && k.atlas != nil {
		k.samples[countries] = k.atlas.Samples(countries)
	}
	return k.samples[countries]
}

func (k *Keeper) wakeUp() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// resolved puts the results together; nil as long as there is none for everywhere.
func (t *target) resolved() *compile.Resolved {
	general := t.entries[everywhere]
	if general == nil || general.result.At.IsZero() {
		return nil
	}
	r := &compile.Resolved{TTL: general.result.TTL, Addresses: general.result.Addresses}
	for _, name := range t.names[1:] {
		p := t.entries[name].result
		if !p.At.IsZero() {
			r.TTL = min(r.TTL, p.TTL)
		}
		r.Places = append(r.Places, compile.PlaceResult{Place: name, Addresses: p.Addresses})
	}
	return r
}

// deliver hands on what changed.
func (k *Keeper) deliver(ctx context.Context) {
	type delivery struct {
		of *target
		r  *compile.Resolved
	}
	var list []delivery
	k.mu.Lock()
	for t := range k.changed {
		if r := t.resolved(); r != nil && !reflect.DeepEqual(r, t.delivered) {
			t.delivered = r
			list = append(list, delivery{t, r})
		}
	}
	clear(k.changed)
	k.mu.Unlock()
	for _, d := range list {
		k.cfg.Deliver(ctx, d.of.Target, d.r)
	}
}

// States lists the targets, sorted.
func (k *Keeper) States() []State {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]State, 0, len(k.targets))
	for _, of := range k.sorted() {
		s := State{Target: of.Target}
		for _, name := range of.names {
			e := of.entries[name]
			if name == everywhere {
				s.Addresses, s.Resolved = e.result.Addresses, e.result.At
			}
			if e.failures > 0 {
				if s.Failing++; s.Error == "" {
					s.Error = e.err
				}
			}
		}
		out = append(out, s)
	}
	return out
}

func (k *Keeper) sorted() []*target {
	return slices.SortedFunc(maps.Values(k.targets), func(a, b *target) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.By, b.By))
	})
}

// Run asks, delivers and saves until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	s := newScheduler(k)
	s.run(ctx)
}
