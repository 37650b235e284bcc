package control

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

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
	Kind    spec.Kind `path:"kind" enum:"Zone,Site,Map,Monitor,Pool,Service,Override"`
	Name    string    `path:"name" maxLength:"255"`
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
	huma.Register(h, operation("apply", http.MethodPost, "/apply", "Create, update and delete resources: all or nothing", maxBody), s.apply)
	huma.Register(h, operation("delete-resource", http.MethodDelete, "/resources/{tenant}/{kind}/{name}", "Delete a resource", maxSmallBody), s.remove)
	huma.Register(h, operation("weights", http.MethodPost, "/pools/{tenant}/{pool}/weights", "Set weights of endpoints", maxSmallBody), s.weights)
	huma.Register(h, operation("drain", http.MethodPost, "/pools/{tenant}/{pool}/drain", "Take an endpoint or a pool out of new answers", maxSmallBody), s.drain)
	huma.Register(h, operation("undrain", http.MethodPost, "/pools/{tenant}/{pool}/undrain", "End a drain", maxSmallBody), s.undrain)
	huma.Register(h, operation("rollback", http.MethodPost, "/rollback/{tenant}", "Make a new generation like an older one", maxSmallBody), s.rollback)
	huma.Register(h, operation("history", http.MethodGet, "/history/{tenant}", "Who changed what, and when", maxSmallBody), s.history)
	huma.Register(h, operation("store-accept", http.MethodPost, "/store/accept", "Let the edges take a store that went back", maxSmallBody), s.accept)
}

// apply decodes every resource strictly, and tells all faults of all of them.
func (s *Server) apply(ctx context.Context, in *applyInput) (*reply[api.ApplyReply], error) {
	c := change{author: author(in.Author), message: in.Body.Message, dryRun: in.Body.DryRun, remove: in.Body.Delete, expect: in.Body.Expect}
	var faults spec.Errors
	for _, r := range in.Body.Resources {
		decoded, err := r.ToSpec(spec.Strict)
		if err != nil {
			faults = append(faults, asFaults(err)...)
			continue
		}
		c.put = append(c.put, decoded)
	}
	if len(faults) > 0 {
		return nil, problemOf(faults)
	}
	if len(c.put)+len(c.remove) == 0 {
		return nil, problemf(http.StatusUnprocessableEntity, "there is nothing to apply: resources and delete are both empty")
	}
	for _, key := range c.remove {
		if _, err := s.find(key); err != nil {
			return nil, err
		}
	}
	return s.carryOut(ctx, c)
}

func asFaults(err error) spec.Errors {
	if faults, ok := err.(spec.Errors); ok {
		return faults
	}
	return spec.Errors{{Msg: err.Error()}}
}

func (s *Server) remove(ctx context.Context, in *deleteInput) (*reply[api.ApplyReply], error) {
	key := spec.Key{Tenant: in.Tenant, Kind: in.Kind, Name: in.Name}
	if _, err := s.find(key); err != nil {
		return nil, err
	}
	return s.carryOut(ctx, change{author: author(in.Author), message: in.Message, dryRun: in.DryRun, remove: []spec.Key{key}})
}

// carryOut does it, and answers when the mirror shows it, so that who asks next sees what he did.
func (s *Server) carryOut(ctx context.Context, c change) (*reply[api.ApplyReply], error) {
	out, err := s.changes.apply(ctx, c)
	return s.seen(ctx, out, err)
}

func (s *Server) seen(ctx context.Context, out *api.ApplyReply, err error) (*reply[api.ApplyReply], error) {
	if err != nil {
		return nil, problemOf(err)
	}
	ctx, cancel := context.WithTimeout(ctx, mirrorTime)
	defer cancel()
	for _, r := range out.Records {
		s.cfg.Logger.Info("configuration changed", "state", r.State(), "author", r.Author, "message", r.Message,
			"written", len(r.Put), "deleted", len(r.Deleted))
		if err := s.cfg.Mirror.WaitGeneration(ctx, r.Tenant, store.Generation(r.Generation)); err != nil {
			s.cfg.Logger.Warn("a change is in the store, but not seen here yet", "state", r.State(), "error", err)
		}
	}
	return &reply[api.ApplyReply]{*out}, nil
}

