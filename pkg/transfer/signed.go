package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// A copy of a signed zone carries signatures that all edges make alike, whenever and however often they make them: the times in them
// depend on owner, type and day alone. Each set is signed anew every renewDays, on a day of its own, for validDays.
const (
	daySeconds = 86400
	renewDays  = 7
	validDays  = 14
	skew       = 3600 // seconds that validators' clocks may be behind
)

// madeSig are the signatures of one set.
type madeSig struct {
	over [sha256.Size]byte // what was signed, with which keys, when
	sigs [][]byte
}

// zoneSigner signs a whole zone, and takes what has not changed from the time before.
type zoneSigner struct {
	zone      *table.Zone
	keys      []*dnssec.Key
	apex      []byte
	old, made map[string]madeSig // by owner and type
}

// signZone adds RRSIG and a chain of NSEC records (RFC 4035, 2) to the sets of a zone, which are in canonical order. made goes
// into the next call.
func signZone(z *table.Zone, sets []table.RRset, old map[string]madeSig) (signed []table.RRset, made map[string]madeSig, err error) {
	s := &zoneSigner{zone: z, keys: z.Keys(), apex: z.Apex(), old: old, made: make(map[string]madeSig, 2*len(sets))}
	soa := z.SOARecord()
	negative := min(soa.TTL, binary.BigEndian.Uint32(soa.Data[0][len(soa.Data[0])-4:]))
	names := s.names(sets)
	for i, n := range names {
		var types []uint16
		sigs := table.RRset{Owner: n.owner, Type: dnswire.TypeRRSIG}
		for _, set := range n.sets {
			signed = append(signed, set)
			if n.hidden {
				continue
			}
			types = append(types, set.Type)
			if n.cut && set.Type != dnswire.TypeDS {
				continue
			}
			if err := s.sign(&sigs, set, &signed); err != nil {
				return nil, nil, err
			}
		}
		if n.hidden {
			continue
		}
		if n.cut {
			types = slices.DeleteFunc(types, func(t uint16) bool { return t != dnswire.TypeNS && t != dnswire.TypeDS })
		}
		nsec := table.RRset{Owner: n.owner, Type: dnswire.TypeNSEC, TTL: negative,
			Data: [][]byte{dnssec.NSEC(next(names, i), append(types, dnswire.TypeRRSIG, dnswire.TypeNSEC))}}
		signed = append(signed, nsec)
		if err := s.sign(&sigs, nsec, &signed); err != nil {
			return nil, nil, err
		}
	}
	return signed, s.made, nil
}

// ownerSets are the sets of one name.
type ownerSets struct {
	owner       []byte
	sets        []table.RRset
	cut, hidden bool // it delegates; it lies below a delegation or DNAME
}

// names groups sets, which are in canonical order: whatever lies below a name follows it at once.
func (s *zoneSigner) names(sets []table.RRset) []ownerSets {
	var out []ownerSets
	var roof []byte // the delegation or DNAME that hides what is below
	for len(sets) > 0 {
		n := 1
		for n < len(sets) && bytes.Equal(sets[n].Owner, sets[0].Owner) {
			n++
		}
		o := ownerSets{owner: sets[0].Owner, sets: sets[:n]}
		sets = sets[n:]
		if roof != nil && below(o.owner, roof) {
			o.hidden = true
		} else {
			o.cut = !bytes.Equal(o.owner, s.apex) && hasType(o.sets, dnswire.TypeNS)
			if roof = nil; o.cut || hasType(o.sets, dnswire.TypeDNAME) {
				roof = o.owner
			}
		}
		out = append(out, o)
	}
	return out
}

func hasType(sets []table.RRset, typ uint16) bool {
	return slices.ContainsFunc(sets, func(s table.RRset) bool { return s.Type == typ })
}

// below reports whether a name lies below another one.
func below(name, above []byte) bool {
	for len(name) > len(above) {
		name = name[1+int(name[0]):]
		if bytes.Equal(name, above) {
			return true
		}
	}
	return false
}

// next gives the owner of the next NSEC record; the last one points back to the apex.
func next(names []ownerSets, i int) []byte {
	for j := i + 1; j < len(names); j++ {
		if !names[j].hidden {
			return names[j].owner
		}
	}
	return names[0].owner
}

// sign appends the RRSIG records of a set as a set of their own, since their TTL is the set's.
func (s *zoneSigner) sign(sigs *table.RRset, set table.RRset, out *[]table.RRset) error {
	if fixed, ok := s.zone.SignedByControl(set.Type); ok && bytes.Equal(set.Owner, s.apex) {
		*out = append(*out, table.RRset{Owner: sigs.Owner, Type: dnswire.TypeRRSIG, TTL: set.TTL, Data: fixed})
		return nil
	}
	h := fnv.New32a()
	_, _ = h.Write(set.Owner)
	_, _ = h.Write([]byte{byte(set.Type >> 8), byte(set.Type)})
	since := s.zone.Day - (s.zone.Day+int64(h.Sum32()%renewDays))%renewDays
	id := string(set.Owner) + string([]byte{byte(set.Type >> 8), byte(set.Type)})
	over := s.fingerprint(set, since)
	m, ok := s.old[id]
	if !ok || m.over != over {
		m = madeSig{over: over}
		for _, k := range s.keys {
			sig, err := k.Sign(set.Owner, dnssec.Labels(set.Owner), set.Type, set.TTL, set.Data, s.apex,
				uint32(since*daySeconds-skew), uint32((since+validDays)*daySeconds))
			if err != nil {
				return err
			}
			m.sigs = append(m.sigs, sig)
		}
	}
	s.made[id] = m
	*out = append(*out, table.RRset{Owner: sigs.Owner, Type: dnswire.TypeRRSIG, TTL: set.TTL, Data: m.sigs})
	return nil
}

// fingerprint is all that the signatures of a set depend on beside owner and type.
func (s *zoneSigner) fingerprint(set table.RRset, since int64) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, k := range s.keys {
		_, _ = h.Write(k.DNSKEY())
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(since))
	_, _ = h.Write(binary.BigEndian.AppendUint32(b, set.TTL))
	for _, d := range set.Data {
		_, _ = h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(d))))
		_, _ = h.Write(d)
	}
	h.Sum(sum[:0])
	return sum
}
