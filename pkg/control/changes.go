package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

type applyInput struct {
	Author string `header:"X-Gtm-Author" doc:"who asks for the change, as in alice@build-7"`
	Body   api.ApplyRequest
}

type deleteInput struct {
	Tenant  string    `path:"tenant"`
	Kind    spec.Kind `path:"kind" maxLength:"63"`
	Name    string    `path:"name" maxLength:"1024"`
	Author  string    `header:"X-Gtm-Author"`
	DryRun  bool      `query:"dryRun"`
	Message string    `query:"message" maxLength:"4096"`
}

// poolInput is a request about a pool. (huma cannot fill embedded structs of unexported types.)
type poolInput[T any] struct {
	Author string `header:"X-Gtm-Author"`
	Tenant string `path:"tenant"`
	Pool   string `path:"pool"`
	Body   T
}

type rollbackInput struct {
	Author string `header:"X-Gtm-Author"`
	Tenant string `path:"tenant"`
	Body   api.RollbackRequest
}

type historyInput struct {
	Tenant string `path:"tenant"`
	Limit  int    `query:"limit" default:"20" minimum:"1" maximum:"1000" doc:"how many, newest first"`
}

type acceptInput struct {
	Author string `header:"X-Gtm-Author"`
}

func (s *Server) routeChanges(h huma.API) {
	huma.Register(h, operation("apply", http.MethodPost, "/apply", "Create, update and delete resources: all or nothing", s.cfg.MaxBody), s.apply)
	huma.Register(h, operation("delete-resource", http.MethodDelete, "/resources/{tenant}/{kind}/{name}", "Delete a resource", maxSmallBody), s.remove)
	huma.Register(h, operation("weights", http.MethodPost, "/pools/{tenant}/{pool}/weights", "Set weights of endpoints", maxSmallBody), s.weights)
	huma.Register(h, operation("drain", http.MethodPost, "/pools/{tenant}/{pool}/drain", "Take an endpoint or a pool out of new answers", maxSmallBody), s.drain)
	huma.Register(h, operation("undrain", http.MethodPost, "/pools/{tenant}/{pool}/undrain", "End a drain", maxSmallBody), s.undrain)
	huma.Register(h, operation("rollback", http.MethodPost, "/rollback/{tenant}", "Make a new generation like an older one", maxSmallBody), s.rollback)
	huma.Register(h, operation("history", http.MethodGet, "/history/{tenant}", "Who changed what, and when", maxSmallBody), s.history)
	huma.Register(h, operation("store-accept", http.MethodPost, "/store/accept", "Let the edges take a store that went back", maxSmallBody), s.accept)
	huma.Register(h, operation("store-rebuild", http.MethodPost, "/store/rebuild", "Fill an empty or older store, and let the edges take it",
		s.cfg.MaxBody), s.rebuild)
}

// apply decodes every resource strictly, and tells all faults of all of them.
func (s *Server) apply(ctx context.Context, in *applyInput) (*reply[api.ApplyReply], error) {
	c := change.Input{Author: author(in.Author), Message: in.Body.Message, Delete: in.Body.Delete, Expect: expected(in.Body.Expect),
		DropUnknown: in.Body.DropUnknown}
	var err error
	if c.Put, err = decoded(in.Body.Resources); err != nil {
		return nil, problemOf(err)
	}
	if len(c.Put)+len(c.Delete) == 0 {
		return nil, problemf(http.StatusUnprocessableEntity, "there is nothing to apply: resources and delete are both empty")
	}
	return s.carryOut(ctx, c, in.Body.DryRun, tenantsOf(&in.Body)...)
}

