package policy

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec"
)

// order is how nearest and fastest put pools in order.
type order struct {
	among    []choice
	band     float64 // a share: 0.05
	farthest float64 // km
	margin   float64 // ms
	samples  int
	maxAge   int64 // days
	listed   bool  // what no time is known of comes as listed, not by distance
}

// choice is a pool to choose from.
type choice struct {
	pool   int
	weight int
	Bias
}

// Bias says by how much a distance counts as less.
type Bias struct{ Share, Kilometres float64 }

// Of gives what a distance counts as, in km.
func (b *Bias) Of(km float64) float64 { return max(0, km*(1-b.Share)-b.Kilometres) }

// MaxNearest is how many arms a Nearest has at most.
const MaxNearest = cut + 1

// cut is how many pools of nearest and fastest are put in order. The rest stands behind them as listed, the same for all places, so that
// places in which the first ones are the same are of one class.
const cut = 8

func (f *filler) choices(declared *spec.Choices, at origin) (out []choice) {
	add := func(pools []int, weight int) {
		for _, pool := range pools {
			if !slices.ContainsFunc(out, func(c choice) bool { return c.pool == pool }) {
				out = append(out, choice{pool: pool, weight: max(weight, 1)})
			}
		}
	}
	if declared.Sites {
		for _, m := range f.members() {
			add([]int{m.pool}, 1)
		}
	}
	for i := range declared.List {
		t := &declared.List[i]
		if site := t.More().Site; site != "" {
			add(f.atSite(site), t.Weight)
		} else {
			add(at.role(t.Pool), t.Weight)
		}
	}
	return out
}

func (f *filler) nearest(t *target, d *spec.Steering, at origin) (err error) {
	t.kind, t.among, t.farthest, f.located = nearestTarget, f.choices(d.Nearest, at), math.Inf(1), true
	if t.band, err = spec.ParseBand(d.Band); err != nil {
		return fmt.Errorf("band: %w", err)
	}
	if d.Farthest != "" {
		if t.farthest, err = spec.ParseKilometres(d.Farthest); err != nil {
			return fmt.Errorf("farthest: %w", err)
		}
	}
	f.ranked = f.ranked || len(t.among) > MaxNearest || !math.IsInf(t.farthest, 1)
	for i := range t.among {
		c := &t.among[i]
		p := f.Pools[c.pool]
		bias, ok := d.Bias[p.Name]
		if !ok {
			bias, ok = d.Bias[p.Site]
		}
		if !ok {
			continue
		}
		if c.Share, c.Kilometres, err = spec.ParseBias(bias); err != nil {
			return fmt.Errorf("bias of %s: %w", p.Name, err)
		}
	}
	return nil
}

func (f *filler) fastest(t *target, d *spec.Steering, at origin) error {
	t.kind, t.among, f.located, f.timed = fastestTarget, f.choices(d.Fastest, at), true, true
	t.margin = float64(time.Duration(*d.Margin)) / float64(time.Millisecond)
	t.samples, t.listed = d.Samples, d.Then == spec.ThenListed
	t.maxAge = int64(time.Duration(d.MaxAge) / (24 * time.Hour))
	t.band, t.farthest = 0, math.Inf(1)
	return nil
}

// ranked is one of the choices of an order, with what is known of it for a client. It is small: there are millions at the start of a large
// edge.
type ranked struct {
	distance float64 // km, as it counts
	at       uint16  // of order.among
	group    uint16  // those of a group share the answers
}

// nearest puts pools in order of distance, in groups that share the answers, and leaves out what is too far.
func (e *expander) nearest(t *target, list []ranked) []ranked {
	if !e.where.point.Known() {
		e.trace.chose(e, t, list, len(list))
		return list
	}
	e.byDistance(t, list)
	n := len(list)
	for n > 0 && list[n-1].distance > t.farthest {
		n--
	}
	band(list[:n], t.band)
	e.trace.chose(e, t, list, n)
	return list[:n]
}

