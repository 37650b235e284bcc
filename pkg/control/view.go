package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// view takes out of answers what the caller does not see. Who sees all gets them as they are.
type view struct {
	s      *Server
	grants access.Grants
	hidden map[string]bool // the other tenants; nil: all are seen
}

func (s *Server) viewOf(ctx context.Context) *view {
	v := &view{s: s, grants: grantsOf(ctx)}
	if v.grants.SeesAll() {
		return v
	}
	v.hidden = map[string]bool{}
	for _, tenant := range s.cfg.Mirror.Tenants() {
		if tenant != spec.Platform && !v.grants.Sees(tenant) {
			v.hidden[tenant] = true
		}
	}
	return v
}

// others is what stands in the place of what is not seen.
const others = "(another tenant's)"

// text takes out of a text, in which nothing is the caller's own words, what belongs to tenants that are not seen: names as in shop/web,
// shop/Service/web, shop@41.
func (v *view) text(text string) string {
	if len(v.hidden) == 0 || !strings.ContainsAny(text, "/@") {
		return text
	}
	var out strings.Builder
	for len(text) > 0 {
		n := strings.IndexFunc(text, func(r rune) bool { return !isName(r) })
		if n < 0 {
			n = len(text)
		}
		if n == 0 {
			_, n = utf8.DecodeRuneInString(text)
			out.WriteString(text[:n])
			text = text[n:]
			continue
		}
		rest := text[n:]
		if !v.hidden[text[:n]] || !strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, "@") {
			out.WriteString(text[:n])
			text = rest
			continue
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return !isName(r) && r != '/' && r != '@' && r != '~' })
		if end < 0 {
			end = len(rest)
		}
		out.WriteString(others)
		text = rest[end:]
	}
	return out.String()
}

// seesKey reports whether a key, as text, is of a tenant that is seen, or is the platform's.
func (v *view) seesKey(key string) bool {
	tenant, _, _ := strings.Cut(key, "/")
	return v.grants.Sees(tenant)
}

// faults takes out of faults and warnings the resources of tenants that are not seen. What the caller named itself stays as it is, whether
// it is there or not: else it could be told from what is left of it.
func (v *view) faults(all spec.Errors) spec.Errors {
	if v.hidden == nil {
		return all
	}
	out := slices.Clone(all)
	for i, e := range all {
		copied := *e
		if tenant, _, _ := strings.Cut(e.Resource, "/"); tenant != "" && tenant != spec.Platform && !v.grants.Sees(tenant) {
			copied.Resource = others
		}
		if e.Other != (spec.Key{}) && e.Other.Tenant != spec.Platform && !v.grants.Sees(e.Other.Tenant) {
			copied.Msg = strings.ReplaceAll(e.Msg, e.Other.String(), others)
		}
		out[i] = &copied
	}
	return out
}

// refused is the problem of an error of a plan.
func (v *view) refused(err error) error {
	var faults spec.Errors
	var changed *change.ChangedError
	out := problemOf(err)
	if p, ok := out.(*api.Problem); ok && errors.As(err, &faults) && !errors.As(err, &changed) {
		p.Errors = api.Issues(v.faults(faults))
	}
	return out
}

func (v *view) heads(of map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for tenant, head := range of {
		if v.grants.Sees(tenant) {
			out[tenant] = head
		}
	}
	return out
}

// status leaves of the system what concerns the tenants that are seen, and how it is on the whole.
func (v *view) status(out *api.Status) {
	if v.grants.SeesAll() {
		return
	}
	v.edges(out.Edges)
	v.store(&out.Store)
	v.health(out.Health)
	if !v.grants.Sees(spec.Platform) {
		out.Past = nil
	}
}

// store leaves how it is followed. What it says of trouble can name anybody's keys.
func (v *view) store(out *api.StoreStatus) {
	if out == nil || v.grants.SeesAll() {
		return
	}
	out.Error, out.Room = v.text(out.Error), v.text(out.Room)
	if !v.grants.Sees(spec.Platform) {
		*out = api.StoreStatus{State: out.State, Since: out.Since, Error: out.Error}
	}
}

