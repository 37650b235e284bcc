package geo

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/oschwald/maxminddb-golang/v2"

	builtin "github.com/gti/gtm/geo"
)

func TestBuiltin(t *testing.T) {
	a := builtinAtlas(t)
	info := a.Info()
	if len(info) != 1 || info[0].File != "built-in" || info[0].Type != "gtm-Country" || info[0].Networks < 500_000 ||
		info[0].Built.Year() < 2026 {
		t.Errorf("info %+v", info)
	}
	if size := len(builtin.CountryMMDB); size > 10<<20 {
		t.Errorf("the built-in database has %d bytes; 10 MB is the limit", size)
	}
	readme, err := os.ReadFile("../../geo/README.md")
	if err != nil || !strings.Contains(string(readme), info[0].SHA256) {
		t.Errorf("geo/README.md does not give the checksum %s (%v)", info[0].SHA256, err)
	}
	tests := []struct{ addr, want string }{
		{"81.2.69.160", "EU-GB"}, {"193.0.6.139", "EU-NL"}, {"202.12.29.175", "OC-AU"}, {"200.160.2.3", "SA-BR"},
		{"2001:67c:2e8:22::c100:68b", "EU-NL"}, {"2400:cb00::1", "NA-US"}, {"::ffff:193.0.6.139", "EU-NL"},
		{"10.0.0.1", ""}, {"203.0.113.1", ""}, {"::1", ""}, {"2001:db8::1", ""}, {"2002:c100:68b::1", ""},
	}
	for _, test := range tests {
		if got, network := a.Lookup(netip.MustParseAddr(test.addr)); got.String() != test.want ||
			!network.Contains(netip.MustParseAddr(test.addr).Unmap()) {
			t.Errorf("%s: %q in %s; want %q", test.addr, got, network, test.want)
		}
	}
	if p, n := a.Lookup(netip.Addr{}); p != (Place{}) || n.IsValid() {
		t.Errorf("no address has place %v, network %v", p, n)
	}
}

// TestIPv4WithoutTree has all of IPv4 in one record, which makes the reader take other networks with that
// record for aliases of IPv4.
func TestIPv4WithoutTree(t *testing.T) {
	de := Place{Continent: "EU", Country: "DE"}
	for _, network := range []string{"::/1", "::/96", "::/7"} {
		mmdb := makeMMDB(t, mmdbwriter.Options{DisableIPv4Aliasing: true},
			[]entry{{netip.MustParsePrefix(network), de}, {netip.MustParsePrefix("a000::/4"), de},
				{netip.MustParsePrefix("c000::/4"), Place{Continent: "AS"}}})
		a, err := OpenBytes("test", mmdb)
		if err != nil {
			t.Fatal(err)
		}
		for addr, want := range map[string]Place{"0.0.0.0": de, "9.9.9.9": de, "255.255.255.255": de, "a123::": de,
			"c000::1": {Continent: "AS"}, "::9.9.9.9": {}, "b000::": {}} {
			if got, in := a.Lookup(netip.MustParseAddr(addr)); got != want {
				t.Errorf("with %s, %s has %v (%s); want %v", network, addr, got, in, want)
			}
		}
	}
}

