package change

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/change/lawful"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// arrange cuts steps into parts, one a tenant, and orders them so that the state is lawful after each: the
// platform first where that is possible. Where no order is, a tenant's deletions become a part of their own, and then new
// aliases of zones.
func arrange(from *State, steps []Step) ([]Part, error) {
	waiting := byTenant(steps)
	now := newOverlay(from)
	heads := map[string]state.Generation{}
	var parts []Part
	for len(waiting) > 0 {
		i, err := next(now, from, waiting)
		if err != nil {
			split := splitFirst(waiting)
			if split == nil {
				split = splitAliases(now, waiting)
			}
			if split == nil {
				return nil, stuck(err)
			}
			waiting = split
			continue
		}
		p := waiting[i]
		waiting = slices.Delete(waiting, i, i+1)
		if heads[p.Tenant] == 0 {
			heads[p.Tenant] = from.Head(p.Tenant)
		}
		p.Base = heads[p.Tenant]
		heads[p.Tenant]++
		after := now.with(p.Steps)
		p.Reads = reliesOn(now, after, p)
		now = after
		parts = append(parts, p)
	}
	return parts, nil
}

// byTenant gives one part a tenant, the platform's first.
func byTenant(steps []Step) []Part {
	of := map[string][]Step{}
	for _, st := range steps {
		of[st.Key.Tenant] = append(of[st.Key.Tenant], st)
	}
	var parts []Part
	for _, tenant := range sortedKeys(of) {
		parts = append(parts, Part{Tenant: tenant, Steps: of[tenant]})
	}
	slices.SortStableFunc(parts, func(a, b Part) int {
		return cmp.Or(-cmp.Compare(platformRank(a.Tenant), platformRank(b.Tenant)), strings.Compare(a.Tenant, b.Tenant))
	})
	return parts
}

func platformRank(tenant string) int {
	if tenant == spec.Platform {
		return 1
	}
	return 0
}

// next finds the first part that leads from now to a lawful state; the error is that of the first part.
func next(now *overlay, state *State, waiting []Part) (int, error) {
	if len(waiting) == 1 && len(now.put)+len(now.deleted) == 0 {
		return 0, nil // it is the whole change, which was checked
	}
	var first error
	for i, p := range waiting {
		// A tenant's deletions stand behind its other part.
		if slices.ContainsFunc(waiting[:i], func(q Part) bool { return q.Tenant == p.Tenant }) {
			continue
		}
		_, err := check(now.with(p.Steps), state, p.Steps)
		if err == nil {
			return i, nil
		}
		if first == nil {
			first = err
		}
	}
	return 0, first
}

// splitFirst takes the deletions out of the first part that has other steps too; nil: there is none.
func splitFirst(waiting []Part) []Part {
	for i, p := range waiting {
		cut := slices.IndexFunc(p.Steps, func(st Step) bool { return st.Action == Delete })
		if cut > 0 {
			dels := Part{Tenant: p.Tenant, Steps: p.Steps[cut:]}
			out := slices.Clone(waiting)
			out[i].Steps = p.Steps[:cut:cut]
			return append(out, dels)
		}
	}
	return nil
}

// splitAliases has the platform's zones do without new aliases at first: they may lead to services that wait for what the
// zones grant. nil: there is nothing to put off.
func splitAliases(now *overlay, waiting []Part) []Part {
	i := slices.IndexFunc(waiting, func(p Part) bool { return p.Tenant == spec.Platform })
	if i < 0 {
		return nil
	}
	first, last := Part{Tenant: spec.Platform}, Part{Tenant: spec.Platform}
	for _, st := range waiting[i].Steps {
		z, ok := specOf(st.new).(*spec.Zone)
		if !ok {
			first.Steps = append(first.Steps, st)
			continue
		}
		old := now.Get(st.Key)
		had, _ := specOf(old).(*spec.Zone)
		without := *z
		without.Aliases = slices.DeleteFunc(slices.Clone(z.Aliases), func(a spec.ZoneAlias) bool {
			return had == nil || !slices.ContainsFunc(had.Aliases, func(b spec.ZoneAlias) bool { return reflect.DeepEqual(a, b) })
		})
		if len(without.Aliases) == len(z.Aliases) {
			first.Steps = append(first.Steps, st)
			continue
		}
		r := st.new.With(&without)
		r.Origin = st.new.Origin
		if changes := spec.Diff(old, r); len(changes) > 0 || old == nil {
			first.Steps = append(first.Steps, Step{st.Action, st.Key, changes, r})
		}
		last.Steps = append(last.Steps, Step{Update, st.Key, spec.Diff(r, st.new), st.new})
	}
	if len(first.Steps) == 0 || len(last.Steps) == 0 {
		return nil
	}
	out := slices.Clone(waiting)
	out[i] = first
	return append(out, last)
}

