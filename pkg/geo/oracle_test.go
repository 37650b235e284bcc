package geo

import (
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
)

// oracle is the slow twin of Atlas and Partition: it reads databases, maps and matchers one address at a time,
// as a person would, and shares no code with them but the types.
type oracle struct {
	dbs      []*maxminddb.Reader
	aliased  []netip.Prefix // networks that stand for IPv4 and have no place
	maps     []Map
	matchers []Matcher
	byPlace  func(Place) uint16 // in place of matchers
	seen     map[[2]uintptr]Place
	lines    []fileLine        // of the files of maps
	latency  *maxminddb.Reader // nil: latency makes no difference
}

func newOracle(aliased []netip.Prefix, maps []Map, matchers []Matcher, dbs ...*maxminddb.Reader) *oracle {
	return &oracle{dbs: dbs, aliased: aliased, maps: maps, matchers: matchers, seen: map[[2]uintptr]Place{}}
}

func (o *oracle) databasePlace(t testing.TB, addr netip.Addr) Place {
	var p Place
	if slices.ContainsFunc(o.aliased, func(n netip.Prefix) bool { return n.Contains(addr) }) {
		return p
	}
	for i, db := range o.dbs {
		if db.Metadata.IPVersion == 4 && addr.Is6() {
			continue
		}
		q := o.read(t, db.Lookup(addr), i)
		if p.Continent == "" {
			p.Continent = q.Continent
		}
		if p.Country == "" && p.Continent == q.Continent {
			p.Country = q.Country
		}
		if p.Subdivision == "" && p.Country == q.Country {
			p.Subdivision = q.Subdivision
		}
		same := p.Country == q.Country
		if p.Country == "" {
			same = p.Continent == q.Continent && q.Country == ""
		}
		if p.At == (Point{}) && same && p.Subdivision == q.Subdivision {
			p.At = q.At
		}
		if p.ASN == 0 {
			p.ASN = q.ASN
		}
	}
	return p
}

// read decodes a record of database i in the most general way; each only once, to save time.
func (o *oracle) read(t testing.TB, result maxminddb.Result, i int) (p Place) {
	key := [2]uintptr{uintptr(i), result.Offset()}
	if p, ok := o.seen[key]; ok {
		return p
	}
	var data map[string]any
	if err := result.Decode(&data); err != nil {
		t.Fatal(err)
	}
	text := func(object any, key string) string {
		fields, _ := object.(map[string]any)
		s, _ := fields[key].(string)
		return s
	}
	p.Continent, p.Country = text(data["continent"], "code"), text(data["country"], "iso_code")
	if list, _ := data["subdivisions"].([]any); len(list) > 0 {
		p.Subdivision = text(list[0], "iso_code")
	}
	if asn, ok := data["autonomous_system_number"].(uint64); ok {
		p.ASN = uint32(asn)
	}
	if at, ok := data["location"].(map[string]any); ok {
		p.At = PointOf(math.Round(at["latitude"].(float64)), math.Round(at["longitude"].(float64)))
	}
	o.seen[key] = p
	return p
}

// id tells apart what a partition tells apart: a class, or one special-purpose block.
type id struct {
	class uint16
	block netip.Prefix
}

func (o *oracle) id(t testing.TB, addr netip.Addr) id {
	lifted := false
	inside := map[string]bool{}
	for _, m := range o.maps {
		if !o.holds(&m, addr) {
			continue
		}
		inside[m.Name] = true
		asked := slices.ContainsFunc(o.matchers, func(x Matcher) bool { return slices.Contains(x.Maps, m.Name) })
		lifted = lifted || asked || m.Place != nil || m.ASN != 0
	}
	if block := blockOf(addr); block.IsValid() && !lifted {
		return id{SpecialClass, block}
	}
	return id{class: o.divide(t, o.class(o.mappedPlace(t, addr), inside), addr)}
}

// fastSites are the sites that the oracle looks for: the first of the nearest ones that have three samples.
var fastSites = []string{"ams", "fra", "iad"}

