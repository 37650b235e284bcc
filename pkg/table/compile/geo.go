package compile

import (
	"context"
	"reflect"

	"github.com/gti/gtm/pkg/geo"
)

// Geography is a new atlas, with the partitions that a Compiler will want of it. They take long, so they are compiled beside
// the Compiler, which takes other news meanwhile; see Changes and verdicts in docs/performance.md.
type Geography struct {
	atlas *geo.Atlas
	maps  []geo.Map
	parts map[string]*aheadPart
}

// Geography lists what a new atlas is wanted for.
func (c *Compiler) Geography(a *geo.Atlas) *Geography {
	g := &Geography{atlas: a, maps: c.maps, parts: make(map[string]*aheadPart, len(c.parts))}
	for key, p := range c.parts {
		g.parts[key] = &aheadPart{classifier: p.classifier}
	}
	return g
}

// Compile compiles the partitions, one after the other, in the calling goroutine. It needs the Compiler no more. If ctx ends, some
// are left to the Compiler.
func (g *Geography) Compile(ctx context.Context) {
	for key, p := range g.parts {
		if ctx.Err() != nil {
			delete(g.parts, key)
			continue
		}
		p.err = guard(key, func() (err error) {
			p.part, err = geo.Compile(g.atlas, g.maps, p.classifier)
			return err
		})
	}
}

// Partitions tells how many there are.
func (g *Geography) Partitions() int { return len(g.parts) }

// Atlas gives the new atlas.
func (g *Geography) Atlas() *geo.Atlas { return g.atlas }

// SetGeography takes a new geography. What of it was not compiled, or for maps that are others by now, the next Compile compiles.
func (c *Compiler) SetGeography(g *Geography) {
	c.atlas, c.ahead.geography = g.atlas, g
	c.dirty.maps = true
}

// takeGeography has part give what was compiled beside, if that was for these maps.
func (c *Compiler) takeGeography() {
	if g := c.ahead.geography; g != nil && reflect.DeepEqual(g.maps, c.maps) {
		c.ahead.parts = g.parts
	}
	c.ahead.geography = nil
}

// compileParts compiles all partitions anew. Services keep the partition that they have where the new one fails, and say so.
func (c *Compiler) compileParts() {
	failed := map[*partState]bool{}
	for _, key := range sortedKeys(c.parts) {
		p := c.parts[key]
		p.err = guard(key, func() error {
			part, err := c.part(key, p.classifier)
			if err == nil {
				c.partList[p.slot] = part
			}
			return err
		})
		if p.err != nil {
			failed[p] = true
		}
	}
	for s := range c.failing { // it may be mended
		c.dirty.services[s.key] = true
	}
	if len(failed) == 0 {
		return
	}
	for k, s := range c.services {
		if failed[s.part] {
			c.dirty.services[k] = true
		}
	}
}
