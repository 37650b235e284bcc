package spec

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Alias has a name answer A and AAAA with the addresses of another one. CNAME does that too, but allows nothing beside it.
type Alias struct {
	// To is a service's host, a name with addresses in the content of one of our zones, or a host elsewhere, which
	// each edge resolves in the background.
	To string `json:"to" yaml:"to"`
	// By is continent or country: a host elsewhere is resolved for each of them. Absent: once for all clients.
	By string `json:"by,omitempty" yaml:"by,omitempty"`
}

// ZoneAlias is an alias that stands in a zone. It may lead to the services of any tenant.
type ZoneAlias struct {
	// Name is relative to the zone, or absolute with a dot at its end; @ is the zone's own.
	Name string `json:"name" yaml:"name"`
	To   string `json:"to" yaml:"to"`
	By   string `json:"by,omitempty" yaml:"by,omitempty"`
	// TTL is the longest that answers have. Default 30s.
	TTL *Duration `json:"ttl,omitempty" yaml:"ttl,omitempty"`
}

// Values of Alias.By.
const (
	ByContinent = "continent"
	ByCountry   = "country"
)

// AliasServices gives the aliases of a zone as the services of the platform that they stand for. Their names are their hosts, which
// no declared service can have, since a resource's name has no dots. Names that cannot be are left out.
func AliasServices(zone *Resource) []*Resource {
	z, ok := zone.Spec.(*Zone)
	if !ok {
		return nil
	}
	var out []*Resource
	for i := range z.Aliases {
		a := &z.Aliases[i]
		host, err := CanonicalName(a.host(zone.Name))
		if err != nil || !Under(host, zone.Name) {
			continue
		}
		out = append(out, &Resource{Key: Key{Platform, KindService, host}, Origin: zone.Origin,
			Spec: &Service{Host: host, TTL: a.TTL, Alias: &Alias{To: a.To, By: a.By}}})
	}
	return out
}

// host gives the absolute name.
func (a *ZoneAlias) host(zone string) string {
	switch {
	case a.Name == "@":
		return zone
	case a.Name == "" || strings.HasSuffix(a.Name, "."):
		return a.Name
	}
	return a.Name + "." + strings.TrimPrefix(zone, ".") // the root is the dot alone
}

func (c *checker) zoneAliases(z *Zone) {
	seen := map[string]int{}
	for i := range z.Aliases {
		a, path := &z.Aliases[i], indexed("spec.aliases", i)
		host := c.hostName(path+".name", a.host(c.r.Name))
		if host != "" && !Under(host, c.r.Name) {
			c.fail(path+".name", "", "%s is not in the zone %s", host, c.r.Name)
		}
		if first, twice := seen[host]; twice && host != "" {
			c.fail(path+".name", "", "%s stands twice, first at %s", host, indexed("spec.aliases", first))
		} else {
			seen[host] = i
		}
		c.ttl(path+".ttl", a.TTL)
		c.alias(path, host, &Alias{a.To, a.By})
	}
}

// alias checks where an alias at host leads, by itself.
func (c *checker) alias(path, host string, a *Alias) {
	if to := c.hostName(path+".to", a.To); to != "" && to == host {
		c.fail(path+".to", "", "%s leads to itself", to)
	}
	if a.By != "" {
		c.oneOf(path+".by", a.By, ByContinent, ByCountry)
	}
}

func (c *checker) ttl(path string, t *Duration) {
	if t == nil {
		return
	}
	if ttl := time.Duration(*t); ttl < 0 || ttl/time.Second > math.MaxInt32 {
		c.fail(path, "", "%s is out of range: it can be 0s to %ds", *t, math.MaxInt32)
	} else if ttl%time.Second != 0 {
		c.fail(path, "", "%s is not a whole number of seconds", *t)
	}
}

// onlyAlias refuses what a service with an alias takes from where it leads to.
func (c *checker) onlyAlias(s *Service) {
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"rules", len(s.Rules) > 0}, {"lastResort", len(s.LastResort) > 0}, {"answers", s.Answers != 0}, {"pick", s.Pick != ""},
		{"sticky", s.Sticky != nil},
		{"families", len(s.Families) > 0}, {"allDown", s.AllDown != ""}, {"coherent", s.Coherent}, {"https", s.HTTPS != nil},
		{"ecs", s.ECS != ""}, {"svcb", s.SVCB != nil}, {"srv", s.SRV != nil}, {"mx", s.MX != nil}, {"pools", len(s.Pools) > 0},
		{"fence", len(s.Fence) > 0}, {"ttlUnsure", s.TTLUnsure != nil},
	} {
		if f.given {
			c.fail("spec."+f.name, "remove it, or alias", "goes not with alias, which answers as the name that it leads to")
		}
	}
}

