package draws

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/rr"
)

// joint is how the records of several sets become those of one answer. The zero value puts them behind each other.
type joint struct {
	// HTTPS and SVCB: the records of the sets become one, whose hints are theirs. head is what stands before the IPv4 hints, ech
	// between these and those of IPv6; see svcbHead.
	head, ech string
}

// newJoint tells how the records of a family are joined.
func newJoint(f rr.Family, x *Extra) *joint {
	from := ""
	switch f {
	case rr.HTTPS:
		from = x.https
	case rr.SVCB:
		from = x.svcb
	default:
		return &joint{}
	}
	n := 2 + int(from[0])<<8 + int(from[1])
	return &joint{from[2:n], from[n:]}
}

// join appends the records of the sets that a bucket names, in its order.
func (p *Picks) join(b []byte, bucket int) (records []byte, count uint16) {
	var room [steer.MaxAnswers]uint16
	ranked := p.table.Rank(uint64(bucket), room[:])
	if p.joint.head != "" {
		return p.joinHints(b, ranked), 1
	}
	for _, set := range ranked {
		s := &p.sets[set]
		b = append(b, p.data[s.off:s.off+s.size]...)
		count += s.count
	}
	return b, count
}

// joinHints appends one record with the hints of several.
func (p *Picks) joinHints(b []byte, ranked []uint16) []byte {
	first, start := &p.sets[ranked[0]], len(b)
	b = append(b, p.data[first.off:first.off+12]...)
	b = append(b, p.joint.head...)
	b = p.appendHints(b, paramHint4, ranked)
	b = append(b, p.joint.ech...)
	b = p.appendHints(b, paramHint6, ranked)
	binary.BigEndian.PutUint16(b[start+10:], uint16(len(b)-start-12))
	return b
}

// appendHints appends the parameter that has the hints of one kind, if there are any.
func (p *Picks) appendHints(b []byte, key uint16, ranked []uint16) []byte {
	start := len(b)
	b = appendParam(b, key, nil)
	for _, set := range ranked {
		b = append(b, p.hints(int(set), key)...)
	}
	if len(b) == start+4 {
		return b[:start]
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start-4))
	return b
}

// hints gives those of one kind in the record of a set.
func (p *Picks) hints(set int, key uint16) []byte {
	record, _ := p.Records(set)
	rest := record[12+len(p.joint.head):]
	if key == paramHint6 && len(rest) > 0 && binary.BigEndian.Uint16(rest) == paramHint4 {
		rest = rest[4+binary.BigEndian.Uint16(rest[2:]):]
	}
	if key == paramHint6 {
		rest = rest[len(p.joint.ech):]
	}
	if len(rest) == 0 || binary.BigEndian.Uint16(rest) != key {
		return nil
	}
	return rest[4 : 4+binary.BigEndian.Uint16(rest[2:])]
}

// ID tells what was drawn apart by its content: whatever its order, where the records are several, since a signature does not depend
// on it (RFC 4034, 6.3).
func (p *Picks) ID(drawn int) (id uint64) {
	if p.joint == nil {
		return p.sets[drawn].id
	}
	var room [steer.MaxAnswers]uint16
	for _, set := range p.table.Rank(uint64(drawn), room[:]) {
		if own := p.sets[set].id; p.joint.head != "" {
			id = steer.Hash(id, own)
		} else {
			id += own
		}
	}
	return id
}
