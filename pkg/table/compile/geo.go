package compile

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
)

// Geography lists what a new atlas is wanted for. Where only its latency table is new, partitions that know nothing of latency stay.
func (c *Compiler) Geography(a *geo.Atlas) *Geography {
	g := &Geography{atlas: a, maps: c.maps, parts: make(map[string]*aheadPart, len(c.parts))}
	stay := a.SameGeography(c.atlas) && !c.dirty.maps
	for key, p := range c.parts {
		part := &aheadPart{begin: p.begin}
		if stay && !p.classifier.Latency && p.err == nil {
			part.divided = divided{division: p.division, part: c.partList[p.slot]}
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
		p.compile(key, g.atlas, g.maps)
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

// compile compiles it. The key names it if that fails.
func (p *aheadPart) compile(key string, atlas *geo.Atlas, maps []geo.Map) {
	err := guard(partName(key), func() error {
		p.divided = divide(atlas, maps, p.begin)
		return p.err
	})
	p.err = err
}

// compileParts compiles all partitions anew. Services keep the partition that they have where the new one fails, and say so.
func (c *Compiler) compileParts() {
	failed := map[*partState]bool{}
	renewed := map[*partState]bool{}
	for _, key := range sortedKeys(c.parts) {
		p := c.parts[key]
		d := c.part(key, p.begin)
		switch p.err = d.err; {
		case d.err != nil:
			failed[p] = true
		case d.division == p.division: // it stays: see Geography
		case d.rows == nil && d.wheres == nil:
			c.partList[p.slot] = d.part
		default: // its classes mean something else now: each service moves over when it is compiled
			c.addPart(key, p.begin, d)
			renewed[p] = true
		}
	}
	for s := range c.failing { // it may be mended
		c.dirty.services[s.key] = true
	}
	if len(failed)+len(renewed) == 0 {
		return
	}
	for k, s := range c.services {
		if failed[s.part] || renewed[s.part] {
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
		m, err := policy.Matcher(eff.Rules[i].When)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", table.RuleName(eff, i), err)
		}
		matchers[i] = m
	}
	return geo.FirstOf(matchers), nil
}

// takePart gives the partition of a service's matches; services with the same matches share one.
func (c *Compiler) takePart(eff *spec.Service, s *serviceState) (uint32, error) {
	key := string(partKey(eff))
	p := c.parts[key]
	if p == nil {
		classifier, err := classifierOf(eff)
		if err != nil {
			return 0, err
		}
		if p, err = c.newPart(key, ofRules(classifier)); err != nil {
			return 0, err
		}
	}
	return c.usePart(p, s)
}

// newPart compiles a partition.
func (c *Compiler) newPart(key string, begin func() *division) (*partState, error) {
	d := c.part(key, begin)
	if d.err != nil {
		return nil, d.err
	}
	return c.addPart(key, begin, d), nil
}

// addPart gives a partition a place, in which the services find it that are compiled from now on.
func (c *Compiler) addPart(key string, begin func() *division, d divided) *partState {
	p := &partState{key: key, begin: begin, division: d.division}
	if n := len(c.partFree); n > 0 {
		p.slot, c.partFree = c.partFree[n-1], c.partFree[:n-1]
		c.partList[p.slot] = d.part
	} else {
		p.slot = uint32(len(c.partList))
		c.partList = append(c.partList, d.part)
	}
	if c.parts[key] == nil && strings.HasPrefix(key, ownPart) {
		c.owned++
	}
	c.parts[key] = p
	return p
}

// usePart has a service use a partition.
func (c *Compiler) usePart(p *partState, s *serviceState) (uint32, error) {
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
		c.dropPart(p)
	}
}

func (c *Compiler) dropPart(p *partState) {
	c.partList[p.slot] = nil
	c.partFree = append(c.partFree, p.slot)
	if c.parts[p.key] != p {
		return // a newer one has taken its place
	}
	if delete(c.parts, p.key); strings.HasPrefix(p.key, ownPart) {
		c.owned--
	}
}

// dropParts drops those that no service has come to use.
func (c *Compiler) dropParts() {
	for _, p := range c.parts {
		if p.refs == 0 {
			c.dropPart(p)
		}
	}
}

// part gives a partition, whose key is given.
func (c *Compiler) part(key string, begin func() *division) divided {
	if p := c.ahead.parts[key]; p != nil && (p.part != nil || p.err != nil) {
		return p.divided
	}
	p := &aheadPart{begin: begin}
	p.compile(key, c.atlas, c.maps)
	return p.divided
}

// partName names a partition for people.
func partName(key string) string {
	if isPolicyPart(key) {
		return "a policy's partition"
	}
	return key
}
