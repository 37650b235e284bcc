// Package lawful says what is wrong with the state that a change would leave, and brings declarations into the form that is stored. Plans
// and gtmctl check go by it alike; it knows no store.
package lawful

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone"
)

// Change is what is looked at: all of a change, or a part of it.
type Change struct {
	After   spec.Near   // the state of all tenants that would result
	Before  spec.Lookup // the state that it is made on
	Known   func(tenant string) bool
	Changed []*spec.Resource // in the form that Canonical gives
	Deleted []spec.Key
}

// Check tells what is wrong with the state that would result, as far as the change has to do with it. The error is a spec.Errors.
func (c *Change) Check() (warnings spec.Errors, err error) {
	warnings, err = spec.ValidateSet(c.After, c.Changed, c.Deleted)
	errs, _ := err.(spec.Errors)
	errs.Add(c.unknownTenants()...)
	if len(errs) == 0 { // what follows wants resources that are whole
		clashErrs, clashWarnings := Clashes(c.After, c.Changed)
		errs.Add(clashErrs...)
		warnings.Add(clashWarnings...)
		errs.Add(c.deadEnds()...)
		policyErrs, policyWarnings := c.policies()
		errs.Add(policyErrs...)
		warnings.Add(policyWarnings...)
	}
	if len(errs) > 0 {
		return warnings, errs
	}
	return warnings, nil
}

// All is a set in which everything is near.
type All struct{ spec.Set }

// Near gives every resource of that kind.
func (a All) Near(kind spec.Kind) iter.Seq[*spec.Resource] { return a.Of(kind) }

// Declared checks resources that are taken as all there is, as gtmctl check does. The error is a spec.Errors.
func Declared(resources []*spec.Resource) (warnings spec.Errors, err error) {
	after := All{make(spec.Set, len(resources))}
	c := &Change{After: after, Before: spec.Set{}, Known: func(string) bool { return false }}
	var errs spec.Errors
	for _, r := range resources {
		stored, w, e := Canonical(r, nil)
		errs.Add(e...)
		warnings.Add(w...)
		after.Set[r.Key] = stored
		c.Changed = append(c.Changed, stored)
	}
	w, err := c.Check()
	warnings.Add(w...)
	more, _ := err.(spec.Errors)
	if errs.Add(more...); len(errs) > 0 {
		return warnings, errs
	}
	return warnings, nil
}

// unknownTenants refuses the first resource of a tenant that no zone grants anything. That catches typing
// errors, and it makes the tenants that can come up while a zone, site or map is taken away a known set.
func (c *Change) unknownTenants() (errs spec.Errors) {
	var known map[string]bool
	reported := map[string]bool{}
	for _, r := range c.Changed {
		if r.Tenant == spec.Platform || c.Known(r.Tenant) || reported[r.Tenant] {
			continue
		}
		if errs.Full() {
			return errs
		}
		if known == nil {
			known = Grantees(c.After)
		}
		if known[r.Tenant] {
			continue
		}
		reported[r.Tenant] = true
		hint := "the tenant " + spec.Platform + " makes it known by granting it names in a zone (spec.grants." + r.Tenant + ")"
		if c := closestOf(len(errs), r.Tenant, known); c != "" {
			hint = "did you mean " + c + "? Else " + hint
		}
		errs.Add(&spec.Error{File: r.Origin.File, Line: r.Origin.LineOf("tenant"), Resource: r.Key.String(), Field: "tenant",
			Msg: fmt.Sprintf("there is no tenant %s", r.Tenant), Hint: hint})
	}
	return errs
}

// maxHints is how many faults of one change come with what was probably meant: each costs a look at all names.
const maxHints = 20

// closestOf gives the known name that was probably meant; empty: none, or there were enough faults before to do without.
func closestOf(before int, name string, known map[string]bool) string {
	if before >= maxHints {
		return ""
	}
	return spec.Closest(name, slices.Sorted(maps.Keys(known)))
}