// findPool checks that a pool and, unless it is "", its endpoint exist.
func (s *Server) findPool(tenant, pool, endpoint string) error {
	v, err := s.find(spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: pool})
	if err != nil || endpoint == "" {
		return err
	}
	var names []string
	for _, e := range v.Resource.Spec.(*spec.Pool).Endpoints {
		if e.Name == endpoint {
			return nil
		}
		names = append(names, e.Name)
	}
	return problemf(http.StatusNotFound, "pool %s/%s has no endpoint %s; it has %s", tenant, pool, endpoint, strings.Join(names, ", "))
}

func (s *Server) weights(ctx context.Context, in *poolInput[api.WeightsRequest]) (*reply[api.ApplyReply], error) {
	for name := range in.Body.Weights {
		if err := s.findPool(in.Tenant, in.Pool, name); err != nil {
			return nil, err
		}
	}
	out, err := s.changes.weights(ctx, in.Tenant, in.Pool, in.Body.Weights,
		change{author: author(in.Author), message: in.Body.Message, dryRun: in.Body.DryRun, expect: in.Body.Expect})
	return s.seen(ctx, out, err)
}

func (s *Server) drain(ctx context.Context, in *poolInput[api.DrainRequest]) (*reply[api.ApplyReply], error) {
	if err := s.findPool(in.Tenant, in.Pool, in.Body.Endpoint); err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Body.Reason) == "" {
		return nil, problemf(http.StatusUnprocessableEntity, "a drain needs a reason, so that others know (--reason)")
	}
	d := drain{tenant: in.Tenant, pool: in.Pool, endpoint: in.Body.Endpoint, reason: in.Body.Reason}
	if in.Body.For != "" {
		duration, err := time.ParseDuration(in.Body.For)
		if err != nil || duration <= 0 {
			return nil, problemf(http.StatusUnprocessableEntity, "for: %q is not a time as in 1h30m", in.Body.For)
		}
		d.until = s.cfg.Now().Add(duration)
	}
	out, err := s.changes.drain(ctx, d, change{author: author(in.Author), message: in.Body.Reason, dryRun: in.Body.DryRun})
	return s.seen(ctx, out, err)
}

func (s *Server) undrain(ctx context.Context, in *poolInput[api.DrainRequest]) (*reply[api.ApplyReply], error) {
	if err := s.findPool(in.Tenant, in.Pool, in.Body.Endpoint); err != nil {
		return nil, err
	}
	d := drain{tenant: in.Tenant, pool: in.Pool, endpoint: in.Body.Endpoint}
	out, err := s.changes.undrain(ctx, d, change{author: author(in.Author), message: in.Body.Reason, dryRun: in.Body.DryRun})
	return s.seen(ctx, out, err)
}

func (s *Server) rollback(ctx context.Context, in *rollbackInput) (*reply[api.ApplyReply], error) {
	if tenants := s.heads(); tenants[in.Tenant] == 0 {
		return nil, noTenant(in.Tenant, s.cfg.Mirror.Tenants())
	}
	message := in.Body.Message
	if message == "" {
		message = fmt.Sprintf("back to %s@%d", in.Tenant, in.Body.Generation)
	}
	out, err := s.changes.rollback(ctx, in.Tenant, store.Generation(in.Body.Generation),
		change{author: author(in.Author), message: message, dryRun: in.Body.DryRun, expect: in.Body.Expect})
	return s.seen(ctx, out, err)
}

func (s *Server) history(ctx context.Context, in *historyInput) (*reply[api.History], error) {
	if tenants := s.heads(); tenants[in.Tenant] == 0 {
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
	if err := s.cfg.Store.Accept(ctx, who); err != nil {
		return nil, problemOf(err)
	}
	s.cfg.Logger.Warn("the store's present state was accepted although it may have gone back", "author", who)
	return &reply[api.Accepted]{api.Accepted{Author: who}}, nil
}

// author makes what the client says of itself fit for history and logs.
func author(given string) string {
	const most = 128
	clean := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, given))
	if runes := []rune(clean); len(runes) > most {
		clean = string(runes[:most])
	}
	if clean == "" {
		return "unknown"
	}
	return clean
}
