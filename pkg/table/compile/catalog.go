package compile

import (
	"github.com/gti/gtm/pkg/spec"
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