// Canonical brings a declaration into the form that is stored: a zone's content one record a line, without
// the name of the file that it came from. Where it cannot be, the faults are told and it stays as it is. old is what there is;
// nil: nothing.
func Canonical(r, old *spec.Resource) (stored *spec.Resource, warnings, errs spec.Errors) {
	z, ok := r.Spec.(*spec.Zone)
	if !ok || spec.Validate(r) != nil { // which is told with all others
		return r, nil, nil
	}
	if old != nil && z.File == "" && old.Spec.(*spec.Zone).Content == z.Content && z.Content != "" {
		return r, nil, nil
	}
	if z.Moving() && z.File == "" && z.Content == "" {
		kept := *z
		if old != nil {
			was := old.Spec.(*spec.Zone)
			kept.Content, kept.Expired = was.Content, was.Expired && len(z.Primaries) > 0
		}
		if kept.Content != "" || len(z.Primaries) > 0 { // else it begins with what nameservers and contact make
			return instead(r, &kept), nil, nil
		}
	}
	text, found, err := zone.Canonical(r.Name, z.File, z.Content, zone.Defaults{Nameservers: z.Nameservers, Contact: z.Contact})
	warnings = faults(r, found)
	if err != nil {
		problems, ok := err.(zone.Problems)
		if !ok {
			problems = zone.Problems{{Text: err.Error()}}
		}
		return r, warnings, faults(r, problems)
	}
	if w := unusedNameservers(r, z, text); w != nil {
		warnings.Add(w)
	}
	canonical := *z
	canonical.Content, canonical.File = text, ""
	return instead(r, &canonical), warnings, nil
}

// instead gives a declaration with another spec.
func instead(r *spec.Resource, s spec.Spec) *spec.Resource {
	out := *r
	out.Spec = s
	return &out
}

// unusedNameservers warns where the content has NS records of its own, which count.
func unusedNameservers(r *spec.Resource, z *spec.Zone, text string) *spec.Error {
	var own []string
	for line := range strings.SplitSeq(text, "\n") {
		if owner, kind, _ := ownerAndType(line); owner == r.Name && kind == "NS" {
			own = append(own, line[strings.LastIndexByte(line, '\t')+1:])
		}
	}
	declared := z.Effective().Nameservers
	slices.Sort(own)
	slices.Sort(declared)
	if len(declared) == 0 || slices.Equal(slices.Compact(own), slices.Compact(declared)) {
		return nil
	}
	return &spec.Error{File: r.Origin.File, Line: r.Origin.LineOf("spec.nameservers"), Resource: r.Key.String(),
		Field: "spec.nameservers", Msg: "is not used: the content has NS records of its own: " + strings.Join(own, ", "),
		Hint: "change the content, or remove its NS records"}
}

// faults gives the problems of a zone's content the form of all others.
func faults(r *spec.Resource, problems zone.Problems) (errs spec.Errors) {
	for _, p := range problems {
		if errs.Full() {
			return errs
		}
		e := &spec.Error{File: p.File, Line: p.Line, Resource: r.Key.String(), Field: "spec.content", Msg: p.Text}
		if p.File == r.Name { // no file was named
			e.File = ""
		}
		if e.File == "" { // the line is one of the content's, which stands somewhere in the declaring file
			e.File = r.Origin.File
			line, known := r.Origin.LineIn(e.Field, e.Line)
			if !known {
				if line = r.Origin.LineOf(e.Field); e.Line > 0 {
					e.Msg = fmt.Sprintf("line %d of the content: %s", e.Line, e.Msg)
				}
			}
			e.Line = line
		}
		errs.Add(e)
	}
	return errs
}

// Clashes compares services with the records of their zones: those that changed, and those whose zone did.
func Clashes(after spec.Near, changed []*spec.Resource) (errs, warnings spec.Errors) {
	touched := map[spec.Key]bool{}
	relevant := false
	for _, r := range changed {
		touched[r.Key] = true
		relevant = relevant || r.Kind == spec.KindService || r.Kind == spec.KindZone || r.Kind == spec.KindPool
	}
	if !relevant {
		return nil, nil
	}
	hosts := map[*spec.Resource]map[string]*spec.Resource{} // by zone, the service at each host
	for r := range steered(after) {
		host, err := spec.CanonicalHost(r.Spec.(*spec.Service).Host)
		z := spec.ZoneOf(after, host)
		if err != nil || z == nil || !(touched[r.Key] || touched[z.Key] || usesTouched(r, touched)) {
			continue
		}
		if hosts[z] == nil {
			hosts[z] = map[string]*spec.Resource{}
		}
		hosts[z][host] = r
	}
	zones := slices.SortedFunc(maps.Keys(hosts), func(a, b *spec.Resource) int { return a.Key.Compare(b.Key) })
	for _, z := range zones {
		e, w := clashesIn(after, z, hosts[z])
		errs.Add(e...)
		warnings.Add(w...)
	}
	return errs, warnings
}

// usesTouched reports whether a pool of the service is among the touched: it may have turned to host names.
func usesTouched(r *spec.Resource, touched map[spec.Key]bool) bool {
	s := r.Spec.(*spec.Service)
	return slices.ContainsFunc(s.AllPools(), func(pool string) bool {
		return touched[spec.Key{Tenant: r.Tenant, Kind: spec.KindPool, Name: pool}]
	})
}

