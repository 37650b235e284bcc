package lawful

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/spec"
)

// steered lists the services near the change, and the aliases of zones as the services that they stand for.
func steered(after spec.Near) iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		for r := range after.Near(spec.KindService) {
			if !yield(r) {
				return
			}
		}
		for z := range after.Of(spec.KindZone) {
			for _, r := range spec.AliasServices(z) {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// ofZone tells whether a service stands for an alias of a zone.
func ofZone(r *spec.Resource) bool { return strings.HasSuffix(r.Name, ".") }

// deadEnds finds aliases that lead to a name of our zones at which the change leaves neither a service nor addresses.
func (c *Change) deadEnds() (errs spec.Errors) {
	after := c.After
	touched, freed := map[spec.Key]bool{}, map[string]bool{} // hosts that a service had
	for _, r := range c.Changed {
		touched[r.Key] = true
	}
	for _, k := range append(slices.Clone(c.Deleted), keysOf(c.Changed)...) {
		if old, ok := specOf(c.Before.Get(k)).(*spec.Service); ok {
			if host, err := spec.CanonicalName(old.Host); err == nil {
				freed[host] = true
			}
		}
	}
	ends := map[string][]*spec.Resource{}
	for r := range steered(after) {
		s := r.Spec.(*spec.Service)
		if s.Alias == nil {
			continue
		}
		to, err := spec.CanonicalName(s.Alias.To)
		z := spec.ZoneOf(after, to)
		if err == nil && z != nil && (touched[r.Key] || ofZone(r) && touched[zoneKey(after, r)] || touched[z.Key] || freed[to]) {
			ends[to] = append(ends[to], r)
		}
	}
	if len(ends) == 0 {
		return nil
	}
	for r := range steered(after) {
		if host, err := spec.CanonicalName(r.Spec.(*spec.Service).Host); err == nil {
			delete(ends, host)
		}
	}
	for _, to := range slices.Sorted(maps.Keys(ends)) {
		z := spec.ZoneOf(after, to)
		if holds(z, to) {
			continue
		}
		for _, r := range ends[to] {
			e := &spec.Error{File: r.Origin.File, Line: r.Origin.LineOf("spec.alias"), Resource: r.Key.String(), Field: "spec.alias.to",
				Msg:  fmt.Sprintf("%s leads to %s, but zone %s has neither a service nor addresses there", r.Spec.(*spec.Service).Host, to, z.Name),
				Hint: "correct the alias, or change it first where it is not yours"}
			if ofZone(r) {
				e.Resource, e.Field, e.Line = zoneKey(after, r).String(), "spec.aliases", r.Origin.LineOf("spec.aliases")
			}
			errs.Add(e)
		}
	}
	return errs
}

// zoneKey names the zone that declares an alias.
func zoneKey(after spec.Near, r *spec.Resource) spec.Key {
	if z := spec.ZoneOf(after, r.Name); z != nil {
		return z.Key
	}
	return spec.Key{}
}

// holds tells whether an alias can lead to a name of a zone's content: to addresses, or below a delegation, which is elsewhere. What
// a zone that is copied from other servers holds is not known before.
func holds(z *spec.Resource, to string) bool {
	declared := z.Spec.(*spec.Zone)
	if len(declared.Primaries) > 0 {
		return true
	}
	cuts := map[string]string{}
	found := false
	for line := range strings.SplitSeq(declared.Content, "\n") {
		f := fieldsOf(line)
		if len(f) < 4 {
			continue
		}
		found = found || f[0] == to && (f[3] == "A" || f[3] == "AAAA")
		if f[3] == "NS" && f[0] != z.Name {
			cuts[f[0]] = f[3]
		}
	}
	cut, _ := cutAbove(to, z.Name, cuts)
	return found || cut != ""
}

func keysOf(resources []*spec.Resource) []spec.Key {
	keys := make([]spec.Key, len(resources))
	for i, r := range resources {
		keys[i] = r.Key
	}
	return keys
}
