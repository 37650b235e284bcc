package table

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/steer"
)

// Family is what a steered name is asked for.
type Family uint8

// The families. A service of addresses has IPv4, IPv6 and what it asks for of HTTPS and SVCB, one of host names has CNAME alone,
// or SRV and MX in its place.
const (
	IPv4 Family = iota
	IPv6
	CNAME
	HTTPS
	SVCB
	SRV
	MX
	families
)

// Type gives the RR type that carries the family.
func (f Family) Type() uint16 {
	return [families]uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeCNAME, dnswire.TypeHTTPS, dnswire.TypeSVCB, dnswire.TypeSRV, dnswire.TypeMX}[f]
}

// Pick is how a service draws from a pool.
type Pick uint8

// The ways of picking.
const (
	Weighted Pick = iota
	Sticky
	All
)

// String gives the word used in resources.
func (p Pick) String() string { return [...]string{"weighted", "sticky", "all"}[p] }

// drawKey names a draw: services that pick alike from the same pool share it.
type drawKey struct {
	tenant, pool string
	pick         Pick
	answers      int
	extra        extra
}

// extra is what a service adds to the records of its pools; see render. Comparable.
type extra struct {
	https, svcb string // RDATA up to the hints, and the parameters: see svcbHead
	srv, mx     uint32 // 1 + what they need, packed; 0: not served
}

// Draw is how clients of one kind of service draw from one pool. It is immutable.
type Draw struct {
	// What a query reads comes first.
	id   uint64 // of the pool, for sticky splits
	fams [families]famDraw
	Pool *steer.Pool
}

// wants tells whether the services that share the key serve a family, as far as the pool allows.
func (k *drawKey) wants(f Family) bool {
	switch f {
	case HTTPS:
		return k.extra.https != ""
	case SVCB:
		return k.extra.svcb != ""
	case SRV:
		return k.extra.srv != 0
	case MX:
		return k.extra.mx != 0
	}
	return true
}

// famDraw is a Draw in one family.
type famDraw struct {
	live *picks // healthy endpoints; nil unless the pool is up and has one in this family
	all  *picks // as if all were healthy; nil when the pool has no endpoint in this family
}

// span is one rendered set: records without owner and TTL filled in; and a slot of the alias table (Walker, Vose) by which
// sets are drawn: below cut this set, above it the other.
type span struct {
	cut       uint32
	other     uint16
	count     uint16
	off, size uint32
	id        uint64 // of the content, whatever its order
}

// picks is a compiled choice and its sets, rendered.
type picks struct {
	sets  []span
	data  []byte
	table *steer.Table // sticky: it draws the set, and the spans' cuts don't
	parts []uint16     // the candidates of the sets, set after set, as many for each; for explanations
}

// partsOf gives the indexes of a set's candidates.
func (p *picks) partsOf(set int) []uint16 {
	n := len(p.parts) / len(p.sets)
	return p.parts[set*n : (set+1)*n]
}

// records gives those of a set; see Decision.Records.
func (p *picks) records(set int) ([]byte, uint16) {
	s := &p.sets[set]
	return p.data[s.off : s.off+s.size], s.count
}

// shares gives how often each set is drawn.
func (p *picks) shares() []float64 {
	if p.table != nil {
		return p.table.Shares(len(p.sets))
	}
	shares := make([]float64, len(p.sets))
	for i := range p.sets {
		s, own := &p.sets[i], 1.0
		if s.cut != math.MaxUint32 {
			own = float64(s.cut) / (1 << 32)
		}
		shares[i] += own / float64(len(p.sets))
		shares[s.other] += (1 - own) / float64(len(p.sets))
	}
	return shares
}

