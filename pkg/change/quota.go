package change

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// pair is one resource, before and after; nil: it is not there.
type pair struct{ old, new *spec.Resource }

// tally counts what a tenant has of what quotas bound. It is moved on by what changes, and never counted anew while that can be had.
type tally struct {
	resources, services, endpoints, overrides, bytes, sources int
	checks                                                    int            // millionths a second
	targets                                                   map[string]int // addresses that are checked, by monitor
}

// move takes the count from one state of the tenant to another that differs from it in these pairs.
func (t *tally) move(pairs []pair, was, now func(spec.Key) *spec.Resource) {
	monitors := monitorsOf(pairs)
	for k := range monitors {
		t.checks -= t.targets[k.Name] * rate(was(k))
	}
	for _, p := range pairs {
		t.count(p.old, -1)
		t.count(p.new, 1)
	}
	for k := range monitors {
		t.checks += t.targets[k.Name] * rate(now(k))
	}
}

// monitorsOf gives the monitors whose checks a second may be others after such changes.
func monitorsOf(pairs []pair) map[spec.Key]bool {
	out := map[spec.Key]bool{}
	for _, p := range pairs {
		for _, r := range []*spec.Resource{p.old, p.new} {
			switch s := specOf(r).(type) {
			case *spec.Pool:
				for _, name := range s.Monitors() {
					out[spec.Key{Tenant: r.Tenant, Kind: spec.KindMonitor, Name: name}] = true
				}
			case *spec.Monitor:
				out[r.Key] = true
			}
		}
	}
	return out
}

// rate is how often a monitor checks, in millionths a second; 0 of one that is not there.
func rate(monitor *spec.Resource) int {
	m, ok := specOf(monitor).(*spec.Monitor)
	if !ok {
		return 0
	}
	return int(1e6 * time.Second / max(time.Duration(m.Effective().Interval), time.Millisecond))
}

// count adds a resource once, or takes it away.
func (t *tally) count(r *spec.Resource, times int) {
	if r == nil {
		return
	}
	if r.Kind == spec.KindOverride {
		t.overrides += times
	} else {
		t.resources += times
	}
	if data, err := r.SpecJSON(); err == nil { // whatever has no such form is refused for that
		t.bytes += times * len(data)
	}
	switch s := r.Spec.(type) {
	case *spec.Service:
		t.services += times
	case *spec.Pool:
		t.sources += times * len(s.Discover)
		found := 0 // as many as can be
		for i := range s.Discover {
			e := s.Discover[i].Effective()
			found += e.Most
		}
		t.endpoints += times * (len(s.Endpoints) + found)
		for _, name := range s.Monitors() {
			t.targets[name] += times * found
			for i := range s.Endpoints {
				t.targets[name] += times * checked(&s.Endpoints[i])
			}
			if t.targets[name] == 0 {
				delete(t.targets, name)
			}
		}
	}
}

// checked is to how many addresses one check of an endpoint goes. A host name counts as one.
func checked(e *spec.Endpoint) int {
	if e.Probe != "" || e.Host != "" {
		return 1
	}
	return len(e.Addresses)
}

// quota gives the count in whole numbers, what is begun being whole.
func (t *tally) quota() spec.Quota {
	up := func(n, of int) int { return (n + of - 1) / of }
	return spec.Quota{Resources: t.resources, Services: t.services, Endpoints: t.endpoints, Overrides: t.overrides,
		Checks: up(t.checks, 1e6), Megabytes: up(t.bytes, 1e6), Sources: t.sources}
}

// with gives another tally after such changes, at the cost of these alone: it is good for no others.
func (t *tally) with(pairs []pair, was, now func(spec.Key) *spec.Resource) *tally {
	n := *t
	n.targets = map[string]int{}
	for k := range monitorsOf(pairs) {
		n.targets[k.Name] = t.targets[k.Name]
	}
	n.move(pairs, was, now)
	return &n
}

