package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/control/explain"
	"github.com/gti/gtm/pkg/control/gauges"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

type explainInput struct {
	Host     string    `query:"host" required:"true" maxLength:"255"`
	Subnet   string    `query:"subnet" doc:"the client's network, as in 81.2.69.0/24"`
	Resolver string    `query:"resolver" doc:"the resolver's address"`
	Type     string    `query:"type" doc:"the type asked for; A if absent"`
	Edge     string    `query:"edge" doc:"which edge to ask; absent: the first that answers"`
	At       time.Time `query:"at" doc:"of when, as in 2026-05-04T12:03:00Z: control answers, by configuration and verdicts of then"`
	Count    int       `query:"count" minimum:"1" maximum:"100000" doc:"how often to draw an answer, to count what comes; absent: not"`
}

func (s *Server) routeStatus(h huma.API) {
	huma.Register(h, operation("status", need{access.Read, ofAllSeen}, http.MethodGet, "/status", "The whole system at a glance"), s.status)
	huma.Register(h, operation("explain", need{access.Read, ofAllSeen}, http.MethodGet, "/explain", "What a client gets, and why"),
		s.explain)
	audits := operation("audit", need{access.Administer, ofPlatform}, http.MethodGet, "/audit",
		"The audit log of this control, as lines of JSON, oldest first")
	audits.Responses = map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK),
		Content: map[string]*huma.MediaType{"application/jsonl": {Schema: schemaOf[chain.Entry](h)}}}}
	huma.Register(h, audits, s.audit)
}

type tenantInput struct {
	Tenant string `path:"tenant"`
}

// routeTenants has what there is to know of one tenant at a glance.
func (s *Server) routeTenants(h huma.API) {
	metrics := operation("tenant-metrics", need{access.Read, inPath}, http.MethodGet, "/tenants/{tenant}/metrics",
		"A tenant's pools, services, rollout and quota as Prometheus metrics")
	metrics.Responses = map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK),
		Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	huma.Register(h, metrics, s.tenantMetrics)
	huma.Register(h, operation("granted-zones", need{access.Read, inPath}, http.MethodGet, "/tenants/{tenant}/zones",
		"The zones in which names are granted to a tenant"), s.grantedZones)
}

func (s *Server) tenantMetrics(ctx context.Context, in *tenantInput) (*huma.StreamResponse, error) {
	h := s.healthOf(in.Tenant)
	t := gauges.Tenant{Name: in.Tenant, Generation: uint64(h.state.Head), Services: h.services(),
		Limit: spec.EffectiveQuota(s.platform(), in.Tenant)}
	for _, v := range sorted(h.state) {
		if _, ok := v.Resource.Spec.(*spec.Pool); ok {
			t.Pools = append(t.Pools, h.poolOf(v.Resource))
		}
	}
	if a, ok := state.Aims.Get(s.cfg.Mirror, in.Tenant); ok && a.Rollout != nil {
		r := s.wireRollout(s.viewOf(ctx), &a)
		t.Rollout = &r
	}
	if now, err := s.changer.State(ctx); err == nil { // or the store is away, and the rest is worth telling
		has := now.Has(in.Tenant)
		t.Has = &has
	}
	return &huma.StreamResponse{Body: func(h huma.Context) {
		r, w := humago.Unwrap(h)
		gauges.Handler(t).ServeHTTP(w, r)
	}}, nil
}

// grantedZones tells a tenant in which zones it may have services; the zones themselves are the platform's.
func (s *Server) grantedZones(_ context.Context, in *tenantInput) (*reply[api.GrantedZones], error) {
	out := api.GrantedZones{Zones: []api.GrantedZone{}}
	platform := s.cfg.Mirror.Tenant(spec.Platform)
	for _, v := range sorted(platform) {
		if z, ok := v.Resource.Spec.(*spec.Zone); ok && len(z.Grants[in.Tenant]) > 0 {
			out.Zones = append(out.Zones, api.GrantedZone{Zone: v.Resource.Name, Names: z.Grants[in.Tenant]})
		}
	}
	return &reply[api.GrantedZones]{out}, nil
}