func TestLayouts(t *testing.T) {
	de := Place{Continent: "EU", Country: "DE", Subdivision: "BE", ASN: 3320}
	network := netip.MustParsePrefix("192.0.2.0/24")
	tests := []struct {
		name string
		data map[string]any
		want Place
		err  string
	}{
		{"City", layout{"continent": layout{"code": "EU"}, "country": layout{"iso_code": "DE"},
			"subdivisions": []any{layout{"iso_code": "BE"}}}, Place{Continent: "EU", Country: "DE", Subdivision: "BE"}, ""},
		{"Country without continent", layout{"country": layout{"iso_code": "DE"}}, Place{Continent: "EU", Country: "DE"}, ""},
		{"subdivision that is no code", layout{"country": layout{"iso_code": "DE"}, "subdivisions": []any{layout{"iso_code": "Berlin"}}},
			Place{Continent: "EU", Country: "DE"}, ""},
		{"ASN", layout{"autonomous_system_number": uint32(3320), "autonomous_system_organization": "DTAG"}, Place{ASN: 3320}, ""},
		{"Enterprise", layout{"continent": layout{"code": "EU"}, "country": layout{"iso_code": "DE"},
			"subdivisions": []any{layout{"iso_code": "BE"}}, "traits": layout{"autonomous_system_number": uint32(3320)}}, de, ""},
		{"coordinates, rounded", inDE(52.5244, 13.41), Place{Continent: "EU", Country: "DE", At: PointOf(53, 13)}, ""},
		{"coordinates in single precision", inDE(float32(-52.5), float32(-13.4)),
			Place{Continent: "EU", Country: "DE", At: PointOf(-53, -13)}, ""},
		{"coordinates near 0", inDE(0.4, -0.4), Place{Continent: "EU", Country: "DE", At: PointOf(0, 0)}, ""},
		{"coordinates at the antimeridian", inDE(0.4, 179.6), Place{Continent: "EU", Country: "DE", At: PointOf(0, -180)}, ""},
		{"coordinates on the equator", inDE(0.0, 13.0), Place{Continent: "EU", Country: "DE", At: PointOf(0, 13)}, ""},
		{"coordinates for the unknown", inDE(0.0, 0.0), Place{Continent: "EU", Country: "DE"}, ""},
		{"coordinates that are no numbers", inDE(math.NaN(), 1.0), Place{Continent: "EU", Country: "DE"}, ""},
		{"latitude out of range", inDE(90.1, 1.0), Place{Continent: "EU", Country: "DE"}, ""},
		{"longitude out of range", inDE(1.0, -180.1), Place{Continent: "EU", Country: "DE"}, ""},
		{"infinite longitude", inDE(1.0, math.Inf(1)), Place{Continent: "EU", Country: "DE"}, ""},
		{"latitude alone", layout{"country": layout{"iso_code": "DE"}, "location": layout{"latitude": 1.0}},
			Place{Continent: "EU", Country: "DE"}, ""},
		{"location without coordinates", layout{"country": layout{"iso_code": "DE"}, "location": layout{"time_zone": "Europe/Berlin"}},
			Place{Continent: "EU", Country: "DE"}, ""},
		{"coordinates alone", layout{"location": layout{"latitude": 1.0, "longitude": 2.0}}, Place{At: PointOf(1, 2)}, ""},
		{"latitude as text", inDE("52.5", 13.41), Place{}, "latitude is no number"},
		{"longitude as text", inDE(52.5, "13.41"), Place{}, "longitude is no number"},
		{"longitude as integer", inDE(52.5, uint32(13)), Place{Continent: "EU", Country: "DE", At: PointOf(53, 13)}, ""},
		{"location that is no map", layout{"location": "Berlin"}, Place{}, "location is no map"},
		{"country that is no code", layout{"country": layout{"iso_code": "D-"}}, Place{}, `"D-" is not a country code`},
		{"continent that is none", layout{"continent": layout{"code": "XX"}}, Place{}, `"XX" is not a continent code`},
		{"another layout", layout{"country": "DE"}, Place{}, "network 192.0.2.0/24"},
		{"nothing of ours", layout{"is_anonymous": true}, Place{}, "it holds no continent"},
	}
	for _, test := range tests {
		a, err := OpenBytes("x.mmdb", rawMMDB(t, network, test.data))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), "x.mmdb") {
				t.Errorf("%s: error %v; want one with %q", test.name, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got, in := a.Lookup(netip.MustParseAddr("192.0.2.9")); got != test.want || in != network {
			t.Errorf("%s: %+v in %s; want %+v", test.name, got, in, test.want)
		}
	}
}

// inDE is a record with coordinates.
func inDE(lat, lon any) layout {
	return layout{"country": layout{"iso_code": "DE"}, "location": layout{"latitude": lat, "longitude": lon}}
}

// TestCoordinatesFollowTheirPlace has them taken from a second file only where it means the same region.
func TestCoordinatesFollowTheirPlace(t *testing.T) {
	here, there := PointOf(1, 1), PointOf(2, 2)
	de, be := Place{Continent: "EU", Country: "DE"}, Place{Continent: "EU", Country: "DE", Subdivision: "BE"}
	at := func(p Place, point Point) Place { p.At = point; return p }
	for _, test := range []struct{ p, q, want Place }{
		{at(de, here), at(de, there), at(de, here)},
		{de, at(de, there), at(de, there)},
		{de, at(be, there), at(be, there)},
		{be, at(de, there), be},
		{at(de, here), at(be, there), at(be, here)},
		{be, at(Place{Continent: "EU", Country: "DE", Subdivision: "BY"}, there), be},
		{de, at(Place{Continent: "EU", Country: "FR"}, there), de},
		{de, at(Place{Continent: "EU"}, there), de},
		{Place{Continent: "EU"}, at(Place{Continent: "EU"}, there), at(Place{Continent: "EU"}, there)},
		{Place{Continent: "EU"}, at(Place{Continent: "AS"}, there), Place{Continent: "EU"}},
		{Place{Continent: "EU"}, at(de, there), at(de, there)},
		{Place{ASN: 1}, at(de, there), Place{Continent: "EU", Country: "DE", ASN: 1, At: there}},
		{Place{ASN: 1}, at(Place{}, there), Place{ASN: 1, At: there}},
		{Place{Continent: "AS", Country: "CY"}, at(Place{Continent: "EU", Country: "CY"}, there),
			Place{Continent: "AS", Country: "CY", At: there}},
	} {
		if got := test.p.or(test.q); got != test.want {
			t.Errorf("%+v or %+v: %+v; want %+v", test.p, test.q, got, test.want)
		}
	}
}

