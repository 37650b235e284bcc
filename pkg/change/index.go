package change

import (
	"iter"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// index finds what a change can have something to do with, so that a small change costs little in a large state. It
// follows one State after the other, and is safe for concurrent use.
//
// What it finds is to be looked at, no more: it never forgets a single entry, and is built anew when half of it may be
// stale. It may be ahead of a State that asks it, and then leave out what that State still has; but a tenant has moved in
// between, and whoever relies on that tenant has the plan refused and made anew.
type index struct {
	mu      sync.RWMutex
	tenants map[string]state.TenantState
	users   map[spec.Key][]spec.Key // what refers to a resource
	hosts   map[string][]spec.Key   // services by canonical host
	leads   map[string][]spec.Key   // services that are aliases, by where they lead
	few     map[spec.Kind]map[spec.Key]bool
	tallies map[string]*tally // of the tenants for which somebody asked
	entries int               // resources noted
	stale   int               // of them, those that are no more, or are others now
}

func newIndex() *index {
	x := &index{tenants: map[string]state.TenantState{}, tallies: map[string]*tally{}}
	x.clear()
	return x
}

func (x *index) clear() {
	x.users, x.hosts, x.leads = map[spec.Key][]spec.Key{}, map[string][]spec.Key{}, map[string][]spec.Key{}
	x.few, x.entries, x.stale = map[spec.Kind]map[spec.Key]bool{}, 0, 0
}

// isFew reports whether the resources of a kind are so few that all can be looked at for each change.
func isFew(kind spec.Kind) bool { return kind != spec.KindPool && kind != spec.KindService }

// follow takes the index to a state. A tenant that moved on costs work for what changed in it.
func (x *index) follow(tenants map[string]state.TenantState) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, was := range x.tenants {
		if _, there := tenants[name]; !there {
			x.stale += was.Resources.Len()
			delete(x.tenants, name)
			delete(x.tallies, name)
		}
	}
	for name, now := range tenants {
		if was := x.tenants[name]; was.Head != now.Head || !successor(was, now) {
			x.move(was, now)
			x.recount(name, was, now)
			x.tenants[name] = now
		}
	}
	if x.stale > x.entries/2 {
		x.clear()
		for _, t := range x.tenants {
			x.move(state.TenantState{}, t)
		}
	}
}

// successor reports whether now came out of was by changes. It did not where all was read anew, as from a store that went
// back and was accepted: generations of then tell nothing of those of now.
func successor(was, now state.TenantState) bool {
	return was.Head <= now.Head && now.Resources.SharesWith(was.Resources)
}

// move notes what one tenant's new state has that the old one had not.
func (x *index) move(was, now state.TenantState) {
	known, news := was.Head, now.Resources.Unlike(was.Resources)
	if !successor(was, now) {
		known, news = 0, now.Resources.All() // look at everything
	}
	for k, v := range news {
		if v.Generation <= known {
			continue
		}
		if old, had := was.Resources.Get(k); had && old.Resource == v.Resource {
			continue
		} else if had {
			x.stale++
		}
		x.note(v.Resource)
	}
	x.stale += max(0, was.Resources.Len()-now.Resources.Len())
}

func (x *index) note(r *spec.Resource) {
	x.entries++
	for _, to := range spec.References(r) {
		x.users[to] = append(x.users[to], r.Key)
	}
	s, ok := r.Spec.(*spec.Service)
	if !ok {
		if isFew(r.Kind) {
			if x.few[r.Kind] == nil {
				x.few[r.Kind] = map[spec.Key]bool{}
			}
			x.few[r.Kind][r.Key] = true
		}
		return
	}
	if host, err := spec.CanonicalHost(s.Host); err == nil {
		x.hosts[host] = append(x.hosts[host], r.Key)
	}
	if to := aliasTarget(s); to != "" {
		x.leads[to] = append(x.leads[to], r.Key)
	}
}

