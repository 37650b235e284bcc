package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/control/plans"
	"github.com/gti/gtm/pkg/control/share"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// soonestExpiry is how long a list that is pushed holds at least: who pushes it shall have the time to push it again.
const soonestExpiry = 10 * time.Second

// sourceInput is a request about a source.
type sourceInput[T any] struct {
	Tenant string `path:"tenant"`
	Pool   string `path:"pool"`
	Source string `path:"source"`
	Body   T
}

type sourcesInput struct {
	Tenant string `path:"tenant"`
	Body   api.PushesRequest
}

type dropInput struct {
	Tenant string `path:"tenant"`
	Pool   string `path:"pool"`
	Source string `path:"source"`
}

func (s *Server) routeSources(h huma.API) {
	huma.Register(h, operation("push", need{access.Operate, inPath}, http.MethodPut, "/endpoints/{tenant}/{pool}/{source}",
		"Tell the endpoints that a source of a pool has"), s.pushOne)
	huma.Register(h, operation("push-all", need{access.Operate, inPath}, http.MethodPut, "/endpoints/{tenant}",
		"Tell the endpoints of several sources at once"), s.pushAll)
	huma.Register(h, operation("push-none", need{access.Operate, inPath}, http.MethodDelete, "/endpoints/{tenant}/{pool}/{source}",
		"Take away what was pushed to a source"), s.pushNone)
}

func (s *Server) pushOne(ctx context.Context, in *sourceInput[api.PushRequest]) (*reply[api.PushReply], error) {
	return s.pushLists(ctx, in.Tenant, []api.PushList{{Pool: in.Pool, Source: in.Source, PushRequest: in.Body}})
}

func (s *Server) pushAll(ctx context.Context, in *sourcesInput) (*reply[api.PushReply], error) {
	switch n := len(in.Body.Lists); {
	case n == 0:
		return nil, problemf(http.StatusUnprocessableEntity, "lists: wants at least one")
	case n > store.MostLists:
		return nil, problemf(http.StatusUnprocessableEntity, "lists: has %d: one request can have at most %d", n, store.MostLists)
	}
	return s.pushLists(ctx, in.Tenant, in.Body.Lists)
}

// pushNone takes away what was pushed: a person's or a program's plain word, in any case.
func (s *Server) pushNone(ctx context.Context, in *dropInput) (*reply[api.PushReply], error) {
	p, _, err := s.pushed(ctx, in.Tenant, in.Pool, in.Source)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now().UTC()
	f := spec.Found{Tenant: in.Tenant, Pool: in.Pool, Source: in.Source, Of: spec.FindPushed, Since: now, Good: now, By: authorOf(ctx)}
	return s.putLists(ctx, []spec.Found{f}, []*spec.Resource{p}, true)
}

// pushLists checks all lists before it writes any.
func (s *Server) pushLists(ctx context.Context, tenant string, lists []api.PushList) (*reply[api.PushReply], error) {
	found, pools := make([]spec.Found, len(lists)), make([]*spec.Resource, len(lists))
	seen := map[state.SourceID]bool{}
	for i := range lists {
		l := &lists[i]
		p, source, err := s.pushed(ctx, tenant, l.Pool, l.Source)
		if err != nil {
			return nil, err
		}
		if found[i], err = s.foundOf(p.Key, source, &l.PushRequest, authorOf(ctx)); err != nil {
			return nil, problemf(http.StatusUnprocessableEntity, "%s, source %s: %v", p.Key, l.Source, err)
		}
		if id := state.SourceOf(found[i]); seen[id] {
			return nil, problemf(http.StatusUnprocessableEntity, "%s, source %s: stands twice", p.Key, l.Source)
		} else {
			seen[id] = true
		}
		pools[i] = p
	}
	return s.putLists(ctx, found, pools, false)
}

// putLists writes lists of a tenant, but for those that the store has; anyway: whatever the tenant has written before.
func (s *Server) putLists(ctx context.Context, found []spec.Found, pools []*spec.Resource, anyway bool) (*reply[api.PushReply], error) {
	if err := s.mayChange(ctx); err != nil {
		return nil, err
	}
	news, err := s.newsOf(ctx, found)
	if err == nil && len(news) > 0 {
		err = s.writeLists(ctx, news, anyway)
	}
	s.metrics.pushed(len(news), len(found), err)
	if err != nil {
		return nil, err
	}
	out := api.PushReply{Sources: []api.PoolSource{}}
	for i := range found {
		p := pools[i].Spec.(*spec.Pool)
		at := slices.IndexFunc(p.Discover, func(d spec.Source) bool { return d.Name == found[i].Source })
		out.Sources = append(out.Sources, sourceOf(p, &p.Discover[at], &found[i]))
	}
	return &reply[api.PushReply]{out}, nil
}

