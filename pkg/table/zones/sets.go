package zones

import "github.com/gti/gtm/pkg/dnswire"

// Set is an RRset (RFC 9499) in wire form. Owners are compression pointers to offset 12.
type Set struct {
	Type  uint16
	Count uint16
	at    uint32 // of Zone.sets; it stands here so that a Set has 32 bytes, and goes through registers
	Wire  []byte
}

// Short is a set as it goes into answers: the names inside its records are compressed, which the types of RFC 1035 allow (RFC 3597,
// 4). What a name leads to is found when the set is compiled, and only has to be written where the message has it: Data begins
// with Joints, and the records, whose owners point at offset 12, follow.
type Short struct {
	Data   []byte
	Joints int
}

// JointSize is the length of a joint. Its first two bytes tell where in the records the pointer stands. The others, what it leads
// to: the owner's suffix of so many labels, or, with JointInside, another name at that offset of the same records.
const (
	JointSize   = 4
	JointInside = 0x8000
)

// shortens has a bit for each type whose names may be compressed: NS, CNAME, SOA, PTR and MX.
const shortens = 1<<dnswire.TypeNS | 1<<dnswire.TypeCNAME | 1<<dnswire.TypeSOA | 1<<dnswire.TypePTR | 1<<dnswire.TypeMX

// Shortens tells whether there may be a short form of a set.
func (s *Set) Shortens() bool { return s.Type < 32 && shortens>>s.Type&1 == 1 }

// Short gives the short form of a set of the zone, if it has one. TTLs are those of the zone, also in that of SOA.
func (z *Zone) Short(s Set) (Short, bool) {
	at := z.sets[s.at].extra
	if at == 0 || z.extras[at-1].joints == 0 {
		return Short{}, false
	}
	e := &z.extras[at-1]
	return Short{z.data[e.short : e.short+e.shortSize], int(e.joints)}, true
}

// setExtra is what a few sets have beside their records, in Zone.data.
type setExtra struct {
	off, size        uint32 // the Additional
	count            uint16
	joints           uint16 // of the short form; 0: there is none
	short, shortSize uint32
}

// Additional holds what goes into the additional section with a set, mostly addresses, because its records name hosts
// (RFC 1035, 3.3; RFC 2782; RFC 9460, 4.1). Each record's owner is two bytes: where the name stands, in the records of the set's
// Short, or of its Wire if it has none. It is a service to the reader: what does not fit is left out, one RRset at a time.
type Additional struct {
	Wire  []byte
	Count uint16
}

// Additional gives the addresses that go with the set of a type at a node. Those that a delegation cannot do without are its Glue.
func (z *Zone) Additional(at uint32, typ uint16) Additional {
	if _, ok := hostAt(typ); !ok {
		return Additional{}
	}
	n := &z.nodes[at]
	for i := n.first; i < n.first+uint32(n.count); i++ {
		if s := &z.sets[i]; s.typ == typ && s.extra != 0 {
			e := &z.extras[s.extra-1]
			return Additional{z.data[e.off : e.off+e.size], e.count}
		}
	}
	return Additional{}
}

// AnySet gives one set of a node that is not empty, for ANY (RFC 8482, 4.1).
func (z *Zone) AnySet(at uint32) Set {
	n := &z.nodes[at]
	for i := n.first; i < n.first+uint32(n.count); i++ {
		if s := z.sets[i]; s.typ != glueType && s.typ != dnswire.TypeRRSIG {
			return Set{s.typ, s.count, i, z.data[s.off : s.off+s.size]}
		}
	}
	return Set{}
}

// Set gives the RRset of a type at a node.
func (z *Zone) Set(at uint32, typ uint16) (Set, bool) { return z.find(&z.nodes[at], typ) }

// Empty tells whether a node owns nothing: it is an empty non-terminal (RFC 4592, 2.2.2).
func (z *Zone) Empty(at uint32) bool { return z.nodes[at].count == 0 && z.nodes[at].service == 0 }

// Glue gives the addresses that the zone holds for a delegation's name servers, owners as those of its NS set's Additional.
func (z *Zone) Glue(at uint32) Additional {
	s, _ := z.find(&z.nodes[at], glueType)
	return Additional{s.Wire, s.Count}
}

// SOA gives the SOA record for negative answers.
func (z *Zone) SOA() Set { return z.soa }

func (z *Zone) find(n *Node, typ uint16) (Set, bool) {
	for i := n.first; i < n.first+uint32(n.count); i++ {
		if s := &z.sets[i]; s.typ == typ {
			return Set{s.typ, s.count, i, z.data[s.off : s.off+s.size]}, true
		}
	}
	return Set{}, false
}

// hostAt gives where in the RDATA of a type a host's name stands, if its addresses are worth adding.
func hostAt(typ uint16) (offset int, ok bool) {
	switch typ {
	case dnswire.TypeNS:
		return 0, true
	case dnswire.TypeMX, dnswire.TypeSVCB, dnswire.TypeHTTPS:
		return 2, true
	case dnswire.TypeSRV:
		return 6, true
	}
	return 0, false
}