// identified gives the heads, and what identifies them where that is known.
func (s *Server) identified(tenants []string) (heads map[string]uint64, ids map[string]string) {
	heads, ids = map[string]uint64{}, map[string]string{}
	for _, tenant := range tenants {
		t := s.cfg.Mirror.Tenant(tenant)
		heads[tenant] = uint64(t.Head)
		if t.ID != "" {
			ids[tenant] = t.ID
		}
	}
	return heads, ids
}

// goals are the heads, as what edges are to answer from.
func (s *Server) goals() map[string]api.Goal {
	epoch := s.cfg.Mirror.Epoch() // before the heads, which may be of a later one
	heads, ids := s.identified(s.cfg.Mirror.Tenants())
	return api.Goals(heads, ids, epoch)
}

// status answers even where etcd does not: then the mirror is what there is, and the store's part says so.
func (s *Server) status(ctx context.Context, _ *struct{}) (*reply[api.Status], error) {
	out := api.Status{Time: s.cfg.Now().UTC(), Pools: s.pools(ctx), Unserved: s.unserved(ctx), Holds: s.holds(ctx),
		Edges: []api.Edge{}, Health: s.health()}
	out.Epoch = s.cfg.Mirror.Epoch()
	out.Heads, out.IDs = s.identified(s.tenants(ctx))
	s.addChanges(out.Pools)
	s.addSignals(out.Pools)
	out.Events = s.eventsKept(ctx)
	s.addKept(ctx, &out)
	if s.cfg.Past != nil {
		out.Past = s.cfg.Past.Status()
	}
	if followed := s.followed(); followed != nil {
		out.Store = *followed
	}
	edges, err := s.registered(ctx)
	if err != nil {
		if out.Store.Error == "" {
			out.Store.Error = err.Error()
		}
		out.Store.Error += "; the edges are those known before"
	}
	if out.Vantages, err = s.knownVantages(ctx); err != nil && out.Store.Error == "" {
		out.Store.Error = err.Error()
	}
	if err == nil {
		out.Voteless = s.voteless(ctx, out.Vantages)
	}
	out.Edges = s.askAll(ctx, edges)
	s.viewOf(ctx).status(&out)
	return &reply[api.Status]{out}, nil
}

type auditInput struct {
	After uint64 `query:"after" doc:"the number of the entry behind which to begin"`
	Limit int    `query:"limit" minimum:"1" maximum:"100000" default:"10000" doc:"how many at most"`
}

// mostAudit is how many bytes of the log one answer has; who wants more asks for what is behind it.
const mostAudit = 64 << 20

// audit sends lines of the log as they stand on the disk, so that they can be verified.
func (s *Server) audit(_ context.Context, in *auditInput) (*huma.StreamResponse, error) {
	if s.cfg.Audit == nil {
		return nil, problemf(http.StatusNotFound, "this control keeps no audit log")
	}
	return &huma.StreamResponse{Body: func(h huma.Context) {
		h.SetHeader("Content-Type", "application/jsonl")
		lines, bytes := 0, 0
		err := s.cfg.Audit.Read(in.After, func(_ uint64, line []byte) error {
			if lines == in.Limit || bytes > mostAudit {
				return io.EOF
			}
			lines, bytes = lines+1, bytes+len(line)
			_, err := h.BodyWriter().Write(append(line, '\n'))
			return err
		})
		if err != nil && !errors.Is(err, io.EOF) { // what was sent is whole lines, and who asked asks for the rest
			s.cfg.Logger.Warn("the audit log was not sent to its end", "error", err)
		}
	}}, nil
}

// addKept tells of the audit log, and of what is kept of the past. How that goes concerns all tenants.
func (s *Server) addKept(ctx context.Context, out *api.Status) {
	all := grantsOf(ctx).SeesAll()
	if s.cfg.Audit != nil && all {
		status := s.cfg.Audit.Status()
		out.Audit = &status
	}
	if s.cfg.Retention == nil {
		return
	}
	kept := s.cfg.Retention()
	out.Retention = &api.Retention{For: kept.For, Generations: kept.Generations}
	if all {
		out.Retention = &kept
	}
}

// followed tells how control follows the store; nil: it does not know.
func (s *Server) followed() *api.StoreStatus {
	if s.cfg.Following == nil {
		return nil
	}
	f := s.cfg.Following()
	out := &api.StoreStatus{State: f.State, Since: f.Since, Error: f.Err, Cursor: f.Cursor}
	if s.cfg.Space != nil {
		space := s.cfg.Space()
		out.Size, out.InUse, out.Quota, out.Full, out.Room = space.Size, space.InUse, space.Quota, space.Full, space.Text()
	}
	return out
}

