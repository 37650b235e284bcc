package compile

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
)

// Geography lists what a new atlas is wanted for. Where only its latency table is new, partitions that know nothing of latency stay.
func (c *Compiler) Geography(a *geo.Atlas) *Geography {
	return c.geography(&Geography{atlas: a, maps: c.maps}, a.SameGeography(c.atlas) && !c.dirty.maps)
}

// FileMaps lists what new files of maps are wanted for.
func (c *Compiler) FileMaps(f *geo.FileMaps) *Geography {
	g := &Geography{atlas: c.atlas, files: f, maps: slices.Clone(c.maps)}
	for i := range g.maps {
		if g.maps[i].Files != nil {
			g.maps[i].Files = f
		}
	}
	return c.geography(g, false)
}

// geography lists the partitions. If stay is set, those that know nothing of latency stay.
func (c *Compiler) geography(g *Geography, stay bool) *Geography {
	g.parts = make(map[string]*aheadPart, len(c.parts))
	for key, p := range c.parts {
		part := &aheadPart{begin: p.begin}
		if stay && !p.timed && p.err == nil {
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

// SetGeography takes a new geography. What of it was not compiled, or for maps, or an atlas, that are others by now, the next Compile
// compiles.
func (c *Compiler) SetGeography(g *Geography) {
	if c.ahead.geography = g; g.files != nil {
		c.cfg.Files = g.files // and the atlas may have changed since
	} else {
		c.atlas = g.atlas
	}
	c.dirty.maps = true
}

// takeGeography has part give what was compiled beside, if that was for this atlas and these maps.
func (c *Compiler) takeGeography() {
	if g := c.ahead.geography; g != nil && g.atlas == c.atlas && geo.SameMaps(g.maps, c.maps) {
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
			c.addPart(key, p.owner, p.begin, d)
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
		if failed[s.part] || renewed[s.part] || failed[s.otherPart] || renewed[s.otherPart] {
			c.dirty.services[k] = true
		}
	}
}

// asker is whose address a partition is for.
type asker uint8

const (
	bySubnet   asker = iota // the client's own network
	byResolver              // the resolver's address, where the client's network is not known
)

// askersDiffer reports whether the rules of a service make another thing of a resolver's address than of the same client network.
func askersDiffer(eff *spec.Service) bool {
	return eff.ECS == spec.ECSOff || slices.ContainsFunc(eff.Rules, func(r spec.Rule) bool {
		return r.When != nil && len(r.When.Resolver) > 0
	})
}

// partKey is the same for services with the same matches.
func partKey(eff *spec.Service, by asker) []byte {
	if by == bySubnet && eff.ECS == spec.ECSOff {
		return []byte("ecs off")
	}
	b := make([]byte, 0, 128)
	for i := range eff.Rules {
		b = append(b, '|')
		w := eff.Rules[i].When
		if w == nil {
			continue
		}
		if by == bySubnet && len(w.Resolver) > 0 {
			b = append(b, '!') // it matches nobody
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
		for _, m := range w.Resolver {
			b = append(append(b, '~'), m...)
		}
	}
	return b
}

// classifierOf has geo divide places by the rules of a service.
func classifierOf(eff *spec.Service, by asker) (*geo.Classifier, error) {
	if by == bySubnet && eff.ECS == spec.ECSOff {
		return geo.ByResolver(), nil
	}
	matchers := make([]geo.Matcher, len(eff.Rules))
	for i := range eff.Rules {
		m, err := policy.Matcher(eff.Rules[i].When)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", table.RuleName(eff, i), err)
		}
		matchers[i] = m
	}
	if by == byResolver {
		return geo.FirstOfResolver(matchers), nil
	}
	return geo.FirstOf(matchers), nil
}

// takeParts gives a service its partitions, one for both askers where those do not differ.
func (c *Compiler) takeParts(eff *spec.Service, out *table.Service, s *serviceState) (err error) {
	if out.Part, err = c.takePart(eff, bySubnet, &s.part); err != nil {
		return err
	}
	if out.ResolverPart = out.Part; askersDiffer(eff) {
		out.ResolverPart, err = c.takePart(eff, byResolver, &s.otherPart)
	}
	return err
}

// takePart gives the partition of a service's matches, which is noted in to; services with the same matches share one.
func (c *Compiler) takePart(eff *spec.Service, by asker, to **partState) (uint32, error) {
	key := string(partKey(eff, by))
	p := c.parts[key]
	if p == nil {
		classifier, err := classifierOf(eff, by)
		if err != nil {
			return 0, err
		}
		if p, err = c.newPart(key, nil, ofRules(classifier)); err != nil {
			return 0, err
		}
	}
	return c.usePart(p, to)
}

// newPart compiles a partition.
func (c *Compiler) newPart(key string, owner *owner, begin func() *division) (*partState, error) {
	d := c.part(key, begin)
	if d.err != nil {
		return nil, d.err
	}
	return c.addPart(key, owner, begin, d), nil
}

// addPart gives a partition a place, in which the services find it that are compiled from now on.
func (c *Compiler) addPart(key string, owner *owner, begin func() *division, d divided) *partState {
	p := &partState{key: key, owner: owner, begin: begin, division: d.division}
	if n := len(c.partFree); n > 0 {
		p.slot, c.partFree = c.partFree[n-1], c.partFree[:n-1]
		c.partList[p.slot], c.divisions[p.slot] = d.part, d.division
	} else {
		p.slot = uint32(len(c.partList))
		c.partList, c.divisions = append(c.partList, d.part), append(c.divisions, d.division)
	}
	if c.parts[key] == nil && owner != nil {
		c.owned.count(owner, 1)
	}
	c.parts[key] = p
	return p
}

// usePart has a service use a partition, which is noted in to.
func (c *Compiler) usePart(p *partState, to **partState) (uint32, error) {
	if p.err != nil {
		return 0, p.err
	}
	p.refs++
	*to = p
	return p.slot, nil
}

func (c *Compiler) releaseParts(s *serviceState) {
	c.releasePart(s.part)
	c.releasePart(s.otherPart)
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
	c.partList[p.slot], c.divisions[p.slot] = nil, nil
	c.partFree = append(c.partFree, p.slot)
	if c.parts[p.key] != p {
		return // a newer one has taken its place
	}
	if delete(c.parts, p.key); p.owner != nil {
		c.owned.count(p.owner, -1)
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