// newDraw compiles p for one way of picking. old may be nil; what did not change is taken from it.
func newDraw(p *steer.Pool, key drawKey, old *Draw) (*Draw, error) {
	d := &Draw{Pool: p, id: steer.NameID(p.ID.String())}
	var last choice
	for f := range families {
		if !key.wants(f) {
			continue
		}
		all, live := items(p, f)
		if len(all) == 0 {
			continue
		}
		fd := &d.fams[f]
		if old != nil && sameItems(old, f, p, all) {
			fd.all = old.fams[f].all
		}
		var err error
		if fd.all == nil {
			if fd.all, err = newPicks(p, f, all, key, &last); err != nil {
				return nil, err
			}
		}
		if !p.Up || len(live) == 0 {
			continue
		}
		if slices.Equal(all, live) {
			fd.live = fd.all
		} else if fd.live, err = newPicks(p, f, live, key, &last); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// items lists the endpoints of a family: all that an answer may name when nothing is healthy (drained ones and
// those of weight 0 only when there are no others), and the healthy ones. Where these are all, and weigh the same, both are one slice.
func items(p *steer.Pool, f Family) (all, live []steer.Item) {
	n, alike, rest := 0, true, true
	for i := range p.Candidates {
		if c := &p.Candidates[i]; hasFamily(c, f) {
			n++
			if !c.Drained && c.Weight > 0 {
				alike, rest = alike && c.Effective == float64(c.Weight), false
			}
		}
	}
	if n == 0 {
		return nil, nil
	}
	all = make([]steer.Item, 0, n)
	if !alike {
		live = make([]steer.Item, 0, n)
	}
	for i := range p.Candidates {
		c := &p.Candidates[i]
		if out := c.Drained || c.Weight <= 0; !hasFamily(c, f) || out != rest {
			continue
		}
		it := steer.Item{ID: steer.NameID(c.Endpoint.Name), Index: i, Weight: float64(c.Weight)}
		if rest {
			it.Weight = 1
		}
		all = append(all, it)
		if !alike && c.Effective > 0 {
			it.Weight = c.Effective
			live = append(live, it)
		}
	}
	if alike && !rest {
		live = all
	}
	return all, live
}

// sameItems tells whether old's picks of a family, as if all were healthy, still hold for p.
func sameItems(old *Draw, f Family, p *steer.Pool, all []steer.Item) bool {
	was, _ := items(old.Pool, f)
	if !slices.Equal(was, all) || len(old.Pool.Candidates) != len(p.Candidates) {
		return false
	}
	for _, it := range all {
		a, b := old.Pool.Candidates[it.Index].Endpoint, p.Candidates[it.Index].Endpoint
		if a.Host != b.Host || !slices.Equal(a.Addresses, b.Addresses) {
			return false
		}
	}
	return true
}

func hasFamily(c *steer.Candidate, f Family) bool {
	switch f {
	case CNAME, SRV, MX:
		return c.Endpoint.Host != ""
	case HTTPS, SVCB:
		return len(c.Endpoint.Addresses) > 0
	}
	for _, a := range c.Endpoint.Addresses {
		if a.Is4() == (f == IPv4) {
			return true
		}
	}
	return false
}

// choice is the outcome of choose, and what it was made of.
type choice struct {
	items   []steer.Item
	answers int // 0: all
	steer.Choice
}

// choose compiles how a family's items are drawn. Where they are those of last, so is the choice.
func (key *drawKey) choose(f Family, items []steer.Item, last *choice) steer.Choice {
	answers := key.answers
	switch {
	case key.pick == All && f != CNAME, f == SRV, f == MX:
		answers = 0
	case f == CNAME:
		answers = 1 // a name has one CNAME
	}
	if last.items != nil && last.answers == answers && slices.Equal(last.items, items) {
		return last.Choice
	}
	*last = choice{items: items, answers: answers}
	switch {
	case answers == 0:
		last.Choice = steer.All(items)
	case key.pick == Sticky:
		last.Choice = steer.Sticky(items, answers)
	default:
		last.Choice = steer.Weighted(items, answers)
	}
	return last.Choice
}

func newPicks(p *steer.Pool, f Family, items []steer.Item, key drawKey, last *choice) (*picks, error) {
	c := key.choose(f, items, last)
	if len(c.Sets) > math.MaxUint16 {
		return nil, fmt.Errorf("pool %s: %d endpoints are more than one draw can hold (65535)", p.ID, len(c.Sets))
	}
	out := &picks{sets: make([]span, 0, len(c.Sets)), parts: make([]uint16, 0, len(c.Sets)*len(c.Sets[0]))}
	for i, set := range c.Sets {
		for _, member := range set {
			out.parts = append(out.parts, uint16(member))
		}
		off := len(out.data)
		count, err := out.render(p, f, set, &key.extra)
		if err != nil {
			return nil, fmt.Errorf("pool %s: %w", p.ID, err)
		}
		if i == 0 { // the others are about as long
			out.data = slices.Grow(out.data, (len(c.Sets)-1)*len(out.data))
		}
		out.sets = append(out.sets, span{count: count, off: uint32(off), size: uint32(len(out.data) - off), id: contentID(f, out.data[off:])})
	}
	out.data = slices.Clip(out.data)
	if c.Table != nil && len(c.Sets) > 1 {
		out.table = c.Table
		return out, nil
	}
	if c.Weights == nil {
		c.Weights = []float64{1}
	}
	alias(out.sets, c.Weights)
	return out, nil
}

// contentID tells sets of records apart by what they hold.
func contentID(f Family, wire []byte) uint64 {
	id := uint64(f)
	for _, data := range dataOf(wire) {
		id += steer.NameID(string(data))
	}
	return id
}

// appendRecord appends a record of class IN whose owner points at the question's name (offset 12).
func appendRecord(b []byte, typ uint16, ttl uint32, data []byte) []byte {
	b = append(b, 0xC0, 12)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, dnswire.ClassIN)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// alias makes slots the alias table of weights.
func alias(slots []span, weights []float64) {
	n := len(weights)
	total := 0.0
	for _, w := range weights {
		total += w
	}
	scaled, order := make([]float64, n), make([]int, 2*n)
	small, large := order[:0:n], order[n:n]
	for i, w := range weights {
		scaled[i] = w / total * float64(n)
		if scaled[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for i := range slots {
		slots[i].cut, slots[i].other = math.MaxUint32, uint16(i)
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		slots[s].cut = uint32(scaled[s] * (1 << 32))
		slots[s].other = uint16(l)
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
}

// choose gives the set that r (uniform) or, for sticky, the client's hash draws.
func (p *picks) choose(r uint32, hash uint64) int {
	if p.table != nil {
		return p.table.Set(hash)
	}
	m := uint64(r) * uint64(len(p.sets))
	at := uint32(m >> 32)
	s := &p.sets[at]
	// Nobody can predict whether it is the other one, hence no branch: below is all ones if it is not.
	below := uint32((uint64(uint32(m)) - uint64(s.cut)) >> 32)
	return int(at&below | uint32(s.other)&^below)
}
