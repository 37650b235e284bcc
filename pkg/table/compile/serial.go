package compile

import (
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
)

// A zone's serial must rise with every change of what a secondary gets, at each edge alike, and whoever made the change:
// the zone's own generation does not tell of the tenants' steered names in it. So the serial is the time of the last change
// in a form that all edges agree on: the days since 1970 times serialDay, the generations of all tenants together, and the serial of the
// zone's keys. A zone that is signed here is renumbered each day besides, since its signatures change. All of them only grow, so the serial
// only grows. A zone with a serial of its own keeps it, unless it is signed here or has steered names: then days and generations are added.
// One that was signed elsewhere keeps it in any case.
const serialDay = 100000

const daySeconds = 86400

// clock gives the generations of all tenants together.
func (c *Compiler) clock() uint32 {
	sum := uint64(0)
	for _, head := range c.heads {
		sum += head
	}
	return uint32(sum)
}

// stampZone notes that a zone changes now.
func (c *Compiler) stampZone(z *zoneState) {
	if keys := c.keys[z.key.Name]; keys != nil {
		z.keySerial = max(z.keySerial, uint32(keys.Serial))
	}
	days, count := uint32(c.today), c.clock()+z.keySerial
	serial, added := days*serialDay+count, days+count
	if c.dirty.serials[z.key.Name] { // it has changed, though perhaps nobody changed it: an alias was resolved to something else
		serial, added = after(serial, z.serial), after(added, z.added)
	}
	z.serial, z.added = serial, 0
	if z.signer == nil && z.static != nil && zones.BringsSignatures(z.static) {
		return // the SOA record is signed as it is
	}
	if z.res != nil && (len(z.res.Grants) > 0 || z.signer != nil || len(z.res.Aliases) > 0) {
		z.added = added
	}
}

// after gives serial, or where that is not after last the one that is.
func after(serial, last uint32) uint32 {
	if last != 0 && int32(serial-last) <= 0 {
		return last + 1
	}
	return serial
}

// turnDay has the signed zones renumbered when a day (UTC) begins.
func (c *Compiler) turnDay(now time.Time) {
	day := now.Unix() / daySeconds
	if day <= c.today {
		return
	}
	c.today = day
	c.touchTimed()
	for name, z := range c.zones {
		if z.signer != nil {
			c.dirty.serials[name] = true
		}
	}
}

// nextDay tells when the signed zones are renumbered next; zero: there are none.
func (c *Compiler) nextDay() time.Time {
	for _, z := range c.zones {
		if z.signer != nil {
			return time.Unix((c.today+1)*daySeconds, 0)
		}
	}
	return time.Time{}
}

// noteDeclared has the default answers of a pool's services looked at when the pool, or the TTL of its answers, is declared anew.
func (c *Compiler) noteDeclared(p *poolState, declared *spec.Resource, ttl uint32) {
	if p.declared == declared && p.ttl == ttl {
		return
	}
	same := p.declared != nil && p.ttl == ttl && sameTold(p.declared.Spec.(*spec.Pool), declared.Spec.(*spec.Pool))
	if p.declared, p.ttl = declared, ttl; same {
		return
	}
	for _, d := range p.draws {
		d.told = [rr.Families]uint64{}
	}
	for s := range p.users {
		c.dirty.defaults[s.key] = true
	}
}

// sameTold tells whether secondaries get the same of two forms of a pool: they differ in nothing but weights above zero, which
// are told where there are host names alone (RFC 2782).
func sameTold(a, b *spec.Pool) bool {
	weight := func(e *spec.Endpoint) int {
		if e.Weight == nil {
			return 1
		}
		return *e.Weight
	}
	return slices.EqualFunc(a.Endpoints, b.Endpoints, func(x, y spec.Endpoint) bool {
		return x.Host == "" && y.Host == "" && slices.Equal(x.Addresses, y.Addresses) && (weight(&x) > 0) == (weight(&y) > 0)
	})
}

// compileDefaults renumbers the zones in which a default answer changed.
func (c *Compiler) compileDefaults() {
	for k := range c.dirty.services {
		c.dirty.defaults[k] = true
	}
	for k := range c.dirty.defaults {
		s := c.services[k]
		if s == nil || s.compiled == nil || !s.attached {
			continue
		}
		if s.defaults == 0 { // it is new
			c.untold = append(c.untold, s)
			c.dirty.serials[s.zone] = true
			continue
		}
		if told := s.told(); told != s.defaults {
			s.defaults = told
			c.dirty.serials[s.zone] = true
		}
	}
}

// CatchUp does what Compile has put off to be done sooner: hashing what secondaries get of new services, for later comparisons.
// To call it is never needed; the next Compile begins with it.
func (c *Compiler) CatchUp() {
	for _, s := range c.untold {
		if s.defaults == 0 && s.compiled != nil && len(s.steps) == len(s.compiled.Steps) {
			s.defaults = s.told()
		}
	}
	c.untold = nil
}

// told hashes all that a secondary gets of a service.
func (s *serviceState) told() uint64 {
	h := uint64(0)
	order := s.compiled.DefaultRules()
	for f := range rr.Families {
		h = steer.Hash(h, s.toldOf(f, order))
	}
	return max(h, 1)
}

// toldOf hashes the default answer of a family, as View.defaults gives it.
func (s *serviceState) toldOf(f rr.Family, rules []int) uint64 {
	if !s.compiled.Serves(f) {
		return 0
	}
	for _, rule := range rules {
		row := func(yield func(*drawState, uint32) bool) {
			for i := range s.compiled.StepsOf(rule) {
				for d, ttl := range s.steps[i].leaves(s.compiled.Steps[i].TTL) {
					if !yield(d, ttl) {
						return
					}
				}
			}
		}
		for d, ttl := range table.AsDeclared(s.compiled, rule, row, func(d *drawState) string { return d.pool.id.Pool }) {
			if h := d.toldOf(f); h != toldNothing {
				return steer.Hash(h, uint64(ttl))
			}
		}
	}
	return 0
}

// toldNothing is what a draw tells that has no default answer.
const toldNothing = 1

// toldOf hashes what secondaries get of a draw in a family.
func (d *drawState) toldOf(f rr.Family) uint64 {
	if d.told[f] != 0 {
		return d.told[f]
	}
	d.told[f] = toldNothing
	if data := d.draw.Defaults(f, &d.form.Extra); len(data) > 0 {
		h := uint64(len(data))
		for _, rdata := range data {
			h = steer.Hash(h, steer.NameID(string(rdata)))
		}
		d.told[f] = max(h, toldNothing+1)
	}
	return d.told[f]
}

// renumberZones gives new serials to the zones that are not compiled anew anyway.
func (c *Compiler) renumberZones() {
	for name := range c.dirty.serials {
		z := c.zones[name]
		if z == nil || z.compiled == nil || z.static == nil || c.dirty.zones[name] {
			continue
		}
		c.stampZone(z)
		if serial, ok := zones.ServedSerial(z.static, z.serial, z.added); ok {
			fresh := z.compiled.Renumbered(serial)
			fresh.Day = c.today
			c.relist(z, fresh)
		}
	}
}
