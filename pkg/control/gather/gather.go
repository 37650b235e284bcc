// Package gather asks edges which queries they saw, and sums up what they say.
package gather

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
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
	atOnce   = 4  // edges asked at the same time: each may tell a megabyte
	mostKept = 1024
	addShare = 20 // of the time, one so manieth goes into summing up
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
	asked  time.Time
	refuse string // why its last answer was not taken
}

// New makes one.
func New(cfg Config) (*Gatherer, error) {
	g := &Gatherer{cfg: cfg, words: map[string]*word{}}
	if cfg.Registerer == nil {
		return g, nil
	}
	return g, cfg.Registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gtm_control_demand_edges",
		Help: "Edges whose counts of queries are in what plans are weighed by."}, func() float64 { return float64(len(g.Heard())) }))
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

// round asks the edges whose turn it is, and reports whether any of them said something.
func (g *Gatherer) round(ctx context.Context) (heard bool) {
	var due []store.Edge
	now := g.cfg.Now()
	for _, e := range g.cfg.Edges() {
		if g.isDue(&e, now) {
			due = append(due, e)
		}
	}
	answers := make([]*api.EdgeDemand, len(due))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, e := range due {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if said, err := g.cfg.Ask(ctx, e); err == nil {
				answers[i] = &said
			}
		})
	}
	wg.Wait()
	for i, e := range due {
		if answers[i] != nil && g.take(e.ID, answers[i]) {
			heard = true
		}
	}
	return heard
}

// isDue reports whether it is an edge's turn, and notes that it was.
func (g *Gatherer) isDue(e *store.Edge, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.words[e.ID]
	if w == nil {
		if !e.Alive || len(g.words) >= mostKept {
			return false
		}
		w = &word{}
		g.words[e.ID] = w
	}
	wait := min(max(now.Sub(e.Started)/byAge, look), seldom)
	if now.Sub(w.asked) < wait {
		return false
	}
	w.asked = now
	return true
}

// take notes what an edge said. What it said before it was started anew is kept beside.
func (g *Gatherer) take(edge string, said *api.EdgeDemand) bool {
	err := demand.Check(said.Counts)
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.words[edge]
	if err != nil {
		if w.refuse != err.Error() {
			g.cfg.Logger.Warn("what an edge says of its queries is not taken", "edge", edge, "error", err)
		}
		w.refuse = err.Error()
		return false
	}
	now := g.cfg.Now()
	if w.refuse = ""; !w.At.IsZero() && !w.started.Equal(said.Started) {
		w.before = demand.Word{Edge: edge, At: now, Data: demand.Fold(now, w.before, w.Word)}
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
