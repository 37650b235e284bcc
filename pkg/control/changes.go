package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// applyInput lacks the body: see readDeclared.
type applyInput struct {
}

type deleteInput struct {
	Tenant  string    `path:"tenant"`
	Kind    spec.Kind `path:"kind" maxLength:"63"`
	Name    string    `path:"name" maxLength:"1024"`
	DryRun  bool      `query:"dryRun"`
	Message string    `query:"message" maxLength:"4096"`
	Match   string    `header:"If-Match" doc:"the ETag that the resource must still have"`
}

type rollbackInput struct {
	Tenant string `path:"tenant"`
	Body   api.RollbackRequest
}

type historyInput struct {
	Tenant string `path:"tenant"`
	Limit  int    `query:"limit" default:"20" minimum:"1" maximum:"1000" doc:"how many, newest first"`
}

type acceptInput struct {
}

func (s *Server) routeChanges(h huma.API) {
	huma.Register(h, operation("apply", need{access.Read, inBody}, http.MethodPost, "/apply",
		"Create, update and delete resources: all or nothing"), s.apply)
	describeBody[api.ApplyRequest](h, "/apply")
	huma.Register(h, operation("delete-resource", need{access.Operate, inPath}, http.MethodDelete, "/resources/{tenant}/{kind}/{name}",
		"Delete a resource"), s.remove)
	huma.Register(h, operation("hold", need{access.Operate, inPath}, http.MethodPost, "/services/{tenant}/{service}/hold",
		"Freeze a service as it answers now, or release it"), s.hold)
	huma.Register(h, operation("rollback", need{access.Edit, inPath}, http.MethodPost, "/rollback/{tenant}",
		"Make a new generation like an older one"), s.rollback)
	huma.Register(h, operation("history", need{access.Read, inPath}, http.MethodGet, "/history/{tenant}", "Who changed what, and when"),
		s.history)
	huma.Register(h, operation("get-change", need{access.Read, inPath}, http.MethodGet, "/history/{tenant}/{generation}",
		"One change, by field"), s.oneChange)
	huma.Register(h, operation("store-accept", need{access.Administer, ofPlatform}, http.MethodPost, "/store/accept",
		"Let the edges take a store that went back"), s.accept)
	huma.Register(h, operation("store-rebuild", need{access.Administer, ofPlatform}, http.MethodPost, "/store/rebuild",
		"Fill an empty or older store, and let the edges take it"),
		s.rebuild)
	describeBody[api.RebuildRequest](h, "/store/rebuild")
}

// apply decodes every resource strictly, and tells all faults of all of them.
func (s *Server) apply(ctx context.Context, in *applyInput) (*reply[api.ApplyReply], error) {
	var rest api.ApplyRequest
	d, err := readDeclared(bodyOf(ctx), func(name string) any {
		switch name {
		case "delete":
			return &rest.Delete
		case "dropUnknown":
			return &rest.DropUnknown
		case "dryRun":
			return &rest.DryRun
		case "message":
			return &rest.Message
		case "expect":
			return &rest.Expect
		}
		return nil
	})
	if err != nil {
		return nil, problemOf(err)
	}
	if len(d.put)+len(d.deleted) == 0 {
		return nil, problemf(http.StatusUnprocessableEntity, "there is nothing to apply: resources and delete are both empty")
	}
	return s.carryOut(ctx, change.Input{Author: authorOf(ctx), Message: rest.Message, Put: d.put, Delete: d.deleted,
		Expect: expected(rest.Expect), DropUnknown: rest.DropUnknown}, rest.DryRun, d.wanted()...)
}

