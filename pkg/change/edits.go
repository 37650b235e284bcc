package change

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
)

// Target names a pool, or one endpoint of it.
type Target struct {
	Tenant, Pool string
	Endpoint     string // empty: the whole pool
}

// String gives shop/eu or shop/eu/a.
func (t Target) String() string {
	if t.Endpoint == "" {
		return t.Tenant + "/" + t.Pool
	}
	return t.Tenant + "/" + t.Pool + "/" + t.Endpoint
}

func (t Target) key() spec.Key {
	return spec.Key{Tenant: t.Tenant, Kind: spec.KindPool, Name: t.Pool}
}

// find gives the pool, having checked that the endpoint is in it.
func (t Target) find(s *State) (*spec.Resource, error) {
	r := s.Get(t.key())
	if r == nil {
		return nil, spec.Errors{missing(s, t.key())}
	}
	if t.Endpoint != "" {
		if err := hasEndpoint(r, t.Endpoint); err != nil && !r.Spec.(*spec.Pool).MayFind(t.Endpoint) {
			return nil, spec.Errors{err}
		}
	}
	return r, nil
}

func hasEndpoint(r *spec.Resource, name string) *spec.Error {
	var names []string
	for _, e := range r.Spec.(*spec.Pool).Endpoints {
		if e.Name == name {
			return nil
		}
		names = append(names, e.Name)
	}
	slices.Sort(names)
	e := &spec.Error{Resource: r.Key.String(), Field: "spec.endpoints", Msg: fmt.Sprintf("there is no endpoint %s", name)}
	if c := spec.Closest(name, names); c != "" {
		e.Hint = "did you mean " + c + "?"
	} else if len(names) == 0 {
		e.Hint = "none is declared; gtmctl describe pool lists those that are found"
	} else if len(names) <= 20 {
		e.Hint = "there are " + strings.Join(names, ", ")
	}
	return e
}

// Weights sets the weights of some endpoints of a pool.
func Weights(tenant, pool string, weights map[string]int) Edit {
	return func(s *State) ([]*spec.Resource, []spec.Key, error) {
		r, err := Target{Tenant: tenant, Pool: pool}.find(s)
		if err != nil {
			return nil, nil, err
		}
		var errs spec.Errors
		for _, name := range slices.Sorted(maps.Keys(weights)) {
			if e := hasEndpoint(r, name); e != nil {
				if r.Spec.(*spec.Pool).MayFind(name) {
					e.Msg = name + " is not declared: its source says what it weighs"
					e.Hint = "give it another weight for a while: gtmctl ramp"
				}
				errs.Add(e)
			}
		}
		if len(errs) > 0 {
			return nil, nil, errs
		}
		p := *r.Spec.(*spec.Pool)
		p.Endpoints = slices.Clone(p.Endpoints)
		for i := range p.Endpoints {
			if w, ok := weights[p.Endpoints[i].Name]; ok && (p.Endpoints[i].Weight == nil && w != 1 || p.Endpoints[i].Weight != nil) {
				p.Endpoints[i].Weight = &w
			}
		}
		return []*spec.Resource{r.With(&p)}, nil, nil
	}
}

// Hand is what a person says beside what is to be done.
type Hand struct {
	Reason, Author  string
	Starts, Expires time.Time     // zero: at once, and until it is taken back
	Over            time.Duration // how long it takes to get there; 0: it is there at once
}

// override makes one of what a person says.
func (h *Hand) override(o spec.Override) *spec.Override {
	o.Reason, o.Author = h.Reason, h.Author
	if !h.Starts.IsZero() {
		o.Starts = spec.TimeAt(h.Starts)
	}
	if !h.Expires.IsZero() {
		o.Expires = spec.TimeAt(h.Expires)
	}
	return &o
}

// Drain takes a target out of service, gently: it gets no new clients, and does not count as unhealthy. A
// drain that is there already gets the new reason, author and times.
func Drain(t Target, h Hand) Edit {
	return func(s *State) ([]*spec.Resource, []spec.Key, error) {
		pool, err := t.find(s)
		if err != nil {
			return nil, nil, err
		}
		o := h.override(spec.Override{Pool: t.Pool, Endpoint: t.Endpoint, State: spec.StateDrain})
		if h.Over > 0 {
			if t.Endpoint == "" {
				return nil, nil, spec.Errors{{Resource: t.key().String(), Msg: "a whole pool is drained at once",
					Hint: "take its share away first: gtmctl shift " + t.Tenant + "/SERVICE --rule RULE " + t.Pool + "=0 --over " +
						spec.Duration(h.Over).String()}}
			}
			o.Weight = &spec.Ramp{Over: spec.Duration(h.Over), From: weightNow(s, pool, t)}
		}
		r := &spec.Resource{Key: spec.Key{Tenant: t.Tenant, Kind: spec.KindOverride, Name: nameOf(s, t.String(), "drain", t.Pool,
			t.Endpoint)}}
		for _, old := range overridesOf(s, t) {
			if was := old.Spec.(*spec.Override); was.State == spec.StateDrain || was.State == "" {
				if r = old; !s.ended(old) && o.Weight == nil && !was.Ramps() {
					o.Weight = was.Weight
				}
			}
		}
		return []*spec.Resource{r.With(o)}, nil, nil
	}
}

