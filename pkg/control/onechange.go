package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

type changeInput struct {
	Tenant     string `path:"tenant"`
	Generation uint64 `path:"generation" minimum:"1"`
}

// oneChange tells what one generation changed, by field: it compares the resources that it wrote with those of the one before.
func (s *Server) oneChange(ctx context.Context, in *changeInput) (*reply[api.Change], error) {
	head := s.cfg.Mirror.Tenant(in.Tenant).Head
	if head == 0 {
		return nil, noTenant(in.Tenant, s.cfg.Mirror.Tenants())
	}
	at := state.Generation(in.Generation)
	if at > head {
		return nil, problemf(http.StatusNotFound, "there is no %s@%d; the last is %s@%d", in.Tenant, at, in.Tenant, head)
	}
	record, err := s.recordOf(ctx, in.Tenant, at)
	if err != nil {
		return nil, problemOf(err)
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
	var damaged *store.DamagedError
	if errors.As(err, &damaged) {
		out.Incomplete = fmt.Sprintf("not all of %s@%d can be read: %v", tenant, at, err)
		return state, nil
	}
	return state, err
}
