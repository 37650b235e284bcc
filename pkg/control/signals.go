package control

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/signals"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Bounds of signals.
const (
	signalTime       = time.Minute // that one holds, if nothing is said
	leastSignalTime  = 5 * time.Second
	mostSignalTime   = 24 * time.Hour
	signalsAtOnce    = 2000 // endpoints of one request
	signalTextAtMost = 128  // characters of who says it
)

type signalInput struct {
	Tenant   string `path:"tenant"`
	Pool     string `path:"pool"`
	Endpoint string `path:"endpoint"`
	Body     api.SignalRequest
}

type signalEndInput struct {
	Tenant   string `path:"tenant"`
	Pool     string `path:"pool"`
	Endpoint string `path:"endpoint"`
}

type signalsInput struct {
	Tenant string `query:"tenant" doc:"only of this tenant"`
	Pool   string `query:"pool" doc:"only of the pool of this name"`
}

func (s *Server) routeSignals(h huma.API) {
	huma.Register(h, operation("signals", need{access.Read, inQuery}, http.MethodGet, "/signals", "What owners of endpoints say of them"),
		s.signals)
	huma.Register(h, operation("signal", need{access.Operate, inPath}, http.MethodPut, "/signals/{tenant}/{pool}/{endpoint}",
		"Say that an endpoint is up or down, "+
			"what its weight is worth, or how much it has to do"), s.signal)
	huma.Register(h, operation("signal-pool", need{access.Operate, inPath}, http.MethodPut, "/signals/{tenant}/{pool}",
		"Say so of several endpoints of a pool"),
		s.signalPool)
	huma.Register(h, operation("signal-end", need{access.Operate, inPath}, http.MethodDelete, "/signals/{tenant}/{pool}/{endpoint}",
		"Say nothing of an endpoint any more"), s.signalEnd)
}

func (s *Server) signal(ctx context.Context, in *signalInput) (*reply[api.SignalsReply], error) {
	return s.say(ctx, in.Tenant, in.Pool, in.Body.For, map[string]api.SignalWord{in.Endpoint: in.Body.SignalWord})
}

func (s *Server) signalPool(ctx context.Context, in *poolInput[api.SignalsRequest]) (*reply[api.SignalsReply], error) {
	return s.say(ctx, in.Tenant, in.Pool, in.Body.For, in.Body.Endpoints)
}

func (s *Server) signalEnd(ctx context.Context, in *signalEndInput) (*reply[api.SignalsReply], error) {
	if err := s.maySignal(ctx, in.Tenant, in.Pool, []string{in.Endpoint}); err != nil {
		return nil, err
	}
	return s.push(ctx, health.PoolID{Tenant: in.Tenant, Pool: in.Pool}, map[string]health.Signal{in.Endpoint: {}}, time.Time{})
}

// say has the intake take what is said of endpoints of a pool.
func (s *Server) say(ctx context.Context, tenant, pool, holds string,
	words map[string]api.SignalWord) (*reply[api.SignalsReply], error) {
	long, err := durationOf("for", holds)
	if long == 0 {
		long = signalTime
	}
	switch {
	case err != nil:
		return nil, err
	case long < leastSignalTime || long > mostSignalTime:
		return nil, problemf(http.StatusUnprocessableEntity, "for: %s is out of range: it can be %s to %s", spec.Duration(long),
			spec.Duration(leastSignalTime), spec.Duration(mostSignalTime))
	case len(words) == 0 || len(words) > signalsAtOnce:
		return nil, problemf(http.StatusUnprocessableEntity, "endpoints: wants 1 to %d, not %d", signalsAtOnce, len(words))
	}
	names := slices.Sorted(maps.Keys(words))
	if err := s.maySignal(ctx, tenant, pool, names); err != nil {
		return nil, err
	}
	now := s.cfg.Now().UTC().Truncate(time.Millisecond)
	said := make(map[string]health.Signal, len(words))
	for _, name := range names {
		w := words[name]
		one, err := signalOf(name, &w)
		if err != nil {
			return nil, err
		}
		one.Time, one.Until, one.By = now, now.Add(long), printable(authorOf(ctx), signalTextAtMost)
		said[name] = one
	}
	return s.push(ctx, health.PoolID{Tenant: tenant, Pool: pool}, said, now.Add(long))
}

// signalOf reads what is said of an endpoint.
func signalOf(name string, w *api.SignalWord) (out health.Signal, err error) {
	wrong := func(why string) error { return problemf(http.StatusUnprocessableEntity, "endpoint %s: %s", name, why) }
	out = health.Signal{State: health.State(w.State), Reason: printable(w.Reason, 200)}
	switch {
	case w.State == "" && w.Score == nil && w.Load == nil:
		return out, wrong("say a state (up or down), a score or a load")
	case out.State == health.Down && (w.Score != nil || w.Load != nil):
		return out, wrong("a score or a load means nothing with state down: leave it out")
	case w.Score != nil && w.Load != nil:
		return out, wrong("a score follows from the load: say one of them")
	}
	if out.State == "" {
		out.State = health.Up
	}
	if w.Score != nil {
		out.Score = max(*w.Score, health.LeastSignal)
	}
	if l := w.Load; l != nil {
		if l.Capacity != 0 && l.Capacity < l.Target {
			return out, wrong("the capacity of its load is less than the target")
		}
		out.Load = health.Load{Current: l.Current, Target: l.Target, Most: l.Capacity}
	}
	return out, nil
}