// divide divides a class by the fastest site, if there is a latency table.
func (o *oracle) divide(t testing.TB, class uint16, addr netip.Addr) uint16 {
	if o.latency == nil {
		return class
	}
	if class == NoClass {
		class = uint16(len(o.matchers))
	}
	fastest, least := len(fastSites), math.Inf(1)
	known := o.latencies(t, addr)
	for i, site := range fastSites {
		if at, ok := known[site]; ok && at.Samples >= 3 && at.Milliseconds < least {
			fastest, least = i, at.Milliseconds
		}
	}
	return class*uint16(len(fastSites)+1) + uint16(fastest)
}

// latencies gives what the table says of an address.
func (o *oracle) latencies(t testing.TB, addr netip.Addr) map[string]SiteLatency {
	known := map[string]SiteLatency{}
	if !addr.IsValid() || slices.ContainsFunc(o.aliased, func(n netip.Prefix) bool { return n.Contains(addr) }) {
		return known
	}
	var data map[string]struct {
		MS float64 `maxminddb:"ms"`
		N  int     `maxminddb:"n"`
	}
	if err := o.latency.Lookup(addr).Decode(&data); err != nil {
		t.Fatal(err)
	}
	for site, d := range data {
		ms, n := RoundLatency(d.MS, d.N)
		known[site] = SiteLatency{site, ms, n}
	}
	return known
}

func blockOf(addr netip.Addr) netip.Prefix {
	for _, block := range specialBlocks {
		if block.Contains(addr) {
			return block
		}
	}
	return netip.Prefix{}
}

// mappedPlace is the place as the maps correct it.
func (o *oracle) mappedPlace(t testing.TB, addr netip.Addr) Place {
	p := o.databasePlace(t, addr)
	placeBits, asnBits := -1, -1
	for _, m := range o.maps {
		for _, n := range m.Networks {
			if n.Contains(addr) && m.Place != nil && n.Bits() > placeBits {
				placeBits = n.Bits()
				asn, latency := p.ASN, p.Latency
				p = *m.Place
				p.ASN, p.Latency = asn, latency
			}
			if n.Contains(addr) && m.ASN != 0 && n.Bits() > asnBits {
				asnBits = n.Bits()
				p.ASN = m.ASN
			}
		}
	}
	for _, m := range o.maps {
		if m.Files == nil || !o.holds(&m, addr) {
			continue
		}
		if m.Place != nil && placeBits < 0 {
			asn, latency := p.ASN, p.Latency
			p = *m.Place
			p.ASN, p.Latency = asn, latency
		}
		if m.ASN != 0 && asnBits < 0 {
			p.ASN = m.ASN
		}
	}
	return p
}