// aliasLine is one alias of the set: of a service, or of a zone.
type aliasLine struct {
	r    *Resource // that declares it
	path string    // of the field that says where it leads
	host string
	Alias
	own bool // it leads to services of its own tenant alone
}

// aliases lists all aliases of the set, sorted.
func (v *setChecker) aliases() (out []aliasLine) {
	for r := range v.near(KindService) {
		if s := r.Spec.(*Service); s.Alias != nil {
			out = append(out, aliasLine{r, "spec.alias", canonicalHostOr(s.Host), *s.Alias, r.Tenant != Platform})
		}
	}
	for r := range v.after.Of(KindZone) {
		z := r.Spec.(*Zone)
		for i := range z.Aliases {
			a := &z.Aliases[i]
			out = append(out, aliasLine{r, indexed("spec.aliases", i), canonicalOr(a.host(r.Name)), Alias{a.To, a.By}, false})
		}
	}
	slices.SortStableFunc(out, func(a, b aliasLine) int { return a.r.Key.Compare(b.r.Key) })
	return out
}

// checkAliases looks at the aliases that are touched, and at those that lead to what is touched.
func (v *setChecker) checkAliases() {
	if !v.touches(KindZone) && !v.touches(KindService) && !v.touches(KindPool) {
		return
	}
	all := v.aliases()
	if len(all) == 0 {
		return
	}
	hosts, aliased := map[string]*Resource{}, map[string]*aliasLine{}
	for r := range v.near(KindService) {
		hosts[canonicalHostOr(r.Spec.(*Service).Host)] = r
	}
	for i := range all {
		aliased[all[i].host] = &all[i]
	}
	for i := range all {
		v.alias(&all[i], hosts, aliased)
	}
}

// alias checks one alias. Whether the content of a zone has addresses for it is not looked at here.
func (v *setChecker) alias(a *aliasLine, hosts map[string]*Resource, aliased map[string]*aliasLine) {
	if a.r.Kind == KindZone {
		v.checkAliasOwner(a, hosts[a.host])
	}
	to, err := CanonicalName(a.To)
	target, next := hosts[to], aliased[to]
	touched := v.changed[a.r.Key] || target != nil && (v.changed[target.Key] || v.refersToTouched(target)) || next != nil &&
		v.changed[next.r.Key]
	if err != nil || !touched || to == a.host {
		return
	}
	// where the alias did not change, who changed its end is told too, by the alias's name
	fail := func(field, hint, format string, args ...any) { v.fail(a.r, a.path+field, hint, format, args...) }
	if a.By != "" && ZoneOf(v.after, to) != nil {
		fail(".by", "remove it: the service there steers by itself", "%s is in a zone of ours, and is not resolved", to)
	}
	switch {
	case next != nil:
		fail(".to", "write "+next.To+" here too", "%s is an alias itself: aliases do not follow one another", to)
	case target == nil:
	case a.own && target.Tenant != a.r.Tenant:
		fail(".to", "have the tenant "+Platform+" put the alias into the zone",
			"%s is steered by %s: an alias of a service leads to services of its own tenant", to, target.Key)
	case v.answersNames(target):
		fail(".to", "give that service endpoints with addresses", "%s is a service of host names, which has no addresses: %s",
			to, target.Key)
	}
}

// checkAliasOwner checks where an alias of a zone stands; other is the service that has its name.
func (v *setChecker) checkAliasOwner(a *aliasLine, other *Resource) {
	if zone := ZoneOf(v.after, a.host); zone != nil && zone != a.r && Under(a.host, a.r.Name) &&
		(v.changed[a.r.Key] || v.changed[zone.Key]) {
		v.fail(a.r, a.path+".name", "declare it there", "%s belongs to the zone %s", a.host, zone.Name)
	}
	switch {
	case other == nil:
	case v.changed[other.Key]:
		v.fail(other, "spec.host", "remove one of the two", "%s is an alias in zone %s", a.host, a.r.Name)
	case v.changed[a.r.Key]:
		v.fail(a.r, a.path+".name", "remove one of the two", "%s is already steered by %s", a.host, other.Key)
	}
}

// answersNames reports whether a service answers with host names.
func (v *setChecker) answersNames(r *Resource) bool {
	_, _, cname, _ := ServedFamilies(r.Spec.(*Service), func(name string) *Pool {
		if p := v.after.Get(Key{r.Tenant, KindPool, name}); p != nil {
			return p.Spec.(*Pool)
		}
		return nil
	})
	return cname
}

// touches reports whether the change touches resources of a kind.
func (v *setChecker) touches(kind Kind) bool {
	for k := range v.changed {
		if k.Kind == kind {
			return true
		}
	}
	for k := range v.deleted {
		if k.Kind == kind {
			return true
		}
	}
	return false
}
