package geo

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
)

func TestLatency(t *testing.T) {
	made := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	l := NewLatency(made, SiteLatency{"sin", 181.4, 4}, SiteLatency{"ams", 12.6, 70_000}, SiteLatency{"fra", 100, 30})
	want := []SiteLatency{{"ams", 13, 1000}, {"fra", 100, 30}, {"sin", 180, 3}}
	if got := slices.Collect(l.All()); !slices.Equal(got, want) || l.Measured() != made {
		t.Errorf("%v of %s; want %v", got, l.Measured(), want)
	}
	for _, w := range want {
		if ms, samples, measured, ok := l.Of(w.Site); ms != w.Milliseconds || samples != w.Samples || measured != made || !ok {
			t.Errorf("%s: %v ms, %d samples, %s, %t", w.Site, ms, samples, measured, ok)
		}
	}
	for _, none := range []*Latency{l, nil, NewLatency(made)} {
		if ms, samples, measured, ok := none.Of("iad"); ms != 0 || samples != 0 || !measured.IsZero() || ok {
			t.Errorf("a site that is not known: %v ms, %d samples, %s", ms, samples, measured)
		}
	}
	if none := (*Latency)(nil); len(slices.Collect(none.All())) != 0 || !none.Measured().IsZero() || NewLatency(made) != nil {
		t.Error("nothing is something")
	}
}

// TestLatencySteps: what is rounded stays near, and rounding it again changes nothing.
func TestLatencySteps(t *testing.T) {
	last := uint8(0)
	for ms := 0.0; ms < 100_000; ms += 0.25 {
		step := millisecondStep(ms)
		got := float64(millisecondSteps[step])
		if off := math.Abs(got - ms); off > max(0.5, 0.03*ms) || step < last || millisecondStep(got) != step {
			t.Fatalf("%v ms are %v, step %d after %d", ms, got, step, last)
		}
		last = step
	}
	if millisecondStep(1e300) != 255 || millisecondStep(-1) != 0 {
		t.Error("what lies outside does not have the first or last step")
	}
	for n, want := range map[int]int{0: 1, 1: 1, 4: 3, 5: 5, 29: 20, 30: 30, 999: 500, 1000: 1000, 1 << 40: 1000} {
		if got := sampleSteps[sampleStep(n)]; got != want {
			t.Errorf("%d samples are %d; want %d", n, got, want)
		}
	}
}

// knownOf is a network, and the data of it in a latency table.
type knownOf struct {
	network netip.Prefix
	sites   layout
}

func site(ms float64, n uint32) layout { return layout{"ms": ms, "n": n} }