// Undrain puts a drained target back.
func Undrain(t Target) Edit {
	return func(s *State) (put []*spec.Resource, deleted []spec.Key, err error) {
		if _, err := t.find(s); err != nil {
			return nil, nil, err
		}
		for _, r := range overridesOf(s, t) {
			o := *r.Spec.(*spec.Override)
			switch {
			case o.State != spec.StateDrain:
			case o.Weight == nil, o.Ramps() && o.Weight.From == nil:
				deleted = append(deleted, r.Key)
			default: // what else it overrides stays
				if o.Ramps() {
					o.Weight, o.Starts = &spec.Ramp{To: int(math.Round(*o.Weight.From))}, spec.Time{}
				}
				o.State = ""
				put = append(put, r.With(&o))
			}
		}
		if len(put)+len(deleted) == 0 {
			return nil, nil, notDrained(s, t)
		}
		return put, deleted, nil
	}
}

// Ramp gives an endpoint another weight, by an override.
func Ramp(t Target, to int, h Hand) Edit {
	return func(s *State) ([]*spec.Resource, []spec.Key, error) {
		pool, err := t.find(s)
		if err != nil {
			return nil, nil, err
		}
		o := h.override(spec.Override{Pool: t.Pool, Endpoint: t.Endpoint, Weight: &spec.Ramp{To: to, Over: spec.Duration(h.Over)}})
		if h.Over > 0 {
			o.Weight.From = weightNow(s, pool, t)
		}
		r := &spec.Resource{Key: spec.Key{Tenant: t.Tenant, Kind: spec.KindOverride, Name: nameOf(s, t.String(), "ramp", t.Pool,
			t.Endpoint)}}
		for _, old := range overridesOf(s, t) {
			was := old.Spec.(*spec.Override)
			if was.State != "" && !s.ended(old) {
				return nil, nil, spec.Errors{{Resource: old.Key.String(), Msg: fmt.Sprintf("%s is in somebody's hands already: %s, %s", t,
					was.State,
					was.Reason), Hint: "end that first: gtmctl " + map[bool]string{true: "undrain " + t.String(),
					false: "delete override " + old.Tenant + "/" + old.Name}[was.State == spec.StateDrain]}}
			}
			r = old
		}
		return []*spec.Resource{r.With(o)}, nil, nil
	}
}

// weightNow gives the weight that an override has given to an endpoint by now; nil: none holds.
func weightNow(s *State, pool *spec.Resource, t Target) *float64 {
	var overrides []*spec.Override
	holds := false
	for _, r := range s.Tenant(t.Tenant) {
		if o, ok := r.Spec.(*spec.Override); ok && o.Pool == t.Pool && o.Service == "" {
			overrides = append(overrides, o)
			holds = holds || o.Endpoint == t.Endpoint && o.Weight != nil && o.At(s.now).Holds
		}
	}
	if !holds {
		return nil
	}
	for _, c := range steer.NewPool(health.PoolID{Tenant: t.Tenant, Pool: t.Pool}, pool.Spec.(*spec.Pool), nil, overrides,
		s.now).Candidates {
		if spec.DeclaredName(c.Endpoint.Name) == t.Endpoint {
			return &c.Effective // nothing is known of its health: it is the weight
		}
	}
	return nil
}

