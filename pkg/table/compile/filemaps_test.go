package compile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/geo/mapfile"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/rr"
)

// fileMaps reads text as a map file.
func fileMaps(t *testing.T, text string) *geo.FileMaps {
	t.Helper()
	file := filepath.Join(t.TempDir(), "maps")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := mapfile.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return geo.NewFileMaps(f)
}

// partnerMaps declares maps that files fill, one of which corrects the geography.
const partnerMaps = `
---
kind: Map
tenant: platform
name: partner
spec: {fromFiles: true}
---
kind: Map
tenant: platform
name: moved
spec: {fromFiles: true, place: AS-SG}
`

const partnerRules = `  rules:
    - {when: {map: partner}, pools: [eu]}
    - {when: {geo: [AS]}, pools: [sg]}
    - {pools: [us]}
`

var fromEU = map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25}

// TestMapsFromFiles: until there are files, or where they do not know a map, it is empty, and that is told.
func TestMapsFromFiles(t *testing.T) {
	h := newHarness(t, testZone, testPools, partnerMaps, service("web", partnerRules))
	const host = "web.shop.gtm.example."
	const noFiles = "this edge has no map files, and the map is empty: start gtmd with --maps FILE"
	faults := func(want ...string) {
		t.Helper()
		var got []string
		for _, b := range h.last {
			if b.Serves != Nothing {
				t.Errorf("of %s %s is served", b.Key, b.Serves)
			}
			got = append(got, b.Key.Name+": "+b.Err.Error())
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("broken: %q, want %q", got, want)
		}
	}
	faults("moved: "+noFiles, "partner: "+noFiles)
	h.expect(host, "8.8.8.0/24", rr.IPv4, fromUS)

	h.c.cfg.Files = fileMaps(t, "") // as an edge that was started with an empty one
	h.c.dirty.maps = true
	h.compile(noon)
	take := func(text string) {
		t.Helper()
		g := h.c.FileMaps(fileMaps(t, text))
		g.Compile(t.Context())
		h.c.SetGeography(g)
		h.compile(noon)
		if h.view.Atlas != g.Atlas() {
			t.Error("the atlas is another")
		}
		for key, p := range h.c.parts {
			if h.view.PartList[p.slot] != g.parts[key].part || g.parts[key].part == nil {
				t.Errorf("partition %q was compiled again", key)
			}
		}
	}
	take("8.8.8.0/24 partner\n8.8.8.128/25 -\n")
	faults("moved: no map file of this edge has networks of it, and the map is empty: put lines as in 192.0.2.0/24 moved into one")
	if d := h.expect(host, "8.8.8.1/32", rr.IPv4, fromEU); d.Scope != 25 {
		t.Errorf("scope %d, want 25", d.Scope)
	}
	h.expect(host, "8.8.8.200/32", rr.IPv4, fromUS)

	take("8.8.8.0/24 moved\n9.9.9.0/24 partner\n10.9.0.0/16 partner\n10.10.0.0/16 moved\n8.8.9.0/24 undeclared\n")
	faults()
	h.expect(host, "8.8.8.1/32", rr.IPv4, fromSingapore)
	h.expect(host, "9.9.9.0/24", rr.IPv4, fromEU)
	h.expect(host, "10.9.9.0/24", rr.IPv4, fromEU)
	h.expect(host, "10.10.9.0/24", rr.IPv4, fromSingapore)
	h.expect(host, "8.8.9.0/24", rr.IPv4, fromUS)
	e := h.view.Explain(h.service(host), rr.IPv4, clientAt("9.9.9.0/24"), 1)
	if e.Matched != "map partner" {
		t.Errorf("matched %q", e.Matched)
	}
	if e := h.view.Explain(h.service(host), rr.IPv4, clientAt("8.8.8.0/24"), 1); e.Place.String() != "AS-SG" || e.PlaceBits != 24 {
		t.Errorf("place %v of /%d", e.Place, e.PlaceBits)
	}
}

// TestFilesAndGeographyComeInAnyOrder: what was compiled beside for the other one of before is compiled again, and neither goes back.
func TestFilesAndGeographyComeInAnyOrder(t *testing.T) {
	for _, filesFirst := range []bool{true, false} {
		h := newHarness(t, testZone, testPools, partnerMaps, service("web", partnerRules))
		files := fileMaps(t, "9.9.9.0/24 partner\n9.9.10.0/24 moved\n")
		a, b := h.c.FileMaps(files), h.c.Geography(turnedWorld(t))
		atlas := b.Atlas()
		if !filesFirst {
			a, b = b, a
		}
		for _, g := range []*Geography{a, b} {
			g.Compile(t.Context())
			h.c.SetGeography(g)
			h.compile(noon)
		}
		h.expect("web.shop.gtm.example.", "9.9.9.0/24", rr.IPv4, fromEU)
		h.expect("web.shop.gtm.example.", "8.1.0.0/16", rr.IPv4, fromSingapore)
		h.expect("web.shop.gtm.example.", "9.9.11.0/24", rr.IPv4, fromUS)
		if h.view.Atlas != atlas || len(h.last) > 0 {
			t.Errorf("files first: %v: atlas %v, broken %v", filesFirst, h.view.Atlas.Info(), h.last)
		}
	}
}

// TestALastGoodMapGoesWithItsFiles: a map from files whose new version cannot be used had the files of then.
func TestALastGoodMapGoesWithItsFiles(t *testing.T) {
	h := newHarness(t, testZone, testPools, partnerMaps, service("web", partnerRules))
	take := func(text string) {
		g := h.c.FileMaps(fileMaps(t, text))
		g.Compile(t.Context())
		h.c.SetGeography(g)
		h.compile(noon)
	}
	take("8.8.8.0/24 moved\n9.9.9.0/24 partner\n")
	h.apply(Change{Tenants: []TenantChange{{Tenant: "platform", Head: 99, Put: []Item{{Generation: 99,
		Resource: &spec.Resource{Key: spec.Key{Tenant: "platform", Kind: spec.KindMap, Name: "moved"},
			Spec: &spec.Map{FromFiles: true, Place: "XX"}}}}}}})
	take("9.9.8.0/24 moved\n9.9.9.0/24 partner\n")
	if len(h.last) != 1 || h.last[0].Serves != LastGood {
		t.Errorf("broken: %v", h.last)
	}
	h.expect("web.shop.gtm.example.", "9.9.8.0/24", rr.IPv4, fromSingapore)
	h.expect("web.shop.gtm.example.", "8.8.8.0/24", rr.IPv4, fromUS)
}
