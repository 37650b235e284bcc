package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/control/rollout"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

type rolloutInput struct {
	Tenant string `path:"tenant"`
	Action string `path:"action" enum:"pause,resume,abort,promote"`
	Body   api.RolloutRequest
}

type acceptGenerationInput struct {
	Tenant     string `path:"tenant"`
	Generation uint64 `path:"generation" minimum:"1"`
}

func (s *Server) routeRollouts(h huma.API) {
	huma.Register(h, operation("rollouts", need{access.Read, ofAllSeen}, http.MethodGet, "/rollouts",
		"How far changes have come to the groups of edges"), s.rollouts)
	huma.Register(h, operation("rollout", need{access.Edit, inPath}, http.MethodPost, "/rollouts/{tenant}/{action}",
		"Pause, resume, abort or promote a rollout"), s.actOnRollout)
	huma.Register(h, operation("accept-generation", need{access.Edit, inPath}, http.MethodPost, "/rollouts/{tenant}/accept/{generation}",
		"Have edges take a generation that they refuse"), s.acceptGeneration)
}

func (s *Server) rollouts(ctx context.Context, _ *struct{}) (*reply[api.Rollouts], error) {
	out := api.Rollouts{Rollouts: []api.Rollout{}}
	aims, v := state.Aims.All(s.cfg.Mirror), s.viewOf(ctx)
	for _, tenant := range slices.Sorted(maps.Keys(aims)) {
		if a := aims[tenant]; a.Rollout != nil && v.grants.Sees(tenant) {
			out.Rollouts = append(out.Rollouts, s.wireRollout(v, &a))
		}
	}
	return &reply[api.Rollouts]{out}, nil
}

func (s *Server) wireRollout(v *view, a *state.Aim) api.Rollout {
	p := a.Rollout
	out := api.Rollout{Tenant: a.Tenant, State: p.State, From: uint64(p.From.Generation), To: uint64(p.To.Generation), Since: p.Since,
		Newest: uint64(s.cfg.Mirror.Tenant(a.Tenant).Head), Soaks: p.Soaks, Why: v.text(p.Why), By: p.By,
		Note: rollout.Note(s.cfg.Mirror, a)}
	for _, w := range p.Waits {
		out.Waits = append(out.Waits, v.text(w))
	}
	for _, u := range p.Untold {
		out.Waits = append(out.Waits, u+"; the group soaks for up to twice its time")
	}
	for i, g := range a.Groups {
		running := p.State == state.RolloutSoaking || p.State == state.RolloutPaused
		out.Groups = append(out.Groups, api.RolloutGroup{Name: g.Name, Edges: g.Edges, At: uint64(g.At.Generation),
			Now: running && i == p.Stage})
	}
	return out
}

func (s *Server) actOnRollout(ctx context.Context, in *rolloutInput) (*reply[api.Rollout], error) {
	by := authorOf(ctx)
	ended, err := s.cfg.Audit.Ask(chain.ActRollout, by, in.Tenant, in.Action, in.Body.Reason)
	if err != nil {
		return nil, problemOf(err)
	}
	a, err := s.cfg.Store.EditAim(ctx, in.Tenant, false, func(a *state.Aim) error {
		return rollout.Act(a, &rollout.Order{Action: in.Action, By: by, Reason: in.Body.Reason, Newest: s.newest(ctx, in)},
			s.cfg.Now().UTC())
	})
	ended(err)
	var refused *rollout.ActError
	switch {
	case errors.As(err, &refused):
		return nil, problemf(http.StatusConflict, "%s", err)
	case errors.Is(err, store.ErrAimMoved):
		return nil, problemf(http.StatusConflict, "%s", err)
	case err != nil:
		return nil, problemOf(err)
	}
	s.cfg.Logger.Warn("a rollout was changed by hand", "tenant", in.Tenant, "action", in.Action, "author", by, "reason", in.Body.Reason)
	return &reply[api.Rollout]{s.wireRollout(s.viewOf(ctx), &a)}, nil
}