func (s *Server) remove(ctx context.Context, in *deleteInput) (*reply[api.ApplyReply], error) {
	kind, err := s.kindOf(ctx, string(in.Kind))
	if err != nil {
		return nil, err
	}
	key := spec.Key{Tenant: in.Tenant, Kind: kind, Name: in.Name}
	c := change.Input{Author: authorOf(ctx), Message: in.Message, Delete: []spec.Key{key}}
	if in.Match != "" && in.Match != "*" { // which every resource that is there matches
		var g state.Generation
		if _, err := fmt.Sscanf(in.Match, `"`+in.Tenant+`@%d"`, &g); err != nil || in.Match != etagOf(in.Tenant, uint64(g)) {
			return nil, problemf(http.StatusBadRequest, "If-Match: %s is no ETag of a resource of %s, as in %s", in.Match, in.Tenant,
				etagOf(in.Tenant, 41))
		}
		c.Match = map[spec.Key]state.Generation{key: g}
	}
	return s.carryOut(ctx, c, in.DryRun, in.Tenant)
}

type holdInput struct {
	Tenant  string `path:"tenant"`
	Service string `path:"service"`
	Body    api.HoldRequest
}

func (s *Server) hold(ctx context.Context, in *holdInput) (*reply[api.ApplyReply], error) {
	key := spec.Key{Tenant: in.Tenant, Kind: spec.KindService, Name: in.Service}
	if in.Body.Release {
		return s.carryOut(ctx, change.Input{Author: authorOf(ctx), Message: fmt.Sprintf("release %s/%s", in.Tenant, in.Service),
			Edit: change.Unhold(key)}, in.Body.DryRun, in.Tenant)
	}
	hand, err := s.hand(ctx, "a hold", in.Body.Reason, api.Times{For: in.Body.For})
	if err != nil {
		return nil, err
	}
	v, err := s.find(ctx, &key)
	if err != nil {
		return nil, err
	}
	declared := v.Resource.Spec.(*spec.Service)
	if declared.Alias != nil {
		return nil, problemf(http.StatusUnprocessableEntity, "%s/%s is an alias: hold the service that it leads to", in.Tenant, in.Service)
	}
	out, err := s.carryOut(ctx, change.Input{Author: hand.Author,
		Message: fmt.Sprintf("hold %s/%s: %s", in.Tenant, in.Service, in.Body.Reason),
		Edit:    change.Hold(key, s.healthOf(in.Tenant).scores(declared), hand)}, in.Body.DryRun, in.Tenant)
	if err != nil {
		return nil, err
	}
	out.Body.Ends = hand.Expires
	return out, nil
}

func (s *Server) rollback(ctx context.Context, in *rollbackInput) (*reply[api.ApplyReply], error) {
	head, at := s.cfg.Mirror.Tenant(in.Tenant).Head, state.Generation(in.Body.Generation)
	if head == 0 {
		return nil, noTenant(in.Tenant, s.tenants(ctx))
	}
	if err := s.mayChange(ctx); err != nil {
		return nil, err
	}
	c, err := s.changer.Rollback(ctx, in.Tenant, at, in.Body.Overrides)
	if errors.Is(err, store.ErrNotFound) && at > head {
		return nil, problemf(http.StatusNotFound, "there is no %s@%d; the last is %s@%d", in.Tenant, at, in.Tenant, head)
	}
	if err != nil {
		return nil, problemOf(err)
	}
	c.Author, c.Expect = authorOf(ctx), expected(in.Body.Expect)
	if in.Body.Message != "" {
		c.Message = in.Body.Message
	}
	return s.carryOut(ctx, c, in.Body.DryRun, in.Tenant)
}

func (s *Server) history(ctx context.Context, in *historyInput) (*reply[api.History], error) {
	if s.cfg.Mirror.Tenant(in.Tenant).Head == 0 {
		return nil, noTenant(in.Tenant, s.tenants(ctx))
	}
	records, more, err := s.records(ctx, in.Tenant, in.Limit)
	if err != nil {
		return nil, problemOf(err)
	}
	oldest, err := s.cfg.Store.Oldest(ctx, in.Tenant)
	if err != nil {
		return nil, problemOf(err)
	}
	out := api.History{Records: make([]api.Record, 0, len(records)), More: more, Oldest: uint64(oldest)}
	for _, r := range records {
		out.Records = append(out.Records, wireRecord(r))
	}
	return &reply[api.History]{out}, nil
}