// stuck says that parts of different tenants wait for each other.
func stuck(err error) error {
	errs, _ := err.(spec.Errors)
	for _, e := range errs {
		if e.Hint == "" {
			e.Hint = "the tenants' changes need each other: make this one in two steps"
		}
	}
	return err
}

// reliesOn names the other tenants whose state makes the part lawful. What one tenant's change relies on, the
// other's change that could break it must rely on too, in whatever order they come:
//
//   - resources name the platform's sites and maps and stand in its zones: a tenant's change relies on the platform,
//     and a change of the platform that can take something away relies on every tenant that is there or may come;
//   - a host belongs to one service: a service on a new host relies on every tenant that is granted this host;
//   - aliases of the platform lead to the services of any tenant: taking away a service relies on the platform, and an alias on the
//     tenant that it leads to.
func reliesOn(before, after *overlay, p Part) []string {
	names := map[string]bool{}
	for _, st := range p.Steps {
		takesAway := st.Key.Kind == spec.KindZone || st.Action == Delete && (st.Key.Kind == spec.KindSite || st.Key.Kind == spec.KindMap)
		if p.Tenant == spec.Platform && takesAway {
			for _, t := range before.Tenants() {
				names[t] = true
			}
			maps.Copy(names, lawful.Grantees(before))
			maps.Copy(names, lawful.Grantees(after))
		}
		if st.Action == Delete {
			if st.Key.Kind == spec.KindService {
				names[spec.Platform] = true // whose aliases may lead there
			}
			continue
		}
		if st.Key.Kind == spec.KindPool || st.Key.Kind == spec.KindService || before.Head(p.Tenant) == 0 {
			names[spec.Platform] = true // the zones, sites and maps; and who is a tenant at all
		}
		if s, ok := st.new.Spec.(*spec.Service); ok && newHost(before, st, s) {
			coGrantees(after, s.Host, names)
		}
		if s, ok := st.new.Spec.(*spec.Service); ok {
			if t := leadsTo(after, s); t != "" {
				names[t] = true
			}
		}
	}
	delete(names, p.Tenant)
	return slices.Sorted(maps.Keys(names))
}

func newHost(before *overlay, st Step, s *spec.Service) bool {
	old, _ := specOf(before.Get(st.Key)).(*spec.Service)
	if old == nil {
		return true
	}
	was, _ := spec.CanonicalHost(old.Host)
	is, _ := spec.CanonicalHost(s.Host)
	return was != is
}

// coGrantees adds the tenants that may have services on host.
func coGrantees(after *overlay, host string, names map[string]bool) {
	host, err := spec.CanonicalHost(host)
	if err != nil {
		return
	}
	z := spec.ZoneOf(after, host)
	if z == nil {
		return
	}
	for tenant, granted := range z.Spec.(*spec.Zone).Effective().Grants {
		if slices.ContainsFunc(granted, func(g string) bool { return spec.Under(host, g) }) {
			names[tenant] = true
		}
	}
}

// leadsTo gives the tenant whose service an alias leads to; empty: nobody's.
func leadsTo(after *overlay, s *spec.Service) string {
	to := aliasTarget(s)
	if to == "" {
		return ""
	}
	keys := map[spec.Key]bool{}
	after.index.addHost(keys, to)
	for k := range after.put {
		keys[k] = true
	}
	for _, k := range slices.SortedFunc(maps.Keys(keys), spec.Key.Compare) {
		if other, ok := specOf(after.Get(k)).(*spec.Service); ok {
			if host, err := spec.CanonicalHost(other.Host); err == nil && host == to {
				return k.Tenant
			}
		}
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