// newsOf gives the lists that are to be written, and puts into the places of others what the store has.
func (s *Server) newsOf(ctx context.Context, found []spec.Found) (news []spec.Found, err error) {
	said := slices.Clone(found)
	var same []spec.Found
	for i := range found {
		if was := s.found(state.SourceOf(found[i])); was != nil && saysSame(was, &found[i], s.cfg.Now()) {
			found[i] = *was
			same = append(same, *was)
		} else {
			news = append(news, found[i])
		}
	}
	if len(same) == 0 {
		return news, nil
	}
	switch has, err := s.cfg.Store.HasFound(ctx, same...); {
	case err != nil:
		return nil, problemOf(err)
	case !has: // the mirror is behind: another control was told something else
		copy(found, said)
		return said, nil
	}
	return news, nil
}

// saysSame reports whether a list that was pushed says what the last one does, and that holds long enough: then it need not be written.
func saysSame(was, is *spec.Found, now time.Time) bool {
	empty := len(was.Endpoints) == 0
	if was.Of != is.Of || !was.Failed.IsZero() || was.By != is.By && !empty || was.Notes != is.Notes ||
		!slices.EqualFunc(was.Endpoints, is.Endpoints, spec.FoundEndpoint.Equal) {
		return false
	}
	if was.Expires.IsZero() || is.Expires.IsZero() {
		return was.Expires.Equal(is.Expires)
	}
	return !was.Expires.After(is.Expires) && was.Expires.Sub(now) >= is.Expires.Sub(now)/2
}

// writeLists writes lists, within their tenant's share, and waits until they are seen.
func (s *Server) writeLists(ctx context.Context, lists []spec.Found, anyway bool) error {
	tenant, bytes := lists[0].Tenant, 0
	for _, f := range lists {
		value, err := state.Discovered.Encode(f)
		if err != nil {
			return problemOf(fmt.Errorf("%s/%s %s: %w", f.Tenant, f.Pool, f.Source, err))
		}
		bytes += max(len(value), share.Least)
	}
	if anyway {
		s.pushes.Pay(tenant, bytes)
	} else if wait := s.pushes.Take(tenant, bytes); wait > 0 {
		seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
		return huma.ErrorWithHeaders(problemf(http.StatusTooManyRequests, "%s pushes endpoints faster than its share of the store allows; "+
			"nothing was taken, try again in %s s", tenant, seconds), http.Header{"Retry-After": {seconds}})
	}
	ended, err := s.mayPush(ctx, lists)
	if err != nil {
		s.pushes.Pay(tenant, share.Least-bytes)
		return err
	}
	err = s.cfg.Store.PushFound(ctx, lists...)
	if ended(err); err != nil {
		s.pushes.Pay(tenant, share.Least-bytes)
		return problemOf(err)
	}
	for _, f := range lists {
		s.cfg.Logger.Info("endpoints were pushed", "tenant", f.Tenant, "pool", f.Pool, "source", f.Source, "endpoints", len(f.Endpoints),
			"author", f.By)
	}
	s.seenFound(ctx, lists)
	return nil
}