func (s *Server) accept(ctx context.Context, in *acceptInput) (*reply[api.Accepted], error) {
	who := authorOf(ctx)
	switch heads, err := s.cfg.Store.Heads(ctx); {
	case err != nil:
		return nil, problemOf(err)
	case len(heads) == 0: // edges would take it, and answer nothing more
		return nil, problemf(http.StatusConflict, "the store is empty, and edges that take that answer nothing more: "+
			"gtmctl store rebuild -f DIR fills it first, and then has it accepted")
	}
	ended, err := s.cfg.Audit.Ask(chain.ActAccept, who, "", "", "")
	if err != nil {
		return nil, problemOf(err)
	}
	err = s.cfg.Store.Accept(ctx, who)
	if ended(err); err != nil {
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
	for s.mayChange(ctx) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type changeInput struct {
	Tenant     string `path:"tenant"`
	Generation uint64 `path:"generation" minimum:"1"`
}

// oneChange tells what one generation changed, by field: it compares the resources that it wrote with those of the one before.
func (s *Server) oneChange(ctx context.Context, in *changeInput) (*reply[api.Change], error) {
	head := s.cfg.Mirror.Tenant(in.Tenant).Head
	if head == 0 {
		return nil, noTenant(in.Tenant, s.tenants(ctx))
	}
	at := state.Generation(in.Generation)
	if at > head {
		return nil, problemf(http.StatusNotFound, "there is no %s@%d; the last is %s@%d", in.Tenant, at, in.Tenant, head)
	}
	record, err := s.recordOf(ctx, in.Tenant, at)
	if err != nil {
		return nil, problemOf(err)
	}
	if oldest, err := s.cfg.Store.Oldest(ctx, in.Tenant); err != nil || at < oldest {
		return nil, problemOf(cmp.Or(err, error(&store.RemovedError{Tenant: in.Tenant, At: at, Oldest: oldest, To: head})))
	}
	if record == nil {
		return nil, problemf(http.StatusNotFound, "%s@%d is older than the last %d changes, which history tells", in.Tenant, at,
			historyAtMost)
	}
	out := api.Change{Record: *record, Plan: []api.PlanItem{}}
	after, err := s.readAt(ctx, in.Tenant, at, &out)
	if err != nil {
		return nil, problemOf(err)
	}
	var before state.TenantState
	if at > 1 {
		if before, err = s.readAt(ctx, in.Tenant, at-1, &out); err != nil {
			return nil, problemOf(err)
		}
	}
	for _, key := range record.Put {
		now, _ := after.Resources.Get(key)
		item := api.PlanItem{Key: key, Action: api.Create}
		was, had := before.Resources.Get(key)
		if had && now.Resource != nil {
			item.Action, item.Fields = api.Update, spec.Diff(was.Resource, now.Resource)
		}
		out.Plan = append(out.Plan, item)
	}
	for _, key := range record.Deleted {
		out.Plan = append(out.Plan, api.PlanItem{Key: key, Action: api.Delete})
	}
	return &reply[api.Change]{out}, nil
}

// readAt reads a state, as far as it can be read: what of it is damaged is noted.
func (s *Server) readAt(ctx context.Context, tenant string, at state.Generation, out *api.Change) (state.TenantState, error) {
	state, err := s.cfg.Store.Read(ctx, tenant, at)
	var removed *store.RemovedError
	if errors.As(err, &removed) {
		out.Incomplete = err.Error()
		return state, nil
	}
	var damaged *store.DamagedError
	if errors.As(err, &damaged) {
		out.Incomplete = fmt.Sprintf("not all of %s@%d can be read: %v", tenant, at, err)
		return state, nil
	}
	return state, err
}
