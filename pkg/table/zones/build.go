package zones

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/zone"
)

// Input is what a zone is compiled from.
type Input struct {
	Static   *zone.Zone
	Serial   uint32
	Added    uint32 // see stampZone
	Catalog  bool
	Members  []string // of the catalog
	Debug    bool
	Services map[string]Hosted // by folded wire host
	Counts   *ZoneCounts
	Seed     uint64
	Signer   *Signer // nil: not signed
	Keys     *ZoneKeys
	Old      *Zone // whose signatures still hold where nothing changed
}

// Hosted is a service that stands in a zone.
type Hosted struct {
	Place  uint32       // in View.Services
	Alone  bool         // it answers CNAME, and owns no other data
	Served rr.FamilySet // the families that exist
}

// zoneBuilder collects nodes while a zone is compiled.
type zoneBuilder struct {
	z     *Zone
	in    *Input
	order []string          // wire names of nodes
	at    map[string]uint32 // wire name to node; nil: z.names has it, since only some nodes are made anew
	sets  map[string][]zone.RRset

	members [][]byte // owners that make a catalog
}

// New compiles a zone. Errors name what contradicts.
func New(in *Input) (*Zone, error) {
	apex := names.NewKey(in.Static.Apex, in.Seed)
	b := &zoneBuilder{in: in, at: make(map[string]uint32, len(in.Services)+len(in.Static.Sets)), sets: map[string][]zone.RRset{},
		z: &Zone{Name: in.Static.Origin, labels: apex.Labels, Counts: in.Counts, seed: in.Seed,
			ordinary: in.ordinary(), debug: in.Debug}}
	static := b.takeStatic()
	for _, s := range static {
		b.sets[string(s.Owner)] = append(b.sets[string(s.Owner)], s)
	}
	if in.Signer != nil {
		b.addKeys()
	}
	if in.Catalog {
		b.addMembers()
	}
	b.node(in.Static.Apex)
	for _, owner := range b.members {
		b.node(owner)
	}
	for _, s := range static {
		b.node(s.Owner)
	}
	for _, host := range slices.Sorted(maps.Keys(in.Services)) {
		n := &b.z.nodes[b.node([]byte(host))]
		n.service, n.served = in.Services[host].Place+1, in.Services[host].Served
	}
	if in.Debug {
		b.special()
	}
	b.link()
	b.fill()
	b.addAdditionals()
	if b.z.soa.Count == 0 {
		return nil, fmt.Errorf("zone %s has no SOA record", b.z.Name)
	}
	b.z.names = names.New(len(b.order))
	var k names.Key
	for i, name := range b.order {
		k.Set([]byte(name), in.Seed)
		l := b.z.names.Put([]byte(name), k.Hashes[0], uint32(i))
		if n := &b.z.nodes[i]; n.kind == plain && n.cut == 0 {
			l.Service = n.service
		}
	}
	if in.Signer != nil {
		b.sign()
	}
	if b.z.pre != nil {
		if err := b.presign(); err != nil {
			return nil, err
		}
	}
	return b.z, nil
}

// node gives the node of a name at or below the apex, and makes it and the empty non-terminals above it.
func (b *zoneBuilder) node(name []byte) uint32 {
	if i, ok := b.at[string(name)]; ok {
		return i
	}
	if len(name) > len(b.in.Static.Apex) {
		b.node(name[1+int(name[0]):])
	}
	i := uint32(len(b.z.nodes))
	n := Node{}
	for off := 0; name[off] != 0; off += 1 + int(name[off]) {
		n.labels++
	}
	b.z.nodes = append(b.z.nodes, n)
	b.order = append(b.order, string(name))
	b.at[string(name)] = i
	return i
}

// special adds the debugging names where nothing else stands.
func (b *zoneBuilder) special() {
	for label, kind := range map[string]nodeKind{"whoami": whoami, "_explain": explain} {
		name := append(append([]byte{byte(len(label))}, label...), b.in.Static.Apex...)
		if _, taken := b.at[string(name)]; !taken && len(name) <= 255 {
			b.z.nodes[b.node(name)].kind = kind
		}
	}
}

// link sets cut and wild of every node. A parent's node always stands before its children's.
func (b *zoneBuilder) link() {
	for i, name := range b.order {
		if i == 0 {
			continue
		}
		n := &b.z.nodes[i]
		parent := b.at[name[1+int(name[0]):]]
		up := b.z.nodes[parent]
		switch {
		case up.cut != 0:
			n.cut = up.cut
		case parent == 0 && b.has(b.order[0], dnswire.TypeDNAME):
			n.cut = apexCut
		case parent != 0 && b.has(b.order[parent], dnswire.TypeDNAME):
			n.cut = parent
		case b.has(name, dnswire.TypeNS):
			n.cut = uint32(i)
		}
		if name[0] == 1 && name[1] == '*' && n.cut != uint32(i) { // nothing is made from a delegation (RFC 4592, 4.2)
			b.z.nodes[parent].wild = uint32(i)
		}
	}
}

func (b *zoneBuilder) has(name string, typ uint16) bool {
	return slices.ContainsFunc(b.sets[name], func(s zone.RRset) bool { return s.Type == typ })
}