// holds reports whether a map holds an address: by its own networks, or by the longest of the files' that does.
func (o *oracle) holds(m *Map, addr netip.Addr) bool {
	if m.Files == nil {
		return slices.ContainsFunc(m.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
	}
	longest := fileLine{name: "-"}
	for _, l := range o.lines {
		if l.network.Contains(addr) && (!longest.network.IsValid() || l.network.Bits() > longest.network.Bits()) {
			longest = l
		}
	}
	return longest.name == m.Name
}

// placeAt is what PlaceAt must give.
func (o *oracle) placeAt(t testing.TB, addr netip.Addr) Place {
	for _, m := range o.maps {
		if o.holds(&m, addr) {
			return o.mappedPlace(t, addr)
		}
	}
	if blockOf(addr).IsValid() {
		return Place{}
	}
	return o.mappedPlace(t, addr)
}

func (o *oracle) class(p Place, inside map[string]bool) uint16 {
	if o.byPlace != nil {
		return o.byPlace(p)
	}
	for i, m := range o.matchers {
		geo, asn, maps := len(m.Geo) == 0, len(m.ASN) == 0, len(m.Maps) == 0
		for _, want := range m.Geo {
			s := p.String() + "-"
			w := want.String() + "-"
			geo = geo || want == Place{} || len(s) >= len(w) && s[:len(w)] == w
		}
		for _, want := range m.ASN {
			asn = asn || want == p.ASN
		}
		for _, want := range m.Maps {
			maps = maps || inside[want]
		}
		if geo && asn && maps {
			return uint16(i)
		}
	}
	return NoClass
}

// node is a plain binary trie: a leaf is a network throughout which nothing can change.
type node struct {
	child   [2]*node
	uniform bool
	id      id
}

// trie divides one family by every network that is known.
func (o *oracle) trie(v4 bool) *node {
	root := &node{}
	add := func(p netip.Prefix) {
		if p.Addr().Is4() != v4 {
			if p.Bits() <= 96 && p.Addr() == netip.IPv6Unspecified() {
				return // all of IPv4: its root
			}
			return
		}
		n := root
		for bit := range p.Bits() {
			if n.child[0] == nil {
				n.child[0], n.child[1] = &node{}, &node{}
			}
			n = n.child[bitOf(p.Addr(), bit)]
		}
	}
	dbs := o.dbs
	if o.latency != nil {
		dbs = append(slices.Clone(dbs), o.latency)
	}
	for _, db := range dbs {
		for result := range db.Networks(maxminddb.IncludeAliasedNetworks()) {
			if !o.hides(result.Prefix()) {
				add(result.Prefix())
			}
		}
	}
	for _, m := range o.maps {
		for _, n := range m.Networks {
			add(n)
		}
	}
	for _, l := range o.lines {
		add(l.network)
	}
	for _, lists := range [][]netip.Prefix{specialBlocks, o.aliased} {
		for _, p := range lists {
			add(p)
		}
	}
	return root
}

// hides reports whether p lies within an alias, where nothing counts.
func (o *oracle) hides(p netip.Prefix) bool {
	return slices.ContainsFunc(o.aliased, func(a netip.Prefix) bool {
		return p.Addr().Is6() && a.Bits() <= p.Bits() && a.Contains(p.Addr())
	})
}

// settle finds where ids are the same, below the node of bit bits whose first address is first.
func (o *oracle) settle(t testing.TB, n *node, first netip.Addr, bit int) {
	if n.child[0] == nil {
		n.uniform, n.id = true, o.id(t, first)
		return
	}
	o.settle(t, n.child[0], first, bit+1)
	o.settle(t, n.child[1], withBit(first, bit), bit+1)
	n.id = n.child[0].id
	n.uniform = n.child[0].uniform && n.child[1].uniform && n.child[0].id == n.child[1].id
}

// classes gives the classes of a settled trie's leaves, special-purpose blocks left out.
func (n *node) classes(into map[uint16]bool) {
	if n.child[0] != nil {
		n.child[0].classes(into)
		n.child[1].classes(into)
	} else if !n.id.block.IsValid() {
		into[n.id.class] = true
	}
}

// scope is the depth of the first uniform node on the way to addr.
func (n *node) scope(addr netip.Addr) (depth int) {
	for ; !n.uniform; depth++ {
		n = n.child[bitOf(addr, depth)]
	}
	return depth
}

func bitOf(addr netip.Addr, i int) int { return int(addr.AsSlice()[i/8]>>(7-i%8)) & 1 }

func withBit(addr netip.Addr, i int) netip.Addr {
	b := addr.AsSlice()
	b[i/8] |= 1 << (7 - i%8)
	out, _ := netip.AddrFromSlice(b)
	return out
}

// edges gives the addresses at and beside both ends of a network, and one inside.
func edges(p netip.Prefix, rng *rand.Rand) []netip.Addr {
	first := p.Masked().Addr()
	last, inside := first, first
	for i := p.Bits(); i < first.BitLen(); i++ {
		last = withBit(last, i)
		if rng.IntN(2) == 0 {
			inside = withBit(inside, i)
		}
	}
	list := []netip.Addr{first, last, inside}
	if before := first.Prev(); before.IsValid() {
		list = append(list, before)
	}
	if behind := last.Next(); behind.IsValid() {
		list = append(list, behind)
	}
	return slices.DeleteFunc(list, netip.Addr.Is4In6) // callers unmap these
}

// tries are an oracle's tries, IPv4 first. What divides them is the databases and maps, not the matchers.
type tries [2]*node

func (o *oracle) tries() tries { return tries{o.trie(true), o.trie(false)} }

// compare checks class, scope and the resolver's class of every address.
func compare(t *testing.T, o *oracle, tries tries, p *Partition, addrs []netip.Addr) {
	t.Helper()
	o.settle(t, tries[0], netip.IPv4Unspecified(), 0)
	o.settle(t, tries[1], netip.IPv6Unspecified(), 0)
	unknown := o.divide(t, o.class(Place{}, nil), netip.Addr{})
	all := map[uint16]bool{unknown: true}
	tries[0].classes(all)
	tries[1].classes(all)
	for _, addr := range addrs {
		want := o.id(t, addr)
		trie := tries[1]
		if addr.Is4() {
			trie = tries[0]
		}
		wantScope := trie.scope(addr)
		if len(all) == 1 { // nobody's address makes a difference
			want, wantScope = id{class: unknown}, 0
		}
		class, scope := p.Lookup(addr)
		if class != want.class || int(scope) != wantScope {
			t.Fatalf("%s: class %d scope %d; want class %d scope %d", addr, class, scope, want.class, wantScope)
		}
		if want.class == SpecialClass {
			want.class = unknown
		}
		if class, scope := p.LookupResolver(addr); class != want.class || int(scope) != wantScope {
			t.Fatalf("%s as resolver: class %d scope %d; want class %d scope %d", addr, class, scope, want.class, wantScope)
		}
	}
}

// entry is a network with a place, for a database.
type entry struct {
	network netip.Prefix
	place   Place
}

// geoIP2 gives a place in the layout of GeoIP2.
func geoIP2(p Place) mmdbtype.Map {
	m := mmdbtype.Map{}
	if p.Continent != "" {
		m["continent"] = mmdbtype.Map{"code": mmdbtype.String(p.Continent)}
	}
	if p.Country != "" {
		m["country"] = mmdbtype.Map{"iso_code": mmdbtype.String(p.Country),
			"names": mmdbtype.Map{"en": mmdbtype.String("the " + p.Country)}}
	}
	if p.Subdivision != "" {
		m["subdivisions"] = mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String(p.Subdivision)},
			mmdbtype.Map{"iso_code": mmdbtype.String("ZZZ")}}
	}
	if p.ASN != 0 {
		m["autonomous_system_number"] = mmdbtype.Uint32(p.ASN)
	}
	if p.At.Known() {
		m["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(p.At.Lat()), "longitude": mmdbtype.Float64(p.At.Lon()),
			"accuracy_radius": mmdbtype.Uint16(50)}
	}
	return m
}