func (s *Server) edgesNow(ctx context.Context, _ *struct{}) (*reply[api.Edges], error) {
	edges, err := s.registered(ctx)
	if err != nil && len(edges) == 0 {
		return nil, problemOf(err)
	}
	epoch := s.cfg.Mirror.Epoch()
	heads, ids := s.identified(s.tenants(ctx)) // before the edges are asked, which can only be further then
	v, out := s.viewOf(ctx), api.Edges{Heads: heads, IDs: ids, Epoch: epoch, Edges: s.askAll(ctx, edges),
		Store: s.followed()}
	v.edges(out.Edges)
	v.store(out.Store)
	return &reply[api.Edges]{out}, nil
}

// query gives the parameters of the question for who answers it.
func (in *explainInput) query() url.Values {
	query := url.Values{"host": {in.Host}}
	for name, value := range map[string]string{"subnet": in.Subnet, "resolver": in.Resolver, "type": in.Type} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if in.Count > 0 {
		query.Set("count", strconv.Itoa(in.Count))
	}
	return query
}

// explainPast tells what a client would have got.
func (s *Server) explainPast(ctx context.Context, in *explainInput) (*reply[api.Explanation], error) {
	switch {
	case s.cfg.Past == nil:
		return nil, problemf(http.StatusNotFound, "this control keeps nothing of the past: it runs with gtmd --history 0")
	case in.Edge != "":
		return nil, problemf(http.StatusBadRequest, "control tells of the past, no edge does: leave out which edge to ask")
	}
	out, err := s.cfg.Past.Explain(ctx, in.At, in.query().Get)
	var refused *explain.Error
	if errors.As(err, &refused) {
		return nil, problemf(refused.Code, "%s", refused)
	}
	if err != nil {
		return nil, problemOf(err)
	}
	return &reply[api.Explanation]{*out}, nil
}

// explain passes the question on to an edge, since only the code that answers can tell why.
func (s *Server) explain(ctx context.Context, in *explainInput) (*reply[api.Explanation], error) {
	v := s.viewOf(ctx)
	if !in.At.IsZero() {
		return v.explained(in.Host)(s.explainPast(ctx, in))
	}
	return v.explained(in.Host)(s.explainNow(ctx, in))
}

func (s *Server) explainNow(ctx context.Context, in *explainInput) (*reply[api.Explanation], error) {
	edges, err := s.registered(ctx)
	if err != nil && len(edges) == 0 {
		return nil, problemOf(err)
	}
	query := in.query()
	var ids, silent []string
	for _, e := range livingFirst(edges) {
		ids = append(ids, e.ID)
		if in.Edge != "" && e.ID != in.Edge {
			continue
		}
		var out api.Explanation
		err := s.fetch(ctx, e, "/edge/explain", query, &out, &out.Edge)
		var refusal *edgeRefusal
		switch {
		case err == nil:
			return &reply[api.Explanation]{out}, nil
		case errors.As(err, &refusal) && refusal.status >= 400 && refusal.status < 500:
			return nil, problemf(refusal.status, "%s", refusal)
		}
		silent = append(silent, e.ID+": "+err.Error())
	}
	switch {
	case len(ids) == 0:
		return nil, problemf(http.StatusServiceUnavailable,
			"no edge is registered, and only an edge can explain; gtmd --roles edge starts one")
	case len(silent) == 0:
		return nil, problemf(http.StatusNotFound, "there is no edge %s; there are %s", in.Edge, strings.Join(ids, ", "))
	}
	return nil, problemf(http.StatusBadGateway, "no edge could explain: %s", strings.Join(silent, "; "))
}

// livingFirst puts the edges that hold no lease last: asking them takes a while, and tells nothing when they are dead.
func livingFirst(edges []store.Edge) []store.Edge {
	sorted := slices.Clone(edges)
	slices.SortStableFunc(sorted, func(a, b store.Edge) int {
		switch {
		case a.Alive == b.Alive:
			return 0
		case a.Alive:
			return -1
		}
		return 1
	})
	return sorted
}