// clashesIn reads one zone's content once, for all its services.
func clashesIn(after spec.Near, z *spec.Resource, hosts map[string]*spec.Resource) (errs, warnings spec.Errors) {
	own := map[string][]string{} // the types at each host
	cuts := map[string]string{}  // the type that takes the names below away
	for line := range strings.SplitSeq(z.Spec.(*spec.Zone).Content, "\n") {
		owner, kind, ok := ownerAndType(line)
		if !ok {
			continue
		}
		// Types of an owner stand together. An owner may have all that there are.
		if types := own[owner]; hosts[owner] != nil && (len(types) == 0 || types[len(types)-1] != kind) {
			own[owner] = append(types, kind)
		}
		if kind == "DNAME" || kind == "NS" && owner != z.Name {
			cuts[owner] = kind
		}
	}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		r := hosts[host]
		tell := func(format string, args ...any) *spec.Error {
			e := &spec.Error{File: r.Origin.File, Line: r.Origin.LineOf("spec.host"), Resource: r.Key.String(), Field: "spec.host",
				Msg: fmt.Sprintf(format, args...), Hint: "change spec.host, or the content of zone " + z.Name}
			if ofZone(r) {
				e.Line, e.Resource, e.Field, e.Hint = r.Origin.LineOf("spec.aliases"), z.Key.String(), "spec.aliases",
					"remove one of the two"
			}
			return e
		}
		if cut, kind := cutAbove(host, z.Name, cuts); cut != "" {
			errs.Add(tell("%s cannot be reached: zone %s gives it away by the %s record of %s", host, z.Name, kind, cut))
			continue
		}
		types, svc := own[host], r.Spec.(*spec.Service)
		_, _, names, _ := spec.ServedFamilies(svc, func(name string) *spec.Pool {
			p, _ := specOf(after.Get(spec.Key{Tenant: r.Tenant, Kind: spec.KindPool, Name: name})).(*spec.Pool)
			return p
		})
		switch replaced := answeredTypes(svc, types); {
		case names && svc.SRV == nil && svc.MX == nil && len(types) > 0:
			errs.Add(tell("a service of host names answers CNAME, which allows nothing beside it, but zone %s has %s at %s", z.Name,
				strings.Join(types, ", "), host))
		case slices.Contains(types, "CNAME"):
			errs.Add(tell("zone %s has a CNAME at %s", z.Name, host))
		case slices.Contains(replaced, "A") || slices.Contains(replaced, "AAAA"):
			warnings.Add(tell("zone %s has addresses of its own at %s: the service answers instead of them", z.Name, host))
		case len(replaced) > 0:
			warnings.Add(tell("zone %s has %s of its own at %s: the service answers instead", z.Name, strings.Join(replaced, ", "), host))
		}
	}
	return errs, warnings
}

// ownerAndType takes from a line of canonical content what stands first and fourth in it, between tabs: owner, TTL, class, type,
// RDATA. Owners may hold spaces.
func ownerAndType(line string) (owner, kind string, ok bool) {
	owner, rest, _ := strings.Cut(line, "\t")
	_, rest, _ = strings.Cut(rest, "\t")
	_, rest, ok = strings.Cut(rest, "\t")
	kind, _, _ = strings.Cut(rest, "\t")
	return owner, kind, ok
}

// answeredTypes gives those of the types that a service answers itself, beside CNAME. All others stand beside it, as TXT does.
func answeredTypes(s *spec.Service, types []string) (out []string) {
	answered := map[string]bool{"SRV": s.SRV != nil, "MX": s.MX != nil, "HTTPS": s.HTTPS != nil, "SVCB": s.SVCB != nil}
	if s.SRV == nil && s.MX == nil {
		answered["A"], answered["AAAA"] = true, true
	}
	for _, t := range types {
		if answered[t] {
			out = append(out, t)
		}
	}
	return out
}

// cutAbove finds the record that takes host out of the zone: NS at or above it, or DNAME above it.
func cutAbove(host, apex string, cuts map[string]string) (owner, kind string) {
	for name := host; ; {
		if k := cuts[name]; k == "NS" || k == "DNAME" && name != host {
			owner, kind = name, k // the highest counts
		}
		if name == apex {
			return owner, kind
		}
		name = spec.Parent(name)
	}
}

// Grantees names the tenants that some zone grants something.
func Grantees(set spec.Lookup) map[string]bool {
	names := map[string]bool{}
	for z := range set.Of(spec.KindZone) {
		for tenant := range z.Spec.(*spec.Zone).Grants {
			names[tenant] = true
		}
	}
	return names
}

func specOf(r *spec.Resource) spec.Spec {
	if r == nil {
		return nil
	}
	return r.Spec
}
