package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
	"github.com/gti/gtm/pkg/zone"
)

// compileZoneContent parses the content of the zones that changed, and drops those that are gone. Services find
// their zone after it.
func (c *Compiler) compileZoneContent() {
	for _, name := range sortedKeys(c.dirty.zones) {
		k := spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}
		it, ok := c.items[k]
		z := c.zones[name]
		if apex, err := names.Wire(name); err == nil {
			c.touchFollowersIn(apex)
		}
		if !ok {
			c.setZoneAliases(k, nil)
			c.list(name, "")
			if z != nil {
				c.orphan(z)
				delete(c.zones, name)
				delete(c.apexes, z.wire)
				c.dirty.zoneList = true
			}
			continue
		}
		c.list(name, it.Resource.Spec.(*spec.Zone).Catalog)
		if z == nil {
			z = &zoneState{key: k, services: map[string]zones.Hosted{}, counts: zones.NewZoneCounts(name, c.cfg.Workers)}
			c.zones[name] = z
			c.dirty.zoneList = true
			c.adopt(name)
		}
		res := it.Resource.Spec.(*spec.Zone).Effective()
		z.err = guard(k, func() error {
			if len(res.Primaries) > 0 && (res.Content == "" || res.Expired) {
				delete(c.apexes, z.wire)
				z.compiled, z.static = nil, nil // also where it has expired (RFC 1035, 3.3.13): better no answer than an old one
				c.dirty.zoneList = true
				return fmt.Errorf("zone %s has not been copied from its primaries yet, or has expired", name)
			}
			static, err := z.read(name, res.Content)
			if err != nil {
				return err
			}
			if z.res != nil && !maps.EqualFunc(z.res.Grants, res.Grants, slices.Equal) {
				c.orphan(z)
			}
			z.static, z.res, z.gen, z.wire = static, &res, it.Generation, string(static.Apex)
			c.signZone(name, z)
			c.apexes[z.wire] = z
			c.setZoneAliases(k, it.Resource)
			return nil
		})
	}
}

// read parses the content of a zone; where little of it has changed, only that.
func (z *zoneState) read(name, content string) (*zone.Zone, error) {
	if z.static != nil {
		if fresh, changed, ok := z.static.Edit(content); ok {
			for _, owner := range changed {
				z.touched.Owner(string(owner))
			}
			return fresh, nil
		}
	}
	z.touched.All = true
	return zone.Parse(name, content)
}

// orphan has the services of a zone look for their place anew.
func (c *Compiler) orphan(z *zoneState) {
	for host := range z.services {
		c.dirty.services[c.hosts[host]] = true
	}
	for k, s := range c.services {
		if s.zone == z.key.Name || !s.attached {
			c.dirty.services[k] = true
		}
	}
}

// adopt has the services that stand nowhere, or below a new zone, look for their place anew.
func (c *Compiler) adopt(zone string) {
	apex, err := names.Wire(zone)
	for k, s := range c.services {
		if !s.attached || err != nil || s.host == apex || names.IsBelow(s.host, apex) {
			c.dirty.services[k] = true
		}
	}
}

// place puts a service into the zone that its host belongs to.
func (c *Compiler) place(k spec.Key, eff *spec.Service, out *table.Service, s *serviceState) error {
	host, err := names.Wire(eff.Host)
	if err != nil {
		return fmt.Errorf("host %q: %w", eff.Host, err)
	}
	if owner, taken := c.hosts[host]; taken && owner != k {
		return fmt.Errorf("host %s already belongs to %s", eff.Host, owner)
	}
	z := c.zoneOf(host)
	if z == nil {
		return fmt.Errorf("host %s lies in no zone that is served here", eff.Host)
	}
	if k.Tenant != spec.Platform && !granted(z.res.Grants[k.Tenant], host) { // the platform owns the zones
		return fmt.Errorf("host %s is not among what zone %s grants to tenant %s (%s)", eff.Host, z.key.Name, k.Tenant,
			strings.Join(z.res.Grants[k.Tenant], ", "))
	}
	if out.Serves(rr.CNAME) && host == string(z.static.Apex) {
		return fmt.Errorf("host %s is the apex of its zone, where no CNAME can stand: use endpoints with addresses", eff.Host)
	}
	if s.attached && s.zone != z.key.Name {
		c.unplace(k, s)
	}
	if !s.slotted {
		s.slot, s.slotted = c.serviceSlots.Add(table.Service{}), true
	}
	if at, ok := z.services[host]; !ok || at != hostedAs(s.slot, out) {
		c.host(z, host, hostedAs(s.slot, out))
	}
	c.hosts[host] = k
	s.attached, s.zone, s.host = true, z.key.Name, host
	return nil
}

