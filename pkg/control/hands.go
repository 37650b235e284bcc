package control

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/change/outlook"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// poolInput is a request about a pool. (huma cannot fill embedded structs of unexported types.)
type poolInput[T any] struct {
	Tenant string `path:"tenant"`
	Pool   string `path:"pool"`
	Body   T
}

// serviceInput is a request about a service.
type serviceInput[T any] struct {
	Tenant  string `path:"tenant"`
	Service string `path:"service"`
	Body    T
}

type weightsInput struct {
	Tenant  string `path:"tenant"`
	Service string `path:"service"`
}

func (s *Server) routeHands(h huma.API) {
	huma.Register(h, operation("weights", need{access.Operate, inPath}, http.MethodPost, "/pools/{tenant}/{pool}/weights",
		"Set weights of endpoints"), s.weights)
	huma.Register(h, operation("drain", need{access.Operate, inPath}, http.MethodPost, "/pools/{tenant}/{pool}/drain",
		"Take an endpoint or a pool out of new answers"), s.drain)
	huma.Register(h, operation("undrain", need{access.Operate, inPath}, http.MethodPost, "/pools/{tenant}/{pool}/undrain", "End a drain"),
		s.undrain)
	huma.Register(h, operation("ramp", need{access.Operate, inPath}, http.MethodPost, "/pools/{tenant}/{pool}/ramp",
		"Give an endpoint another weight for a while"), s.ramp)
	huma.Register(h, operation("shift", need{access.Operate, inPath}, http.MethodPost, "/services/{tenant}/{service}/shift",
		"Give the pools of a rule other weights for a while"), s.shift)
	huma.Register(h, operation("service-weights", need{access.Read, inPath}, http.MethodGet, "/services/{tenant}/{service}/weights",
		"From which pools a service answers, and how often"), s.serviceWeights)
}

func (s *Server) weights(ctx context.Context, in *poolInput[api.WeightsRequest]) (*reply[api.ApplyReply], error) {
	b := &in.Body
	edit := s.careful(change.Weights(in.Tenant, in.Pool, b.Weights), in.Tenant, in.Pool, b.Force)
	return s.byHand(ctx, in.Tenant, edit, change.Input{Author: authorOf(ctx), Message: b.Message, Expect: expected(b.Expect)}, b.Force,
		b.DryRun)
}

func (s *Server) drain(ctx context.Context, in *poolInput[api.DrainRequest]) (*reply[api.ApplyReply], error) {
	b := &in.Body
	hand, err := s.hand(ctx, "a drain", b.Reason, b.Times)
	if err != nil {
		return nil, err
	}
	target := change.Target{Tenant: in.Tenant, Pool: in.Pool, Endpoint: b.Endpoint}
	edit := s.careful(change.Drain(target, hand), in.Tenant, in.Pool, b.Force)
	out, err := s.byHand(ctx, in.Tenant, edit, change.Input{Author: hand.Author, Message: fmt.Sprintf("drain %s: %s", target, hand.Reason)},
		b.Force, b.DryRun)
	if err != nil {
		return nil, err
	}
	out.Body.Starts, out.Body.Ends = hand.Starts, hand.Expires
	key := spec.Key{Tenant: in.Tenant, Kind: spec.KindPool, Name: in.Pool}
	s.tail(out.Body.Outlook, key)
	if p, ok := s.pool(key); ok && b.Endpoint != "" && !slices.ContainsFunc(p.Endpoints, func(e api.Endpoint) bool {
		return spec.DeclaredName(e.Name) == b.Endpoint
	}) {
		out.Body.Warnings = append(out.Body.Warnings, api.Issue{Location: key.String(),
			Message: "no source has " + b.Endpoint + " at present: it is drained from when it is found"})
	}
	return out, nil
}

func (s *Server) undrain(ctx context.Context, in *poolInput[api.DrainRequest]) (*reply[api.ApplyReply], error) {
	target := change.Target{Tenant: in.Tenant, Pool: in.Pool, Endpoint: in.Body.Endpoint}
	return s.carryOut(ctx, change.Input{Author: authorOf(ctx), Message: fmt.Sprintf("undrain %s", target),
		Edit: change.Undrain(target)}, in.Body.DryRun, in.Tenant)
}

