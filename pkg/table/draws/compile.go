package draws

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/rr"
)

// New compiles p for one way of picking. old may be nil; what did not change is taken from it.
func New(p *steer.Pool, form Form, old *Draw) (*Draw, error) {
	d := &Draw{Pool: p}
	declared, followed := false, false
	if old != nil {
		declared, followed = sameDraws(old.Pool, p)
	}
	if followed {
		d.fams = old.fams
		return d, nil
	}
	var last choice
	for f := range rr.Families {
		if !form.wants(f) {
			continue
		}
		fd := &d.fams[f]
		var err error
		if declared {
			fd.all = old.fams[f].all
		} else if all := allItems(p, f); len(all) > 0 {
			if fd.all, err = newPicks(p, f, all, &form, &last, nil); err != nil {
				return nil, err
			}
		}
		if fd.all == nil || !p.Up {
			continue
		}
		live, asDeclared := liveItems(p, f)
		if asDeclared {
			fd.live = fd.all
		} else if len(live) > 0 {
			if fd.live, err = newPicks(p, f, live, &form, &last, fd.all); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// sameDraws compares two states of a pool: whether its picks as if all were up are the same (declared), and whether those that
// follow health are, too.
func sameDraws(a, b *steer.Pool) (declared, followed bool) {
	if len(a.Candidates) != len(b.Candidates) {
		return false, false
	}
	followed = a.Up == b.Up
	for i := range a.Candidates {
		x, y := &a.Candidates[i], &b.Candidates[i]
		rank, weight := rankOf(x)
		if r, w := rankOf(y); rank != r || weight != w || !sameEndpoint(x.Endpoint, y.Endpoint) {
			return false, false
		}
		followed = followed && x.Effective == y.Effective
	}
	return true, followed
}

// sameEndpoint tells whether two endpoints are the same to draws, but for their weight.
func sameEndpoint(a, b *spec.Endpoint) bool {
	return a == b || a.Name == b.Name && a.Host == b.Host && slices.Equal(a.Addresses, b.Addresses)
}

// allItems lists all endpoints of a family that an answer may name when nothing is healthy, with the weights that are declared:
// those that take clients, or where there are none, those of the next rank.
func allItems(p *steer.Pool, f rr.Family) []steer.Item {
	n, best := 0, ranks
	for i := range p.Candidates {
		if c := &p.Candidates[i]; hasFamily(c, f) {
			r, _ := rankOf(c)
			if r < best {
				n, best = 0, r
			}
			if r == best {
				n++
			}
		}
	}
	if n == 0 {
		return nil
	}
	all := make([]steer.Item, 0, n)
	for i := range p.Candidates {
		c := &p.Candidates[i]
		if r, weight := rankOf(c); r == best && hasFamily(c, f) {
			all = append(all, steer.Item{ID: steer.NameID(spec.DeclaredName(c.Endpoint.Name)), Index: i, Weight: float64(weight)})
		}
	}
	return all
}

// DeclaredWeights gives the candidates that an answer may name when nothing is healthy, and their weights.
func DeclaredWeights(p *steer.Pool, f rr.Family) iter.Seq2[int, float64] {
	return func(yield func(candidate int, weight float64) bool) {
		for _, it := range allItems(p, f) {
			if !yield(it.Index, it.Weight) {
				return
			}
		}
	}
}

// rank says how near an endpoint is to taking clients, whatever its health.
type rank int

const (
	taking   rank = iota
	drained       // it would, were it not drained
	weighted      // an override has taken the weight away that is declared
	spare         // weight 0 is what is declared
	ranks
)

// rankOf gives an endpoint's rank, and its weight among those of that rank.
func rankOf(c *steer.Candidate) (rank, int) {
	switch e := c.Endpoint; {
	case takesClients(c):
		return taking, c.Weight
	case c.Weight > 0:
		return drained, c.Weight
	case e.Weight == nil:
		return weighted, 1
	case *e.Weight > 0:
		return weighted, *e.Weight
	}
	return spare, 1
}

// liveItems lists the healthy endpoints of a family, or tells that they are those of allItems, and weigh the same.
func liveItems(p *steer.Pool, f rr.Family) (live []steer.Item, asDeclared bool) {
	n, taking, alike := 0, 0, true
	for i := range p.Candidates {
		c := &p.Candidates[i]
		if !takesClients(c) || !hasFamily(c, f) {
			continue
		}
		taking++
		if alike = alike && c.Effective == float64(c.Weight); c.Effective > 0 {
			n++
		}
	}
	if n == 0 || alike {
		return nil, taking > 0 && alike
	}
	live = make([]steer.Item, 0, n)
	for i := range p.Candidates {
		if c := &p.Candidates[i]; c.Effective > 0 && takesClients(c) && hasFamily(c, f) {
			live = append(live, steer.Item{ID: steer.NameID(spec.DeclaredName(c.Endpoint.Name)), Index: i, Weight: c.Effective})
		}
	}
	return live, false
}

// takesClients tells whether an endpoint is meant to, whatever its health.
func takesClients(c *steer.Candidate) bool { return !c.Drained && c.Weight > 0 }

func hasFamily(c *steer.Candidate, f rr.Family) bool {
	switch f {
	case rr.CNAME, rr.SRV, rr.MX:
		return c.Endpoint.Host != ""
	case rr.HTTPS, rr.SVCB:
		return len(c.Endpoint.Addresses) > 0
	}
	for _, a := range c.Endpoint.Addresses {
		if a.Is4() == (f == rr.IPv4) {
			return true
		}
	}
	return false
}

// choice is the outcome of choose, and what it was made of.
type choice struct {
	items   []steer.Item
	answers int // or everything, allOf
	steer.Choice
}

// Numbers of answers beside those that a service can have.
const (
	everything = -1 // in one order, since the records tell which one a client prefers (SRV), or clients choose by chance (MX)
	allOf      = 0
)

// choose compiles how a family's items are drawn. Where they are those of last, so is the choice.
func (form *Form) choose(f rr.Family, items []steer.Item, last *choice) steer.Choice {
	answers := int(form.Answers)
	switch {
	case f == rr.SRV, f == rr.MX:
		answers = everything
	case form.Pick == All && f != rr.CNAME:
		answers = allOf
	case f == rr.CNAME:
		answers = 1 // a name has one CNAME
	}
	if last.items != nil && last.answers == answers && slices.Equal(last.items, items) {
		return last.Choice
	}
	*last = choice{items: items, answers: answers}
	switch {
	case answers == everything:
		last.Choice = steer.All(items)
	case answers == allOf:
		last.Choice = steer.Rotated(items)
	case form.Pick == Sticky && form.Hashing.Label:
		last.Choice = steer.Exact(items, answers)
	case form.Pick == Sticky:
		last.Choice = steer.Sticky(items, answers)
	default:
		last.Choice = steer.Weighted(items, answers)
	}
	return last.Choice
}

// newPicks compiles how the items of a family are drawn, and renders their sets: as if all were up where all is nil, else what
// health leaves of all.
func newPicks(p *steer.Pool, f rr.Family, items []steer.Item, form *Form, last *choice, all *Picks) (*Picks, error) {
	c := form.choose(f, items, last)
	if len(c.Sets) > math.MaxUint16 {
		return nil, fmt.Errorf("pool %s: %d endpoints are more than one draw can hold (65535)", p.ID, len(c.Sets))
	}
	out := &Picks{sets: make([]span, len(c.Sets)), parts: make([]uint16, 0, len(c.Sets)*len(c.Sets[0]))}
	for _, set := range c.Sets {
		for _, member := range set {
			out.parts = append(out.parts, uint16(member))
		}
	}
	if all != nil && f != rr.SRV && out.singles() && all.singles() {
		out.take(all)
	} else if err := out.renderAll(p, f, c.Sets, &form.Extra, all == nil); err != nil {
		return nil, fmt.Errorf("pool %s: %w", p.ID, err)
	}
	if c.Table != nil && len(c.Sets) > 1 {
		out.table = c.Table
		if c.Table.Answers() > 1 {
			out.joint = newJoint(f, &form.Extra)
		}
		return out, nil
	}
	if c.Weights == nil {
		c.Weights = []float64{1}
	}
	alias(out.sets, c.Weights)
	return out, nil
}

// singles tells whether each set is of one endpoint; then they stand in the order of the candidates.
func (p *Picks) singles() bool { return len(p.parts) == len(p.sets) }

// take takes rendered sets of one endpoint each from those of all endpoints: what health changes is which of them are drawn, and
// how often. The records stand in memory once.
func (p *Picks) take(all *Picks) {
	p.data = all.data
	at := 0
	for i, member := range p.parts {
		for all.parts[at] != member {
			at++
		}
		p.sets[i] = all.sets[at]
	}
}

// renderAll renders each of the sets. Weights, where records tell of them, are the declared ones if asIfUp.
func (p *Picks) renderAll(pool *steer.Pool, f rr.Family, sets [][]int, x *Extra, asIfUp bool) error {
	for i, set := range sets {
		off := len(p.data)
		count, err := p.render(pool, f, set, x, asIfUp)
		if err != nil {
			return err
		}
		if i == 0 { // the others are about as long
			p.data = slices.Grow(p.data, (len(sets)-1)*len(p.data))
		}
		p.sets[i] = span{count: count, off: uint32(off), size: uint32(len(p.data) - off), id: contentID(f, p.data[off:])}
	}
	p.data = slices.Clip(p.data)
	return nil
}

// contentID tells sets of records apart by what they hold.
func contentID(f rr.Family, wire []byte) uint64 {
	id := uint64(f)
	for _, data := range rr.Data(wire) {
		id += steer.NameID(string(data))
	}
	return id
}

// alias makes slots the alias table of weights.
func alias(slots []span, weights []float64) {
	for i := range slots {
		slots[i].cut, slots[i].other = math.MaxUint32, uint16(i)
	}
	n, total, even := len(weights), 0.0, true
	for _, w := range weights {
		total, even = total+w, even && w == weights[0]
	}
	if even {
		return
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
