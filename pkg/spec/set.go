package spec

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// ValidateSet checks what a change does to the whole: after is the state of all tenants as the change
// would leave it, changed and deleted are what it touches. It looks at the changed resources and at those that
// refer to something touched; a fault that was there before and has nothing to do with the change is not told.
// Warnings are of the same form and do not hinder; err is an Errors.
func ValidateSet(after Lookup, changed []*Resource, deleted []Key) (warnings Errors, err error) {
	v := &setChecker{after: after, changed: make(map[Key]bool, len(changed)), deleted: make(map[Key]bool, len(deleted))}
	for _, e := range duplicates(changed) {
		v.errs.add(e)
	}
	for _, r := range changed {
		v.changed[r.Key] = true
		v.zonesTouched = v.zonesTouched || r.Kind == KindZone
		if err, ok := Validate(r).(Errors); ok {
			for _, e := range err {
				v.errs.add(e)
			}
		}
	}
	for _, k := range deleted {
		v.deleted[k] = true
		v.zonesTouched = v.zonesTouched || k.Kind == KindZone
	}
	for _, kind := range []Kind{KindPool, KindPolicy, KindService, KindOverride} {
		for _, r := range v.affected(kind) {
			v.check(r)
		}
	}
	v.oddZones(changed)
	v.checkAliases()
	v.tenants()
	v.uniqueHosts(changed)
	v.uniqueOverrides(changed)
	v.warnings.sort()
	return v.warnings, v.errs.orNil()
}

// setChecker holds one ValidateSet.
type setChecker struct {
	after            Lookup
	changed, deleted map[Key]bool
	zonesTouched     bool
	errs, warnings   Errors
	hints            int
	hiddenWork       int                // of maxHiddenWork
	mapsIn           map[[2]string]bool // whether the first lies in the second, as far as it was asked
}

// maxHints is how many faults of one change come with what was probably meant: each costs a look at all resources of a kind.
const maxHints = 20

// candidates gives what one that does not exist may be a slip of: the resources of that kind, or none behind enough of such hints.
func (v *setChecker) candidates(kind Kind) iter.Seq[*Resource] {
	if v.hints++; v.hints > maxHints {
		return func(func(*Resource) bool) {}
	}
	return v.after.Of(kind)
}

// near gives the resources of a kind among which those are that the change can have something to do with.
func (v *setChecker) near(kind Kind) iter.Seq[*Resource] {
	if n, ok := v.after.(Near); ok {
		return n.Near(kind)
	}
	return v.after.Of(kind)
}

// affected gives the resources of a kind that must be looked at, in the order of their keys.
func (v *setChecker) affected(kind Kind) []*Resource {
	var out []*Resource
	for r := range v.near(kind) {
		if v.changed[r.Key] || v.refersToTouched(r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Resource) int { return a.Key.Compare(b.Key) })
	return out
}

func (v *setChecker) refersToTouched(r *Resource) bool {
	if v.zonesTouched && r.Kind == KindService {
		return true
	}
	for _, ref := range references(r) {
		if v.changed[ref.to] || v.deleted[ref.to] || v.changed[ref.or] || v.deleted[ref.or] {
			return true
		}
	}
	return false
}

// reference is one field that names another resource.
type reference struct {
	path string
	to   Key
	or   Key // what it names where to does not exist; the zero Key: nothing
}

// named gives what a reference names, nil where there is nothing of that name.
func (v *setChecker) named(ref reference) *Resource {
	if r := v.after.Get(ref.to); r != nil || ref.or == (Key{}) {
		return r
	}
	return v.after.Get(ref.or)
}

// References gives the keys that a resource names, in the order of its fields; one may stand there more than once.
func References(r *Resource) []Key {
	var keys []Key
	for _, ref := range references(r) {
		if keys = append(keys, ref.to); ref.or != (Key{}) {
			keys = append(keys, ref.or)
		}
	}
	return keys
}