// TestMerge compares several files with the plain reading of them.
func TestMerge(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(seed + 1000)
		var dbs []*maxminddb.Reader
		var files []string
		var addrs []netip.Addr
		for i := range 3 {
			entries := append(w.entries(1+w.IntN(30)), entry{netip.MustParsePrefix("1.2.3.0/24"), w.places[0]})
			options := mmdbwriter.Options{DisableIPv4Aliasing: true}
			if i == 2 {
				options.IPVersion = 4
				entries = only4(entries)
			}
			mmdb := makeMMDB(t, options, entries)
			file := filepath.Join(t.TempDir(), "x.mmdb")
			if err := os.WriteFile(file, mmdb, 0o600); err != nil {
				t.Fatal(err)
			}
			files, dbs = append(files, file), append(dbs, openDB(t, mmdb))
			addrs = append(addrs, worldAddresses(w, entries, nil)...)
		}
		a, err := Open(files...)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Info()) != 3 || a.Info()[2].File != files[2] {
			t.Errorf("info %+v", a.Info())
		}
		matchers := w.matchers(nil)
		p, err := Compile(a, nil, FirstOf(matchers))
		if err != nil {
			t.Fatal(err)
		}
		o := newOracle(usualAliases[:1], nil, matchers, dbs...)
		compare(t, o, o.tries(), p, addrs)
		comparePlaces(t, o, a, addrs)
	}
}

func only4(entries []entry) (list []entry) {
	for _, e := range entries {
		if e.network.Addr().Is4() {
			list = append(list, e)
		}
	}
	return list
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.mmdb")
	cut := filepath.Join(dir, "cut.mmdb")
	whole := builtin.CountryMMDB
	for file, content := range map[string][]byte{text: []byte("not a database\n"), cut: whole[:len(whole)/2]} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{text, cut, filepath.Join(dir, "gone.mmdb"), dir} {
		if _, err := Open(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v does not name the file", file, err)
		}
	}
}

// TestCorrupt changes single bytes of a small database: it must be refused or read, never panic or hang, and
// what is read must be whole.
func TestCorrupt(t *testing.T) {
	w := newWorld(5)
	mmdb := makeMMDB(t, mmdbwriter.Options{}, w.entries(12))
	refused := 0
	for at := range mmdb {
		for _, flip := range []byte{0x01, 0xff} {
			bad := bytes.Clone(mmdb)
			bad[at] ^= flip
			if !openSound(t, bad) {
				refused++
			}
		}
	}
	if refused < len(mmdb)/4 {
		t.Errorf("of %d changes only %d were refused", 2*len(mmdb), refused)
	}
	for n := range mmdb {
		if openSound(t, mmdb[:n]) {
			t.Errorf("the first %d of %d bytes pass as a database", n, len(mmdb))
		}
	}
}

// openSound opens a database and, where it is accepted, compiles it and looks around; false: refused.
func openSound(t testing.TB, mmdb []byte) bool {
	a, err := OpenBytes("bad.mmdb", mmdb)
	if err != nil {
		if !strings.Contains(err.Error(), "bad.mmdb") {
			t.Errorf("error %q does not name the file", err)
		}
		return false
	}
	p, err := Compile(a, nil, FirstOf([]Matcher{{Geo: []Place{{Continent: "EU"}}}, {ASN: []uint32{64500}}}))
	if err != nil {
		t.Errorf("compile: %v", err)
		return true
	}
	for _, r := range []*runs{a.v4.unpack(), a.v6.unpack()} {
		for i := range r.len() {
			if i == 0 && r.start(0) != (u128{}) || i > 0 && (!r.start(i-1).less(r.start(i)) || r.id[i-1] == r.id[i]) {
				t.Errorf("run %d does not follow the one before", i)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		p.Lookup4(rng.Uint32())
		p.Lookup6(rng.Uint64(), rng.Uint64())
	}
	return true
}

func FuzzOpenBytes(f *testing.F) {
	f.Add([]byte{})
	f.Add(makeMMDB(f, mmdbwriter.Options{}, newWorld(1).entries(5)))
	f.Add(makeMMDB(f, mmdbwriter.Options{IPVersion: 4, RecordSize: 24}, only4(newWorld(2).entries(9))))
	f.Fuzz(func(t *testing.T, mmdb []byte) { openSound(t, mmdb) })
}