// tallyOf counts all of a tenant.
func tallyOf(t state.TenantState) *tally {
	var pairs []pair
	for _, v := range t.Resources.All() {
		pairs = append(pairs, pair{nil, v.Resource})
	}
	n := &tally{targets: map[string]int{}}
	n.move(pairs, func(spec.Key) *spec.Resource { return nil }, getOf(t))
	return n
}

func getOf(t state.TenantState) func(spec.Key) *spec.Resource {
	return func(k spec.Key) *spec.Resource {
		v, _ := t.Resources.Get(k)
		return v.Resource
	}
}

// differences gives what differs between two states of a tenant of which the second came out of the first.
func differences(was, now state.TenantState) (pairs []pair) {
	before, after := getOf(was), getOf(now)
	for k, v := range now.Resources.Unlike(was.Resources) {
		if old := before(k); old != v.Resource {
			pairs = append(pairs, pair{old, v.Resource})
		}
	}
	for k, v := range was.Resources.Unlike(now.Resources) {
		if after(k) == nil {
			pairs = append(pairs, pair{v.Resource, nil})
		}
	}
	return pairs
}

// recount moves the tally of a tenant on, if anybody has asked for it. The caller holds mu.
func (x *index) recount(name string, was, now state.TenantState) {
	if t := x.tallies[name]; t != nil && successor(was, now) {
		t.move(differences(was, now), getOf(was), getOf(now))
	} else {
		delete(x.tallies, name)
	}
}

// weigh gives what a tenant has in a state, and what it would have after changes. What the index has not counted yet, or only of
// another state, is counted.
func (x *index) weigh(state, after *overlay, tenant string, pairs []pair) (have, would spec.Quota) {
	x.mu.Lock()
	defer x.mu.Unlock()
	own, here := state.tenants[tenant], x.tenants[tenant]
	t := x.tallies[tenant]
	switch same := own.Head == here.Head && own.Resources.SharesWith(here.Resources); {
	case !same:
		t = tallyOf(own)
	case t == nil:
		t = tallyOf(own)
		x.tallies[tenant] = t
	}
	return t.quota(), t.with(pairs, state.Get, after.Get).quota()
}

// Has gives how much a tenant has of what quotas bound. What they bound of what is done, changes and requests, is not in it.
func (s *State) Has(tenant string) spec.Quota {
	now := newOverlay(s)
	have, _ := s.index.weigh(now, now, tenant, nil)
	have.ZoneBytes = zoneBytes(now)[tenant]
	return have
}

// overQuota refuses what makes a tenant have more than its quota, and more than it has. Of quotas that change it tells who is above.
func overQuota(state *State, after *overlay, steps []Step) (errs, warnings spec.Errors) {
	before := newOverlay(state)
	platform := platformOf(after)
	pairs := map[string][]pair{}
	for _, st := range steps {
		pairs[st.Key.Tenant] = append(pairs[st.Key.Tenant], pair{state.Get(st.Key), st.new})
	}
	newQuotas := !reflect.DeepEqual(quotasOf(platformOf(before)), quotasOf(platform))
	for tenant := range weighed(state, steps, newQuotas) {
		have, would := state.index.weigh(before, after, tenant, pairs[tenant])
		for _, e := range have.Beyond(would, spec.EffectiveQuota(platform, tenant)) {
			switch {
			case e.Would > e.Was:
				errs.Add(beyond(platform, tenant, e, pairs[tenant]))
			case newQuotas:
				warnings.Add(&spec.Error{Resource: platformKey.String(), Field: "spec.limits.quota",
					Msg:  fmt.Sprintf("%s has %d %s: its quota is %d", tenant, e.Would, e.Means, e.Limit),
					Hint: "it keeps them, and can get no more"})
			}
		}
	}
	return errs, warnings
}

// weighed gives the tenants that are looked at: those to which something comes, or all.
func weighed(state *State, steps []Step, all bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		seen := map[string]bool{spec.Platform: true}
		for _, st := range steps {
			if t := st.Key.Tenant; st.new != nil && !seen[t] {
				if seen[t] = true; !yield(t) {
					return
				}
			}
		}
		if !all {
			return
		}
		for _, t := range state.Tenants() {
			if !seen[t] && !yield(t) {
				return
			}
		}
	}
}

