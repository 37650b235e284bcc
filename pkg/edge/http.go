package edge

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table"
)

// Handler serves GET /edge/status and GET /edge/explain.
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
	s.GeoFault, s.LatencyFault = e.faults[geo.Geography], e.faults[geo.LatencySource]
	if v == nil {
		return s
	}
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

// explain tells the decision for a host and a client, given by the parameters host, subnet, resolver and type; with count, also what so many
// decisions come to.
func (e *Edge) explain(param func(string) string) (*api.Explanation, *httpError) {
	notReady := e.Ready() // asked first: behind it there may be a view, but not the other way round
	v := e.view.Load()
	if v == nil {
		return nil, &httpError{http.StatusServiceUnavailable, notReady.Error()}
	}
	client, err := clientOf(param("subnet"), param("resolver"))
	if err != nil {
		return nil, &httpError{http.StatusBadRequest, err.Error()}
	}
	host := param("host")
	if host == "" {
		return nil, &httpError{http.StatusBadRequest,
			"no host is given: ask for one, as in /edge/explain?host=www.example.com&subnet=81.2.69.0/24"}
	}
	s := v.FindService(host)
	if s == nil {
		return nil, &httpError{http.StatusNotFound,
			fmt.Sprintf("no service stands at %q on this edge: see gtmctl get services for those that there are", host)}
	}
	f, err := familyOf(s, param("type"))
	if err != nil {
		return nil, &httpError{http.StatusBadRequest, err.Error()}
	}
	draws, err := drawsOf(param("count"))
	if err != nil {
		return nil, &httpError{http.StatusBadRequest, err.Error()}
	}
	x := v.Explain(s, f, client, randomSeed())
	if draws > 0 {
		v.Draw(x, client, draws, rand.Uint64)
	}
	out := e.describe(x)
	if note := e.standsStill(); note != "" {
		out.Notes, out.Text = append(out.Notes, note), append(out.Text, note)
	}
	return out, nil
}

// drawsOf reads how often to draw.
func drawsOf(count string) (int, error) {
	if count == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > api.MostDraws {
		return 0, fmt.Errorf("count %q is not a number from 1 to %d", count, api.MostDraws)
	}
	return n, nil
}

// clientOf reads the client of an explanation. Without a resolver it asks as if from the subnet itself, or from loopback.
func clientOf(subnet, resolver string) (*table.Client, error) {
	c := &table.Client{}
	if subnet != "" {
		p, err := parseNetwork(subnet)
		if err != nil {
			return nil, err
		}
		c.Has = p.Bits() > 0
		c.Subnet = table.NetOf(p.Addr(), uint8(p.Bits()))
		if resolver == "" {
			resolver = p.Addr().String()
		}
	}
	if resolver == "" {
		resolver = "127.0.0.1"
	}
	a, err := netip.ParseAddr(resolver)
	if err != nil {
		return nil, fmt.Errorf("resolver %q is not an address, as in 192.0.2.53", resolver)
	}
	a = a.Unmap()
	c.Resolver = table.NetOf(a, uint8(a.BitLen()))
	return c, nil
}

// parseNetwork reads a network or an address, which stands for itself alone. IPv4 in its IPv6-mapped form is IPv4.
func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return p, fmt.Errorf("subnet %q is neither a network, as in 81.2.69.0/24, nor an address", text)
		}
		p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
	}
	const mapped = 96 // bits before the IPv4 address
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p, nil
}

// familyOf gives the family that a record type asks for; without one, the first that the service has.
func familyOf(s *table.Service, typ string) (table.Family, error) {
	var has []string
	for _, f := range s.Families() {
		name := dnswire.TypeString(f.Type())
		if typ == "" || strings.EqualFold(typ, name) {
			return f, nil
		}
		has = append(has, name)
	}
	return 0, fmt.Errorf("type %q does not exist at %s: it has %s", typ, s.Spec.Host, strings.Join(has, ", "))
}