func (v *view) health(h *api.Health) {
	if h != nil && !v.grants.SeesAll() {
		h.Troubles, h.Why = nil, v.text(h.Why)
	}
}

// edges leaves of edges what they answer from of the tenants that are seen.
func (v *view) edges(all []api.Edge) {
	if v.grants.SeesAll() {
		return
	}
	platform := v.grants.Sees(spec.Platform)
	for i := range all {
		e := &all[i]
		e.Last, e.Error = v.heads(e.Last), v.text(e.Error)
		if !platform {
			e.HTTP, e.Twin = "", ""
		}
		if e.State == api.EdgeAlive {
			e.Since = nil // since when it is behind may be another tenant's
		}
		if e.Status != nil {
			e.Status = v.edge(e.Status, platform)
		}
	}
}

// edge makes anew what an edge says, of what may be told, so that nothing is told because somebody forgot to leave it out.
func (v *view) edge(st *api.EdgeStatus, platform bool) *api.EdgeStatus {
	out := &api.EdgeStatus{ID: st.ID, Version: st.Version, Started: st.Started, DNS: st.DNS, View: st.View, Tenants: v.heads(st.Tenants),
		Source: st.Source, Health: st.Health}
	out.Source.Error = v.text(st.Source.Error)
	v.health(out.Health)
	for tenant, id := range st.IDs {
		if v.grants.Sees(tenant) {
			if out.IDs == nil {
				out.IDs = map[string]string{}
			}
			out.IDs[tenant] = id
		}
	}
	for _, b := range st.Broken {
		if v.seesKey(b.Resource) {
			b.Error = v.text(b.Error)
			out.Broken = append(out.Broken, b)
		}
	}
	for _, u := range st.Unknown {
		if v.seesKey(u.Resource) {
			out.Unknown = append(out.Unknown, u)
		}
	}
	for _, l := range st.Local {
		if v.grants.Sees(l.Tenant) {
			out.Local = append(out.Local, l)
		}
	}
	for _, h := range st.Held {
		if v.grants.Sees(h.Tenant) {
			h.Why = v.text(h.Why)
			out.Held = append(out.Held, h)
		}
	}
	out.Epoch = st.Epoch
	if platform {
		out.Services, out.Zones, out.Geo, out.GeoFault, out.Maps = st.Services, st.Zones, st.Geo, st.GeoFault, st.Maps
		out.Latency, out.LatencyFault, out.Snapshot = st.Latency, st.LatencyFault, st.Snapshot
	}
	return out
}

// explained lets an explanation through if its service is seen. Else it is as if no steered name were there, whatever is.
func (v *view) explained(host string) func(*reply[api.Explanation], error) (*reply[api.Explanation], error) {
	return func(x *reply[api.Explanation], err error) (*reply[api.Explanation], error) {
		if v.grants.SeesAll() {
			return x, err
		}
		if err == nil && v.seesKey(x.Body.Service) {
			for i := range x.Body.Notes {
				x.Body.Notes[i] = v.text(x.Body.Notes[i])
			}
			for i := range x.Body.Text {
				x.Body.Text[i] = v.text(x.Body.Text[i])
			}
			return x, nil
		}
		var problem *api.Problem
		if v.owns(host) && (!errors.As(err, &problem) || problem.Status != http.StatusNotFound) {
			return nil, err
		}
		return nil, problemf(http.StatusNotFound, "there is no service at %.255s in a tenant that you see", host)
	}
}

// owns reports whether a service of a tenant that is seen stands at a host.
func (v *view) owns(host string) bool {
	name, err := spec.CanonicalName(host)
	if err != nil {
		return false
	}
	for _, tenant := range v.s.cfg.Mirror.Tenants() {
		if !v.grants.Sees(tenant) {
			continue
		}
		for _, r := range v.s.cfg.Mirror.Tenant(tenant).Resources.All() {
			service, ok := r.Resource.Spec.(*spec.Service)
			if !ok {
				continue
			}
			at, err := spec.CanonicalHost(service.Host)
			if below, wild := strings.CutPrefix(at, "*."); err == nil && (at == name || wild && spec.Under(name, below)) {
				return true
			}
		}
	}
	return false
}