// Shift gives pools of a rule other weights, by overrides.
func Shift(tenant, service, rule string, weights map[string]int, h Hand) Edit {
	return func(s *State) (put []*spec.Resource, deleted []spec.Key, err error) {
		key := spec.Key{Tenant: tenant, Kind: spec.KindService, Name: service}
		declared, ok := specOf(s.Get(key)).(*spec.Service)
		if !ok {
			return nil, nil, spec.Errors{missing(s, key)}
		}
		there := map[string]*spec.Resource{} // by what they are of
		var ofRule []*spec.Override
		at := declared.RuleNamed(rule)
		for _, r := range s.Tenant(tenant) {
			if o, ok := r.Spec.(*spec.Override); ok && at >= 0 && o.OfRule(service, declared, at) {
				there[o.Pool] = r
				ofRule = append(ofRule, o)
			}
		}
		for _, pool := range slices.Sorted(maps.Keys(weights)) {
			o := h.override(spec.Override{Service: service, Rule: rule, Pool: pool,
				Weight: &spec.Ramp{To: weights[pool], Over: spec.Duration(h.Over)}})
			r := there[pool]
			if r == nil {
				r = &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindOverride,
					Name: nameOf(s, tenant+"/"+service+"/"+rule+"/"+pool, "shift", service, rule, pool)}}
			} else if was := r.Spec.(*spec.Override); h.Over > 0 && was.At(s.now).Holds {
				if from, ok := steer.RuleWeights(declared.Rules[at].Pools, ofRule, s.now)[pool]; ok {
					o.Weight.From = &from
				}
			}
			put = append(put, r.With(o))
		}
		return put, nil, nil
	}
}

func notDrained(s *State, t Target) error {
	e := &spec.Error{Resource: t.key().String(), Msg: fmt.Sprintf("%s is not drained", t)}
	var drained []string
	for _, r := range s.Tenant(t.Tenant) {
		if o, ok := r.Spec.(*spec.Override); ok && o.Pool == t.Pool && o.State == spec.StateDrain {
			drained = append(drained, Target{t.Tenant, o.Pool, o.Endpoint}.String())
		}
	}
	if len(drained) > 0 {
		e.Hint = "drained are " + strings.Join(drained, ", ")
	}
	return spec.Errors{e}
}

// Hold freezes a service of a tenant by what is known of its pools. A hold that is there already gets the new reason, author and expiry,
// and what is known now.
func Hold(service spec.Key, known map[string]spec.Scores, h Hand) Edit {
	return func(s *State) ([]*spec.Resource, []spec.Key, error) {
		if s.Get(service) == nil {
			return nil, nil, spec.Errors{missing(s, service)}
		}
		o := h.override(spec.Override{Service: service.Name, Hold: known})
		r := &spec.Resource{Key: spec.Key{Tenant: service.Tenant, Kind: spec.KindOverride,
			Name: nameOf(s, service.Tenant+"/service "+service.Name, "hold", service.Name)}}
		for _, old := range holdsOf(s, service) {
			r = old
		}
		return []*spec.Resource{r.With(o)}, nil, nil
	}
}

// Unhold lets a service answer by what is known again.
func Unhold(service spec.Key) Edit {
	return func(s *State) (put []*spec.Resource, deleted []spec.Key, err error) {
		if s.Get(service) == nil {
			return nil, nil, spec.Errors{missing(s, service)}
		}
		for _, r := range holdsOf(s, service) {
			deleted = append(deleted, r.Key)
		}
		if len(deleted) == 0 {
			return nil, nil, spec.Errors{{Resource: service.String(), Msg: fmt.Sprintf("%s/%s is not held", service.Tenant, service.Name)}}
		}
		return nil, deleted, nil
	}
}

// holdsOf gives the overrides that hold a service, sorted by key.
func holdsOf(s *State, service spec.Key) (out []*spec.Resource) {
	for _, r := range s.Tenant(service.Tenant) {
		if o, ok := r.Spec.(*spec.Override); ok && o.Hold != nil && o.Service == service.Name {
			out = append(out, r)
		}
	}
	return out
}

// overridesOf gives the overrides of exactly this target, sorted by key.
func overridesOf(s *State, t Target) (out []*spec.Resource) {
	for _, r := range s.Tenant(t.Tenant) {
		if o, ok := r.Spec.(*spec.Override); ok && o.Service == "" && o.Pool == t.Pool && o.Endpoint == t.Endpoint {
			out = append(out, r)
		}
	}
	return out
}

// nameOf names the override of a target, so that people see what it is about: drain-eu-a.
func nameOf(s *State, target string, words ...string) string {
	name := strings.Trim(strings.ToLower(strings.Join(words, "-")), "-")
	const longest = 63
	if len(name) <= longest {
		other := s.Get(spec.Key{Tenant: strings.Split(target, "/")[0], Kind: spec.KindOverride, Name: name})
		if other == nil {
			return name
		}
	}
	h := fnv.New32a()
	h.Write([]byte(target))
	suffix := fmt.Sprintf("-%08x", h.Sum32())
	return name[:min(len(name), longest-len(suffix))] + suffix
}
