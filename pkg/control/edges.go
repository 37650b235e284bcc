package control

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/gather"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// registered lists the edges that are known. Where the store cannot be asked, it gives those that it told last, beside the error: the edges
// answer all the same.
func (s *Server) registered(ctx context.Context) ([]store.Edge, error) {
	ctx, cancel := context.WithTimeout(ctx, edgeTime)
	defer cancel()
	edges, err := s.cfg.Store.Edges(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if f := s.cfg.Following; f != nil && f().State == state.Refused {
			edges = withMissing(edges, s.lastEdges)
		}
		s.lastEdges = edges
		s.listed(edges)
	}
	return s.lastEdges, err
}

// withMissing adds to the edges of a store that went back those that were known before: they are missed all the same.
func withMissing(listed, before []store.Edge) []store.Edge {
	all := slices.Clone(listed)
	for _, e := range before {
		if !slices.ContainsFunc(listed, func(l store.Edge) bool { return l.ID == e.ID }) {
			e.Alive = false
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b store.Edge) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// askAll asks edges for their status, at the same time.
func (s *Server) askAll(ctx context.Context, registered []store.Edge) []api.Edge {
	all := make([]api.Edge, len(registered))
	slots := make(chan struct{}, edgesAtOnce)
	var wg sync.WaitGroup
	for i, e := range registered {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i] = s.ask(ctx, e)
		})
	}
	wg.Wait()
	s.tally(all)
	if s.cfg.Events.Edges != nil {
		s.cfg.Events.Edges(all)
	}
	return all
}

func (s *Server) ask(ctx context.Context, e store.Edge) api.Edge {
	out := api.Edge{ID: e.ID, HTTP: e.HTTP, DNS: e.DNS, Version: e.Version, Started: e.Started, State: api.EdgeSilent}
	if e.Alive {
		out.State = api.EdgeAlive
	}
	err := s.spared(e)
	if err == nil {
		out.Status, err = s.statusOf(ctx, e)
		s.asked(e, err)
	}
	if err != nil {
		out.Error = err.Error()
	}
	s.recall(e, &out)
	return out
}

// statusOf asks one edge for what it answers from.
func (s *Server) statusOf(ctx context.Context, e store.Edge) (*api.EdgeStatus, error) {
	var status api.EdgeStatus
	if err := s.fetch(ctx, e, "/edge/status", nil, &status, &status.ID); err != nil {
		return nil, err
	}
	return &status, nil
}

// edgesListed gives the edges as they were listed last.
func (s *Server) edgesListed() []store.Edge {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lastEdges)
}

// demandOf asks one edge which queries it saw.
func (s *Server) demandOf(ctx context.Context, e store.Edge) (out api.EdgeDemand, err error) {
	if err := s.spared(e); err != nil {
		return out, err
	}
	err = s.fetchBy(ctx, &forDemand, e, "/edge/demand", nil, &out, &out.Edge)
	return out, err
}

type demandInput struct {
	Tenant  string `query:"tenant" doc:"only of this tenant"`
	Service string `query:"service" doc:"only of this service, as in shop/web: all its countries"`
	Limit   int    `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"services at most: those with most queries"`
}

// demand tells who asks for what.
func (s *Server) demand(ctx context.Context, in *demandInput) (*reply[api.Demand], error) {
	q := gather.Query{Tenant: in.Tenant, Sees: grantsOf(ctx).Sees, Limit: in.Limit}
	if in.Service != "" {
		of, name, ok := strings.Cut(in.Service, "/")
		if !ok || of == "" || name == "" || in.Tenant != "" && in.Tenant != of {
			return nil, problemf(http.StatusBadRequest, "service %q is not one as in shop/web, of the tenant that is asked for", in.Service)
		}
		if _, err := s.find(ctx, &spec.Key{Tenant: of, Kind: spec.KindService, Name: name}); err != nil {
			return nil, err
		}
		q.Tenant, q.Service = of, name
	}
	return &reply[api.Demand]{s.gather.List(q)}, nil
}