// latencyMMDB writes a latency table; networks that its layout cannot hold (aliases) are left out.
func latencyMMDB(t testing.TB, options mmdbwriter.Options, entries ...knownOf) []byte {
	t.Helper()
	if options.DatabaseType == "" {
		options.DatabaseType = LatencyType
	}
	if options.BuildEpoch == 0 {
		options.BuildEpoch = 1700000000
	}
	options.IncludeReservedNetworks, options.Description = true, map[string]string{"en": "test"}
	tree, err := mmdbwriter.New(options)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		_ = tree.Insert(ipNet(e.network), typed(e.sites))
	}
	var out sliceWriter
	if _, err := tree.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLatencyLayouts(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	sites := func(n int) layout {
		m := layout{}
		for i := range n {
			m[fmt.Sprint("s", i)] = site(float64(i), 1)
		}
		return m
	}
	one := func(value any) layout { return layout{"fra": value} }
	for _, test := range []struct {
		name string
		data layout
		want string // or the error
	}{
		{"double", one(site(12.4, 30)), "fra 12 30"},
		{"float", one(layout{"ms": float32(7), "n": uint32(1)}), "fra 7 1"},
		{"uint", one(layout{"ms": uint32(7), "n": uint32(7)}), "fra 7 5"},
		{"more than gtm reads", one(layout{"ms": 7.0, "n": uint32(7), "loss": 0.1, "by": []any{"x"}}), "fra 7 5"},
		{"sorted", layout{"sin": site(1, 1), "ams": site(2, 1)}, "ams 2 1, sin 1 1"},
		{"as many as may be", sites(MaxNetworkSites), "s0 0 1, s1 1 1"},
		{"too many", sites(MaxNetworkSites + 1), "it has more than 64 sites"},
		{"no number", one(layout{"ms": "7", "n": uint32(7)}), "site fra: ms is no number"},
		{"no milliseconds", one(layout{"n": uint32(7)}), "site fra: ms is no number of milliseconds"},
		{"negative", one(site(-1, 7)), "ms is no number of milliseconds"},
		{"not a number", one(site(math.NaN(), 7)), "ms is no number of milliseconds"},
		{"endless", one(site(math.Inf(1), 7)), "ms is no number of milliseconds"},
		{"no samples", one(layout{"ms": 7.0}), "n, the number of samples, is 0 or is missing"},
		{"zero samples", one(site(7, 0)), "n, the number of samples, is 0 or is missing"},
		{"half samples", one(layout{"ms": 7.0, "n": 1.5}), "n is no number of 32 bits"},
		{"no map", one("7"), "its data is no map"},
		{"upper case", layout{"FRA": site(7, 7)}, `"FRA" is not the name of a site`},
		{"no name", layout{"": site(7, 7)}, `"" is not the name of a site`},
		{"nothing", layout{}, "it knows no network"},
		{"geography", layout{"country": layout{"iso_code": "DE"}}, "ms is no number"},
	} {
		table, err := OpenLatencyBytes("x.mmdb", latencyMMDB(t, mmdbwriter.Options{}, knownOf{network, test.data}))
		if err != nil {
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "latency table x.mmdb cannot be used") {
				t.Errorf("%s: error %v; want %q", test.name, err, test.want)
			}
			continue
		}
		l, in := table.Lookup(netip.MustParseAddr("192.0.2.9"))
		var got []string
		for s := range l.All() {
			got = append(got, fmt.Sprint(s.Site, " ", s.Milliseconds, " ", s.Samples))
		}
		if !strings.HasPrefix(strings.Join(got, ", "), test.want) || in != network {
			t.Errorf("%s: %v in %s; want %s", test.name, got, in, test.want)
		}
		if l, _ := table.Lookup(netip.MustParseAddr("192.0.3.9")); l != nil {
			t.Errorf("%s: beside it is %v", test.name, l)
		}
	}
}

func TestLatencyTableErrors(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	whole := knownOf{network, layout{"fra": site(7, 7)}}
	var many []knownOf
	for i := range MaxLatencySites + 1 {
		many = append(many, knownOf{netip.PrefixFrom(netip.AddrFrom4([4]byte{9, byte(i >> 8), byte(i), 0}), 24),
			layout{fmt.Sprint("s", i): site(7, 7)}})
	}
	for _, test := range []struct {
		mmdb []byte
		want string
	}{
		{latencyMMDB(t, mmdbwriter.Options{DatabaseType: "GeoLite2-City"}, whole),
			`its type is "GeoLite2-City"; that of a latency table is gtm-Latency`},
		{latencyMMDB(t, mmdbwriter.Options{}, many...), "the file has more than 1024 sites"},
		{[]byte("text"), "invalid MaxMind DB file"},
	} {
		if _, err := OpenLatencyBytes("x.mmdb", test.mmdb); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v; want %q", err, test.want)
		}
	}
	if _, err := OpenLatencyBytes("x.mmdb", latencyMMDB(t, mmdbwriter.Options{}, many[1:]...)); err != nil {
		t.Error(err)
	}
	if _, err := OpenLatency("/nonexistent.mmdb"); err == nil || !strings.Contains(err.Error(), "latency table: open /nonexistent.mmdb") {
		t.Errorf("error %v", err)
	}
	if _, err := OpenBytes("x.mmdb", latencyMMDB(t, mmdbwriter.Options{}, whole)); err == nil {
		t.Error("a latency table is geography")
	}
}

