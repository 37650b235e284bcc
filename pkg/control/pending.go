package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/control/plans"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

type pendingInput struct {
	Tenant string `query:"tenant" doc:"only those of this tenant"`
}

type approveInput struct {
	Tenant string `path:"tenant"`
	ID     string `path:"id"`
	Body   api.ApproveRequest
}

type stateInput struct {
	Tenant     string `path:"tenant"`
	Generation uint64 `path:"generation" minimum:"1"`
}

type diffInput struct {
	Tenant string `path:"tenant"`
	From   uint64 `path:"generation" minimum:"1"`
	To     uint64 `path:"to" minimum:"1"`
}

type blameInput struct {
	Tenant string    `path:"tenant"`
	Kind   spec.Kind `path:"kind" maxLength:"63"`
	Name   string    `path:"name" maxLength:"1024"`
	Field  string    `query:"field" maxLength:"1024" doc:"only what stands at or below it, as in spec.rules"`
}

func (s *Server) routePlans(h huma.API) {
	huma.Register(h, operation("pending", need{access.Read, inQuery}, http.MethodGet, "/pending", "Changes that wait for a second person"),
		s.pending)
	huma.Register(h, operation("approve", need{access.Operate, inPath}, http.MethodPost, "/pending/{tenant}/{id}",
		"Let a change pass that waits, or take it back"), s.approve)
	huma.Register(h, operation("get-state", need{access.Read, inPath}, http.MethodGet, "/history/{tenant}/{generation}/resources",
		"What a tenant declared then"), s.stateAt)
	huma.Register(h, operation("get-diff", need{access.Read, inPath}, http.MethodGet, "/history/{tenant}/{generation}/to/{to}",
		"What differs between two generations, by field"), s.diff)
	huma.Register(h, operation("blame", need{access.Read, inPath}, http.MethodGet, "/resources/{tenant}/{kind}/{name}/blame",
		"Which change wrote each field"), s.blame)
}

// glassKey is the context's key for why guards are not to stop a change, as a string.
type glassKey struct{}

// maxGlass bounds that, in characters.
const maxGlass = 1024

func withGlass(ctx context.Context, h http.Header) context.Context {
	if why := printable(h.Get(api.BreakGlassHeader), maxGlass); why != "" {
		return context.WithValue(ctx, glassKey{}, why)
	}
	return ctx
}

func glassOf(ctx context.Context) string {
	why, _ := ctx.Value(glassKey{}).(string)
	return why
}

// failed gives what the client gets of a change that was not made, or not all of it. One that only a second person is missing for waits
// from now on.
func (s *Server) failed(ctx context.Context, v *view, plan *change.Plan, err error) error {
	var refused *change.RefusedError
	var partly *change.PartlyError
	switch {
	case !errors.As(err, &refused):
		return v.refused(err)
	}
	if plan.BreakGlass() != "" {
		return s.unbroken(v, plan, err, refused)
	}
	switch {
	case !refused.Waits || errors.As(err, &partly):
		p := problemf(http.StatusConflict, "%s; %s", v.text(refusedBy(refused)), done(err))
		p.Errors = v.said(refused)
		return p
	}
	waits, storeErr := plans.Wait(ctx, s.cfg.Store, plan, refused, s.cfg.Now())
	if storeErr != nil {
		return problemOf(storeErr)
	}
	s.cfg.Logger.Info("a change waits for a second person", "tenant", waits.Tenant, "id", waits.ID, "author", waits.Author,
		"message", waits.Message, "until", waits.Expires)
	p := problemf(http.StatusConflict, "%s; it waits as %s until %s: another person than %s lets it pass with gtmctl approve %s",
		v.text(refusedBy(refused)), waits.Name(), waits.Expires.Format(time.RFC3339), waits.Author, waits.Name())
	p.Errors, p.Pending = v.said(refused), v.pending(waits)
	return p
}

// unbroken tells that who broke the glass may not, of some of the guards. Nothing waits for a second person then.
func (s *Server) unbroken(v *view, plan *change.Plan, err error, refused *change.RefusedError) error {
	s.cfg.Logger.Warn("somebody broke the glass who may not", "author", plan.Author, "reason", plan.BreakGlass(), "refused", refused)
	p := problemf(http.StatusForbidden, "%s, and %s may not break the glass of it; %s", v.text(refusedBy(refused)), plan.Author, done(err))
	p.Errors = v.said(refused)
	return p
}

