// Package sampling counts at an edge who asks for what, by samples of its queries: see pkg/demand.
package sampling

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/answer"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/geo"
)

// Samples are taken away once a second. So many of them are wanted then, and there is room for four times as many, for when queries
// begin to come. What was counted fades once a minute, whether anybody asks for it or not: else, after days without control, what came in
// the last minute would fade as much as what came in the first one.
const (
	takeEvery = time.Second
	ageEvery  = time.Minute
	wanted    = 1024
	room      = 4 * wanted
)

// Config is what a Counter needs.
type Config struct {
	ID    string // of the edge
	Start time.Time
	// Atlas gives the geography that is answered by; nil inside: there is none yet.
	Atlas      func() *geo.Atlas
	Now        func() time.Time
	Registerer prometheus.Registerer // nil: no metrics
}

// Counter counts what samples stand for. Its methods are safe for concurrent use.
type Counter struct {
	// Samples is where those who answer put what they sample.
	Samples *answer.Samples
	cfg     Config
	samples prometheus.Counter
	lost    prometheus.Counter
	batch   []answer.Sample // for Run alone

	mu     sync.Mutex
	sketch *demand.Sketch
	aged   time.Time // when take had that fade last
	told   []byte    // what was told last
	toldAt time.Time
	took   time.Duration // to make it
}

// New makes a Counter.
func New(cfg Config) (*Counter, error) {
	now := cfg.Now()
	c := &Counter{Samples: answer.NewSamples(room), cfg: cfg, sketch: demand.NewSketch(now), aged: now,
		samples: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_edge_sampled_queries_total",
			Help: "Queries that were looked at to count who asks for what, about one in every so many."}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_edge_unsampled_queries_total",
			Help: "Queries for which no sample could be kept, since more came than there was room for; the others count for them."})}
	if cfg.Registerer == nil {
		return c, nil
	}
	services := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gtm_edge_sampled_services",
		Help: "Services whose queries are counted by country."}, func() float64 { return float64(c.services()) })
	for _, m := range []prometheus.Collector{c.samples, c.lost, services} {
		if err := cfg.Registerer.Register(m); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Counter) services() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sketch.Services()
}

// Run counts until ctx ends.
func (c *Counter) Run(ctx context.Context) {
	tick := time.NewTicker(takeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.take()
		}
	}
}

// take counts the samples that came, and has fewer or more of them taken from now on. Those that came count for those that were lost.
func (c *Counter) take() {
	c.batch = c.batch[:0]
	kept := uint64(0)
	lost := c.Samples.Take(func(s answer.Sample) {
		c.batch = append(c.batch, s)
		kept += s.Queries
	})
	c.Samples.Every(every(kept + lost))
	c.lost.Add(float64(lost))
	c.samples.Add(float64(len(c.batch)))
	atlas := c.cfg.Atlas()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.cfg.Now(); now.Sub(c.aged) >= ageEvery {
		c.sketch.Age(now)
		c.aged = now
	}
	if kept == 0 || atlas == nil {
		return
	}
	each := float64(kept+lost) / float64(kept)
	for i := range c.batch {
		s := &c.batch[i]
		if s.Service == "" {
			continue
		}
		place, _ := atlas.Lookup(s.Client.Addr())
		c.sketch.Add(s.Tenant, s.Service, demand.CountryOf(place.Country), each*float64(s.Queries))
	}
}

// every gives how many queries a sample is to stand for where so many came since the last time.
func every(queries uint64) uint32 { return uint32(min(max(queries/wanted, 1), 1<<20)) }

// ServeHTTP tells what was counted.
func (c *Counter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	data := c.counts()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(api.EdgeDemand{Edge: c.cfg.ID, Started: c.cfg.Start, Counts: data}) // the client is gone: nothing to do
}

// counts gives the sketch encoded. However many ask, that takes a fiftieth of the time at most: a full one takes a tenth of a second.
func (c *Counter) counts() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.cfg.Now(); c.told == nil || now.Sub(c.toldAt) >= max(takeEvery, 50*c.took) {
		c.sketch.Age(now)
		c.told, c.toldAt = c.sketch.Encode(), now
		c.took = c.cfg.Now().Sub(now)
	}
	return c.told
}