// latencies draws what is known of networks: few sites and few numbers, so that neighbours are often alike.
func (w *world) latencies(n int) (list []knownOf) {
	for range n {
		sites := layout{}
		for _, name := range []string{"ams", "fra", "iad", "sin"} {
			if w.IntN(3) > 0 {
				sites[name] = site(float64(w.IntN(4)*50), uint32(1+w.IntN(4)))
			}
		}
		list = append(list, knownOf{w.network(w.IntN(2) == 0), sites})
	}
	return list
}

// TestLatencyAgainstOracle compares partitions by place, map and latency with the plain reading of the files.
func TestLatencyAgainstOracle(t *testing.T) {
	compared := 0
	for seed := range uint64(150) {
		w := newWorld(seed + 5000)
		options := mmdbwriter.Options{DisableIPv4Aliasing: true}
		geography, known := w.entries(1+w.IntN(30)), w.latencies(1+w.IntN(30))
		if w.IntN(3) == 0 {
			known = append(known, knownOf{netip.MustParsePrefix("0.0.0.0/0"), layout{"fra": site(30, 5)}})
		}
		places, latency := makeMMDB(t, options, geography), latencyMMDB(t, options, known...)
		a, err := OpenBytes("places", places)
		if err != nil {
			continue // no place in it
		}
		table, err := OpenLatencyBytes("latency", latency)
		if err != nil {
			continue // likewise
		}
		a = a.WithLatency(table)
		maps := w.maps()
		matchers := w.matchers(maps)
		addrs := worldAddresses(w, geography, maps)
		for _, k := range known {
			addrs = append(addrs, edges(k.network, w.Rand)...)
		}
		o := newOracle(usualAliases[:1], maps, matchers, openDB(t, places))
		plain, err := Compile(a, maps, FirstOf(matchers))
		if err != nil {
			t.Fatal(err)
		}
		compare(t, o, o.tries(), plain, addrs) // who does not ask for latency sees nothing of it

		o.latency = openDB(t, latency)
		p, err := Compile(a, maps, fastestOf(matchers))
		if err != nil {
			t.Fatal(err)
		}
		compare(t, o, o.tries(), p, addrs)
		compareLatencies(t, o, a, addrs)
		compared++
	}
	if compared < 100 {
		t.Errorf("only %d worlds have places and latencies", compared)
	}
}

// fastestOf divides what matchers divide by the fastest site, too.
func fastestOf(matchers []Matcher) *Classifier {
	c := FirstOf(matchers)
	first := c.Class
	c.Classes, c.Latency = (c.Classes+1)*(len(fastSites)+1), true
	c.Class = func(p Place, in Hits) int {
		fastest, least := len(fastSites), math.Inf(1)
		for i, site := range fastSites {
			if ms, samples, _, ok := p.Latency.Of(site); ok && samples >= 3 && ms < least {
				fastest, least = i, ms
			}
		}
		return first(p, in)*(len(fastSites)+1) + fastest
	}
	return c
}

// compareLatencies checks what PlaceAt knows of addresses, whatever maps make of their places.
func compareLatencies(t *testing.T, o *oracle, a *Atlas, addrs []netip.Addr) {
	t.Helper()
	for _, addr := range addrs {
		place, within := PlaceAt(a, o.maps, addr)
		want := o.latencies(t, addr)
		if o.placeAt(t, addr) == (Place{}) && blockOf(addr).IsValid() && place.Latency == nil {
			continue // a special-purpose block
		}
		n := 0
		for s := range place.Latency.All() {
			if n++; want[s.Site] != s {
				t.Fatalf("%s: %v; want %v", addr, s, want)
			}
		}
		if n != len(want) || !within.Contains(addr) {
			t.Fatalf("%s: %d sites in %s; want %v", addr, n, within, want)
		}
		first, _ := PlaceAt(a, o.maps, within.Addr())
		if first != place {
			t.Fatalf("%s: in %s not all have the same latency", addr, within)
		}
	}
}