// byDistance sorts pools. Those that are as near come as listed.
func (e *expander) byDistance(t *target, list []ranked) {
	for i := range list {
		list[i].distance = e.distance(&t.among[list[i].at])
	}
	for i := 1; i < len(list); i++ { // they are few
		for j := i; j > 0 && list[j].distance < list[j-1].distance; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

// distance gives how far a pool counts as.
func (e *expander) distance(c *choice) float64 {
	var km float64
	if e.km != nil {
		km = float64(e.km[c.pool][e.at])
	} else {
		km = float64(float32(e.where.point.Kilometres(e.policy.Pools[c.pool].At))) // as the Grid keeps it
	}
	return c.Of(km)
}

// band groups what is about as near as the first of its group. What is nowhere stands alone.
func band(list []ranked, share float64) {
	first, most := 0, 0.0
	for i := range list {
		if d := list[i].distance; i == 0 || d > most || d > math.MaxFloat64 {
			first, most = i, d*(1+share)
		}
		list[i].group = uint16(first)
	}
}

// fastest puts pools in order of the time that was measured; of those about as fast as the fastest, the nearest is first.
func (e *expander) fastest(t *target, list []ranked) {
	e.ms = e.ms[:0]
	for i := range t.among {
		e.ms = append(e.ms, e.time(t, t.among[i].pool))
	}
	if e.where.point.Known() && !t.listed {
		e.byDistance(t, list)
	}
	for from := range list {
		fastest := math.Inf(1)
		for i := from; i < len(list); i++ {
			fastest = min(fastest, e.ms[list[i].at])
		}
		next := from
		for e.ms[list[next].at] > fastest+t.margin {
			next++
		}
		first := list[next]
		copy(list[from+1:next+1], list[from:next])
		list[from] = first
	}
	for i := range list {
		list[i].group = uint16(i)
	}
	e.trace.chose(e, t, list, len(list))
}

// time gives the milliseconds to a pool's site, +Inf where they are not known well enough.
func (e *expander) time(t *target, pool int) float64 {
	ms, samples, measured, ok := e.where.latency.Of(e.policy.Pools[pool].Site)
	if !ok || samples < t.samples || e.policy.today-measured.Unix()/daySeconds > t.maxAge {
		return math.Inf(1)
	}
	return ms
}

const daySeconds = 86400

// allowed gives the choices that no fence leaves out, as listed, each alone.
func (e *expander) allowed(among []choice) []ranked {
	list := e.ranked[:0]
	for i := range among {
		if e.admits(among[i].pool) {
			list = append(list, ranked{at: uint16(i), group: uint16(i)})
		}
	}
	e.ranked = list
	return list
}

// Grid is a list of Wheres, for which many policies that ask the same are asked for their rows. It is safe for concurrent use.
type Grid struct {
	wheres []Where
	mu     sync.Mutex
	km     map[geo.Point][]float32
	alike  func() *alike
	rows   map[*shape]*Rows // that depend on conditions alone
}

// alike are the Wheres of a Grid by the conditions that they meet, and their regions.
type alike struct {
	groups []uint16 // of each Where
	first  []int    // of each group: one of its Wheres
}

// NewGrid makes a Grid.
func NewGrid(wheres []Where) *Grid {
	return &Grid{wheres: wheres, km: map[geo.Point][]float32{}, alike: sync.OnceValue(func() *alike { return group(wheres) })}
}

func group(wheres []Where) *alike {
	a := &alike{groups: make([]uint16, len(wheres))}
	type kind struct{ met, region string }
	known := map[kind]uint16{}
	for i := range wheres {
		of := kind{wheres[i].met, wheres[i].region}
		at, ok := known[of]
		if !ok {
			at = uint16(len(a.first))
			known[of], a.first = at, append(a.first, i)
		}
		a.groups[i] = at
	}
	return a
}

// Len gives how many Wheres there are.
func (g *Grid) Len() int { return len(g.wheres) }

// Kilometres gives how far a Where is from a point, +Inf where that is nowhere; not known: it is not known where the Where is.
func (g *Grid) Kilometres(i int, from geo.Point) (km float32, known bool) {
	p := g.wheres[i].point
	return float32(p.Kilometres(from)), p.Known()
}

// distances gives, for each pool, how far it is from each Where, in km.
func (g *Grid) distances(p *Policy) [][]float32 {
	if !p.located {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([][]float32, len(p.Pools))
	for i := range p.Pools {
		at := p.Pools[i].At
		km := g.km[at]
		if km == nil {
			km = make([]float32, len(g.wheres))
			for j := range g.wheres {
				km[j] = float32(g.wheres[j].point.Kilometres(at))
			}
			g.km[at] = km
		}
		out[i] = km
	}
	return out
}