// makeMMDB writes a database; networks that its layout cannot hold (aliases) are left out.
func makeMMDB(t testing.TB, options mmdbwriter.Options, entries []entry) []byte {
	t.Helper()
	options.BuildEpoch, options.IncludeReservedNetworks = 1700000000, true
	options.DatabaseType, options.Description = "test", map[string]string{"en": "test"}
	tree, err := mmdbwriter.New(options)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		addr := e.network.Addr()
		_ = tree.Insert(&net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(e.network.Bits(), addr.BitLen())}, geoIP2(e.place))
	}
	var out sliceWriter
	if _, err := tree.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

type sliceWriter []byte

func (w *sliceWriter) Write(b []byte) (int, error) { *w = append(*w, b...); return len(b), nil }

// layout is the data of a network as it stands in a database.
type layout = map[string]any

// rawMMDB writes a database of one network with any data.
func rawMMDB(t testing.TB, network netip.Prefix, data layout) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "test", Description: map[string]string{"en": "test"},
		IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Insert(ipNet(network), typed(data)); err != nil {
		t.Fatal(err)
	}
	var out sliceWriter
	if _, err := tree.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// typed converts to the writer's types.
func typed(v any) mmdbtype.DataType {
	switch v := v.(type) {
	case layout:
		m := mmdbtype.Map{}
		for key, value := range v {
			m[mmdbtype.String(key)] = typed(value)
		}
		return m
	case []any:
		var s mmdbtype.Slice
		for _, value := range v {
			s = append(s, typed(value))
		}
		return s
	case string:
		return mmdbtype.String(v)
	case uint32:
		return mmdbtype.Uint32(v)
	case float64:
		return mmdbtype.Float64(v)
	case float32:
		return mmdbtype.Float32(v)
	case bool:
		return mmdbtype.Bool(v)
	}
	panic("no such type in a test")
}