func (s *Server) push(ctx context.Context, pool health.PoolID, said map[string]health.Signal, until time.Time) (*reply[api.SignalsReply],
	error) {
	refused, err := s.cfg.Signals.Push(ctx, pool, said)
	var late *signals.LateError
	switch {
	case errors.As(err, &late):
		return nil, huma.ErrorWithHeaders(problemf(http.StatusTooManyRequests, "%s", late),
			http.Header{"Retry-After": {busyAgain}})
	case errors.Is(err, signals.ErrAway):
		return nil, problemf(http.StatusServiceUnavailable, "%s", err)
	case err != nil:
		return nil, problemf(http.StatusServiceUnavailable, "the store did not take it, or not all of it; say it again: %s", err)
	}
	out := api.SignalsReply{Until: until, Taken: []string{}, Refused: refused}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if refused[name] == "" {
			out.Taken = append(out.Taken, name)
		}
	}
	return &reply[api.SignalsReply]{out}, nil
}

// maySignal tells why signals of endpoints are not taken; nil: they are.
func (s *Server) maySignal(ctx context.Context, tenant, pool string, endpoints []string) error {
	if s.cfg.Signals == nil {
		return problemf(http.StatusNotFound, "this control takes no signals")
	}
	if s.cfg.Following != nil {
		if f := s.cfg.Following(); f.State != state.Current {
			return problemf(http.StatusServiceUnavailable, "the store is %s, so nothing can be said of endpoints; nothing was taken: %s",
				f.State, s.viewOf(ctx).text(f.Err))
		}
	}
	key := spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: pool}
	v, err := s.find(ctx, &key)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, e := range s.cfg.Mirror.Join(v.Resource).Spec.(*spec.Pool).Endpoints {
		known[e.Name] = true
	}
	for _, name := range endpoints {
		if !known[name] {
			return problemf(http.StatusNotFound, "%s/%s has no endpoint %s%s", tenant, pool, name,
				didYouMean(name, slices.Sorted(maps.Keys(known))))
		}
	}
	if s.cfg.Signals.Endpoints(health.PoolID{Tenant: tenant, Pool: pool}) == nil {
		return problemf(http.StatusConflict, "no monitor of %s/%s is of type signal, so that nobody would go by what is said of it: "+
			"give it one", tenant, pool)
	}
	return nil
}

func (s *Server) signals(ctx context.Context, in *signalsInput) (*reply[api.Signals], error) {
	if s.cfg.Signals == nil {
		return nil, problemf(http.StatusNotFound, "this control takes no signals")
	}
	if in.Tenant != "" {
		if err := s.known(ctx, in.Tenant, in.Pool); err != nil {
			return nil, err
		}
	}
	out := api.Signals{Pools: []api.PoolSignals{}}
	for _, tenant := range s.tenants(ctx) {
		if in.Tenant != "" && in.Tenant != tenant {
			continue
		}
		for _, v := range sorted(s.cfg.Mirror.Tenant(tenant)) {
			if v.Resource.Kind != spec.KindPool || in.Pool != "" && in.Pool != v.Resource.Name {
				continue
			}
			id := health.PoolID{Tenant: tenant, Pool: v.Resource.Name}
			if all := s.signalsOf(id); len(all) > 0 {
				out.Pools = append(out.Pools, api.PoolSignals{Tenant: tenant, Pool: id.Pool, Signals: all})
			}
		}
	}
	return &reply[api.Signals]{out}, nil
}

// signalsOf gives what is said of the endpoints of a pool, sorted; nil: nobody goes by that.
func (s *Server) signalsOf(id health.PoolID) (all []api.Signal) {
	if s.cfg.Signals == nil {
		return nil
	}
	endpoints := s.cfg.Signals.Endpoints(id)
	if endpoints == nil {
		return nil
	}
	said, now := s.cfg.Signals.Of(id), s.cfg.Now()
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		all = append(all, signalWire(name, said[name], now))
	}
	return all
}

func signalWire(name string, s health.Signal, now time.Time) api.Signal {
	out := api.Signal{Endpoint: name, Since: s.Time, Until: s.Until, By: s.By, Silent: !now.Before(s.Until), Refused: s.Refused}
	out.State, out.Reason = string(s.State), strings.TrimSpace(s.Reason)
	if s.Score > 0 {
		out.Score = &s.Score
	}
	if l := s.Load; l != (health.Load{}) {
		out.Load = &api.SignalLoad{Current: l.Current, Target: l.Target, Capacity: l.Most}
	}
	return out
}

// addSignals has pools tell what is said of their endpoints.
func (s *Server) addSignals(pools []api.Pool) {
	for i := range pools {
		id := health.PoolID{Tenant: pools[i].Tenant, Pool: pools[i].Pool}
		pools[i].Signals = s.signalsOf(id)
		pools[i].Watched = len(pools[i].Signals) > 0 && s.onlyWatches(id)
	}
}

// onlyWatches reports whether no monitor of type signal has a say in a pool.
func (s *Server) onlyWatches(id health.PoolID) bool {
	resources := s.cfg.Mirror.Tenant(id.Tenant).Resources
	v, ok := resources.Get(spec.Key{Tenant: id.Tenant, Kind: spec.KindPool, Name: id.Pool})
	if !ok {
		return false
	}
	checks := v.Resource.Spec.(*spec.Pool).Checks
	return checks != nil && !slices.ContainsFunc(slices.Concat(checks.Of, checks.Critical), func(name string) bool {
		m, ok := resources.Get(spec.Key{Tenant: id.Tenant, Kind: spec.KindMonitor, Name: name})
		return ok && m.Resource.Spec.(*spec.Monitor).Type == spec.TypeSignal
	})
}
