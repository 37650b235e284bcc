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

// ofZone reports whether a service stands for an alias of a zone.
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
			if host, err := spec.CanonicalHost(old.Host); err == nil {
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
		if host, err := spec.CanonicalHost(r.Spec.(*spec.Service).Host); err == nil {
			delete(ends, host)
		}
	}
	byZone := map[*spec.Resource]map[string]bool{}
	for to := range ends {
		z := spec.ZoneOf(after, to)
		if byZone[z] == nil {
			byZone[z] = map[string]bool{}
		}
		byZone[z][to] = true
	}
	for z, names := range byZone {
		dropHeld(z, names)
	}
	for _, to := range slices.Sorted(maps.Keys(ends)) {
		z := spec.ZoneOf(after, to)
		if !byZone[z][to] {
			continue
		}
		for _, r := range ends[to] {
			if errs.Full() {
				return errs
			}
			e := &spec.Error{File: r.Origin.File, Line: r.Origin.LineOf("spec.alias"), Resource: r.Key.String(), Field: "spec.alias.to",
				Msg: fmt.Sprintf("%s leads to %s, but zone %s has neither a service nor addresses there",
					r.Spec.(*spec.Service).Host, to, z.Name),
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

// dropHeld takes out of names those that an alias can lead to in a zone's content: to addresses, or below a delegation, which is
// elsewhere. What a zone that is copied from other servers holds is not known before. The content is read once for all names.
func dropHeld(z *spec.Resource, names map[string]bool) {
	declared := z.Spec.(*spec.Zone)
	if len(declared.Primaries) > 0 {
		clear(names)
		return
	}
	cuts := map[string]string{}
	for line := range strings.SplitSeq(declared.Content, "\n") {
		owner, kind, ok := ownerAndType(line)
		if !ok {
			continue
		}
		if kind == "A" || kind == "AAAA" {
			delete(names, owner)
		}
		if kind == "NS" && owner != z.Name {
			cuts[owner] = kind
		}
	}
	for to := range names {
		if cut, _ := cutAbove(to, z.Name, cuts); cut != "" {
			delete(names, to)
		}
	}
}

func keysOf(resources []*spec.Resource) []spec.Key {
	keys := make([]spec.Key, len(resources))
	for i, r := range resources {
		keys[i] = r.Key
	}
	return keys
}