// host has a service stand in a zone.
func (c *Compiler) host(z *zoneState, host string, at zones.Hosted) {
	z.services[host] = at
	z.touched.Host(host)
	c.dirty.zones[z.key.Name] = true
}

// hostedAs is how a compiled service stands in its zone.
func hostedAs(slot uint32, s *table.Service) zones.Hosted {
	return zones.Hosted{Place: slot, Alone: s.Serves(rr.CNAME), Served: s.Served}
}

// unplace takes a service out of its zone.
func (c *Compiler) unplace(k spec.Key, s *serviceState) {
	if !s.attached {
		return
	}
	if z := c.zones[s.zone]; z != nil {
		delete(z.services, s.host)
		z.touched.Host(s.host)
		c.dirty.zones[s.zone] = true
	}
	if c.hosts[s.host] == k {
		delete(c.hosts, s.host)
	}
	s.attached = false
}

// zoneOf gives the zone with the longest name at or above host.
func (c *Compiler) zoneOf(host string) *zoneState {
	for name := host; ; name = name[1+int(name[0]):] {
		if z := c.apexes[name]; z != nil {
			return z
		}
		if name[0] == 0 {
			return nil
		}
	}
}

// granted tells whether host is at or below one of the names.
func granted(grants []string, host string) bool {
	for _, n := range grants {
		if wire, err := names.Wire(n); err == nil && (host == wire || names.IsBelow(host, wire)) {
			return true
		}
	}
	return false
}

// compileZones compiles the zones whose content or services changed, and the table over them.
func (c *Compiler) compileZones() {
	var dirty []*zoneState
	for _, name := range sortedKeys(c.dirty.zones) {
		if z := c.zones[name]; z != nil && z.static != nil {
			c.stampZone(z)
			dirty = append(dirty, z)
		}
	}
	fresh, errs := make([]*zones.Zone, len(dirty)), make([]error, len(dirty))
	atOnce(len(dirty), func(i int) {
		errs[i] = guard(dirty[i].key, func() (err error) {
			fresh[i], err = c.compileZone(dirty[i])
			return err
		})
	})
	for i, z := range dirty {
		if errs[i] != nil {
			z.err = errs[i]
			continue
		}
		fresh[i].Spec, fresh[i].Day = z.res, c.today
		z.touched = zones.Touched{}
		c.relist(z, fresh[i])
	}
	c.renumberZones()
	if c.dirty.zoneList {
		c.listZones()
	} else if len(c.dirty.relisted) > 0 {
		c.zoneList = slices.Clone(c.zoneList)
		for _, z := range c.dirty.relisted {
			k := names.NewKey(z.static.Apex, c.cfg.Seed)
			if l := c.top.Find(z.static.Apex, k.Hashes[0]); l != nil {
				c.zoneList[l.Value] = z.compiled
			}
		}
	}
}

// compileZone compiles a zone, from its old form where that can be done. It changes nothing.
func (c *Compiler) compileZone(z *zoneState) (*zones.Zone, error) {
	name := z.key.Name
	in := &zones.Input{Static: z.static, Serial: z.serial, Added: z.added, Catalog: c.catalogs[name] != nil,
		Members: sortedKeys(c.catalogs[name]),
		Debug:   *z.res.Debug, Services: z.services, Counts: z.counts, Seed: c.cfg.Seed, Signer: z.signer, Keys: c.keys[name],
		Old: z.compiled}
	if fresh, ok := z.compiled.Remade(in, &z.touched); ok {
		return fresh, nil
	}
	return zones.New(in)
}