// describe brings an explanation into the form of the API.
func (e *Edge) describe(x *table.Explanation) *api.Explanation {
	out := &api.Explanation{Host: x.Service.Spec.Host, Service: x.Service.Tenant + "/" + x.Service.Name,
		Generation: fmt.Sprintf("%s@%d", x.Service.Tenant, x.Generation), Edge: e.cfg.ID, Scope: int(x.Scope), ScopeFrom: x.ScopeFrom,
		Drawn: x.Drawn, Text: x.Text(e.cfg.ID, 0), Fallback: x.Fallback.String(),
		Client: api.Client{Address: x.Asker.Prefix().String(), Source: "subnet", Place: x.Place.String(), ASN: x.Place.ASN,
			Point: x.Place.Point().String(), PointFrom: x.Place.PointSource(), Latency: nearestFirst(x.Place.Latency)}}
	if x.Resolver {
		out.Client.Source = "resolver"
	}
	if p, err := x.Asker.Addr().Prefix(int(x.PlaceBits)); err == nil {
		out.Client.Network = p.String()
	}
	if x.Index != table.NoRule {
		out.Rule = &api.MatchedRule{Index: int(x.Index), Name: x.Rule, Matched: x.Matched}
	} else {
		out.Notes = append(out.Notes, "no rule matches this client: lastResort answers")
	}
	describeTrace(out, x.Trace)
	if x.Service.AliasOf != "" {
		out.Notes = append(out.Notes, "alias of "+x.Service.AliasOf)
	}
	if x.Service.Pending {
		out.Fallback = "the alias has not been resolved yet: SERVFAIL"
	}
	for _, p := range x.Pools {
		out.Pools = append(out.Pools, describePool(x, &p))
	}
	if x.Fixed {
		out.Notes = append(out.Notes, table.FixedNote)
	}
	out.Answer = api.ExampleAnswer{Type: dnswire.TypeString(x.Family.Type()), TTL: int(x.TTL), TTLFrom: x.TTLFrom, Records: x.Example()}
	return out
}

func nearestFirst(l *geo.Latency) (list []api.SiteLatency) {
	for _, s := range l.NearestFirst() {
		list = append(list, api.SiteLatency(s))
	}
	return list
}

// describeTrace tells how a policy came to its row.
func describeTrace(out *api.Explanation, t *policy.Trace) {
	if t == nil {
		return
	}
	for _, p := range t.Path {
		out.Path = append(out.Path, api.Passed(p))
	}
	out.Fence, out.Fenced = t.Fence, t.Fenced
	for _, c := range t.Choices {
		choice := api.Choosing{What: c.What, LastResort: c.LastResort, Note: c.Note}
		for _, r := range c.Candidates {
			choice.Candidates = append(choice.Candidates, api.Choice{Pool: r.Pool, Site: r.Site, Turn: r.Turn, AsListed: r.AsListed, Weight: r.Weight,
				Kilometres: known(r.Kilometres), Counts: known(r.Counts), Milliseconds: known(r.Milliseconds), Out: r.Out})
		}
		out.Choices = append(out.Choices, choice)
	}
}

// known rounds to one digit, and leaves out what is infinitely far, which JSON has no number for.
func known(f float64) *float64 {
	if math.IsInf(f, 1) {
		return nil
	}
	f = math.Round(10*f) / 10
	return &f
}

func describePool(x *table.Explanation, p *table.PoolInTurn) api.PoolInTurn {
	out := api.PoolInTurn{Pool: p.Pool.ID.Pool, Step: p.Step, Up: p.Up, Chosen: p.Chosen, Turns: x.Turns(p), Why: p.Why, Share: p.Share}
	if x.Drawn > 0 {
		out.Drawn = &p.Drawn
	}
	if p.LastResort {
		out.Why = "lastResort; " + out.Why
	}
	if p.Pool.Frozen {
		out.Why += "; frozen by the brake"
	}
	for i := range p.Pool.Candidates {
		out.Endpoints = append(out.Endpoints, describeCandidate(p, i))
	}
	return out
}

func describeCandidate(p *table.PoolInTurn, i int) api.Candidate {
	c := &p.Pool.Candidates[i]
	out := api.Candidate{Name: c.Endpoint.Name, Host: c.Endpoint.Host, Weight: c.Weight, Score: c.Score, State: string(c.State),
		Effective: p.Weights[i], Share: p.Shares[i], Out: c.Out, Held: c.Held}
	if p.DrawnFirst != nil {
		out.Drawn = &p.DrawnFirst[i]
	}
	if p.AsIfUp && out.Share > 0 {
		out.Out, out.AsIfUp = "", c.Out
	}
	for _, a := range c.Endpoint.Addresses {
		out.Addresses = append(out.Addresses, a.String())
	}
	return out
}
