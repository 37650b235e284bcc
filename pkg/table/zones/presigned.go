package zones

import (
	"bytes"
	"crypto/sha1"
	"slices"
	"sort"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/zone"
)

// presigned is what a zone brings that was signed elsewhere: its signatures, and the chain that denies (RFC 4035; RFC 5155). It
// is served as it came.
type presigned struct {
	sigs   map[uint32]Sig // by Zone.sets
	chain  []link         // NSEC by owner in canonical order, or NSEC3 by hash
	hashed bool           // NSEC3
	salt   []byte
	rounds int          // beside the first
	hidden []zone.RRset // NSEC3 and what signs it: no names of the zone
}

// link is one record of the chain with its signatures, owners in full.
type link struct {
	key []byte // owner, or hash
	Sig
}

// Types of denial that only presigned zones bring.
const (
	typeNSEC3      = 50
	typeNSEC3PARAM = 51
)

// A denial is hashed for while its client waits, and all others of that worker. So both are bounded, whatever a zone brings: the rounds
// (validators do not believe more than 100 to 150; RFC 9276, 3.2), and how many names above are tried for a closest encloser, of which
// a zone that is whole has one close by.
const (
	maxRounds = 150
	maxAbove  = 8
)

// Presigned tells whether the zone brings its signatures.
func (z *Zone) Presigned() bool { return z.pre != nil }

// Presignature gives the RRSIG records of a set of a presigned zone; none where it brings none.
func (z *Zone) Presignature(s Set) Sig { return z.pre.sigs[s.at] }

// Proofs are records that deny something, owners in full.
type Proofs struct {
	List  [4]Sig
	Count int
	used  [4]int
}

func (p *Proofs) add(chain []link, at int) {
	if at < 0 || slices.Contains(p.used[:p.Count], at) || p.Count == len(p.List) {
		return
	}
	p.List[p.Count], p.used[p.Count] = chain[at].Sig, at
	p.Count++
}

// Prove gives what a presigned zone has to show for a negative answer, for a delegation without DS, or, with given, for an answer
// that a wildcard gave (RFC 4035, 3.1.3; RFC 5155, 7.2).
func (z *Zone) Prove(out *Proofs, q *dnswire.Query, m Match, given bool) {
	*out = Proofs{}
	p := z.pre
	if len(p.chain) == 0 {
		return
	}
	name := q.Name[:q.NameLen]
	if m.Kind == Referral {
		name = names.Suffix(q, m.Label)
	}
	var room [256]byte
	var wild []byte
	if m.Kind == Missing || m.Kind == Wildcard {
		wild = append(append(room[:0], 1, '*'), names.Suffix(q, m.Label)...)
	}
	if p.hashed {
		p.proveHashed(out, q, m, name, wild, given, z.labels)
		return
	}
	out.add(p.chain, p.before(name))
	if wild != nil && !given {
		out.add(p.chain, p.before(wild))
	}
}

// before gives the NSEC record at a name, or the one that covers it.
func (p *presigned) before(name []byte) int {
	return sort.Search(len(p.chain), func(i int) bool { return zone.CompareNames(p.chain[i].key, name) > 0 }) - 1
}

func (p *presigned) proveHashed(out *Proofs, q *dnswire.Query, m Match, name, wild []byte, given bool, apex int) {
	if wild == nil {
		if at, exact := p.at(name); exact {
			out.add(p.chain, at)
			return
		}
		first := 0
		if m.Kind == Referral {
			first = m.Label
		}
		p.encloser(out, q, first+1, apex) // an insecure delegation that opt-out leaves out
		return
	}
	if given {
		next, _ := p.at(names.Suffix(q, m.Label-1))
		out.add(p.chain, next)
		return
	}
	p.encloser(out, q, m.Label, apex)
	at, _ := p.at(wild)
	out.add(p.chain, at)
}

// encloser proves the closest encloser, from label i of the name on upwards: it is there, and the next closer name is not.
func (p *presigned) encloser(out *Proofs, q *dnswire.Query, i, apex int) {
	for last := min(i+maxAbove, q.Labels-apex); i <= last; i++ {
		if at, exact := p.at(names.Suffix(q, i)); exact {
			out.add(p.chain, at)
			next, _ := p.at(names.Suffix(q, i-1))
			out.add(p.chain, next)
			return
		}
	}
}

// at gives the NSEC3 record that matches a name, or the one that covers it.
func (p *presigned) at(name []byte) (at int, exact bool) {
	hash := p.hash(name)
	at = sort.Search(len(p.chain), func(i int) bool { return bytes.Compare(p.chain[i].key, hash[:]) > 0 }) - 1
	if at < 0 {
		return len(p.chain) - 1, false // the last one reaches around
	}
	return at, bytes.Equal(p.chain[at].key, hash[:])
}

// hash is that of RFC 5155, 5.
func (p *presigned) hash(name []byte) [sha1.Size]byte {
	var room [512]byte
	sum := sha1.Sum(append(append(room[:0], name...), p.salt...))
	for range p.rounds {
		sum = sha1.Sum(append(append(room[:0], sum[:]...), p.salt...))
	}
	return sum
}
