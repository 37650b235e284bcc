package compile

import (
	"context"
	"fmt"
	"reflect"
	"strconv"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
)

// Geography lists what a new atlas is wanted for. Where only its latency table is new, partitions that know nothing of latency stay.
func (c *Compiler) Geography(a *geo.Atlas) *Geography {
	g := &Geography{atlas: a, maps: c.maps, parts: make(map[string]*aheadPart, len(c.parts))}
	stay := a.SameGeography(c.atlas) && !c.dirty.maps
	for key, p := range c.parts {
		part := &aheadPart{classifier: p.classifier}
		if stay && !p.classifier.Latency && p.err == nil {
			part.part = c.partList[p.slot]
		}
		g.parts[key] = part
	}
	return g
}

// Compile compiles the partitions, one after the other, in the calling goroutine. It needs the Compiler no more. If ctx ends, some
// are left to the Compiler.
func (g *Geography) Compile(ctx context.Context) {
	for key, p := range g.parts {
		if p.part != nil {
			continue
		}
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

// partKey is the same for services with the same matches.
func partKey(eff *spec.Service) []byte {
	b := make([]byte, 0, 128)
	for i := range eff.Rules {
		b = append(b, '|')
		w := eff.Rules[i].When
		if w == nil {
			continue
		}
		for _, g := range w.Geo {
			b = append(append(b, ' '), g...)
		}
		for _, n := range w.ASN {
			b = strconv.AppendUint(append(b, '#'), uint64(n), 10)
		}
		for _, m := range w.Map {
			b = append(append(b, '@'), m...) // names have none of these signs
		}
	}
	return b
}

// classifierOf has geo divide places by the rules of a service.
func classifierOf(eff *spec.Service) (*geo.Classifier, error) {
	matchers := make([]geo.Matcher, len(eff.Rules))
	for i := range eff.Rules {
		m, err := matcher(eff.Rules[i].When)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", table.RuleName(eff, i), err)
		}
		matchers[i] = m
	}
	return geo.FirstOf(matchers), nil
}

// matcher turns a condition into what geo matches places with.
func matcher(w *spec.When) (geo.Matcher, error) {
	var m geo.Matcher
	if w == nil {
		return m, nil
	}
	for _, g := range w.Geo {
		p, err := geo.ParsePlace(g)
		if err != nil {
			return m, err
		}
		m.Geo = append(m.Geo, p)
	}
	m.ASN, m.Maps = w.ASN, w.Map
	return m, nil
}

// takePart gives the partition of a service's matches; services with the same matches share one.
func (c *Compiler) takePart(eff *spec.Service, s *serviceState) (uint32, error) {
	key := partKey(eff)
	p := c.parts[string(key)]
	if p == nil {
		classifier, err := classifierOf(eff)
		if err != nil {
			return 0, err
		}
		p = &partState{key: string(key), classifier: classifier}
		part, err := c.part(p.key, classifier)
		if err != nil {
			return 0, err
		}
		if n := len(c.partFree); n > 0 {
			p.slot, c.partFree = c.partFree[n-1], c.partFree[:n-1]
			c.partList[p.slot] = part
		} else {
			p.slot = uint32(len(c.partList))
			c.partList = append(c.partList, part)
		}
		c.parts[p.key] = p
	}
	if p.err != nil {
		return 0, p.err
	}
	p.refs++
	s.part = p
	return p.slot, nil
}

func (c *Compiler) releasePart(p *partState) {
	if p == nil {
		return
	}
	if p.refs--; p.refs == 0 {
		c.partList[p.slot] = nil
		c.partFree = append(c.partFree, p.slot)
		delete(c.parts, p.key)
	}
}

// part gives the partition of a classifier, whose key is given.
func (c *Compiler) part(key string, classifier *geo.Classifier) (*geo.Partition, error) {
	if p := c.ahead.parts[key]; p != nil {
		return p.part, p.err
	}
	return geo.Compile(c.atlas, c.maps, classifier)
}