// mayPush asks guards of lists that say something new, and notes in the audit log that these come; ended notes whether they did. A list
// that only says on what was said before is neither judged nor noted.
func (s *Server) mayPush(ctx context.Context, lists []spec.Found) (ended func(error), err error) {
	var news []spec.Found
	var words []string
	for _, f := range lists {
		var had []spec.FoundEndpoint
		if was := s.found(state.SourceOf(f)); was != nil {
			had = was.Endpoints
		}
		if !slices.EqualFunc(had, f.Endpoints, spec.FoundEndpoint.Equal) {
			news = append(news, f)
			words = append(words, fmt.Sprintf("%s/%s has %d endpoints (had %d)", f.Pool, f.Source, len(f.Endpoints), len(had)))
		}
	}
	if len(news) == 0 {
		return func(error) {}, nil
	}
	tenant, author, what, glass := news[0].Tenant, authorOf(ctx), printable(strings.Join(words, ", "), maxMessage), glassOf(ctx)
	said, err := s.changer.JudgeFound(ctx, tenant, news)
	if err != nil {
		return nil, problemOf(err)
	}
	refused, _, observed := guards.Split(said)
	guarded := len(refused)
	if may := plans.MayBreak(grantsOf(ctx)); glass != "" {
		refused = slices.DeleteFunc(refused, func(r guards.Refusal) bool { return may(&r) })
	}
	for i := range observed {
		s.cfg.Logger.Warn("a guard that observes would refuse endpoints that are pushed", "tenant", tenant, "author", author,
			"guard", observed[i].Guard.String(), "why", observed[i].Text)
	}
	if len(refused) > 0 {
		return nil, s.unpushed(ctx, news, glass, what, &change.RefusedError{Refusals: refused})
	}
	act := chain.ActPush
	if guarded > 0 {
		act, what = chain.ActBreakGlass, glass+": "+what
		s.cfg.Logger.Warn("somebody broke the glass for endpoints that are pushed", "tenant", tenant, "author", author, "reason", what)
	}
	if ended, err = s.cfg.Audit.Ask(act, author, tenant, "", what); err != nil {
		return nil, problemOf(err)
	}
	return ended, nil
}

// unpushed keeps what was pushed before, and tells who refused lists. What is kept holds as long as these would have: else it would be gone
// with its end, all of it, and the next list judged by nothing.
func (s *Server) unpushed(ctx context.Context, lists []spec.Found, glass, what string, refusal *change.RefusedError) error {
	var kept []spec.Found
	for _, f := range lists {
		was := s.found(state.SourceOf(f))
		if was == nil || len(was.Endpoints) == 0 || len(f.Endpoints) == 0 || was.Expires.IsZero() { // or the list was to go
			continue
		}
		if f.Expires.IsZero() || f.Expires.After(was.Expires) {
			longer := *was
			longer.Expires = f.Expires
			kept = append(kept, longer)
		}
	}
	if len(kept) > 0 {
		if err := s.cfg.Store.PushFound(ctx, kept...); err != nil {
			return problemOf(err)
		}
	}
	act, status, why := chain.ActPush, http.StatusConflict, ""
	if glass != "" {
		act, status, why = chain.ActBreakGlass, http.StatusForbidden, ", and "+authorOf(ctx)+" may not break the glass of it"
	}
	s.cfg.Audit.Refuse(act, authorOf(ctx), []string{lists[0].Tenant}, "", what, refusal)
	v := s.viewOf(ctx)
	p := problemf(status, "%s%s; nothing was taken, and what was pushed before holds on", v.text(refusedBy(refusal)), why)
	p.Errors = v.said(refusal)
	return p
}

