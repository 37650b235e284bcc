package edge

import (
	"encoding/json"
	"net/http"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/explain"
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/edge/canned"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table/zones"
)

// Handler serves GET /edge/status, /edge/explain, /edge/counts and /edge/demand, and with the token /edge/overrides.
func (e *Edge) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /edge/status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, e.Status()) })
	mux.HandleFunc("GET /edge/explain", func(w http.ResponseWriter, r *http.Request) {
		out, err := e.explain(r.URL.Query().Get)
		if err != nil {
			writeJSON(w, err.code, map[string]string{"edge": e.cfg.ID, "error": err.text})
			return
		}
		writeJSON(w, http.StatusOK, out)
	})
	mux.HandleFunc("GET /edge/counts", e.counts)
	mux.Handle("GET /edge/demand", e.sampling)
	e.handleLocal(mux)
	return mux
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nothing to do
}

// Status tells what the edge answers from.
func (e *Edge) Status() api.EdgeStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.view.Load()
	s := api.EdgeStatus{ID: e.cfg.ID, Version: e.cfg.Version, Started: e.started, DNS: addrStrings(e.Addrs()),
		Tenants: map[string]uint64{},
		Source:  api.Source{State: e.status.State, Since: e.status.Since, Cursor: e.status.Cursor, Error: e.status.Err}}
	if e.snapshot.from && e.status.State != state.Refused {
		s.Source.State = "snapshot"
	}
	for _, b := range e.broken {
		s.Broken = append(s.Broken, api.Broken{Resource: b.Key.String(), Error: b.Err.Error(), Serves: b.Serves.String()})
	}
	s.Unknown, s.Aliases, s.Health, s.Snapshot = e.unknownNow(), e.aliasStates(), e.healthAt(e.cfg.Now()), e.snapshot.status()
	s.Local, s.Held = e.local.shown, e.heldNow()
	if epoch := e.taking.epoch; v != nil {
		s.Epoch = &epoch
	}
	s.GeoFault, s.LatencyFault = e.faults[geo.Geography], e.faults[geo.LatencySource]
	if v == nil {
		return s
	}
	s.Maps = e.maps.status(v.Maps)
	s.View = api.View{Serial: v.Serial, Published: v.Published}
	s.Tenants, s.IDs, s.Zones, s.Services = v.Heads, e.ids, len(v.Zones()), v.ServiceCount()
	for _, g := range v.Atlas.Info() {
		s.Geo = append(s.Geo, api.GeoState{File: g.File, Type: g.Type, Built: g.Built, Networks: g.Networks})
	}
	if t := v.Atlas.Latency(); t != nil && !t.Empty() {
		i := t.Info()
		s.Latency = &api.LatencyState{File: i.File, Measured: i.Built, Networks: i.Networks, Sites: i.Sites}
	}
	return s
}

// httpError is an answer other than 200.
type httpError struct {
	code int
	text string
}

// explain tells the decision for a host and a client; see explain.Of.
func (e *Edge) explain(param func(string) string) (*api.Explanation, *httpError) {
	notReady := e.Ready() // asked first: behind it there may be a view, but not the other way round
	v := e.view.Load()
	if v == nil {
		return nil, &httpError{http.StatusServiceUnavailable, notReady.Error()}
	}
	out, err := explain.Of(v, "edge "+e.cfg.ID, e.clock.seconds.Load(), param)
	if err != nil {
		return nil, &httpError{err.Code, err.Text}
	}
	out.Edge = e.cfg.ID
	dated := e.date(out.Text)
	out.Notes, out.Text = append(out.Notes, dated[len(out.Text):]...), dated
	return out, nil
}

// counts serves GET /edge/counts: what was counted of a tenant's answers.
func (e *Edge) counts(w http.ResponseWriter, r *http.Request) {
	tenant := r.URL.Query().Get("tenant")
	out := api.EdgeCounts{Edge: e.cfg.ID, Started: e.started, Pools: map[string]uint64{}}
	v := e.view.Load()
	if v == nil {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"edge": e.cfg.ID, "error": e.Ready().Error()})
		return
	}
	for _, z := range v.ZoneList {
		if z.Counts != nil && standsIn(z, tenant) {
			for i := range z.Counts.Rows {
				for rcode := range z.Counts.Rows[i] {
					n := z.Counts.Rows[i][rcode].Load()
					switch out.Answers += n; uint16(rcode) {
					case dnswire.RcodeServFail:
						out.ServFail += n
					case dnswire.RcodeNXDomain:
						out.NXDomain += n
					}
				}
			}
		}
	}
	for _, c := range v.ServiceCounts() {
		for i, pool := range c.Pools {
			if c.Tenant == tenant {
				out.Pools[c.Service+"/"+pool] = c.Answers[i].Load()
			}
		}
	}
	if r.URL.Query().Has("speed") {
		out.Nanos = uint64(canned.Speed(v, tenant))
	}
	writeJSON(w, http.StatusOK, out)
}

// standsIn reports whether a tenant has names in a zone. The platform owns all.
func standsIn(z *zones.Zone, tenant string) bool {
	return tenant == spec.Platform || z.Spec != nil && len(z.Spec.Grants[tenant]) > 0
}
