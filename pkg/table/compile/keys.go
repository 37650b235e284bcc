package compile

import (
	"github.com/gti/gtm/pkg/table/zones"
)

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
