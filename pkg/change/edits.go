package change

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/spec"
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
		if err := hasEndpoint(r, t.Endpoint); err != nil {
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

// Drain takes a target out of service, gently: it gets no new clients, and does not count as unhealthy. A
// drain that is there already gets the new reason, author and expiry. A zero expires: until it is undrained.
func Drain(t Target, reason, author string, expires time.Time) Edit {
	return func(s *State) ([]*spec.Resource, []spec.Key, error) {
		if _, err := t.find(s); err != nil {
			return nil, nil, err
		}
		o := &spec.Override{Pool: t.Pool, Endpoint: t.Endpoint, State: spec.StateDrain, Reason: reason, Author: author}
		if !expires.IsZero() {
			o.Expires = spec.TimeAt(expires)
		}
		r := &spec.Resource{Key: spec.Key{Tenant: t.Tenant, Kind: spec.KindOverride, Name: drainName(s, t)}}
		for _, old := range overridesOf(s, t) {
			if was := old.Spec.(*spec.Override); was.State == spec.StateDrain || was.State == "" {
				if r = old; !s.ended(old) {
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
			case o.Weight == nil:
				deleted = append(deleted, r.Key)
			default: // what else it overrides stays
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
// and what is known now. A zero expires: until it is released.
func Hold(service spec.Key, known map[string]spec.Scores, reason, author string, expires time.Time) Edit {
	return func(s *State) ([]*spec.Resource, []spec.Key, error) {
		if s.Get(service) == nil {
			return nil, nil, spec.Errors{missing(s, service)}
		}
		o := &spec.Override{Service: service.Name, Hold: known, Reason: reason, Author: author}
		if !expires.IsZero() {
			o.Expires = spec.TimeAt(expires)
		}
		r := &spec.Resource{Key: spec.Key{Tenant: service.Tenant, Kind: spec.KindOverride, Name: freeName(s, service.Tenant,
			"hold-"+service.Name, "service "+service.Name)}}
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
		if o, ok := r.Spec.(*spec.Override); ok && o.Pool == t.Pool && o.Endpoint == t.Endpoint {
			out = append(out, r)
		}
	}
	return out
}

// drainName names the override of a drain, so that people see what it is about: drain-eu-a.
func drainName(s *State, t Target) string {
	name := "drain-" + t.Pool
	if t.Endpoint != "" {
		name += "-" + t.Endpoint
	}
	return freeName(s, t.Tenant, name, t.String())
}

// freeName gives a name for an override of what: the one that is wanted, if it is short enough and free.
func freeName(s *State, tenant, name, what string) string {
	const longest = 63
	if len(name) <= longest {
		other := s.Get(spec.Key{Tenant: tenant, Kind: spec.KindOverride, Name: name})
		if other == nil {
			return name
		}
	}
	h := fnv.New32a()
	h.Write([]byte(what))
	suffix := fmt.Sprintf("-%08x", h.Sum32())
	return name[:min(len(name), longest-len(suffix))] + suffix
}
