// Package gather asks edges which queries they saw, and sums up what they say.
package gather

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/store"
)

// How often an edge is asked: once a minute, and one that has begun to count more often, since what it knows changes.
const (
	look     = 2 * time.Second
	seldom   = time.Minute
	byAge    = 10 // of its age, one so manieth
	atOnce   = 2  // edges asked at the same time: each may tell a megabyte, and take its time for it
	addShare = 20 // of the time, one so manieth goes into summing up
)

// What is kept: the words of so many edges, a megabyte each at most, and beside each word what former processes of the edge said, which is
// the smaller part and fades. A new edge takes the place of the one that is silent for longest, if that is for a while.
const (
	mostKept   = 1024
	mostBefore = 128 << 10 // bytes
	silentFor  = 5 * time.Minute
)

// Keep is how long the last word of an edge that is silent counts, less and less.
const Keep = 3 * demand.Day

// Config is what a Gatherer needs.
type Config struct {
	// Edges lists those that are known.
	Edges func() []store.Edge
	// Ask asks one of them.
	Ask        func(context.Context, store.Edge) (api.EdgeDemand, error)
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// Gatherer knows what edges said. It is safe for concurrent use.
type Gatherer struct {
	cfg Config

	mu    sync.Mutex
	words map[string]*word // by edge
	sum   *demand.Sum
}

// word is what an edge said last.
type word struct {
	started time.Time // the process that said it
	demand.Word
	before demand.Word // what processes before that one said; At is zero: nothing
	since  time.Time   // it is asked
	asked  time.Time
	failed bool // it was asked in vain last
}

// last is when the edge was heard last, or else since when it was not.
func (w *word) last() time.Time {
	if w.At.After(w.since) {
		return w.At
	}
	return w.since
}

// New makes one.
func New(cfg Config) (*Gatherer, error) {
	g := &Gatherer{cfg: cfg, words: map[string]*word{}}
	if cfg.Registerer == nil {
		return g, nil
	}
	heard := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gtm_control_demand_edges",
		Help: "Edges whose counts of queries are in what plans are weighed by."}, func() float64 { return float64(len(g.Heard())) })
	failing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gtm_control_demand_failing_edges",
		Help: "Edges that were asked in vain for their counts of queries last."}, func() float64 { return float64(g.failing()) })
	if err := cfg.Registerer.Register(heard); err != nil {
		return nil, err
	}
	return g, cfg.Registerer.Register(failing)
}

func (g *Gatherer) failing() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.words {
		if w.failed {
			n++
		}
	}
	return n
}

// Sum gives all that edges said; nil: nothing yet.
func (g *Gatherer) Sum() *demand.Sum {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sum
}

// Heard lists the edges whose words count, and since when, by ID.
func (g *Gatherer) Heard() []api.DemandEdge {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]api.DemandEdge, 0, len(g.words))
	for id, w := range g.words {
		if !w.At.IsZero() {
			list = append(list, api.DemandEdge{ID: id, Heard: w.At.UTC()})
		}
	}
	slices.SortFunc(list, func(a, b api.DemandEdge) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Run asks edges until ctx ends.
func (g *Gatherer) Run(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var summed time.Time
	took, news := time.Duration(0), false
	for {
		news = g.round(ctx) || news
		if now := g.cfg.Now(); now.Sub(summed) >= seldom || news && now.Sub(summed) >= addShare*took {
			g.add(now)
			summed, took, news = now, g.cfg.Now().Sub(now), false
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round asks the edges whose turn it is, and reports whether any of them said something. Each answer is taken as it comes: all at once
// would be as much again as what is kept.
func (g *Gatherer) round(ctx context.Context) bool {
	slots := make(chan struct{}, atOnce)
	var heard atomic.Bool
	var wg sync.WaitGroup
	for _, e := range g.due() {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			said, err := g.cfg.Ask(ctx, e)
			if err == nil {
				err = demand.Check(said.Counts)
			}
			if ctx.Err() != nil { // that is not the edge's doing
				return
			}
			g.went(e.ID, err)
			if err == nil && g.take(e.ID, &said) {
				heard.Store(true)
			}
		})
	}
	wg.Wait()
	return heard.Load()
}

// due lists the edges whose turn it is, and notes that it was.
func (g *Gatherer) due() (due []store.Edge) {
	now, edges := g.cfg.Now(), g.cfg.Edges()
	listed := make(map[string]bool, len(edges))
	for i := range edges {
		listed[edges[i].ID] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, w := range g.words {
		w.failed = w.failed && listed[id] // one that was forgotten is not missed
	}
	room := true
	for i := range edges {
		e := &edges[i]
		w := g.words[e.ID]
		if w == nil {
			if !e.Alive || !room {
				continue
			}
			if room = len(g.words) < mostKept || g.dropSilent(listed, now); !room {
				continue
			}
			w = &word{since: now}
			g.words[e.ID] = w
		}
		if now.Sub(w.asked) >= min(max(now.Sub(e.Started)/byAge, look), seldom) {
			w.asked = now
			due = append(due, *e)
		}
	}
	return due
}

// dropSilent has the edge go that is silent for longest, and reports whether there is one. g.mu is held.
func (g *Gatherer) dropSilent(listed map[string]bool, now time.Time) bool {
	silent, since := "", now.Add(-silentFor)
	for id, w := range g.words {
		if (w.failed || !listed[id]) && !w.last().After(since) {
			silent, since = id, w.last()
		}
	}
	if silent == "" {
		return false
	}
	delete(g.words, silent)
	return true
}

// went notes how asking an edge went, and tells when that becomes another thing: what stays as it is would be told every minute.
func (g *Gatherer) went(edge string, err error) {
	g.mu.Lock()
	w := g.words[edge]
	changed := w != nil && w.failed != (err != nil)
	if changed {
		w.failed = err != nil
	}
	g.mu.Unlock()
	switch {
	case changed && err != nil:
		g.cfg.Logger.Warn("an edge does not tell which queries it saw; what it told before fades", "edge", edge, "error", err)
	case changed:
		g.cfg.Logger.Info("an edge tells again which queries it saw", "edge", edge)
	}
}

// take notes what an edge said. What it said before it was started anew is kept beside.
func (g *Gatherer) take(edge string, said *api.EdgeDemand) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.words[edge]
	if w == nil { // another one has its place
		return false
	}
	now := g.cfg.Now()
	if !w.At.IsZero() && !w.started.Equal(said.Started) {
		w.before = demand.Word{Edge: edge, At: now, Data: demand.Fold(now, mostBefore, w.before, w.Word)}
	}
	w.started, w.Word = said.Started, demand.Word{Edge: edge, At: now, Data: said.Counts}
	return true
}

// add sums up what was said. Edges that said nothing for long are left out.
func (g *Gatherer) add(now time.Time) {
	g.mu.Lock()
	var words []demand.Word
	for id, w := range g.words {
		if now.Sub(w.At) > Keep {
			if now.Sub(w.asked) > Keep { // nor is it known any more
				delete(g.words, id)
			}
			w.Word, w.before = demand.Word{}, demand.Word{}
			continue
		}
		words = append(words, w.before, w.Word)
	}
	g.mu.Unlock()
	sum := demand.Add(now, words)
	g.mu.Lock()
	g.sum = sum
	g.mu.Unlock()
}