// relist gives a zone its new form, for which the list of zones need not be made anew if the zone is in it.
func (c *Compiler) relist(z *zoneState, fresh *zones.Zone) {
	if z.compiled == nil {
		c.dirty.zoneList = true
	}
	z.compiled = fresh
	c.dirty.relisted = append(c.dirty.relisted, z)
}

// listZones lists all zones, and makes the table over them. Void ones stand behind the others.
func (c *Compiler) listZones() {
	listed := sortedKeys(c.zones)
	for k := range c.unread {
		if _, known := c.zones[k.Name]; k.Kind == spec.KindZone && !known {
			listed = append(listed, k.Name)
		}
	}
	slices.Sort(listed)
	c.zoneList, c.top, c.depths = nil, names.New(len(listed)), [2]uint64{}
	var void []*zones.Zone
	for _, name := range listed {
		if z := c.zones[name]; z != nil && z.compiled != nil {
			c.listZone(z.static.Apex, z.compiled)
		} else if v := c.voidZone(name, z); v != nil {
			void = append(void, v)
		}
	}
	c.served = len(c.zoneList)
	for _, v := range void {
		apex, _ := names.Wire(v.Name) // voidZone has read it
		c.listZone([]byte(apex), v)
	}
}

func (c *Compiler) listZone(apex []byte, z *zones.Zone) {
	k := names.NewKey(apex, c.cfg.Seed)
	c.top.Put(apex, k.Hashes[0], uint32(len(c.zoneList)))
	c.depths[k.Labels>>6] |= 1 << (k.Labels & 63)
	c.zoneList = append(c.zoneList, z)
}

// voidZone gives what stands for a zone that has nothing to serve, so that the zone above does not answer for its names. z is nil where
// it could not even be read. nil: the name is none.
func (c *Compiler) voidZone(name string, z *zoneState) *zones.Zone {
	apex, err := names.Wire(name)
	if err != nil {
		return nil
	}
	v := zones.NewVoid(name, apex, c.cfg.Seed)
	if z != nil {
		v.Counts = z.counts
	}
	return v
}

// list notes in which catalog a zone is listed; empty: in none. The catalogs that change are compiled anew.
func (c *Compiler) list(name, catalog string) {
	if catalog != "" {
		if canonical, err := spec.CanonicalZone(catalog); err == nil {
			catalog = canonical
		}
	}
	was := c.listed[name]
	if was == catalog {
		return
	}
	for _, touched := range []string{was, catalog} {
		if touched != "" {
			c.dirty.zones[touched] = true
		}
	}
	delete(c.catalogs[was], name)
	if delete(c.listed, name); catalog == "" {
		return
	}
	c.listed[name] = catalog
	if c.catalogs[catalog] == nil {
		c.catalogs[catalog] = map[string]bool{}
	}
	c.catalogs[catalog][name] = true
}

// ZoneKeys are what a zone is signed with.
type ZoneKeys = zones.ZoneKeys

// SetKeys gives a zone its keys; nil: it is not signed. The zone need not exist yet.
func (c *Compiler) SetKeys(name string, keys *zones.ZoneKeys) {
	old := c.keys[name]
	if old == keys || old != nil && keys != nil && old.Serial == keys.Serial && keys.Serial != 0 {
		return
	}
	if c.keys[name] = keys; keys == nil {
		delete(c.keys, name)
	}
	c.dirty.zones[name] = true
}

// HasKeys tells whether a zone has keys.
func (c *Compiler) HasKeys(name string) bool { return c.keys[name] != nil }

// SignedZones lists the zones that have keys, sorted.
func (c *Compiler) SignedZones() []string { return sortedKeys(c.keys) }

// signZone gives a zone the signer of its keys. As long as the zone-signing keys stay, it is the same one, with all that it has
// signed. The services of a zone with a new one are compiled anew.
func (c *Compiler) signZone(name string, z *zoneState) {
	keys := c.keys[name]
	switch {
	case keys == nil && z.signer == nil:
		return
	case keys == nil:
		z.signer = nil
	case z.signer != nil && z.signer.SignsWith(keys):
		return
	default:
		z.signer = zones.NewSigner(z.static.Apex, keys.Keys, len(c.keys))
	}
	for host := range z.services {
		c.dirty.services[c.hosts[host]] = true
	}
}
