package transfer

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/zone"
)

// rrKey names a set.
type rrKey struct {
	name   string // canonical
	typ    uint16
	covers uint16 // of RRSIG: signatures of different sets have TTLs of their own (RFC 4034, 3)
}

func keyOf(r dns.RR) rrKey {
	k := rrKey{name: dns.CanonicalName(r.Header().Name), typ: r.Header().Rrtype}
	if sig, ok := r.(*dns.RRSIG); ok {
		k.covers = sig.TypeCovered
	}
	return k
}

// content is a zone's content taken apart, to be changed.
type content struct {
	origin    string
	sets      map[rrKey][]dns.RR
	changed   bool
	serialSet bool // the change itself said which serial it wants
}

// parseContent reads canonical text.
func parseContent(origin, text string) (*content, error) {
	c := &content{origin: origin, sets: map[rrKey][]dns.RR{}}
	p := dns.NewZoneParser(strings.NewReader(text), origin, "")
	for r, ok := p.Next(); ok; r, ok = p.Next() {
		c.sets[keyOf(r)] = append(c.sets[keyOf(r)], r)
	}
	return c, p.Err()
}

// text gives one record a line, in a fixed order.
func (c *content) text() string {
	var lines []string
	for _, set := range c.sets {
		for _, r := range set {
			lines = append(lines, r.String())
		}
	}
	slices.Sort(lines)
	text := strings.Join(lines, "\n") + "\n"
	if canonical, _, err := zone.Canonical(c.origin, "", text, zone.Defaults{}); err == nil {
		return canonical
	}
	return text // the plan tells what is wrong with it
}

func (c *content) soa() *dns.SOA {
	for _, r := range c.sets[rrKey{name: c.origin, typ: dns.TypeSOA}] {
		if soa, ok := r.(*dns.SOA); ok {
			return soa
		}
	}
	return nil
}

// has reports whether a name owns anything.
func (c *content) has(name string) bool {
	for k := range c.sets {
		if k.name == name {
			return true
		}
	}
	return false
}

// hasBeside reports whether the name owns a set that is not the key's.
func (c *content) hasBeside(of rrKey) bool {
	for k := range c.sets {
		if k.name == of.name && k.typ != of.typ {
			return true
		}
	}
	return false
}

// add puts a record into its set, whose TTL becomes the record's (RFC 2181, 5.2).
func (c *content) add(k rrKey, r dns.RR) {
	fresh := []dns.RR{r}
	for _, old := range c.sets[k] {
		if !dns.IsDuplicate(old, r) {
			old = dns.Copy(old)
			old.Header().Ttl = r.Header().Ttl
			fresh = append(fresh, old)
		}
	}
	c.replace(k, fresh)
}

func (c *content) replace(k rrKey, fresh []dns.RR) {
	old := c.sets[k]
	if len(old) > 0 && old[0].Header().Ttl == fresh[0].Header().Ttl && sameData(old, fresh) {
		return
	}
	c.sets[k] = fresh
	c.changed = true
}

func (c *content) remove(k rrKey) {
	if len(c.sets[k]) > 0 {
		delete(c.sets, k)
		c.changed = true
	}
}

// removeOne takes the record with these data out.
func (c *content) removeOne(k rrKey, r dns.RR) {
	r = dns.Copy(r)
	r.Header().Class = dns.ClassINET
	old := c.sets[k]
	left := slices.DeleteFunc(slices.Clone(old), func(o dns.RR) bool { return dns.IsDuplicate(o, r) })
	switch {
	case len(left) == len(old):
	case len(left) == 0:
		c.remove(k)
	default:
		c.sets[k] = left
		c.changed = true
	}
}

// raiseSerial counts a serial of the zone's own up; 0 stands for one that is made here.
func (c *content) raiseSerial() {
	if soa := c.soa(); soa != nil && soa.Serial != 0 && !c.serialSet {
		fresh := dns.Copy(soa).(*dns.SOA)
		if fresh.Serial++; fresh.Serial == 0 {
			fresh.Serial = 1
		}
		c.sets[rrKey{name: c.origin, typ: dns.TypeSOA}] = []dns.RR{fresh}
	}
}

// sameData reports whether two sets hold the same records, TTLs apart.
func sameData(a, b []dns.RR) bool {
	in := func(list []dns.RR, r dns.RR) bool {
		return slices.ContainsFunc(list, func(o dns.RR) bool {
			o = dns.Copy(o)
			o.Header().Class = r.Header().Class
			return dns.IsDuplicate(o, r)
		})
	}
	for _, r := range a {
		if !in(b, r) {
			return false
		}
	}
	for _, r := range b {
		if !in(a, r) {
			return false
		}
	}
	return len(a) > 0 == (len(b) > 0)
}
