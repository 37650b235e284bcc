package control

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/store"
)

// How edges are watched, so that it is known since when one is silent or behind.
const (
	listEvery  = 5 * time.Second  // edges are listed
	askEvery   = 3                // and with every third list asked
	spareFor   = 5 * time.Second  // one that is silent and gave no answer is not asked again
	recallTwin = 12 * time.Minute // two processes with one ID overwrite each other every five minutes
	twinAfter  = 30 * time.Second // of being seen: what a restored store holds of a former process goes with its lease
)

// sighting is what is remembered of one edge.
type sighting struct {
	alive  time.Time         // when it was last seen to hold its lease
	last   map[string]uint64 // what it answered from when it was last asked
	late   time.Time         // since when it is not known to answer from all heads; zero: it does
	failed time.Time         // when it last gave no answer
	err    error             // which was this
	twin   string
	twinAt time.Time
	double doubt
}

// doubt is for how long an edge was seen to be two.
type doubt struct {
	last time.Time // zero: it is one
	seen time.Duration
}

// sighting notes one more sighting, and reports whether there are two beyond doubt. Time in which nobody looked proves nothing: leases are
// prolonged while a store has no leader.
func (d *doubt) sighting(two bool, now time.Time) bool {
	if !two {
		*d = doubt{}
		return false
	}
	if !d.last.IsZero() {
		d.seen += min(now.Sub(d.last), 2*listEvery)
	}
	d.last = now
	return d.seen >= twinAfter
}

// Run watches the edges until ctx ends, and streams of events with it. It is called once.
func (s *Server) Run(ctx context.Context) {
	tick := time.NewTicker(listEvery)
	defer tick.Stop()
	defer close(s.stopped)
	var gathers sync.WaitGroup
	defer gathers.Wait()
	gathers.Go(func() { s.gather.Run(ctx) })
	for round := 0; ; round++ {
		if edges, _ := s.registered(ctx); round%askEvery == 0 { // without the store, those that it told last
			s.askAll(ctx, edges)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// listed remembers who holds a lease, and forgets whom the store does not know. s.mu is held.
func (s *Server) listed(edges []store.Edge) {
	now, known := s.cfg.Now(), make(map[string]bool, len(edges))
	for _, e := range edges {
		known[e.ID] = true
		seen := s.sightings[e.ID]
		if seen == nil {
			seen = &sighting{}
			s.sightings[e.ID] = seen
		}
		if e.Alive {
			seen.alive = now
		}
		if seen.double.sighting(e.Twin != "", now) {
			seen.twin, seen.twinAt = e.Twin, now
		}
	}
	maps.DeleteFunc(s.sightings, func(id string, _ *sighting) bool { return !known[id] })
}

// spared gives the error of an edge that is silent and failed to answer just now: whoever waits asks again and again.
func (s *Server) spared(e store.Edge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen := s.sightings[e.ID]; !e.Alive && seen != nil && seen.err != nil && s.cfg.Now().Sub(seen.failed) < spareFor {
		return seen.err
	}
	return nil
}

// asked remembers how asking an edge went.
func (s *Server) asked(e store.Edge, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen := s.sightings[e.ID]; seen != nil {
		seen.failed, seen.err = s.cfg.Now(), err
	}
}

// recall remembers what an edge said, and adds what is remembered of it.
func (s *Server) recall(e store.Edge, out *api.Edge) {
	goals, now := s.goals(), s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.sightings[e.ID]
	if seen == nil { // forgotten meanwhile
		return
	}
	if out.Status != nil {
		seen.last = out.Status.Tenants
	}
	switch {
	case len(out.Behind(goals).Tenants) == 0:
		seen.late = time.Time{}
	case seen.late.IsZero():
		seen.late = now
	}
	since := seen.late
	if out.Status == nil && out.State == api.EdgeSilent {
		if since = seen.alive; since.IsZero() {
			since = e.Seen // it lost its lease before this control looked
		}
	}
	if !since.IsZero() {
		since = since.UTC()
		out.Since = &since
	}
	if out.Last = seen.last; out.Last == nil && len(e.Tenants) > 0 {
		out.Last = make(map[string]uint64, len(e.Tenants))
		for tenant, generation := range e.Tenants {
			out.Last[tenant] = uint64(generation)
		}
	}
	if seen.twin != "" && now.Sub(seen.twinAt) < recallTwin {
		out.Twin = seen.twin
	}
}

// tally counts edges for the metrics: each once.
func (s *Server) tally(edges []api.Edge) {
	counts, goals := map[string]int{api.EdgeAlive: 0, api.EdgeSilent: 0, "behind": 0}, s.goals()
	for i := range edges {
		state := edges[i].State
		if state == api.EdgeAlive && len(edges[i].Behind(goals).Tenants) > 0 {
			state = "behind"
		}
		counts[state]++
	}
	for state, n := range counts {
		s.metrics.edges.WithLabelValues(state).Set(float64(n))
	}
}

// health tells how old is what is known of health; nil: it is not known.
func (s *Server) health() *api.Health {
	if s.cfg.Evidence == nil || s.cfg.Following == nil {
		return nil
	}
	h := api.Health(s.cfg.Evidence.Health(s.cfg.Now(), s.cfg.Following(), s.cfg.Store.LastContact()))
	if h.Pulse.IsZero() && !h.StandsStill {
		return nil
	}
	return &h
}

type edgeInput struct {
	ID string `path:"id" maxLength:"255"`
}

func (s *Server) routeEdges(h huma.API) {
	huma.Register(h, operation("edges", need{access.Read, ofAllSeen}, http.MethodGet, "/edges", "What every edge answers from"), s.edgesNow)
	forget := operation("forget-edge", need{access.Operate, ofPlatform}, http.MethodDelete, "/edges/{id}",
		"Do not miss an edge that is no more")
	huma.Register(h, forget, s.forgetEdge)
	huma.Register(h, operation("demand", need{access.Read, inQuery}, http.MethodGet, "/demand",
		"Who asks for what, by country, as edges sampled it"), s.demand)
}

func (s *Server) forgetEdge(ctx context.Context, in *edgeInput) (*reply[api.ForgottenEdge], error) {
	ended, err := s.cfg.Audit.Ask(chain.ActForget, authorOf(ctx), "", "edge/"+in.ID, "")
	if err != nil {
		return nil, problemOf(err)
	}
	err = s.cfg.Store.ForgetEdge(ctx, in.ID)
	ended(err)
	switch {
	case errors.Is(err, store.ErrEdgeAlive):
		return nil, problemf(http.StatusConflict, "%s", err)
	case errors.Is(err, store.ErrNotFound):
		known, _ := s.registered(ctx) // without them the answer is only shorter
		ids := make([]string, len(known))
		for i, e := range known {
			ids[i] = e.ID
		}
		return nil, problemf(http.StatusNotFound, "there is no edge %s%s", in.ID, didYouMean(in.ID, ids))
	case err != nil:
		return nil, problemOf(err)
	}
	s.mu.Lock()
	delete(s.sightings, in.ID)
	s.lastEdges = slices.DeleteFunc(slices.Clone(s.lastEdges), func(e store.Edge) bool { return e.ID == in.ID })
	s.mu.Unlock()
	s.cfg.Logger.Warn("an edge was forgotten", "edge", in.ID, "author", authorOf(ctx))
	return &reply[api.ForgottenEdge]{api.ForgottenEdge{ID: in.ID}}, nil
}