// fill renders the sets of every node. Where a service stands, its own types are not taken from the zone.
func (b *zoneBuilder) fill() {
	for i, name := range b.order {
		b.fillNode(uint32(i), name)
	}
}

func (b *zoneBuilder) fillNode(i uint32, name string) {
	n := &b.z.nodes[i]
	n.first = uint32(len(b.z.sets))
	for _, s := range b.setsAt(name) {
		if n.service != 0 && (s.Type == dnswire.TypeA || s.Type == dnswire.TypeAAAA) {
			continue // a name on its way from the zone to a service, or back: whoever changed it was told
		}
		if n.service != 0 && b.shadowed(name, s.Type) {
			b.z.Problems = append(b.z.Problems, fmt.Sprintf("%s %s is not served: a service stands at this name; remove one of the two",
				dnswire.NameString([]byte(name)), dnswire.TypeString(s.Type)))
			continue
		}
		b.render(s)
		b.shorten(name, &b.z.sets[len(b.z.sets)-1])
	}
	if n.cut == i && i != 0 {
		b.glue(name, n)
	}
	n.count = uint16(len(b.z.sets) - int(n.first))
}

// setsAt gives the static sets of an owner.
func (b *zoneBuilder) setsAt(owner string) []zone.RRset {
	if b.at == nil {
		return SetsAt(b.in.Static, owner)
	}
	return b.sets[owner]
}

// nodeAt gives the node of a name that is there.
func (b *zoneBuilder) nodeAt(name string) (at uint32, ok bool) {
	if b.at != nil {
		at, ok = b.at[name]
		return at, ok
	}
	k := names.NewKey([]byte(name), b.z.seed)
	if l := b.z.names.Find([]byte(name), k.Hashes[0]); l != nil {
		return l.Value, true
	}
	return 0, false
}

func (b *zoneBuilder) shadowed(name string, typ uint16) bool {
	at := b.in.Services[name]
	for f := range rr.Families {
		if at.Served.Has(f) && f.Type() == typ {
			return true
		}
	}
	return at.Alone || typ == dnswire.TypeA || typ == dnswire.TypeAAAA || typ == dnswire.TypeCNAME
}

func (b *zoneBuilder) render(s zone.RRset) {
	off := len(b.z.data)
	for _, data := range s.Data {
		if s.Type == dnswire.TypeSOA {
			data = b.soaData(data)
			ttl := min(s.TTL, rr.Uint32(data[len(data)-4:]))
			b.z.soa = Set{Type: s.Type, Count: 1, Wire: rr.Append(nil, s.Type, ttl, data), at: uint32(len(b.z.sets))}
			b.z.Serial = rr.Uint32(data[len(data)-20:])
		}
		b.z.data = rr.Append(b.z.data, s.Type, s.TTL, data)
	}
	b.z.sets = append(b.z.sets, set{typ: s.Type, count: uint16(len(s.Data)), off: uint32(off), size: uint32(len(b.z.data) - off)})
}

// soaData fills the serial in.
func (b *zoneBuilder) soaData(data []byte) []byte {
	data = slices.Clone(data)
	putSerial(data, serialOf(rr.Uint32(data[len(data)-20:]), b.in.Serial, b.in.Added))
	return data
}

// glue renders the addresses that this zone holds for the name servers inside of a delegation: without them nobody gets
// there (RFC 9471, 2.1).
func (b *zoneBuilder) glue(name string, n *Node) {
	off, count := len(b.z.data), 0
	for i := n.first; i < uint32(len(b.z.sets)); i++ {
		if b.z.sets[i].typ != dnswire.TypeNS {
			continue
		}
		b.eachHost(&b.z.sets[i], func(_ []byte, host string, ref int) {
			if names.IsAtOrBelow(host, name) && ref <= 0xFFFF {
				count += b.refer(ref, b.addresses(host))
			}
		})
	}
	b.z.sets = append(b.z.sets, set{typ: glueType, count: uint16(count), off: uint32(off), size: uint32(len(b.z.data) - off)})
}

// refer renders records whose owner is named at an offset of another set.
func (b *zoneBuilder) refer(ref int, sets []zone.RRset) (count int) {
	for _, s := range sets {
		for _, data := range s.Data {
			at := len(b.z.data)
			b.z.data = rr.Append(b.z.data, s.Type, s.TTL, data)
			binary.BigEndian.PutUint16(b.z.data[at:], uint16(ref))
			count++
		}
	}
	return count
}

// SetsAt gives the sets of a name.
func SetsAt(z *zone.Zone, owner string) []zone.RRset {
	first := sort.Search(len(z.Sets), func(i int) bool { return zone.CompareNames(z.Sets[i].Owner, []byte(owner)) >= 0 })
	end := first
	for end < len(z.Sets) && string(z.Sets[end].Owner) == owner {
		end++
	}
	return z.Sets[first:end]
}

// ordinary tells whether a zone holds nothing but static sets, services and debugging names.
func (in *Input) ordinary() bool {
	return in.Signer == nil && in.Keys == nil && !in.Catalog && !BringsSignatures(in.Static)
}