// aliasTarget gives the canonical name that a service is an alias of; empty: of none.
func aliasTarget(s *spec.Service) string {
	if s.Alias == nil {
		return ""
	}
	to, err := spec.CanonicalName(s.Alias.To)
	if err != nil {
		return ""
	}
	return to
}

// ofKind gives the resources of one of the kinds that are few.
func (x *index) ofKind(kind spec.Kind) []spec.Key {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Collect(maps.Keys(x.few[kind]))
}

// addUsers adds what refers to a resource.
func (x *index) addUsers(to map[spec.Key]bool, k spec.Key) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, user := range x.users[k] {
		to[user] = true
	}
}

// addHost adds the services of a canonical host.
func (x *index) addHost(to map[spec.Key]bool, host string) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, k := range x.hosts[host] {
		to[k] = true
	}
}

// addAround adds the services that have to do with one, by its name: those of the same host, aliases of it, and what it is an
// alias of.
func (x *index) addAround(to map[spec.Key]bool, s *spec.Service) {
	host, err := spec.CanonicalHost(s.Host)
	if err != nil {
		return
	}
	x.addHost(to, host)
	x.addHost(to, aliasTarget(s))
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, k := range x.leads[host] {
		to[k] = true
	}
}

// near is an overlay that knows what of it a change can have something to do with. See spec.Near.
type near struct {
	*overlay
	all bool // zones change: everything
	// sites change, and so perhaps which pools policies choose
	sites bool
	keys  map[spec.Key]bool
}

// nearTo gathers what steps lead to; after is the state that has them.
func nearTo(after *overlay, steps []Step) near {
	n := near{overlay: after, keys: map[spec.Key]bool{}}
	for _, st := range steps {
		n.all = n.all || st.Key.Kind == spec.KindZone
		n.sites = n.sites || st.Key.Kind == spec.KindSite
		n.keys[st.Key] = true
		if !sameToUsers(after.State.Get(st.Key), st.new) {
			after.index.addUsers(n.keys, st.Key)
		}
	}
	n.spread(after.index)
	for _, k := range slices.Collect(maps.Keys(n.keys)) {
		for _, r := range []*spec.Resource{after.State.Get(k), after.Get(k)} {
			if s, ok := specOf(r).(*spec.Service); ok {
				after.index.addAround(n.keys, s)
			}
		}
	}
	return n
}

// spread adds what goes by policies, and by where pools are, through all that lies between.
func (n *near) spread(x *index) {
	for todo := slices.Collect(maps.Keys(n.keys)); len(todo) > 0; {
		users := map[spec.Key]bool{}
		for _, k := range todo {
			if k.Kind == spec.KindPolicy || k.Kind == spec.KindPool && n.sites {
				x.addUsers(users, k)
			}
		}
		todo = nil
		for k := range users {
			if !n.keys[k] {
				n.keys[k] = true
				todo = append(todo, k)
			}
		}
	}
}

// sameToUsers reports whether a pool that changes is to those that refer to it what it was: its endpoints have the same names,
// and those of them that have addresses have the same families, and as many of them.
func sameToUsers(old, new *spec.Resource) bool {
	a, okA := specOf(old).(*spec.Pool)
	b, okB := specOf(new).(*spec.Pool)
	return okA && okB && a.Site == b.Site && a.Families() == b.Families() &&
		reflect.DeepEqual(a.Discover, b.Discover) &&
		slices.EqualFunc(a.Endpoints, b.Endpoints, func(c, d spec.Endpoint) bool { return c.Name == d.Name && c.SameSize(&d) })
}

// Near gives the resources of a kind that the change can have something to do with: see spec.Near.
func (n near) Near(kind spec.Kind) iter.Seq[*spec.Resource] {
	if n.all || isFew(kind) {
		return n.Of(kind)
	}
	return func(yield func(*spec.Resource) bool) {
		for k, r := range n.put {
			if k.Kind == kind && !yield(r) {
				return
			}
		}
		for k := range n.keys {
			if r := n.Get(k); k.Kind == kind && n.put[k] == nil && r != nil && !yield(r) {
				return
			}
		}
	}
}
