package geo

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/geo/mapfile"
)

// fileLine is a line of a map file.
type fileLine struct {
	network netip.Prefix
	name    string
}

// fileMaps draws two map files, and adds to maps those that they fill, one of another name, and one whose name no line has.
func (w *world) fileMaps(t *testing.T, maps []Map) (_ []Map, lines []fileLine) {
	t.Helper()
	var texts [2]strings.Builder
	seen := map[netip.Prefix]bool{}
	for i := range 20 + w.IntN(40) {
		n := w.network(w.IntN(2) == 0)
		if n.Addr().Is4In6() || seen[n] {
			continue
		}
		seen[n] = true
		l := fileLine{n, []string{"-", "file-0", "file-1", "undeclared"}[w.IntN(4)]}
		lines = append(lines, l)
		fmt.Fprintf(&texts[i%2], "%s %s\n", l.network, l.name)
	}
	var files []string
	for i := range texts {
		file := filepath.Join(t.TempDir(), "maps")
		if err := os.WriteFile(file, []byte(texts[i].String()), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	f, err := mapfile.Open(files...)
	if err != nil {
		t.Fatal(err)
	}
	m := NewFileMaps(f)
	for _, name := range []string{"file-0", "nowhere", "file-1"} {
		x := Map{Name: name, Files: m}
		if w.IntN(2) == 0 {
			p := w.place()
			x.Place = &p
		}
		if w.IntN(2) == 0 {
			x.ASN = 64500 + w.Uint32N(3)
		}
		maps = append(maps, x)
	}
	return maps, lines
}

// TestMapsHaveAddresses by their own networks, or by those of files.
func TestMapsHaveAddresses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "maps")
	if err := os.WriteFile(file, []byte("192.0.2.0/24 a\n192.0.2.128/25 b\n192.0.2.192/26 -\n2001:db8::/32 b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := mapfile.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	files := NewFileMaps(f)
	maps := []Map{{Name: "a", Files: files}, {Name: "b", Files: files},
		{Name: "own", Networks: prefixes("192.0.2.0/25", "2001:db8:1::/48")}}
	for addr, want := range map[string]string{"192.0.2.1": "a own", "::ffff:192.0.2.1": "a own", "192.0.2.129": "b", "192.0.2.193": "",
		"192.0.3.1": "", "2001:db8:1::1": "b own", "2001:db9::": "", "::": "", "255.255.255.255": ""} {
		var in []string
		for i := range maps {
			if maps[i].Has(netip.MustParseAddr(addr)) {
				in = append(in, maps[i].Name)
			}
		}
		if got := strings.Join(in, " "); got != want {
			t.Errorf("%s is in %q, want %q", addr, got, want)
		}
	}
	if name, bits := files.Lookup(netip.MustParseAddr("192.0.2.193")); name != "" || bits != 26 {
		t.Errorf("the hole is %q /%d", name, bits)
	}
}