// references gives what a resource names, in the order of its fields.
func references(r *Resource) (refs []reference) {
	add := func(path, tenant string, kind Kind, name string) {
		if name != "" {
			refs = append(refs, reference{path: path, to: Key{tenant, kind, name}})
		}
	}
	when := func(path string, w *When) {
		if w == nil {
			return
		}
		for j, m := range w.Map {
			add(indexed(path+".when.map", j), Platform, KindMap, m)
		}
		for j, m := range w.Resolver {
			add(indexed(path+".when.resolver", j), Platform, KindMap, m)
		}
	}
	targets := func(path string, list []Target, pools bool) {
		eachTarget(list, path, func(path string, t *Target) bool {
			if pools && t.Pool != "" {
				add(path, r.Tenant, KindPool, t.Pool)
			}
			if t.Steering == nil {
				return true
			}
			if t.Site != "" {
				add(path+".site", Platform, KindSite, t.Site)
			}
			if t.Policy != "" {
				refs = append(refs, reference{path + ".policy", Key{r.Tenant, KindPolicy, t.Policy}, Key{Platform, KindPolicy, t.Policy}})
			}
			return true
		})
	}
	switch s := r.Spec.(type) {
	case *Pool:
		add("spec.site", Platform, KindSite, s.Site)
		add("spec.monitor", r.Tenant, KindMonitor, s.Monitor)
		for _, list := range s.Checks.lists() {
			for i, name := range list.names {
				add(indexed(list.path, i), r.Tenant, KindMonitor, name)
			}
		}
		for i, d := range s.Depends {
			path := indexed("spec.depends", i)
			add(path+".pool", r.Tenant, KindPool, d.Pool)
			add(path+".service", r.Tenant, KindService, d.Service)
		}
	case *Policy:
		for i := range s.Rules {
			path := indexed("spec.rules", i)
			when(path, s.Rules[i].When)
			targets(path+".pools", s.Rules[i].Pools, false)
		}
	case *Service:
		for i := range s.Rules {
			path := indexed("spec.rules", i)
			when(path, s.Rules[i].When)
			targets(path+".pools", s.Rules[i].Pools, true)
		}
		targets("spec.lastResort", s.LastResort, true)
		for i, m := range s.Pools {
			add(indexed("spec.pools", i), r.Tenant, KindPool, m.Pool)
		}
	case *Override:
		add("spec.service", r.Tenant, KindService, s.Service)
		add("spec.pool", r.Tenant, KindPool, s.Pool)
	}
	return refs
}

func (v *setChecker) fail(r *Resource, path, hint, format string, args ...any) {
	e := faultOf(r, path, hint, format, args...)
	for _, a := range args {
		if k, ok := a.(Key); ok && k.Tenant != r.Tenant {
			e.Other = k
		}
	}
	v.errs.add(e)
}

func (v *setChecker) warn(r *Resource, path, hint, format string, args ...any) {
	v.warnings.add(faultOf(r, path, hint, format, args...))
}

// check looks at one affected resource.
func (v *setChecker) check(r *Resource) {
	whole := true
	for _, ref := range references(r) {
		if v.named(ref) == nil {
			whole = false
			v.dangling(r, ref)
		}
	}
	switch s := r.Spec.(type) {
	case *Pool:
		v.reach(r, s)
		v.depends(r, s)
		v.checks(r, s)
	case *Policy:
		if v.policies(r, s.Rules, nil); whole {
			v.unreachable(r, s.Rules)
		}
	case *Service:
		v.host(r, s)
		if v.policies(r, s.Rules, s.LastResort); whole && s.Alias == nil {
			v.pools(r, s)
		}
	case *Override:
		v.override(r, s)
	}
}

// dangling tells of a reference to nothing: to whoever deletes, or to whoever refers.
func (v *setChecker) dangling(r *Resource, ref reference) {
	if v.deleted[ref.to] && !v.changed[r.Key] {
		v.errs.add(&Error{Resource: ref.to.String(), Msg: fmt.Sprintf("cannot be deleted: %s still refers to it (%s)", r.Key, ref.path),
			Other: r.Key,
			Hint:  "change or delete that first, or in the same change"})
		return
	}
	if v.deleted[ref.to] {
		v.fail(r, ref.path, "", "%s is deleted by the same change", ref.to)
		return
	}
	var names []string
	for other := range v.candidates(ref.to.Kind) {
		if other.Tenant == ref.to.Tenant {
			names = append(names, other.Name)
		}
	}
	slices.Sort(names)
	v.fail(r, ref.path, didYouMean(ref.to.Name, names), "%s does not exist", ref.to)
}

