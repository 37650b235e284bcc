package spec

import (
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// Bounds of the search for rules that no client reaches. What it does not get to is not warned of.
const (
	maxHiddenWork    = 4 << 20 // comparisons of one ValidateSet, whatever it checks: some 20 ms
	maxHiddenCases   = 4096    // geo × asn × map × resolver of one rule
	maxHiddenReports = 10      // rules of one service
)

// unreachable warns of rules whose clients all go to rules before them.
func (v *setChecker) unreachable(r *Resource, declared []Rule) {
	rules, reported := titled(declared), 0
	for i := 1; i < len(rules); i++ {
		path := indexed("spec.rules", i)
		if rules[i-1].MatchesAll() {
			v.warn(r, path, "put it before rule "+rules[i-1].Name, "is never reached: rule %s before it takes every client",
				rules[i-1].Name)
			return
		}
		by := v.hiddenBy(rules[:i], rules[i].When)
		switch {
		case len(by) == 0:
			continue
		case reported == maxHiddenReports:
			v.warn(r, path, "", "and rules behind it: there are more that are never reached")
			return
		case len(by) == 1:
			v.warn(r, path, "put it before rule "+by[0], "is never reached: rule %s before it takes all of its clients", by[0])
		default:
			v.warn(r, path, "put it before rule "+by[0], "is never reached: rules %s before it take all of its clients",
				strings.Join(by, ", "))
		}
		reported++
	}
}

// hiddenBy gives the names of the rules that together take every client that w matches, in the order of the rules; nil where they do
// not, or where that cannot be told from what is declared.
func (v *setChecker) hiddenBy(before []Rule, w *When) []string {
	if w == nil || v.hiddenWork > maxHiddenWork || casesOf(w) > maxHiddenCases {
		return nil
	}
	takes := map[int]bool{}
	for c := range cases(w) {
		i := slices.IndexFunc(before, func(r Rule) bool { return v.covers(r.When, &c) })
		if i < 0 {
			return nil
		}
		takes[i] = true
	}
	var names []string
	for i := range before {
		if takes[i] {
			names = append(names, before[i].Name)
		}
	}
	return names
}

// clients are those that one value of each field matches; nil: the field is absent.
type clients struct {
	place    *string
	asn      *uint32
	networks *string // a map
	resolver *string // likewise, of the same address: the client's own is not known
}

// casesOf gives how many cases has.
func casesOf(w *When) int {
	return max(len(w.Geo), 1) * max(len(w.ASN), 1) * max(len(w.Map), 1) * max(len(w.Resolver), 1)
}

// cases lists the clients that w matches.
func cases(w *When) iter.Seq[clients] {
	return func(yield func(clients) bool) {
		for _, g := range orNone(w.Geo) {
			for _, a := range orNone(w.ASN) {
				for _, m := range orNone(w.Map) {
					for _, r := range orNone(w.Resolver) {
						if !yield(clients{g, a, m, r}) {
							return
						}
					}
				}
			}
		}
	}
}

// orNone gives pointers to the values of a field; nil alone where the field is absent.
func orNone[T any](values []T) []*T {
	if len(values) == 0 {
		return []*T{nil}
	}
	out := make([]*T, len(values))
	for i := range values {
		out[i] = &values[i]
	}
	return out
}

// covers reports whether w matches every one of these clients.
func (v *setChecker) covers(w *When, c *clients) bool {
	if v.hiddenWork > maxHiddenWork {
		return false
	}
	v.hiddenWork += 1 + len(w.Geo) + len(w.ASN) + len(w.Map) + len(w.Resolver)
	return (len(w.Geo) == 0 || c.place != nil && slices.ContainsFunc(w.Geo, func(wide string) bool { return placeIn(*c.place, wide) })) &&
		(len(w.ASN) == 0 || c.asn != nil && slices.Contains(w.ASN, *c.asn)) &&
		(len(w.Map) == 0 || v.inMaps(c, w.Map)) &&
		(len(w.Resolver) == 0 || c.resolver != nil && v.inMaps(c, w.Resolver))
}

// inMaps reports whether one of the maps holds the address of all these clients.
func (v *setChecker) inMaps(c *clients, maps []string) bool {
	return slices.ContainsFunc(maps, func(wide string) bool {
		return c.networks != nil && v.mapIn(*c.networks, wide) || c.resolver != nil && v.mapIn(*c.resolver, wide)
	})
}

// placeIn reports whether a place is the other or a part of it: EU-DE is in EU.
func placeIn(place, wide string) bool {
	rest, ok := strings.CutPrefix(place, wide)
	return ok && (rest == "" || rest[0] == '-')
}

// mapIn reports whether each network of a map lies in one of the other's.
func (v *setChecker) mapIn(name, wide string) bool {
	if name == wide {
		return true
	}
	pair := [2]string{name, wide}
	in, known := v.mapsIn[pair]
	if !known {
		narrow, wide := v.mapOf(name), v.mapOf(wide)
		in = !narrow.FromFiles && !wide.FromFiles && v.eachIn(narrow.Networks, wide.Networks) // what files hold the edges know
		if v.mapsIn == nil {
			v.mapsIn = map[[2]string]bool{}
		}
		v.mapsIn[pair] = in
	}
	return in
}

func (v *setChecker) mapOf(name string) *Map {
	m, _ := v.after.Get(Key{Platform, KindMap, name}).Spec.(*Map) // the references of a checked service are whole
	return m
}

func (v *setChecker) eachIn(networks, wide []netip.Prefix) bool {
	if v.hiddenWork += len(wide); v.hiddenWork > maxHiddenWork {
		return false
	}
	has := make(map[netip.Prefix]bool, len(wide))
	for _, p := range wide {
		has[p.Masked()] = true
	}
	for _, p := range networks {
		inside := false
		for bits := p.Bits(); bits >= 0 && !inside; bits-- {
			above, err := p.Addr().Prefix(bits)
			inside = err == nil && has[above]
		}
		if v.hiddenWork += p.Bits() + 1; !inside || v.hiddenWork > maxHiddenWork {
			return false
		}
	}
	return true
}
