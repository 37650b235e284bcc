// Package effect tells what a change of configuration does to answers: which part of each service's answers moves between pools and sites,
// in which countries, and what stays healthy. It asks the compiler and the decider that edges run, for the state before and the one after.
package effect

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
)

// Bounds of what is looked at and told.
const (
	MostServices = 10_000 // of one change, that are compiled
	mostTold     = 100    // services in an Effect
	mostPlaces   = 10     // countries of a service
	mostMoves    = 10     // pairs of pools of a service, for people
)

// least is the smallest share that counts as moved: below it is the rounding of weights.
const least = 1e-6

// Input is what a change is told by.
type Input struct {
	Before, After spec.Lookup // all tenants; their pools with what sources found
	// Services are those that the change may concern. Those that are not there before are passed over: nothing of them can move.
	Services []spec.Key
	Verdict  func(health.PoolID) *health.Verdict // what is known of pools; nil: nothing
	World    *World
	Seen     *demand.Sum // the queries that edges saw; nil: none
	At       time.Time   // when all of the change has come about; both states are taken as of then
	Now      time.Time   // when it is made, where that is before At
	// ByHand says that the change is of overrides alone, and changes nothing that is declared.
	ByHand bool
	// Moments are those at which both states are looked at, At among them; nil: they are found by the overrides of what is concerned.
	Moments []time.Time
}

// Effect is what a change does to answers.
type Effect struct {
	At       time.Time
	Services []Service // those of which anything changes, most first; at most a hundred
	More     int       // those of which anything changes beside them
	Same     int       // that were looked at, and of which nothing changes
	Skipped  int       // that were not looked at, since the change concerns too many
	About    string    // by what clients are weighed, for people
	Tenants  []Tenant  // of services together, where enough queries were seen

	all     []Service // with those that are not told
	later   []Service
	moments []time.Time
	shifts  []map[spec.Key]Shift
}

// All gives every service of which anything changes.
func (e *Effect) All() []Service { return e.all }

// Service is what a change does to the answers of one service. Shares are of its answers, 0 to 1, with countries as Weighing says.
type Service struct {
	Key      spec.Key
	At       time.Time // as of which it is; zero: that of the Effect
	Weighing Weighing
	Moved    float64 // come from another pool than before, or from other addresses, or not at all
	ByUsers  float64 // the same with countries by their Internet users, whatever Weighing says
	// Within is the part of Moved that stays in its pools, and comes from addresses that are new to these.
	Within float64
	// Gone: its name answers no more.
	Gone   bool
	Type   table.Family // of answers, of which most moves
	Pools  []Share      // by name
	Sites  []Share
	Moves  []Move // the largest; see AllMoves
	Places []Place
	Rules  []Share // of which anything changes, where rules do; in the order of the rules as they will be, those that go last
	// Falls are the clients that get what they should not get, and got before what they should.
	Falls []Fall
	// Capacity is how many endpoints of the pools of its rules take clients, each counted by its weight in its pool, for each that was
	// declared before.
	Capacity Share
	// Sites that have a pool of its rules that is up.
	SitesUp [2]int // before and after
	Notes   []string

	before, after seen
	stirs         bool   // see renewed
	allMoves      []Move // largest first; at most one for each pair of its pools
}

// AllMoves gives also the moves that Moves leaves out: who judges answers by a plan needs the whole of it.
func (s *Service) AllMoves() []Move { return s.allMoves }

// Share is a part of the answers, before and after.
type Share struct {
	Name          string
	Before, After float64
}

// Move is what goes from one pool to another; empty: to or from no answer; the same: to addresses that are new to it.
type Move struct {
	From, To string
	Share    float64
}

// Place is a country.
type Place struct {
	Country string
	Users   float64 // its part of all clients
	Moved   float64 // of its answers
}

// Fall is how clients get answers where no pool of their rule is up.
type Fall struct {
	How       table.Fallback
	Users     float64 // the part of all clients
	Countries []string
}

// seen is a service in one of the two states.
type seen struct {
	service *table.Service // nil: it is not there, or in no form
	view    *table.View
	spec    *spec.Service
	pools   []*steer.Pool // of its rules
	// monitored are those that are
	monitored map[string]bool
	drains    []*spec.Resource // of these, that are to come, or new
}

