package compile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/draws"
)

// compileMaps lists the maps anew, and compiles every partition over them.
func (c *Compiler) compileMaps() {
	if !c.dirty.maps {
		return
	}
	var list []geo.Map
	c.empty = map[spec.Key]error{}
	for k, it := range c.items {
		m, ok := it.Resource.Spec.(*spec.Map)
		if !ok {
			continue
		}
		g, err := newMap(k.Name, m)
		if err != nil {
			c.unread[k] = err
			if g, ok = c.goodMaps[k]; !ok {
				continue
			}
			if g.Files != nil {
				g.Files = c.cfg.Files
			}
		} else if m.FromFiles {
			g.Files = c.cfg.Files
			c.noteEmpty(k)
		}
		c.goodMaps[k] = g
		list = append(list, g)
	}
	for k := range c.goodMaps {
		if _, there := c.items[k]; !there {
			delete(c.goodMaps, k)
		}
	}
	slices.SortFunc(list, func(a, b geo.Map) int { return strings.Compare(a.Name, b.Name) })
	c.maps = list
	c.takeGeography()
	c.compileParts()
}

// noteEmpty notes a map from files that has no network.
func (c *Compiler) noteEmpty(k spec.Key) {
	switch f := c.cfg.Files; {
	case f == nil:
		c.empty[k] = errors.New("this edge has no map files, and the map is empty: start gtmd with --maps FILE")
	case f.Networks(k.Name) == 0:
		c.empty[k] = fmt.Errorf("no map file of this edge has networks of it, and the map is empty: put lines as in 192.0.2.0/24 %s "+
			"into one", k.Name)
	}
}

// newMap brings a map into the form of geo.
func newMap(name string, m *spec.Map) (geo.Map, error) {
	g := geo.Map{Name: name, Networks: m.Networks, ASN: m.ASN}
	for i, n := range m.Networks {
		if !n.IsValid() {
			return g, fmt.Errorf("spec.networks[%d] is no network", i)
		}
	}
	if m.Place != "" {
		place, err := geo.ParsePlace(m.Place)
		if err != nil {
			return g, fmt.Errorf("spec.place: %w", err)
		}
		if m.Location != nil {
			place.At = m.Location.Point()
		}
		g.Place = &place
	}
	return g, nil
}

// compilePools applies verdicts and overrides to the pools that changed, and compiles their draws. A pool whose
// families changed has its services compiled anew.
func (c *Compiler) compilePools(now time.Time) {
	for id := range c.dirty.pools {
		c.compileOnePool(id, now)
	}
	c.compileDependents(now)
}

func (c *Compiler) compileOnePool(id health.PoolID, now time.Time) {
	defer c.noteDown(id, c.whyDown(id))
	declared, p := c.poolResource(id), c.pools[id]
	if declared == nil {
		if p != nil {
			p.spec, p.err = nil, nil
			c.need(id, p)
			c.countActs(p, nil)
			delete(c.expiring, id)
			delete(c.failingPools, p)
			c.touchUsers(p)
			c.releasePool(id, p)
		}
		return
	}
	if p == nil {
		p = newPoolState(id)
		c.pools[id] = p
	}
	was, had := p.spec, p.has
	p.spec = effectivePool(declared.Spec.(*spec.Pool))
	p.has = p.spec.Families()
	if was == nil || had != p.has || was.Site != p.spec.Site || was.Regions != p.spec.Regions {
		c.touchUsers(p)
	}
	c.need(id, p)
	c.noteDeclared(p, declared, c.alias.ttlOf(id))
	before := p.err
	if p.err = guard(id, func() error { return c.compilePool(id, p, now) }); p.err != nil {
		p.spec, p.has = was, had
	}
	if delete(c.failingPools, p); p.err != nil {
		c.failingPools[p] = true
	}
	c.dirty.faults = c.dirty.faults || p.err != nil || before != nil
}

// releasePool forgets a pool that neither a resource nor a service names.
func (c *Compiler) releasePool(id health.PoolID, p *poolState) {
	if p.spec == nil && p.err == nil && len(p.users) == 0 { // what is broken is told of until it is mended
		delete(c.pools, id)
	}
}

func (c *Compiler) touchUsers(p *poolState) {
	for s := range p.users {
		c.dirty.services[s.key] = true
	}
}

// effectivePool gives a pool with its defaults. Without host names these are what an absent weight means to steer: then it is
// the declaration itself, so that its endpoints stand in memory once.
func effectivePool(p *spec.Pool) *spec.Pool {
	if !slices.ContainsFunc(p.Endpoints, func(e spec.Endpoint) bool { return e.Host != "" }) {
		return p.Split()
	}
	e := p.Effective()
	return &e
}