// TestCorruptLatency changes single bytes of a small table: it must be refused or read, never panic or hang.
func TestCorruptLatency(t *testing.T) {
	mmdb := latencyMMDB(t, mmdbwriter.Options{}, newWorld(5).latencies(12)...)
	refused := 0
	for at := range mmdb {
		for _, flip := range []byte{0x01, 0xff} {
			bad := bytes.Clone(mmdb)
			bad[at] ^= flip
			if !openSoundLatency(t, bad) {
				refused++
			}
		}
	}
	if refused < len(mmdb)/4 {
		t.Errorf("of %d changes only %d were refused", 2*len(mmdb), refused)
	}
	for n := range mmdb {
		if openSoundLatency(t, mmdb[:n]) {
			t.Errorf("the first %d of %d bytes pass as a table", n, len(mmdb))
		}
	}
}

// openSoundLatency opens a table and, where it is accepted, compiles by it; false: refused.
func openSoundLatency(t testing.TB, mmdb []byte) bool {
	table, err := OpenLatencyBytes("bad.mmdb", mmdb)
	if err != nil {
		if !strings.Contains(err.Error(), "bad.mmdb") {
			t.Errorf("error %q does not name the file", err)
		}
		return false
	}
	v4, v6 := newPacker(true, 0), newPacker(false, 0)
	v4.add(u128{}, 0)
	v6.add(u128{}, 0)
	a := (&Atlas{v4: v4.done(), v6: v6.done(), places: []Place{{}}}).WithLatency(table)
	p, err := Compile(a, nil, fastestOf(nil))
	if err != nil {
		t.Errorf("compile: %v", err)
		return true
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		p.Lookup4(rng.Uint32())
		p.Lookup6(rng.Uint64(), rng.Uint64())
	}
	return true
}

func FuzzOpenLatencyBytes(f *testing.F) {
	f.Add([]byte{})
	f.Add(latencyMMDB(f, mmdbwriter.Options{}, newWorld(1).latencies(5)...))
	f.Add(latencyMMDB(f, mmdbwriter.Options{RecordSize: 24, DisableIPv4Aliasing: true}, newWorld(2).latencies(9)...))
	f.Fuzz(func(t *testing.T, mmdb []byte) { openSoundLatency(t, mmdb) })
}

// TestSiteTwice has one site twice in a record, which mmdbwriter does not write.
func TestSiteTwice(t *testing.T) {
	mmdb := latencyMMDB(t, mmdbwriter.Options{},
		knownOf{netip.MustParsePrefix("192.0.2.0/24"), layout{"fra1": site(7, 7), "fra2": site(8, 7)}})
	mmdb = bytes.Replace(mmdb, []byte("fra2"), []byte("fra1"), 1)
	if _, err := OpenLatencyBytes("x.mmdb", mmdb); err == nil || !strings.Contains(err.Error(), "site fra1 stands twice") {
		t.Errorf("error %v", err)
	}
}

// TestEqualLatenciesAreOne: places with equal latency compare, and a classifier is asked once for all of them.
func TestEqualLatenciesAreOne(t *testing.T) {
	equal := layout{"fra": site(7.2, 31), "ams": site(9, 5)}
	table, err := OpenLatencyBytes("x", latencyMMDB(t, mmdbwriter.Options{},
		knownOf{netip.MustParsePrefix("9.0.0.0/24"), equal},
		knownOf{netip.MustParsePrefix("9.0.9.0/24"), layout{"fra": site(7, 49), "ams": site(9, 5)}},
		knownOf{netip.MustParsePrefix("1.0.0.0/24"), equal}))
	if err != nil {
		t.Fatal(err)
	}
	a := smallAtlas(t).WithLatency(table)
	p, _ := a.Lookup(netip.MustParseAddr("9.0.0.1"))
	q, in := a.Lookup(netip.MustParseAddr("9.0.9.1"))
	if p != q || p.Latency == nil || p.Country != "DE" || in.String() != "9.0.9.0/24" {
		t.Errorf("%v and %v in %s", p, q, in)
	}
	asked := map[Place]int{}
	c := &Classifier{Classes: 1, Latency: true, Class: func(p Place, _ Hits) int { asked[p]++; return 0 }}
	if _, err := Compile(a, nil, c); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 4 || asked[p] != 1 { // Germany and elsewhere, each with and without
		t.Errorf("asked for %v", asked)
	}
	clear(asked)
	c.Latency = false
	if _, err := Compile(a, nil, c); err != nil {
		t.Fatal(err)
	}
	if p.Latency = nil; len(asked) != 2 || asked[p] == 0 {
		t.Errorf("who does not ask for latency is asked for %v", asked)
	}
}