// Of works out the effect of a change.
func Of(in Input) *Effect {
	e := &Effect{At: in.At}
	services := slices.DeleteFunc(slices.Clone(in.Services), func(k spec.Key) bool { return in.Before.Get(k) == nil })
	if n := len(services); n > MostServices {
		services, e.Skipped = services[:MostServices], n-MostServices
	}
	if len(services) == 0 {
		e.About = e.about(in.World)
		return e
	}
	before, after := load(in.Before, services), load(in.After, services)
	if e.moments = in.Moments; e.moments == nil {
		e.moments = moments(&in, before, after, len(services))
	}
	e.shifts = make([]map[spec.Key]Shift, len(e.moments))
	for i := range e.shifts {
		e.shifts[i] = map[spec.Key]Shift{}
	}
	c := compile.New(compile.Config{Seed: 1, Workers: 1}, in.World.atlas)
	c.Apply(everything(before, after, in.Verdict))
	seen := sights(c, e.moments, before, after, services)
	main := max(0, slices.IndexFunc(e.moments, in.At.Equal))
	addDrains(seen[main][1], before, after, in.At)
	m := newMeasure(&in)
	worst := make([]bad, len(services))
	for i, k := range services {
		s := Service{Key: k, before: seen[main][0][i], after: seen[main][1][i]}
		m.service(&s)
		worst[i] = s.bad()
		e.note(main, &s, s.Largest())
		if s.Largest() > least || s.Capacity.Before != s.Capacity.After || s.SitesUp[0] != s.SitesUp[1] || len(s.Notes) > 0 ||
			s.longer() {
			e.all = append(e.all, s)
		} else {
			e.Same++
		}
	}
	slices.SortStableFunc(e.all, func(a, b Service) int {
		return cmp.Or(cmp.Compare(b.Moved, a.Moved), cmp.Compare(b.ByUsers, a.ByUsers))
	})
	e.Tenants, e.About = e.tenants(in.Seen), e.about(in.World)
	told := min(len(e.all), mostTold)
	for i := range told {
		m.rules(&e.all[i])
	}
	e.Services, e.More = e.all[:told:told], len(e.all)-told
	m.compareMoments(e, services, seen, main, worst, in.ByHand)
	return e
}

// longer reports whether clients would keep answers longer than now.
func (s *Service) longer() bool {
	b, a := s.before.spec, s.after.spec
	return b != nil && a != nil && a.LongestTTLSeconds() > b.LongestTTLSeconds()
}

// look compiles what was told, and gives the services.
func look(c *compile.Compiler, now time.Time, items map[spec.Key]*spec.Resource, services []spec.Key) []seen {
	view, _, _ := c.Compile(now)
	out := make([]seen, len(services))
	for i, k := range services {
		r := items[k]
		if r == nil {
			continue
		}
		s := &out[i]
		s.service, s.view, s.spec, s.monitored = c.Service(k), view, r.Spec.(*spec.Service), map[string]bool{}
		for j := range s.spec.Rules {
			for _, name := range s.spec.PoolsOf(s.spec.Rules[j].Pools) {
				p := c.Pool(health.PoolID{Tenant: k.Tenant, Pool: name})
				if p == nil || slices.Contains(s.pools, p) {
					continue
				}
				s.pools = append(s.pools, p)
				if declared := items[spec.Key{Tenant: k.Tenant, Kind: spec.KindPool, Name: name}]; declared != nil {
					s.monitored[name] = declared.Spec.(*spec.Pool).IsMonitored()
				}
			}
		}
	}
	return out
}

// addDrains notes the drains that each service has before it, or that come with the change.
func addDrains(services []seen, before, after map[spec.Key]*spec.Resource, now time.Time) {
	of := map[string][]*spec.Resource{} // by pool
	for _, k := range slices.SortedFunc(maps.Keys(after), spec.Key.Compare) {
		r := after[k]
		o, ok := r.Spec.(*spec.Override)
		if ok && o.State == spec.StateDrain && !o.Ended(now) && (before[k] == nil || !o.At(now).Holds) {
			id := health.PoolID{Tenant: k.Tenant, Pool: o.Pool}.String()
			of[id] = append(of[id], r)
		}
	}
	for i := range services {
		for _, p := range services[i].pools {
			services[i].drains = append(services[i].drains, of[p.ID.String()]...)
		}
	}
}

// capacity counts endpoints of pools that have a weight, by their weights: all, and those that take clients.
func (s *seen) capacity() (declared, taking float64) {
	for _, p := range s.pools {
		n, all, now := 0.0, 0.0, 0.0
		for i := range p.Candidates {
			c := &p.Candidates[i]
			w := float64(weightOf(c.Endpoint))
			all += w
			now += math.Min(c.Effective, w)
			if w > 0 {
				n++
			}
		}
		if all > 0 {
			declared += n
			taking += n * now / all
		}
	}
	return declared, taking
}

func weightOf(e *spec.Endpoint) int {
	if e.Weight == nil {
		return 1
	}
	return *e.Weight
}

// sitesUp counts the sites of pools that are up.
func (s *seen) sitesUp() int {
	sites := map[string]bool{}
	for _, p := range s.pools {
		if p.Up && p.Site != "" {
			sites[p.Site] = true
		}
	}
	return len(sites)
}