func (c *Compiler) compilePool(id health.PoolID, p *poolState, now time.Time) error {
	for i := range p.spec.Endpoints {
		for j, a := range p.spec.Endpoints[i].Addresses {
			if !a.IsValid() {
				return fmt.Errorf("spec.endpoints[%d].addresses[%d] is no address", i, j)
			}
		}
	}
	overrides := c.overridesOf(id)
	delete(c.expiring, id)
	steered := func(verdict *health.Verdict, downBy string) *steer.Pool {
		state := steer.NewPool(id, p.spec, verdict, overrides, now)
		state.DependOn(p.spec, downBy)
		if p.asked {
			state.Doubt(verdict, now)
		}
		if !state.Next.IsZero() {
			c.expiring[id] = sooner(c.expiring[id], state.Next)
		}
		return state
	}
	is := poolState{state: steered(c.verdicts[id], c.downBy(id, p.spec, "")), regions: c.compileRegions(id, p, steered)}
	fresh := make(map[*drawState]*draws.Draw, len(p.draws))
	shared := map[regionlessKey]*draws.Draw{} // by the pool that they draw from: clients of most regions have the same
	for form, d := range p.draws {
		of := is.stateFor(form.Region)
		if form.Held != nil {
			of, d.apart = steer.Held(of.In(form.Region), p.spec, form.Held, overrides, now)
		}
		key := regionless(of, form)
		draw := shared[key]
		if draw == nil {
			var err error
			if draw, err = draws.New(of, form, d.draw); err != nil {
				return err
			}
			shared[key] = draw
		}
		fresh[d] = draw
	}
	c.countActs(p, is.state)
	p.state, p.regions = is.state, is.regions
	for d, draw := range fresh {
		c.setDraw(d, draw)
	}
	return nil
}

// overridesOf gives a pool's overrides, sorted by their keys; which of them win is up to steer.
func (c *Compiler) overridesOf(id health.PoolID) (all []*spec.Override) {
	byKey := c.overrides[id]
	if len(byKey) == 0 {
		return nil
	}
	for _, k := range slices.SortedFunc(maps.Keys(byKey), spec.Key.Compare) {
		all = append(all, byKey[k])
	}
	return all
}

// draw takes a draw, compiling it if no other service uses it yet.
func (c *Compiler) draw(id health.PoolID, form draws.Form) (*drawState, error) {
	p := c.pools[id]
	if p == nil || p.spec == nil {
		return nil, fmt.Errorf("pool %s does not exist", id)
	}
	if p.state == nil {
		return nil, fmt.Errorf("pool %s cannot be served: %w", id, p.err)
	}
	d := p.draws[form]
	if d == nil {
		if err := c.ask(p, form); err != nil {
			return nil, err
		}
		d = &drawState{form: form, pool: p}
		of := p.stateFor(form.Region)
		if form.Held != nil {
			of, d.apart = steer.Held(of.In(form.Region), p.spec, form.Held, c.overridesOf(id), c.now)
		}
		if d.draw = p.drawn(of, form); d.draw == nil {
			var err error
			if d.draw, err = c.ahead.draw(of, form); err != nil {
				return nil, err
			}
		}
		d.nodeState = nodeState{leaf: d, slot: c.nodeSlots.Add(d.leafOf(d.draw))}
		p.draws[form] = d
	}
	d.refs++
	return d, nil
}

// A pool with regions has a leaf for each continent whose clients a row is for, so that a verdict for one replaces its leaf alone. Which
// continents there are does not depend on verdicts: partitions and rows stay as they are, whatever is judged.

// stateFor gives what a pool is for clients of a region.
func (p *poolState) stateFor(region string) *steer.Pool {
	if of := p.regions[region]; of != nil {
		return of
	}
	return p.state
}

// compileRegions gives what a pool is for clients of the continents for whom it is something else than state, which it is for all.
// make gives what it is by a verdict, and by what takes it down with others.
func (c *Compiler) compileRegions(id health.PoolID, p *poolState, make func(v *health.Verdict, downBy string) *steer.Pool) (
	regions map[string]*steer.Pool) {
	if !p.spec.Regions {
		return nil
	}
	all, downBy := c.verdicts[id], c.downBy(id, p.spec, "")
	for _, region := range geo.Continents {
		v, with := c.verdicts[id.For(region)], c.downBy(id, p.spec, region)
		if v == nil || v.AnswersAs(all) {
			v = all
		}
		if v == all && with == downBy {
			continue
		}
		if regions == nil {
			regions = map[string]*steer.Pool{}
		}
		regions[region] = make(v, with)
	}
	return regions
}

// whyDown tells why a pool is down, for whichever clients; empty: it is up for all, or not there.
func (c *Compiler) whyDown(id health.PoolID) string {
	p := c.pools[id]
	if p == nil || p.spec == nil || p.state == nil {
		return ""
	}
	var why []string
	if !p.state.Up {
		why = append(why, p.state.Why)
	}
	for _, region := range sortedKeys(p.regions) {
		if of := p.regions[region]; of.Up != p.state.Up || !of.Up {
			why = append(why, region, of.Why)
		}
	}
	return strings.Join(why, "; ")
}

// regionlessKey is the same for leaves that share a draw, whatever their regions.
type regionlessKey struct {
	of   *steer.Pool
	form draws.Form
}

func regionless(of *steer.Pool, form draws.Form) regionlessKey {
	form.Region = ""
	return regionlessKey{of, form}
}

// drawn gives a draw of what a pool is, if a leaf of another region has one that is the same; nil: none has.
func (p *poolState) drawn(of *steer.Pool, form draws.Form) *draws.Draw {
	for other, d := range p.draws {
		if regionless(d.draw.Pool, other) == regionless(of, form) {
			return d.draw
		}
	}
	return nil
}