func (s *Server) ramp(ctx context.Context, in *poolInput[api.RampRequest]) (*reply[api.ApplyReply], error) {
	b := &in.Body
	hand, err := s.hand(ctx, "a ramp", b.Reason, b.Times)
	if err != nil {
		return nil, err
	}
	target := change.Target{Tenant: in.Tenant, Pool: in.Pool, Endpoint: b.Endpoint}
	edit := s.careful(change.Ramp(target, b.To, hand), in.Tenant, in.Pool, b.Force)
	out, err := s.byHand(ctx, in.Tenant, edit, change.Input{Author: hand.Author,
		Message: fmt.Sprintf("ramp %s to %d: %s", target, b.To, hand.Reason)}, b.Force, b.DryRun)
	if err == nil {
		out.Body.Starts, out.Body.Ends = hand.Starts, hand.Expires
	}
	return out, err
}

func (s *Server) shift(ctx context.Context, in *serviceInput[api.ShiftRequest]) (*reply[api.ApplyReply], error) {
	b := &in.Body
	hand, err := s.hand(ctx, "a shift", b.Reason, b.Times)
	if err != nil {
		return nil, err
	}
	var words []string
	for _, pool := range slices.Sorted(maps.Keys(b.Weights)) {
		words = append(words, fmt.Sprintf("%s=%d", pool, b.Weights[pool]))
	}
	out, err := s.byHand(ctx, in.Tenant, change.Shift(in.Tenant, in.Service, b.Rule, b.Weights, hand), change.Input{Author: hand.Author,
		Message: fmt.Sprintf("shift rule %s of %s/%s to %s: %s", b.Rule, in.Tenant, in.Service, strings.Join(words, " "), hand.Reason)},
		b.Force, b.DryRun)
	if err == nil {
		out.Body.Starts, out.Body.Ends = hand.Starts, hand.Expires
	}
	return out, err
}

// hand reads why and when.
func (s *Server) hand(ctx context.Context, what, reason string, t api.Times) (h change.Hand, err error) {
	h = change.Hand{Reason: reason, Author: authorOf(ctx)}
	if strings.TrimSpace(reason) == "" {
		return h, problemf(http.StatusUnprocessableEntity, "%s needs a reason, so that others know (--reason)", what)
	}
	if t.For != "" && t.Until != "" {
		return h, problemf(http.StatusUnprocessableEntity, "for and until cannot both be given")
	}
	if h.Over, err = durationOf("over", t.Over); err != nil {
		return h, err
	}
	if h.Starts, err = momentOf("starts", t.Starts); err != nil {
		return h, err
	}
	if h.Expires, err = momentOf("until", t.Until); err != nil {
		return h, err
	}
	long, err := durationOf("for", t.For)
	if long > 0 {
		begins := s.cfg.Now()
		if !h.Starts.IsZero() {
			begins = h.Starts
		}
		h.Expires = begins.Add(long)
	}
	return h, err
}

// durationOf reads how long something takes; 0: nothing is said.
func durationOf(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := spec.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, problemf(http.StatusUnprocessableEntity, "%s: %q is not a time as in 1h30m or 1d", field, text)
	}
	return d, nil
}

// momentOf reads a moment; zero: nothing is said.
func momentOf(field, text string) (time.Time, error) {
	moment, ok := spec.TimeOf(text).Moment()
	if !ok && text != "" {
		return moment, problemf(http.StatusUnprocessableEntity, "%s: %q is not a time as in 2030-01-31T18:00:00Z", field, text)
	}
	return moment, nil
}

// byHand carries out an edit of what clients are sent to, and tells what it leaves; what leaves a rule without a pool is to be forced.
func (s *Server) byHand(ctx context.Context, tenant string, edit change.Edit, in change.Input, force, dryRun bool) (*reply[api.ApplyReply],
	error) {
	var foreseen change.Outlook
	in.Edit = change.Foreseen(edit, tenant, s.verdicts(), force, &foreseen)
	out, err := s.carryOut(ctx, in, dryRun, tenant)
	if err != nil {
		return nil, err
	}
	out.Body.Outlook = outlookOf(&foreseen)
	return out, nil
}

// verdicts gives what is known of pools at present.
func (s *Server) verdicts() func(health.PoolID) *health.Verdict {
	known := s.cfg.Mirror.Verdicts()
	return func(id health.PoolID) *health.Verdict {
		if v, ok := known[id]; ok {
			return &v
		}
		return nil
	}
}