// host checks that a service may stand where it wants to.
func (v *setChecker) host(r *Resource, s *Service) {
	host, err := CanonicalHost(s.Host)
	if err != nil {
		return // Validate says it
	}
	zone := ZoneOf(v.after, host)
	if k, gone := v.deletedZone(host); gone && !v.changed[r.Key] {
		v.inDeleted(r, k, host, zone)
		return
	}
	if zone == nil {
		var zones []string
		for z := range v.candidates(KindZone) {
			s, ok := z.Spec.(*Zone)
			if r.Tenant == Platform || ok && len(s.Grants[r.Tenant]) > 0 { // others are not its business
				zones = append(zones, z.Name)
			}
		}
		slices.Sort(zones)
		hint := "zones are declared by the tenant " + Platform
		if len(zones) > 0 && len(zones) <= 10 {
			hint = "there are " + strings.Join(zones, ", ")
		}
		v.fail(r, "spec.host", hint, "%s is in no zone", host)
		return
	}
	if v.granted(r.Tenant, zone, host) {
		return
	}
	grants := zone.Spec.(*Zone).Effective().Grants[r.Tenant]
	given := "nothing"
	if len(grants) > 0 {
		given = "only " + strings.Join(grants, ", ")
	}
	v.fail(r, "spec.host", "have the tenant "+Platform+" add it to the zone's spec.grants."+r.Tenant,
		"%s is not granted: zone %s grants %s %s", host, zone.Name, r.Tenant, given)
}

// deletedZone gives the zone of a host that the change deletes, if it was the closest.
func (v *setChecker) deletedZone(host string) (Key, bool) {
	for name := host; name != ""; _, name, _ = strings.Cut(name, ".") {
		k := Key{Platform, KindZone, name}
		if v.deleted[k] || v.after.Get(k) != nil {
			return k, v.deleted[k]
		}
	}
	return Key{}, false
}

// inDeleted tells of a service in a zone that is deleted, unless a zone above grants the tenant its host as well.
func (v *setChecker) inDeleted(r *Resource, k Key, host string, above *Resource) {
	if above != nil && v.granted(r.Tenant, above, host) {
		return
	}
	v.errs.add(&Error{Resource: k.String(), Msg: fmt.Sprintf("cannot be deleted: %s stands in it (%s)", r.Key, host),
		Other: r.Key,
		Hint:  "delete that first, or in the same change"})
}

// granted reports whether a tenant's service may stand at a host of the zone.
func (v *setChecker) granted(tenant string, zone *Resource, host string) bool {
	grants := zone.Spec.(*Zone).Effective().Grants[tenant]
	return tenant == Platform || slices.ContainsFunc(grants, func(g string) bool { return Under(host, g) })
}

// ZoneOf gives the zone that a canonical name belongs to: the one with the longest name. nil: none.
func ZoneOf(set Lookup, host string) *Resource {
	for name := host; ; name = Parent(name) {
		if z := set.Get(Key{Platform, KindZone, name}); z != nil || name == "." {
			return z
		}
	}
}

// oddZones warns of zones whose names are lawful, but may be typing errors: no service can stand in most of them.
func (v *setChecker) oddZones(changed []*Resource) {
	for _, r := range changed {
		if _, err := CanonicalZone(r.Name); r.Kind != KindZone || err != nil {
			continue
		}
		if r.Name == "." {
			v.warn(r, "name", "", "is the root: every name is answered from this zone that is in no other one here")
		} else if _, err := CanonicalName(r.Name); err != nil {
			v.warn(r, "name", "see that it is meant so", "the name %v: the zone is served, but its names cannot be steered", err)
		}
		if r.Spec.(*Zone).DNSSEC != nil && strings.HasPrefix(r.Name, "*.") {
			// A signature does not count the label (RFC 4034, 3.1.3), and BIND takes it for one of a name above its signer's zone.
			v.warn(r, "spec.dnssec", "sign a zone whose name does not begin with *",
				"BIND cannot read the signatures of a zone whose name begins with *")
		}
	}
}