// TestLatenciesOfOneHash: where the hash of rows is another's, they are told apart all the same.
func TestLatenciesOfOneHash(t *testing.T) {
	table := newLatencies(time.Time{}, 1)
	a, b := []latencyRow{{0, 7, 1}}, []latencyRow{{0, 8, 1}}
	first := table.id(a)
	table.ids[table.hash(b)] = first
	if second := table.id(b); second == first || table.id(a) != first || table.id(b) != second {
		t.Errorf("ids %d and %d", first, second)
	}
}

// TestWatchLatency: a new table leaves geography as it is, and new geography the table.
func TestWatchLatency(t *testing.T) {
	dir := t.TempDir()
	places, table := watchedFile{t, filepath.Join(dir, "country.mmdb")}, watchedFile{t, filepath.Join(dir, "latency.mmdb")}
	latency := func(ms float64) []byte {
		return latencyMMDB(t, mmdbwriter.Options{}, knownOf{netip.MustParsePrefix("192.0.2.0/24"), layout{"fra": site(ms, 7)}})
	}
	places.replace(places.database("DE"))
	table.replace(latency(7))
	a, err := Open(places.name)
	must(t, err)
	l, err := OpenLatency(table.name)
	must(t, err)
	var told []string
	before := a.WithLatency(l)
	w := newWatcher(before, func(s Source, a *Atlas) {
		p, _ := a.Lookup(netip.MustParseAddr("192.0.2.1"))
		ms, _, _, _ := p.Latency.Of("fra")
		told = append(told, fmt.Sprint(s, " ", p.Country, " ", ms, " ", a.SameGeography(before)))
		before = a
	}, func(s Source, err error) { told = append(told, fmt.Sprint(s, ": ", err)) })
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"nothing", func() {}, ""},
		{"a new table", func() { table.replace(latency(9)) }, "latency DE 9 true"},
		{"touched", func() { must(t, os.Chtimes(table.name, time.Time{}, time.Unix(1, 0))) }, ""},
		{"new geography", func() { places.replace(places.database("FR")) }, "geography FR 9 false"},
		{"a corrupt table", func() { table.replace(latency(10)[:100]) }, "latency: latency table " + table.name + " cannot be used"},
		{"new geography beside a corrupt table", func() { places.replace(places.database("JP")) }, "geography JP 9 false"},
		{"the table is back", func() { table.replace(latency(9)) }, "latency: <nil>"},
		{"both", func() { table.replace(latency(11)); places.replace(places.database("DE")) }, "geography DE 9 false; latency DE 11 true"},
		{"gone", func() { must(t, os.Remove(table.name)) }, "latency: latency table: open"},
	} {
		step.do()
		w.poll()
		w.poll()
		got := strings.Join(told, "; ")
		told = nil
		if (got == "") != (step.want == "") || !strings.HasPrefix(got, step.want) {
			t.Errorf("%s: told %q; want %q", step.name, got, step.want)
		}
	}
}

