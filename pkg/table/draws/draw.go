package draws

import (
	"context"
	"math"

	"github.com/gti/gtm/pkg/prefetch"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/rr"
)

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

// Form is how services draw from a pool. Those that do it alike share its draw.
type Form struct {
	Pick    Pick
	Answers int32
	Extra   Extra
	Hashing Hashing
	// TTLUnsure is 1 + the most seconds that answers have while the pool is unsure; 0: no limit. It changes nothing of a draw, but
	// services that differ in it share none.
	TTLUnsure uint32
	// Held is the hold on the service, which has a draw of its own then; nil: it is not held.
	Held *spec.Override
	// Region is the continent whose clients draw, where the pool is judged for each; empty: all. It changes nothing of a draw either.
	Region string
}

// Hashing is what decides where chance does not: the client's network, or the labels that a wildcard stands for.
type Hashing struct {
	Bits4, Bits6 uint8  // how many bits of the client's network are hashed
	Label        bool   // the labels are, and nothing of the client
	Period       uint32 // seconds, after which a network is hashed anew; 0: never
}

// ByNetwork is the Hashing of who asks for no other.
var ByNetwork = Hashing{Bits4: 24, Bits6: 48}

// Extra is what a service adds to the records of its pools; see render. Comparable.
type Extra struct {
	https, svcb string // RDATA up to the hints, and the parameters: see svcbHead
	srv, mx     uint32 // 1 + what they need, packed; 0: not served
}

// Draw is how clients of one kind of service draw from one pool. It is immutable.
type Draw struct {
	fams [rr.Families]famDraw // what a query reads comes first
	Pool *steer.Pool
}

// Gives tells in which families somebody answers from d: by the health of today, and as if all were up.
func (d *Draw) Gives() (live, all rr.FamilySet) {
	for f := range rr.Families {
		if d.fams[f].live != nil {
			live |= 1 << f
		}
		if d.fams[f].all != nil {
			all |= 1 << f
		}
	}
	return live, all
}

// FillTables writes down the tables of sticky choices; false: ctx has ended.
func (d *Draw) FillTables(ctx context.Context) bool {
	for f := range d.fams {
		for _, p := range []*Picks{d.fams[f].live, d.fams[f].all} {
			if !p.Sticky() || p.table.Filled() {
				continue
			}
			if ctx.Err() != nil {
				return false
			}
			p.table.Fill()
		}
	}
	return true
}

// From gives what is drawn from in a family, nil where there is nothing.
func (d *Draw) From(f rr.Family, asIfUp bool) *Picks { return d.fams[f].pick(asIfUp) }

// Sticky tells whether a hash of the client's network draws, and not chance.
func (p *Picks) Sticky() bool { return p != nil && p.table != nil }

// Ahead gives what choose and records read first.
func (p *Picks) Ahead() (sets, data prefetch.Line) {
	return prefetch.At(&p.sets[0]), prefetch.At(&p.data[0])
}

// wants tells whether the services that share the key serve a family, as far as the pool allows.
func (k *Form) wants(f rr.Family) bool {
	switch f {
	case rr.HTTPS:
		return k.Extra.https != ""
	case rr.SVCB:
		return k.Extra.svcb != ""
	case rr.SRV:
		return k.Extra.srv != 0
	case rr.MX:
		return k.Extra.mx != 0
	}
	return true
}

// famDraw is a Draw in one family.
type famDraw struct {
	live *Picks // healthy endpoints; nil unless the pool is up and has one in this family
	all  *Picks // as if all were healthy; nil when the pool has no endpoint in this family
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

// Picks is a compiled choice and its sets, rendered.
type Picks struct {
	sets  []span
	data  []byte
	table *steer.Table // sticky: it draws the set, and the spans' cuts don't
	parts []uint16     // the candidates of the sets, set after set, as many for each; for explanations
	joint *joint       // sticky, several answers: what is drawn is a bucket of the table, which names several sets; else nil
}

// PartsOf gives the indexes of a set's candidates.
func (p *Picks) PartsOf(set int) []uint16 {
	n := len(p.parts) / len(p.sets)
	return p.parts[set*n : (set+1)*n]
}

// Named gives the indexes of the candidates that what was drawn names, in order.
func (p *Picks) Named(drawn int) []uint16 {
	if p.joint == nil {
		return p.PartsOf(drawn)
	}
	var out []uint16
	for _, set := range p.table.Rank(uint64(drawn), make([]uint16, steer.MaxAnswers)) {
		out = append(out, p.PartsOf(int(set))...)
	}
	return out
}

// Answer gives the records of what was drawn. Where they stand nowhere as a whole, they are put into room, which grows where it has to.
func (p *Picks) Answer(room *[]byte, drawn int) (records []byte, count uint16) {
	if p.joint != nil {
		*room, count = p.join((*room)[:0], drawn)
		return *room, count
	}
	return p.Records(drawn)
}

// Records gives those of a set: owner pointing at offset 12, TTL zero, all of one length unless CNAME. They are not to be changed.
func (p *Picks) Records(set int) ([]byte, uint16) {
	s := &p.sets[set]
	return p.data[s.off : s.off+s.size], s.count
}

// Shares gives how often each set is drawn, or comes first of those that are.
func (p *Picks) Shares() []float64 {
	if p.table != nil {
		return p.table.Shares()
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

// Choose gives the set that r (uniform) or, for sticky, the client's hash draws; with joint, the bucket.
func (p *Picks) Choose(r uint32, hash uint64) int {
	if p.table != nil {
		if p.joint != nil {
			return int(p.table.Bucket(hash))
		}
		return p.table.Set(hash)
	}
	m := uint64(r) * uint64(len(p.sets))
	at := uint32(m >> 32)
	s := &p.sets[at]
	// Nobody can predict whether it is the other one, hence no branch: below is all ones if it is not.
	below := uint32((uint64(uint32(m)) - uint64(s.cut)) >> 32)
	return int(at&below | uint32(s.other)&^below)
}

func (fd *famDraw) pick(asIfUp bool) *Picks {
	if asIfUp {
		return fd.all
	}
	return fd.live
}