var platformKey = spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform}

func platformOf(set spec.Lookup) *spec.Tenant {
	t, _ := specOf(set.Get(platformKey)).(*spec.Tenant)
	return t
}

func quotasOf(t *spec.Tenant) *spec.Quotas {
	if t == nil || t.Limits == nil {
		return nil
	}
	return t.Limits.Quota
}

// beyond says what is too much, at the first resource that adds to it.
func beyond(platform *spec.Tenant, tenant string, e spec.Excess, pairs []pair) *spec.Error {
	out := &spec.Error{Resource: tenant,
		Msg:  fmt.Sprintf("with this change %s would have %d %s: its quota is %d, and it has %d", tenant, e.Would, e.Means, e.Limit, e.Was),
		Hint: "delete others, or " + spec.AskToRaise(platform, tenant, e.Field)}
	for _, p := range pairs {
		if p.new != nil && adds(p, e.Field) {
			out.File, out.Line = p.new.Origin.File, p.new.Origin.LineOf("")
			out.Resource = p.new.Key.String()
			break
		}
	}
	return out
}

// adds reports whether a change of one resource adds to a field of quotas, as far as that can be told of one alone.
func adds(p pair, field string) bool {
	t := tally{targets: map[string]int{}}
	t.count(p.old, -1)
	t.count(p.new, 1)
	for _, n := range t.targets {
		t.checks += n * 1e6
	}
	t.bytes *= 1e6 // every one counts
	for _, e := range (spec.Quota{}).Beyond(t.quota(), spec.Quota{}) {
		if e.Field == field {
			return true
		}
	}
	return false
}

// overZones refuses what makes the content of a tenant's zones more than its quota, and more than it is: wherever it comes from, a
// declaration, a primary, a catalog or an update. A zone is a tenant's whose apex is granted to it.
func overZones(state *State, after *overlay, steps []Step) (errs spec.Errors) {
	touched := slices.ContainsFunc(steps, func(st Step) bool { return st.Key.Kind == spec.KindZone && st.new != nil })
	if !touched {
		return nil
	}
	platform := platformOf(after)
	was, would := zoneBytes(newOverlay(state)), zoneBytes(after)
	for _, tenant := range slices.Sorted(maps.Keys(would)) {
		limit := spec.EffectiveQuota(platform, tenant).ZoneBytes
		if would[tenant] <= max(limit, was[tenant]) {
			continue
		}
		e := &spec.Error{Resource: tenant, Field: "spec.content",
			Msg: fmt.Sprintf("with this change %s would have %d bytes of zone content: its quota is %d, and it has %d", tenant,
				would[tenant], limit, was[tenant]),
			Hint: "take names out, or " + spec.AskToRaise(platform, tenant, "zoneBytes")}
		for _, st := range steps {
			if z, ok := specOf(st.new).(*spec.Zone); ok && slices.Contains(ownersOf(st.Key.Name, z), tenant) {
				e.Resource, e.File, e.Line = st.Key.String(), st.new.Origin.File, st.new.Origin.LineOf("")
				break
			}
		}
		errs.Add(e)
	}
	return errs
}

// zoneBytes gives how much content the zones of tenants have.
func zoneBytes(set spec.Lookup) map[string]int {
	bytes := map[string]int{}
	for r := range set.Of(spec.KindZone) {
		z, ok := r.Spec.(*spec.Zone)
		if !ok {
			continue
		}
		for _, tenant := range ownersOf(r.Name, z) {
			bytes[tenant] += len(z.Content)
		}
	}
	return bytes
}

// ownersOf gives the tenants to whom the apex of a zone is granted, and so all of it.
func ownersOf(zone string, z *spec.Zone) (owners []string) {
	for tenant, names := range z.Grants {
		for _, name := range names {
			if c, err := spec.CanonicalName(name); err == nil && c == zone {
				owners = append(owners, tenant)
				break
			}
		}
	}
	return owners
}