// careful has an edit of a pool refused where it would take the last that clients are sent to; force: not.
func (s *Server) careful(edit change.Edit, tenant, pool string, force bool) change.Edit {
	if force {
		return edit
	}
	return change.Careful(edit, tenant, pool, func(key spec.Key) bool {
		p, ok := s.pool(key)
		return ok && !p.Up
	})
}

func outlookOf(o *change.Outlook) *api.Outlook {
	out := &api.Outlook{At: o.At.UTC(), More: o.More, Tail: int64(o.TTL)}
	for _, r := range o.Rules {
		sites := map[string]*api.SiteShare{}
		site := func(name string) *api.SiteShare {
			if sites[name] == nil {
				sites[name] = &api.SiteShare{Site: name}
			}
			return sites[name]
		}
		for _, p := range r.Before.Pools {
			site(p.Site).Before += p.Share
		}
		for _, p := range r.After.Pools {
			site(p.Site).After += p.Share
		}
		rule := api.RuleOutlook{Service: r.Service, Rule: r.After.Name, Region: r.Region,
			Before: capacityOf(&r.Before), After: capacityOf(&r.After)}
		for _, name := range slices.Sorted(maps.Keys(sites)) {
			if share := *sites[name]; share.Before+share.After > 0 {
				rule.Sites = append(rule.Sites, share)
			}
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

func capacityOf(r *outlook.Rule) (c api.Capacity) {
	c.Instead = string(r.Tier)
	for _, p := range r.Pools {
		c.Endpoints += p.Taking
		c.Pools += p.UpPools
	}
	return c
}

// tail tells until when clients may hold on to what is drained: as long as the last answer may be kept, and then as long as a session
// lasts.
func (s *Server) tail(o *api.Outlook, pool spec.Key) {
	v, _ := s.cfg.Mirror.Tenant(pool.Tenant).Resources.Get(pool)
	p, ok := specOf[*spec.Pool](v.Resource)
	if !ok {
		return
	}
	ttl := time.Duration(o.Tail) * time.Second
	o.Why = "TTL " + spec.Duration(ttl).String()
	if p.Session > 0 {
		o.Why += ", sessions " + p.Session.String()
	}
	o.Tail += int64(time.Duration(p.Session) / time.Second)
	o.Gone = o.At.Add(ttl + time.Duration(p.Session))
}

func specOf[T spec.Spec](r *spec.Resource) (s T, ok bool) {
	if r == nil {
		return s, false
	}
	s, ok = r.Spec.(T)
	return s, ok
}

// serviceWeights tells what steers a service at present.
func (s *Server) serviceWeights(ctx context.Context, in *weightsInput) (*reply[api.ServiceWeights], error) {
	key := spec.Key{Tenant: in.Tenant, Kind: spec.KindService, Name: in.Service}
	if _, err := s.find(ctx, &key); err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	out := api.ServiceWeights{Time: now.UTC(), Service: key, Rules: []api.RuleWeights{}}
	pools := map[string]bool{}
	for _, r := range outlook.New(joinedLookup{lookup{s.cfg.Mirror}}, in.Tenant, s.verdicts(), now).Rules(in.Service) {
		rule := api.RuleWeights{Rule: r.Name, TTL: r.TTL, Instead: string(r.Tier), Next: r.Next, Pools: []api.PoolWeights{}}
		for _, p := range r.Pools {
			pools[p.Name] = true
			rule.Pools = append(rule.Pools, api.PoolWeights{Pool: p.Name, Site: p.Site, Declared: p.Declared, Weight: p.Weight,
				Share: p.Share,
				Up:    p.Up, Why: p.Why, Endpoints: p.Endpoints, Taking: p.Taking})
		}
		out.Rules = append(out.Rules, rule)
	}
	for _, v := range sorted(s.cfg.Mirror.Tenant(in.Tenant)) {
		o, ok := v.Resource.Spec.(*spec.Override)
		if !ok || o.Service != in.Service && (o.Service != "" || !pools[o.Pool]) {
			continue
		}
		if term := o.At(now); term.Holds || !term.Next.IsZero() {
			out.Overrides = append(out.Overrides, overrideOf(v.Resource, now))
		}
	}
	return &reply[api.ServiceWeights]{out}, nil
}
