package change

import (
	"fmt"
	"slices"

	"github.com/gti/gtm/pkg/spec"
)

// AskError: a change would take the last that clients are sent to. It is made where somebody says that this is meant.
type AskError struct{ What string }

func (e *AskError) Error() string {
	return e.What + "; nothing was changed: if that is meant, say so with --force (in the API: force)"
}

// Careful gives an edit that is refused with an *AskError where it would leave a pool with no endpoint that takes clients, and either by
// setting all of its weights to 0, or so that a rule has no other pool for them. Pools that are known to be down do not count;
// down nil: none is.
func Careful(edit Edit, tenant, pool string, down func(spec.Key) bool) Edit {
	key := Target{Tenant: tenant, Pool: pool}.key()
	return func(s *State) ([]*spec.Resource, []spec.Key, error) {
		put, deleted, err := edit(s)
		if err != nil {
			return nil, nil, err
		}
		after := newOverlay(s).with(stepsOf(put, deleted))
		if !takerOf(s, s, tenant).takes(key) {
			return put, deleted, nil // nobody is sent there as it is
		}
		left := takerOf(s, after, tenant)
		if left.takes(key) {
			return put, deleted, nil
		}
		if p := after.Get(key).Spec.(*spec.Pool); !slices.ContainsFunc(p.Endpoints, hasWeight) {
			return nil, nil, &AskError{fmt.Sprintf("all weights of %s/%s would be 0, and no client would be sent there any more",
				tenant, pool)}
		}
		if where := withoutPool(s, key, func(k spec.Key) bool { return left.takes(k) && (down == nil || !down(k)) }); where != "" {
			return nil, nil, &AskError{fmt.Sprintf("%s/%s is the last pool that takes clients of %s", tenant, pool, where)}
		}
		return put, deleted, nil
	}
}

func hasWeight(e spec.Endpoint) bool { return e.Weight == nil || *e.Weight > 0 }

// taker tells which pools of a tenant take clients, in a set: those that have an endpoint with a weight that no override keeps from them.
type taker struct {
	set       spec.Lookup
	overrides map[Target]*spec.Override
}

// takerOf looks at a set; s tells the time.
func takerOf(s *State, set spec.Lookup, tenant string) taker {
	t := taker{set, map[Target]*spec.Override{}}
	for r := range set.Of(spec.KindOverride) {
		if o := r.Spec.(*spec.Override); r.Tenant == tenant && o.Service == "" && !s.ended(r) {
			t.overrides[Target{tenant, o.Pool, o.Endpoint}] = o
		}
	}
	return t
}

func (t taker) out(target Target) bool {
	o := t.overrides[target]
	return o != nil && (o.State == spec.StateDrain || o.State == spec.StateDown)
}

func (t taker) takes(pool spec.Key) bool {
	p, ok := specOf(t.set.Get(pool)).(*spec.Pool)
	if !ok || t.out(Target{Tenant: pool.Tenant, Pool: pool.Name}) {
		return false
	}
	if p.DiscoverMode() == spec.ModeEnforce {
		return true // what was found is not known here, and may take clients
	}
	return slices.ContainsFunc(p.Endpoints, func(e spec.Endpoint) bool {
		target := Target{pool.Tenant, pool.Name, e.Name}
		if o := t.overrides[target]; o != nil && o.Weight != nil {
			e.Weight = &o.Weight.To
		}
		return hasWeight(e) && !t.out(target)
	})
}

// withoutPool names the first rule with this pool that has none which takes clients; "": there is none.
func withoutPool(s *State, pool spec.Key, takes func(spec.Key) bool) string {
	users := map[spec.Key]bool{}
	s.index.addUsers(users, pool)
	var where []string
	for k := range users {
		service, ok := specOf(s.Get(k)).(*spec.Service)
		if !ok {
			continue
		}
		e := service.Effective()
		for _, rule := range e.Rules {
			other := func(name string) bool { return takes(spec.Key{Tenant: pool.Tenant, Kind: spec.KindPool, Name: name}) }
			if pools := service.PoolsOf(rule.Pools); slices.Contains(pools, pool.Name) && !slices.ContainsFunc(pools, other) {
				where = append(where, fmt.Sprintf("rule %s of service %s/%s", rule.Name, k.Tenant, k.Name))
			}
		}
	}
	if len(where) == 0 {
		return ""
	}
	slices.Sort(where)
	if len(where) == 1 {
		return where[0]
	}
	return fmt.Sprintf("%s (and of %d more)", where[0], len(where)-1)
}
