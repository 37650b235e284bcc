package course

import (
	"maps"

	"github.com/gti/gtm/pkg/store/state"
)

// tie notes of what was refused for one view that any of it may have been to blame.
func (c *Course) tie() {
	if len(c.together) < 2 {
		return
	}
	with := maps.Clone(c.together)
	for name := range with {
		if t := c.tenants[name]; t != nil && t.refused != nil {
			t.refused.with, c.tied[name] = with, true
		}
	}
}

// untie adds to tenants of which something was told those whose generation was refused together with one that is not aimed at any more,
// since a newer one came or its group was pointed back. They are tried again: who is to blame itself is refused again.
func (c *Course) untie(news map[string]*state.TenantUpdate) {
	if len(c.tied) == 0 {
		return
	}
	for name := range news {
		t := c.tenants[name]
		t.refuses(c, name, t.aimed(c.edge))
	}
	free := map[string]bool{}
	for name := range c.tied {
		t := c.tenants[name]
		if t == nil || t.refused == nil || len(t.refused.with) == 0 {
			delete(c.tied, name)
		} else if c.anyGone(t.refused.with) {
			free[name] = true
		}
	}
	for name := range free {
		delete(c.tied, name)
		c.tenants[name].refused = nil
		if _, told := news[name]; !told {
			news[name] = nil
		}
	}
}

// anyGone reports whether one of some refusals is over.
func (c *Course) anyGone(with map[string]state.Mark) bool {
	for name, m := range with {
		if t := c.tenants[name]; t == nil || t.refused == nil || !t.refused.Same(m) {
			return true
		}
	}
	return false
}