// decoded reads the resources of a request. The error is a spec.Errors.
func decoded(resources []api.Resource) ([]*spec.Resource, error) {
	var out []*spec.Resource
	var faults spec.Errors
	for _, r := range resources {
		one, err := r.ToSpec(spec.Strict)
		if err != nil {
			faults = append(faults, asFaults(err)...)
			continue
		}
		out = append(out, one)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return out, nil
}

func asFaults(err error) spec.Errors {
	var faults spec.Errors
	if errors.As(err, &faults) {
		return faults
	}
	return spec.Errors{{Msg: err.Error()}}
}

func (s *Server) remove(ctx context.Context, in *deleteInput) (*reply[api.ApplyReply], error) {
	kind, err := s.kindOf(string(in.Kind))
	if err != nil {
		return nil, err
	}
	key := spec.Key{Tenant: in.Tenant, Kind: kind, Name: in.Name}
	return s.carryOut(ctx, change.Input{Author: author(in.Author), Message: in.Message, Delete: []spec.Key{key}}, in.DryRun, in.Tenant)
}

func (s *Server) weights(ctx context.Context, in *poolInput[api.WeightsRequest]) (*reply[api.ApplyReply], error) {
	return s.carryOut(ctx, change.Input{Author: author(in.Author), Message: in.Body.Message, Expect: expected(in.Body.Expect),
		Edit: change.Weights(in.Tenant, in.Pool, in.Body.Weights)}, in.Body.DryRun, in.Tenant)
}

func (s *Server) drain(ctx context.Context, in *poolInput[api.DrainRequest]) (*reply[api.ApplyReply], error) {
	if strings.TrimSpace(in.Body.Reason) == "" {
		return nil, problemf(http.StatusUnprocessableEntity, "a drain needs a reason, so that others know (--reason)")
	}
	var until time.Time
	if in.Body.For != "" {
		duration, err := time.ParseDuration(in.Body.For)
		if err != nil || duration <= 0 {
			return nil, problemf(http.StatusUnprocessableEntity, "for: %q is not a time as in 1h30m", in.Body.For)
		}
		until = s.cfg.Now().Add(duration)
	}
	target, who := change.Target{Tenant: in.Tenant, Pool: in.Pool, Endpoint: in.Body.Endpoint}, author(in.Author)
	return s.carryOut(ctx, change.Input{Author: who, Message: fmt.Sprintf("drain %s: %s", target, in.Body.Reason),
		Edit: change.Drain(target, in.Body.Reason, who, until)}, in.Body.DryRun, in.Tenant)
}

func (s *Server) undrain(ctx context.Context, in *poolInput[api.DrainRequest]) (*reply[api.ApplyReply], error) {
	target := change.Target{Tenant: in.Tenant, Pool: in.Pool, Endpoint: in.Body.Endpoint}
	return s.carryOut(ctx, change.Input{Author: author(in.Author), Message: fmt.Sprintf("undrain %s", target),
		Edit: change.Undrain(target)}, in.Body.DryRun, in.Tenant)
}

func (s *Server) rollback(ctx context.Context, in *rollbackInput) (*reply[api.ApplyReply], error) {
	if s.cfg.Mirror.Tenant(in.Tenant).Head == 0 {
		return nil, noTenant(in.Tenant, s.cfg.Mirror.Tenants())
	}
	if err := s.mayChange(); err != nil {
		return nil, err
	}
	c, err := s.changer.Rollback(ctx, in.Tenant, store.Generation(in.Body.Generation))
	if err != nil {
		return nil, problemOf(err)
	}
	c.Author, c.Expect = author(in.Author), expected(in.Body.Expect)
	if in.Body.Message != "" {
		c.Message = in.Body.Message
	}
	return s.carryOut(ctx, c, in.Body.DryRun, in.Tenant)
}

func (s *Server) history(ctx context.Context, in *historyInput) (*reply[api.History], error) {
	if s.cfg.Mirror.Tenant(in.Tenant).Head == 0 {
		return nil, noTenant(in.Tenant, s.cfg.Mirror.Tenants())
	}
	records, err := s.cfg.Store.History(ctx, in.Tenant, in.Limit)
	if err != nil {
		return nil, problemOf(err)
	}
	out := api.History{Records: make([]api.Record, 0, len(records))}
	for _, r := range records {
		out.Records = append(out.Records, wireRecord(r))
	}
	return &reply[api.History]{out}, nil
}

func (s *Server) accept(ctx context.Context, in *acceptInput) (*reply[api.Accepted], error) {
	who := author(in.Author)
	switch heads, err := s.cfg.Store.Heads(ctx); {
	case err != nil:
		return nil, problemOf(err)
	case len(heads) == 0: // edges would take it, and answer nothing more
		return nil, problemf(http.StatusConflict, "the store is empty, and edges that take that answer nothing more: "+
			"gtmctl store rebuild -f DIR fills it first, and then has it accepted")
	}
	if err := s.cfg.Store.Accept(ctx, who); err != nil {
		return nil, problemOf(err)
	}
	s.cfg.Logger.Warn("the store's present state was accepted although it may have gone back", "author", who)
	s.untilFollowed(ctx)
	return &reply[api.Accepted]{api.Accepted{Author: who}}, nil
}

// untilFollowed waits a while until control itself follows what was accepted, so that the next change is not refused.
func (s *Server) untilFollowed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, mirrorTime)
	defer cancel()
	for s.mayChange() != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}