// said gives what guards say, without what is not seen.
func (v *view) said(refused *change.RefusedError) []api.Issue {
	faults := v.faults(refused.Faults())
	for i := range faults {
		faults[i].Msg = v.text(faults[i].Msg)
	}
	return api.Issues(faults)
}

func (v *view) pending(p *api.Pending) *api.Pending {
	for i := range p.Why {
		p.Why[i] = v.text(p.Why[i])
	}
	unseen := func(k spec.Key) bool { return !v.grants.Sees(k.Tenant) }
	p.Put, p.Deleted = slices.DeleteFunc(p.Put, unseen), slices.DeleteFunc(slices.Clone(p.Deleted), unseen)
	return p
}

// plan tells in a reply what a plan does, without what is not seen.
func (v *view) plan(out *api.ApplyReply, p *change.Plan) {
	plans.Add(out, p)
	if v.hidden == nil {
		return
	}
	out.Base = v.heads(out.Base)
	if out.Effect != nil {
		hidden := func(s api.ServiceEffect) bool { return !v.grants.Sees(s.Service.Tenant) }
		out.Effect.Services = slices.DeleteFunc(out.Effect.Services, hidden)
		out.Effect.Later = slices.DeleteFunc(out.Effect.Later, hidden)
		out.Effect.Tenants = slices.DeleteFunc(out.Effect.Tenants, func(t api.TenantEffect) bool { return !v.grants.Sees(t.Tenant) })
	}
	for i := range out.Refusals {
		r := &out.Refusals[i]
		r.Message = v.text(r.Message)
		for _, k := range []*spec.Key{&r.Of, &r.Guard} {
			if k.Tenant != spec.Platform && !v.grants.Sees(k.Tenant) {
				*k = spec.Key{Name: others}
			}
		}
	}
}

func (s *Server) pending(ctx context.Context, in *pendingInput) (*reply[api.PendingList], error) {
	list, err := s.cfg.Store.Pendings(ctx, in.Tenant)
	if err != nil {
		return nil, problemOf(err)
	}
	v, out := s.viewOf(ctx), api.PendingList{Pending: []api.Pending{}}
	for i := range list {
		if v.grants.Sees(list[i].Tenant) {
			out.Pending = append(out.Pending, *v.pending(plans.Pending(&list[i])))
		}
	}
	slices.SortStableFunc(out.Pending, func(a, b api.Pending) int { return a.Time.Compare(b.Time) })
	return &reply[api.PendingList]{out}, nil
}

// approve makes a change that waits, as it was asked for. Whoever asked for it may take it back, and not approve it.
func (s *Server) approve(ctx context.Context, in *approveInput) (*reply[api.ApplyReply], error) {
	if glassOf(ctx) != "" {
		return nil, problemf(http.StatusUnprocessableEntity, "who approves or takes back does not break the glass: leave %s out, "+
			"or make the change yourself with it", api.BreakGlassHeader)
	}
	waits, err := plans.Find(ctx, s.cfg.Store, in.Tenant, in.ID)
	if err != nil {
		return nil, problemOf(err)
	}
	if waits == nil {
		return nil, problemf(http.StatusNotFound, "no change waits as %s/%s: it was made, taken back, or has expired; gtmctl pending "+
			"lists those that do", in.Tenant, in.ID)
	}
	if refused := s.mayApprove(ctx, waits, in.Body.DryRun); refused != nil {
		return nil, refused
	}
	who := authorOf(ctx)
	if in.Body.Reject {
		ended, err := s.cfg.Audit.Ask(chain.ActPending, who, waits.Tenant, waits.ID, "take back: "+waits.Message)
		if err != nil {
			return nil, problemOf(err)
		}
		err = s.cfg.Store.DropPending(ctx, waits.Tenant, waits.ID)
		if ended(err); err != nil {
			return nil, problemOf(err)
		}
		s.cfg.Logger.Info("a change that waited was taken back", "tenant", waits.Tenant, "id", waits.ID, "by", who)
		return &reply[api.ApplyReply]{api.ApplyReply{Plan: []api.PlanItem{}}}, nil
	}
	if !in.Body.DryRun && s.maySamePerson(waits.Author, who) {
		return nil, problemf(http.StatusForbidden, "%s asked for it: another person must approve it, and not by a token that one of the "+
			"two made for the other", waits.Author)
	}
	input, err := plans.Input(waits, who)
	if err != nil {
		return nil, problemOf(err)
	}
	out, err := s.carryOut(ctx, input, in.Body.DryRun, in.Tenant)
	if err != nil || in.Body.DryRun {
		return out, err
	}
	if err := s.cfg.Store.DropPending(ctx, waits.Tenant, waits.ID); err != nil { // it can be made once only: what it is made from moved
		s.cfg.Logger.Warn("a change was made, and still stands among those that wait", "id", waits.ID, "error", err)
	}
	return out, nil
}