// newest gives the newest state of a tenant for an order. What an abort holds is read from the store: the mirror may not have yet what was
// made just now. Where that cannot be read the mirror has to do, since an abort is urgent.
func (s *Server) newest(ctx context.Context, in *rolloutInput) state.TenantState {
	if in.Action == "abort" {
		t, err := s.cfg.Store.Read(ctx, in.Tenant, 0)
		if err == nil {
			return t
		}
		s.cfg.Logger.Warn("an abort holds what is known here: the newest generation cannot be read", "tenant", in.Tenant, "error", err)
	}
	return s.cfg.Mirror.Tenant(in.Tenant)
}

// acceptGeneration lets edges take a generation that they refuse.
func (s *Server) acceptGeneration(ctx context.Context, in *acceptGenerationInput) (*reply[api.Accepted], error) {
	by, t := authorOf(ctx), s.cfg.Mirror.Tenant(in.Tenant)
	if t.Head == 0 {
		return nil, noTenant(in.Tenant, s.tenants(ctx))
	}
	at := state.Mark{Generation: state.Generation(in.Generation)}
	if at.Generation > t.Head {
		return nil, problemf(http.StatusNotFound, "%s@%d is not made yet: the newest generation is %s@%d", in.Tenant, at.Generation,
			in.Tenant, t.Head)
	}
	if at.Generation == t.Head {
		at.ID = t.ID
	}
	ended, err := s.cfg.Audit.Ask(chain.ActRollout, by, in.Tenant, fmt.Sprintf("accept %s@%d", in.Tenant, at.Generation), "")
	if err != nil {
		return nil, problemOf(err)
	}
	_, err = s.cfg.Store.EditAim(ctx, in.Tenant, false, func(a *state.Aim) error { a.Accept = at; return nil })
	if ended(err); err != nil {
		return nil, problemOf(err)
	}
	s.cfg.Logger.Warn("edges were told to take a generation, whatever they think of it", "tenant", in.Tenant, "generation", at.Generation,
		"author", by)
	return &reply[api.Accepted]{api.Accepted{Author: by}}, nil
}

// AllEdges gives the edges that are known, as they are now; see rollout.Eyes.
func (s *Server) AllEdges(ctx context.Context) ([]api.Edge, error) {
	edges, err := s.registered(ctx)
	if err != nil {
		return nil, err
	}
	return s.askAll(ctx, edges), nil
}

// Counts asks an edge what it counted of a tenant's answers, and, if speed, how long one takes.
func (s *Server) Counts(ctx context.Context, edge, tenant string, speed bool) (state.Counts, error) {
	e, err := s.knownEdge(edge)
	if err != nil {
		return state.Counts{}, err
	}
	var out api.EdgeCounts
	query := url.Values{"tenant": {tenant}}
	if speed {
		query.Set("speed", "")
	}
	if err := s.fetch(ctx, e, "/edge/counts", query, &out, &out.Edge); err != nil {
		return state.Counts{}, err
	}
	return state.Counts{Started: out.Started, Answers: out.Answers, ServFail: out.ServFail, NXDomain: out.NXDomain, Pools: out.Pools,
		Nanos: out.Nanos}, nil
}

// Answers asks an edge whether it has an answer for a steered host.
func (s *Server) Answers(ctx context.Context, edge, host string) error {
	e, err := s.knownEdge(edge)
	if err != nil {
		return err
	}
	var out api.Explanation
	if err := s.fetch(ctx, e, "/edge/explain", url.Values{"host": {host}}, &out, &out.Edge); err != nil {
		return err
	}
	if len(out.Answer.Records) == 0 {
		return fmt.Errorf("%s@... answers %s with no record", out.Generation, out.Answer.Type)
	}
	return nil
}

// knownEdge gives an edge as it was listed last.
func (s *Server) knownEdge(id string) (store.Edge, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.lastEdges, func(e store.Edge) bool { return e.ID == id }); i >= 0 {
		return s.lastEdges[i], nil
	}
	return store.Edge{}, fmt.Errorf("edge %s is not known", id)
}

// Up tells how many of a tenant's endpoints with a verdict are up.
func (s *Server) Up(tenant string) (up, all int) {
	for id, v := range s.cfg.Mirror.Verdicts() {
		if of, region := id.Declared(); of.Tenant != tenant || region != "" {
			continue
		}
		for _, f := range v.Endpoints {
			if all++; f.State == health.Up {
				up++
			}
		}
	}
	return up, all
}

var _ rollout.Eyes = (*Server)(nil)