// TestKeptLatency starts with a table that cannot be used: with its copy, and without.
func TestKeptLatency(t *testing.T) {
	dir, kept := t.TempDir(), t.TempDir()
	file := watchedFile{t, filepath.Join(dir, "latency.mmdb")}
	whole := latencyMMDB(t, mmdbwriter.Options{}, knownOf{netip.MustParsePrefix("192.0.2.0/24"), layout{"fra": site(7, 7)}})
	file.replace(whole[:100])
	none, fault := OpenKeptLatency(kept, file.name)
	if fault == nil || !strings.Contains(fault.Error(), "there is no good copy of it either, and no latency is known") || !none.Empty() {
		t.Fatalf("%v", fault)
	}
	a := builtinAtlas(t).WithLatency(none)
	if p, _ := a.Lookup(netip.MustParseAddr("192.0.2.1")); p.Latency != nil {
		t.Errorf("%v", p)
	}
	must(t, a.Keep(kept))
	var told []string
	w := newWatcher(a, func(_ Source, a *Atlas) {
		told = append(told, fmt.Sprint(a.Latency().Info().Networks))
		must(t, a.Keep(kept))
	}, func(_ Source, err error) { told = append(told, fmt.Sprint(err)) })
	file.replace(whole)
	w.poll()
	w.poll()
	if !slices.Equal(told, []string{"1"}) {
		t.Errorf("told %q", told)
	}
	file.replace(whole[:100])
	copied, fault := OpenKeptLatency(kept, file.name)
	if fault == nil || !strings.Contains(fault.Error(), "its last good copy is used, built 2023-11-14") || copied.Info().File != file.name {
		t.Fatalf("%v, %+v", fault, copied.Info())
	}
	w = newWatcher(builtinAtlas(t).WithLatency(copied), nil, func(_ Source, err error) { told = append(told, fmt.Sprint(err)) })
	file.replace(whole)
	w.poll()
	w.poll()
	if !slices.Equal(told, []string{"1", "<nil>"}) {
		t.Errorf("told %q", told)
	}
}

// TestWhatIsAskedIsSeen: coordinates and latency come together, each alone, or neither; what was not asked for is not told.
func TestWhatIsAskedIsSeen(t *testing.T) {
	w := newWorld(7)
	entries, known := w.entries(200), w.latencies(100)
	a, err := OpenBytes("places", makeMMDB(t, mmdbwriter.Options{DisableIPv4Aliasing: true}, entries))
	must(t, err)
	table, err := OpenLatencyBytes("latency", latencyMMDB(t, mmdbwriter.Options{DisableIPv4Aliasing: true}, known...))
	must(t, err)
	a = a.WithLatency(table)
	for _, ask := range []asked{{}, {points: true}, {latency: true}, {true, true}} {
		as := func(p Place) Place {
			if !ask.points {
				p.At = Point{}
			}
			if !ask.latency {
				p.Latency = nil
			}
			return p
		}
		seen := map[Place]int{}
		p, err := Compile(a, nil, &Classifier{Classes: 10_000, Points: ask.points, Latency: ask.latency, Class: func(p Place, _ Hits) int {
			if _, ok := seen[p]; !ok {
				seen[p] = len(seen)
			}
			return seen[p]
		}})
		must(t, err)
		for _, addr := range worldAddresses(w, entries, nil) {
			place, _ := PlaceAt(a, nil, addr)
			want, ok := seen[as(place)]
			if class, _ := p.Lookup(addr); class != SpecialClass && (!ok || int(class) != want) {
				t.Fatalf("%+v: %s is at %+v: class %d, want %d", ask, addr, as(place), class, want)
			}
		}
		if s := a.shapes[ask]; s != p.shape {
			t.Errorf("%+v: another shape is kept", ask)
		}
	}
}

// TestLatencyTakesNoPlace: an atlas without a latency table gives the same whether a classifier asks for latency or not.
func TestLatencyTakesNoPlace(t *testing.T) {
	a := smallAtlas(t)
	c := FirstOf([]Matcher{{Geo: places(t, "EU-DE")}, {}})
	c.Latency = true
	p, err := Compile(a, nil, c)
	must(t, err)
	if q := mustCompile(t, a, nil, Matcher{}); p.shape != q.shape {
		t.Error("without a latency table there are two shapes")
	}
}