// mayApprove refuses who may not make each part of a change by themselves; only to see it, who sees all of it may.
func (s *Server) mayApprove(ctx context.Context, waits *store.Pending, dryRun bool) error {
	p := plans.Pending(waits)
	for _, k := range slices.Concat(p.Put, p.Deleted) {
		need := access.Changing(k.Kind)
		if dryRun {
			need = access.Read
		}
		if refused := s.forbidden(ctx, need, k.Tenant); refused != nil {
			return refused
		}
	}
	return nil
}

// at reads a tenant's state at a generation.
func (s *Server) at(ctx context.Context, tenant string, generation uint64) (state.TenantState, error) {
	head := s.cfg.Mirror.Tenant(tenant).Head
	if head == 0 {
		return state.TenantState{}, noTenant(tenant, s.tenants(ctx))
	}
	if state.Generation(generation) > head {
		return state.TenantState{}, problemf(http.StatusNotFound, "there is no %s@%d; the last is %s@%d", tenant, generation, tenant, head)
	}
	t, err := s.cfg.Store.Read(ctx, tenant, state.Generation(generation))
	return t, problemOf(err)
}

func (s *Server) stateAt(ctx context.Context, in *stateInput) (*reply[api.ResourceList], error) {
	t, err := s.at(ctx, in.Tenant, in.Generation)
	if err != nil {
		return nil, err
	}
	out := api.ResourceList{Resources: []api.Resource{}, Heads: map[string]uint64{in.Tenant: in.Generation}}
	for _, v := range sorted(t) {
		r, err := wire(t, v)
		if err != nil {
			return nil, problemOf(err)
		}
		out.Resources = append(out.Resources, r)
	}
	return &reply[api.ResourceList]{out}, nil
}

func (s *Server) diff(ctx context.Context, in *diffInput) (*reply[api.ApplyReply], error) {
	from, err := s.at(ctx, in.Tenant, in.From)
	if err != nil {
		return nil, err
	}
	to, err := s.at(ctx, in.Tenant, in.To)
	if err != nil {
		return nil, err
	}
	of := func(t state.TenantState) map[spec.Key]*spec.Resource {
		all := map[spec.Key]*spec.Resource{}
		for k, v := range t.Resources.All() {
			all[k] = v.Resource
		}
		return all
	}
	out := api.ApplyReply{Plan: []api.PlanItem{}}
	for _, d := range spec.DiffSets(of(from), of(to)) {
		item := api.PlanItem{Key: d.Key, Action: api.Update}
		switch {
		case d.Old == nil:
			item.Action = api.Create
		case d.New == nil:
			item.Action = api.Delete
		default:
			item.Fields = d.Changes
		}
		out.Plan = append(out.Plan, item)
	}
	return &reply[api.ApplyReply]{out}, nil
}

// mostVersions is how many versions of a resource blame looks through.
const mostVersions = 200

func (s *Server) blame(ctx context.Context, in *blameInput) (*reply[api.Blame], error) {
	key := spec.Key{Tenant: in.Tenant, Kind: in.Kind, Name: in.Name}
	if _, err := s.find(ctx, &key); err != nil {
		return nil, err
	}
	versions, err := s.cfg.Store.Versions(ctx, key, mostVersions)
	if err != nil {
		return nil, problemOf(err)
	}
	history, _, err := s.records(ctx, in.Tenant, historyAtMost)
	if err != nil {
		return nil, problemOf(err)
	}
	records := make(map[state.Generation]*api.Record, len(history))
	for _, r := range history {
		record := wireRecord(r)
		record.Put, record.Deleted = nil, nil
		records[r.Generation] = &record
	}
	out := api.Blame{Resource: key}
	if out.Fields, err = plans.Blame(versions, in.Field, len(versions) < mostVersions, records); err != nil {
		return nil, problemOf(err)
	}
	if len(out.Fields) == 0 && in.Field != "" {
		return nil, problemf(http.StatusNotFound, "%s has no field %s; gtmctl blame %s/%s/%s without a field shows all", key, in.Field,
			in.Tenant, in.Kind, in.Name)
	}
	out.Older = slices.ContainsFunc(out.Fields, func(f api.FieldBlame) bool { return f.Record == nil })
	return &reply[api.Blame]{out}, nil
}
