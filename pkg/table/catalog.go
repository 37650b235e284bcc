package table

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone"
)

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

// addMembers makes a zone a catalog (RFC 9432, 4): its version, and a pointer to each member.
func (b *zoneBuilder) addMembers() {
	add := func(prefix string, typ uint16, data []byte) {
		owner := append([]byte(prefix), b.in.static.Apex...)
		b.sets[string(owner)] = []zone.RRset{{Owner: owner, Type: typ, Data: [][]byte{data}}}
		b.members = append(b.members, owner)
	}
	add("\x07version", dnswire.TypeTXT, []byte{1, '2'})
	for _, name := range b.in.members {
		wire, err := wireHost(name)
		if err != nil {
			continue // it would not be a zone
		}
		// The label stays as long as the zone does: another one would tell consumers to begin anew (RFC 9432, 5.5).
		sum := sha256.Sum256([]byte(wire))
		add("\x20"+hex.EncodeToString(sum[:16])+"\x05zones", dnswire.TypePTR, []byte(wire))
	}
}
