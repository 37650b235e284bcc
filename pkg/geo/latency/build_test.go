package latency

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/gti/gtm/pkg/geo"
)

var measured = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func build(t testing.TB, texts ...string) (*geo.LatencyTable, Summary, []byte) {
	t.Helper()
	var inputs []Input
	for i, text := range texts {
		inputs = append(inputs, Input{fmt.Sprintf("f%d.csv", i), strings.NewReader(text)})
	}
	var out bytes.Buffer
	s, err := Build(&out, Config{inputs, measured})
	if err != nil {
		t.Fatal(err)
	}
	table, err := geo.OpenLatencyBytes("built", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return table, s, out.Bytes()
}

// known tells what a table knows of an address.
func known(table *geo.LatencyTable, addr string) string {
	l, network := table.Lookup(netip.MustParseAddr(addr))
	var b strings.Builder
	for s := range l.All() {
		fmt.Fprintf(&b, "%s %v %d, ", s.Site, s.Milliseconds, s.Samples)
	}
	return b.String() + network.String()
}

func TestBuild(t *testing.T) {
	table, summary, file := build(t, `network,site,ms,samples
# by hand
192.0.2.0/24,fra,12.6,40
 192.0.2.0/24 , iad , 101.2 , 3

2001:db8::/32,fra,7,100
`, "192.0.2.0/24,fra,30,120\n192.0.2.128/25,sin,200,5\n203.0.113.9,fra,0,1\n::ffff:198.51.100.0/120,fra,3,2000\n")
	for _, test := range []struct{ addr, want string }{
		{"192.0.2.1", "fra 26 100, iad 100 3, 192.0.2.0/25"},
		{"192.0.2.200", "sin 198 5, 192.0.2.128/25"}, // nothing of the network around
		{"203.0.113.9", "fra 0 1, 203.0.113.9/32"},
		{"198.51.100.7", "fra 3 1000, 198.51.100.0/24"},
		{"2001:db8::7", "fra 7 100, 2001:db8::/32"},
		{"2001:db9::7", "2001:db9::/32"},
		{"10.0.0.1", "0.0.0.0/1"},
	} {
		if got := known(table, test.addr); got != test.want {
			t.Errorf("%s: %s; want %s", test.addr, got, test.want)
		}
	}
	if want := (Summary{Lines: 7, Networks: 5, Sites: 3, Records: 5}); summary != want {
		t.Errorf("%+v; want %+v", summary, want)
	}
	if i := table.Info(); i.Sites != 3 || i.Networks != 5 || !i.Built.Equal(measured) || i.Type != "gtm-Latency" {
		t.Errorf("info %+v", i)
	}
	db, err := maxminddb.OpenBytes(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Verify(); err != nil {
		t.Error(err)
	}
}

func TestSlowestAreDropped(t *testing.T) {
	var text strings.Builder
	for i := range geo.MaxNetworkSites + 3 {
		fmt.Fprintf(&text, "192.0.2.0/24,s%d,%d,1\n", i, 1000-10*i)
	}
	table, summary, _ := build(t, text.String())
	l, _ := table.Lookup(netip.MustParseAddr("192.0.2.1"))
	sites := slices.Collect(l.All())
	if len(sites) != geo.MaxNetworkSites || summary.Dropped != 3 {
		t.Errorf("%d sites, %d dropped", len(sites), summary.Dropped)
	}
	for _, slow := range []string{"s0", "s1", "s2"} {
		if _, _, _, ok := l.Of(slow); ok {
			t.Errorf("%s is there", slow)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	many := strings.Builder{}
	for i := range geo.MaxLatencySites + 1 {
		fmt.Fprintf(&many, "10.%d.%d.0/24,s%d,1,1\n", i>>8, i&255, i)
	}
	for _, test := range []struct{ text, want string }{
		{"", "the input holds no measurements"},
		{"192.0.2.0/24,fra,1\n", `f0.csv, line 1: "192.0.2.0/24,fra,1": write network, site, milliseconds and samples`},
		{"network,site,ms,samples\n192.0.2.0/24,fra,1,1,1\n", `line 2: "192.0.2.0/24,fra,1,1,1": write network`},
		{"# x\n\n192.0.2.1/24,fra,1,1\n",
			"line 3: \"192.0.2.1/24,fra,1,1\": 192.0.2.1/24 has bits behind its length: did you mean 192.0.2.0/24?"},
		{"192.0.2/24,fra,1,1\n", `"192.0.2/24" is not a network`},
		{"fe80::1%eth0,fra,1,1\n", "is not a network"},
		{"::ffff:0:0/90,fra,1,1\n", "is not a network"},
		{"::1.2.3.4,fra,1,1\n", "in ::/96 there are no IPv6 clients"},
		{"192.0.2.0/24,FRA,1,1\n", `"FRA" is not the name of a site`},
		{"192.0.2.0/24,-fra,1,1\n", `is not the name of a site`},
		{"192.0.2.0/24,fra,-1,1\n", `"-1" is no number of milliseconds from 0 to 3600000`},
		{"192.0.2.0/24,fra,NaN,1\n", `"NaN" is no number of milliseconds`},
		{"192.0.2.0/24,fra,1e9,1\n", `"1e9" is no number of milliseconds`},
		{"192.0.2.0/24,fra,1,0\n", `"0" is no number of samples`},
		{"192.0.2.0/24,fra,1,1.5\n", `"1.5" is no number of samples`},
		{"192.0.2.0/24,fra,1,1\nnetwork,site,ms,samples\n", `line 2: `},
		{many.String(), "line 1025: \"10.4.0.0/24,s1024,1,1\": with s1024 there are more than 1024 sites"},
		{"192.0.2.0/24,fra,1,1\n" + strings.Repeat("x", 1<<17), "line 2: "},
	} {
		var out bytes.Buffer
		_, err := Build(&out, Config{[]Input{{"f0.csv", strings.NewReader(test.text)}}, measured})
		if err == nil || !strings.Contains(err.Error(), test.want) || out.Len() > 0 {
			t.Errorf("%.60q: %v; want %s (%d bytes written)", test.text, err, test.want, out.Len())
		}
	}
	if _, err := Build(&bytes.Buffer{}, Config{[]Input{{"f", strings.NewReader("192.0.2.0/24,fra,1,1\n")}}, time.Time{}}); err == nil {
		t.Error("a table without a date")
	}
}

// twin is the slow reading of lines.
type twin []twinLine

type twinLine struct {
	network netip.Prefix
	site    string
	ms      float64
	samples int
}

// of gives what is known of an address: that of the longest network, from all its lines.
func (w twin) of(addr netip.Addr) string {
	longest := -1
	for _, l := range w {
		if l.network.Contains(addr) {
			longest = max(longest, l.network.Bits())
		}
	}
	sum, samples := map[string]float64{}, map[string]int{}
	for _, l := range w {
		if l.network.Contains(addr) && l.network.Bits() == longest {
			sum[l.site] += l.ms * float64(l.samples)
			samples[l.site] += l.samples
		}
	}
	var parts []string
	for site, n := range samples {
		ms, n := geo.RoundLatency(sum[site]/float64(n), n)
		parts = append(parts, fmt.Sprint(site, ms, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// TestTwin compares random tables with the slow reading of their lines: what is known, and how far.
func TestTwin(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 147))
		var w twin
		var text strings.Builder
		var addrs []netip.Addr
		for range 1 + rng.IntN(60) {
			network := randomNetwork(rng)
			for range 1 + rng.IntN(4) {
				// quarters of a millisecond, so that averages are exact, and few different ones
				l := twinLine{network, string(rune('a' + rng.IntN(4))), float64(rng.IntN(1000)) / 4, 1 << rng.IntN(12)}
				w = append(w, l)
				fmt.Fprintf(&text, "%s,%s,%g,%d\n", l.network, l.site, l.ms, l.samples)
			}
			first, last := network.Addr(), lastOf(network)
			for _, a := range []netip.Addr{first, last, first.Prev(), last.Next()} {
				if a.IsValid() && !netip.MustParsePrefix("::/96").Contains(a) {
					addrs = append(addrs, a)
				}
			}
		}
		table, _, file := build(t, text.String())
		for _, a := range addrs {
			want := w.of(a)
			got, network := table.Lookup(a)
			var parts []string
			for s := range got.All() {
				parts = append(parts, fmt.Sprint(s.Site, s.Milliseconds, s.Samples))
			}
			if strings.Join(parts, " ") != want {
				t.Fatalf("seed %d: %s: %v; want %s in\n%s", seed, a, parts, want, text.String())
			}
			w.checkScope(t, a, network)
		}
		if _, _, again := build(t, text.String()); !bytes.Equal(file, again) {
			t.Fatalf("seed %d: the same lines give other bytes", seed)
		}
	}
}

// checkScope: throughout network the same is known, and in the network twice as large it is not.
func (w twin) checkScope(t *testing.T, a netip.Addr, network netip.Prefix) {
	t.Helper()
	same := func(n netip.Prefix) bool {
		want := w.of(a)
		for _, l := range w { // what is known changes at the edges of networks only
			for _, b := range []netip.Addr{n.Addr(), lastOf(n),
				l.network.Addr(), lastOf(l.network), l.network.Addr().Prev(), lastOf(l.network).Next()} {
				if b.IsValid() && n.Contains(b) && w.of(b) != want {
					return false
				}
			}
		}
		return true
	}
	if !same(network) {
		t.Fatalf("%s: in %s not all is the same", a, network)
	}
	if network.Bits() == 0 {
		return
	}
	wider := netip.PrefixFrom(a, network.Bits()-1).Masked()
	if same(wider) && !(a.Is6() && wider.Contains(netip.IPv6Unspecified())) { // where IPv4 hangs
		t.Fatalf("%s: not only in %s all is the same, but in %s", a, network, wider)
	}
}

func randomNetwork(rng *rand.Rand) netip.Prefix {
	if rng.IntN(3) == 0 {
		var b [16]byte
		b[0], b[1], b[2], b[15] = 0x20, byte(rng.IntN(3)), byte(rng.IntN(256)), byte(rng.IntN(256))
		return netip.PrefixFrom(netip.AddrFrom16(b), []int{0, 3, 16, 20, 24, 120, 128}[rng.IntN(7)]).Masked()
	}
	b := [4]byte{byte(11 * rng.IntN(3)), byte(rng.IntN(4)), byte(rng.IntN(256)), byte(rng.IntN(256))}
	return netip.PrefixFrom(netip.AddrFrom4(b), []int{0, 8, 14, 16, 20, 24, 30, 32}[rng.IntN(8)]).Masked()
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// TestPointers: what stands far behind the start of the data is found.
func TestPointers(t *testing.T) {
	for _, at := range []uint32{0, 2047, 2048, 1<<19 + 2047, 1<<19 + 2048, 1<<27 + 1<<19 + 2047, 1<<27 + 1<<19 + 2048, math.MaxUint32} {
		b := appendPointer(nil, at)
		size, value := int(b[0]>>3&3), uint32(b[0]&7)
		if size == 3 {
			value = 0
		}
		for _, c := range b[1:] {
			value = value<<8 | uint32(c)
		}
		value += [...]uint32{0, 2048, 2048 + 1<<19, 0}[size]
		if value != at || len(b) != size+2 || b[0]>>5 != 1 {
			t.Errorf("%d is % x", at, b)
		}
	}
}

// TestRecordSizes writes the same tree with records of each size.
func TestRecordSizes(t *testing.T) {
	for bits, want := range map[int][]byte{
		24: {0x23, 0x45, 0x67, 0x0b, 0xcd, 0xef},
		28: {0x23, 0x45, 0x67, 0x1a, 0x0b, 0xcd, 0xef},
		32: {0x01, 0x23, 0x45, 0x67, 0x0a, 0x0b, 0xcd, 0xef},
	} {
		if got := appendNode(nil, bits, 0x01234567, 0x0a0bcdef); !slices.Equal(got, want) {
			t.Errorf("%d bits: % x; want % x", bits, got, want)
		}
	}
	if cmp.Compare(recordOf(nothing, 9), 9) != 0 || recordOf(dataBit|5, 9) != 9+16+5 || recordOf(5, 9) != 5 {
		t.Error("records are not as in a file")
	}
}