// pools checks what a service's pools are together.
func (v *setChecker) pools(r *Resource, s *Service) {
	withHost, withAddress := "", ""
	for _, ref := range references(r) {
		if ref.to.Kind != KindPool {
			continue
		}
		switch f := v.after.Get(ref.to).Spec.(*Pool).Families(); {
		case f.Host && withHost == "":
			withHost = ref.to.Name
		case !f.Host && withAddress == "":
			withAddress = ref.to.Name
		}
	}
	if withHost != "" && withAddress != "" {
		v.fail(r, "spec.rules", "use pools of one sort", "pool %s has host names and pool %s has addresses", withHost, withAddress)
		return
	}
	v.families(r, s)
	switch {
	case withHost != "" && s.SRV == nil && s.MX == nil:
		v.cname(r, s)
	case withHost == "" && (s.SRV != nil || s.MX != nil):
		v.fail(r, "spec", "use pools whose endpoints have a host", "srv and mx name hosts, and the endpoints have addresses")
	}
	if withHost != "" && (s.HTTPS != nil || s.SVCB != nil) {
		v.fail(r, "spec", "use pools whose endpoints have addresses",
			"https and svcb stand beside A and AAAA, and the endpoints are host names")
	}
	v.fits(r, s)
	v.unreachable(r, s.Rules)
	regional := v.regional(r, s)
	if s.Sticky != nil && s.Sticky.By == ByLabel && (s.ByPlace() || regional != "") {
		v.warn(r, "spec.rules", "for them to meet whatever their place, have one rule without when, and pools by their names",
			"clients of one label may get different endpoints, since their place decides too")
	}
}

func (v *setChecker) families(r *Resource, s *Service) {
	v4, v6, cname, warnings := ServedFamilies(s, func(name string) *Pool {
		return v.after.Get(Key{r.Tenant, KindPool, name}).Spec.(*Pool)
	})
	if !v4 && !v6 && !cname {
		msg := "no family is served by every rule"
		if len(warnings) > 0 {
			msg += " (" + strings.Join(warnings, "; ") + ")"
		}
		v.fail(r, "spec.rules", "give every rule a pool with IPv4, or every rule one with IPv6 addresses", "%s", msg)
		return
	}
	for _, w := range warnings {
		v.warn(r, "spec.rules", "", "%s", w)
	}
	for i, f := range s.Families {
		if cname {
			v.fail(r, "spec.families", "remove it", "a service of host names answers CNAME to every type")
			return
		}
		if served := f == FamilyIPv4 && v4 || f == FamilyIPv6 && v6; !served && len(warnings) == 0 {
			v.warn(r, indexed("spec.families", i), "", "no pool has addresses of %s", f)
		}
	}
}

// cname checks what a service that answers CNAME cannot have.
func (v *setChecker) cname(r *Resource, s *Service) {
	host := canonicalHostOr(s.Host)
	if z := v.after.Get(Key{Platform, KindZone, host}); z != nil {
		v.fail(r, "spec.host", "use pools with addresses there",
			"a service of host names cannot stand at the apex of zone %s: a CNAME allows nothing beside it", host)
	}
	if s.Answers > 1 {
		v.fail(r, "spec.answers", "leave it out", "a service of host names answers one CNAME")
	}
	if s.Pick == PickAll {
		v.fail(r, "spec.pick", "use weighted or sticky", "a service of host names answers one CNAME")
	}
}

// uniqueHosts finds changed services on a host that another service has.
func (v *setChecker) uniqueHosts(changed []*Resource) {
	if !slices.ContainsFunc(changed, func(r *Resource) bool { return r.Kind == KindService }) {
		return
	}
	at := map[string][]*Resource{}
	for r := range v.near(KindService) {
		host := canonicalHostOr(r.Spec.(*Service).Host)
		at[host] = append(at[host], r)
	}
	v.unique(at, "spec.host", "a host belongs to one service", func(host string, other Key) string {
		return fmt.Sprintf("%s is already steered by %s", host, other)
	})
}

// unique tells of changed resources that share what only one can have. Each fault names one other.
func (v *setChecker) unique(at map[string][]*Resource, path, hint string, msg func(what string, other Key) string) {
	for _, what := range slices.Sorted(maps.Keys(at)) {
		all := at[what]
		if len(all) < 2 || what == "" {
			continue
		}
		slices.SortFunc(all, func(a, b *Resource) int { return a.Key.Compare(b.Key) })
		for i, r := range all {
			if v.changed[r.Key] {
				other := all[(i+1)%len(all)]
				e := faultOf(r, path, hint, "%s", msg(what, other.Key))
				if other.Tenant != r.Tenant {
					e.Other = other.Key
				}
				v.errs.add(e)
			}
		}
	}
}