// seenFound waits a while for the mirror to have what was pushed, or something newer, so that who asks next sees it.
func (s *Server) seenFound(ctx context.Context, found []spec.Found) {
	ctx, cancel := context.WithTimeout(ctx, mirrorTime)
	defer cancel()
	has := func(f spec.Found) bool {
		is := s.found(state.SourceOf(f))
		return is != nil && !is.Good.Before(f.Good)
	}
	for {
		changed := s.cfg.Mirror.Changed()
		if !slices.ContainsFunc(found, func(f spec.Found) bool { return !has(f) }) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// pushed gives a pool, and a source of it that is pushed.
func (s *Server) pushed(ctx context.Context, tenant, pool, source string) (*spec.Resource, *spec.Source, error) {
	key := spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: pool}
	v, err := s.find(ctx, &key)
	if err != nil {
		return nil, nil, err
	}
	r := v.Resource
	p, ok := specOf[*spec.Pool](r)
	if !ok {
		return nil, nil, problemf(http.StatusConflict, "%s cannot be read by this control", key)
	}
	var names []string
	for i := range p.Discover {
		if d := &p.Discover[i]; d.Pushed && d.Name == source {
			if p.DiscoverMode() == spec.ModeOff {
				return nil, nil, problemf(http.StatusConflict, "%s: its spec.modes.discover is off", key)
			}
			return r, d, nil
		} else if d.Pushed {
			names = append(names, d.Name)
		}
	}
	hint := "it has none that is pushed: add one as in {name: fleet, pushed: true} to spec.discover"
	if len(names) > 0 {
		hint = "there are " + strings.Join(names, ", ")
	}
	return nil, nil, problemf(http.StatusNotFound, "%s has no source %q that is pushed; %s", key, source, hint)
}

// foundOf checks a list that was pushed.
func (s *Server) foundOf(pool spec.Key, source *spec.Source, in *api.PushRequest, by string) (f spec.Found, err error) {
	now := s.cfg.Now().UTC()
	list := make([]spec.FoundEndpoint, len(in.Endpoints))
	for i, e := range in.Endpoints {
		address, err := netip.ParseAddr(e.Address)
		if err != nil {
			return f, fmt.Errorf("endpoints[%d].address %.60q is not an address", i, e.Address)
		}
		list[i] = spec.FoundEndpoint{Address: address, Port: e.Port, Weight: e.Weight}
	}
	f = spec.Found{Tenant: pool.Tenant, Pool: pool.Name, Source: source.Name, Of: spec.FindPushed, Since: now, Good: now, By: by}
	if f.Expires, err = expiryOf(in, now); err != nil {
		return f, err
	}
	if f.Endpoints, f.Notes, err = source.CheckFound(list); err != nil {
		return f, err
	}
	if len(f.Endpoints) == 0 && source.Empty != spec.EmptyTake {
		return f, errors.New("a list without endpoints is not taken: spec.discover[].empty: take allows it, and DELETE takes away what " +
			"was pushed")
	}
	if was, ok := state.Discovered.Get(s.cfg.Mirror, state.SourceOf(f)); ok &&
		slices.EqualFunc(was.Endpoints, f.Endpoints, spec.FoundEndpoint.Equal) && !was.Since.IsZero() {
		f.Since = was.Since
	}
	return f, nil
}

// expiryOf gives until when a list holds; zero: until another one comes.
func expiryOf(in *api.PushRequest, now time.Time) (end time.Time, err error) {
	switch {
	case in.For != "" && !in.Expires.IsZero():
		return end, errors.New("for and expires say the same: give one of them")
	case in.For != "":
		d, err := spec.ParseDuration(in.For)
		if err != nil || d < soonestExpiry {
			return end, fmt.Errorf("for: %q is not at least %s: push again before it is over", in.For, soonestExpiry)
		}
		return now.Add(d), nil
	case in.Expires.IsZero():
		return end, nil
	case in.Expires.Before(now.Add(soonestExpiry)):
		return end, fmt.Errorf("expires: %s is not at least %s from now: say for, as in 10m, if clocks differ",
			in.Expires.UTC().Format(time.RFC3339), soonestExpiry)
	}
	return in.Expires.UTC(), nil
}

// found gives what a source has; nil: it never had anything.
func (s *Server) found(id state.SourceID) *spec.Found {
	f, ok := state.Discovered.Get(s.cfg.Mirror, id)
	if !ok {
		return nil
	}
	return &f
}

// foundFor gives what the sources of one pool have.
func (h *tenantHealth) foundFor(pool *spec.Resource) func(source string) *spec.Found {
	return func(source string) *spec.Found {
		return h.found(state.SourceID{Tenant: pool.Tenant, Pool: pool.Name, Source: source})
	}
}

// sourcesOf tells of the sources of a pool.
func sourcesOf(p *spec.Pool, found func(source string) *spec.Found) (out []api.PoolSource) {
	for i := range p.Discover {
		out = append(out, sourceOf(p, &p.Discover[i], found(p.Discover[i].Name)))
	}
	return out
}

// sourceOf tells of one source; found may be nil.
func sourceOf(p *spec.Pool, s *spec.Source, found *spec.Found) api.PoolSource {
	mode := p.DiscoverMode()
	out := api.PoolSource{Name: s.Name, Of: s.Of(), Observed: mode == spec.ModeObserve, Off: mode == spec.ModeOff}
	if found == nil || out.Off { // what it had is forgotten, soon if not yet
		return out
	}
	out.Endpoints, out.Since, out.Leaving, out.Notes = len(found.Endpoints), found.Since, found.Leaving, found.Notes
	out.Failed, out.Error, out.Good, out.By, out.Expires = found.Failed, found.Error, found.Good, found.By, found.Expires
	return out
}
