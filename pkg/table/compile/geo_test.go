package compile

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/geo/latency"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// turnedWorld is a geography in which all of 5.0.0.0/8 and 8.0.0.0/8 is in Singapore.
func turnedWorld(t *testing.T) *geo.Atlas {
	t.Helper()
	var mmdb bytes.Buffer
	lines := "83886080,100663295,SG\n134217728,150994943,SG\n"
	if err := geo.Build(&mmdb, geo.BuildConfig{IPv4: strings.NewReader(lines), Date: time.Unix(1_700_000_000, 0)}); err != nil {
		t.Fatal(err)
	}
	a, err := geo.OpenBytes("turned", mmdb.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const officeMap = "---\nkind: Map\ntenant: platform\nname: office\nspec: {networks: [8.8.8.0/24]}\n"

// geoWorld is a harness with a service by place and one by map.
func geoWorld(t *testing.T) *harness {
	return newHarness(t, testZone, testPools, officeMap, service("web", webRules),
		service("desk", "  rules: [{when: {map: office}, pools: [sg]}, {pools: [us]}]\n"))
}

var american, singapore = map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5}, map[string]float64{"203.0.113.1": 1}

func TestAGeographyIsCompiledBeside(t *testing.T) {
	h := geoWorld(t)
	g := h.c.Geography(turnedWorld(t))
	g.Compile(t.Context())
	h.verdict("us", "a") // comes meanwhile
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, map[string]float64{"192.0.2.2": 1})
	h.verdict("us")
	h.c.SetGeography(g)
	h.compile(noon)
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, singapore)
	if g.Partitions() != 2 || h.view.Atlas != g.Atlas() {
		t.Errorf("%d partitions, atlas of the view %v", g.Partitions(), h.view.Atlas.Info())
	}
	for key, p := range h.c.parts {
		if h.view.PartList[p.slot] != g.parts[key].part || g.parts[key].part == nil {
			t.Errorf("partition %q was compiled again", key)
		}
	}
}

// TestMapsMoveNetworks: a map that sets a place puts its networks at the centroid of that, or at its location.
func TestMapsMoveNetworks(t *testing.T) {
	h := geoWorld(t)
	for _, test := range []struct{ more, place, point string }{
		{"", "NA-US", geo.PointOfPlace("NA-US").String()},
		{", place: EU-DE", "EU-DE", geo.PointOfPlace("EU-DE").String()},
		{", place: EU-DE, location: {lat: 52.52, lon: 13.4}", "EU-DE", "52.52,13.4"},
		{", place: EU, location: {lat: 52.52, lon: 13.4}", "EU", "52.52,13.4"},
	} {
		h.put(strings.Replace(officeMap, "/24]", "/24]"+test.more, 1))
		place, bits := h.view.Place(table.HostNet(netip.MustParseAddr("8.8.8.8")))
		if place.String() != test.place || place.Point().String() != test.point || bits > 24 {
			t.Errorf("with %q: %q at %q, /%d; want %q at %q", test.more, place, place.Point(), bits, test.place, test.point)
		}
	}
}

// A new latency table over the same geography leaves partitions as they are, unless they ask for latency.
func TestALatencyTableLeavesPartitions(t *testing.T) {
	h := geoWorld(t)
	before := slices.Clone(h.view.PartList)
	renewed := func(a *geo.Atlas) (n int) {
		g := h.c.Geography(a)
		g.Compile(t.Context())
		h.c.SetGeography(g)
		h.compile(noon)
		for i, p := range h.view.PartList {
			if p != before[i] {
				n++
			}
		}
		before = slices.Clone(h.view.PartList)
		return n
	}
	if n := renewed(h.view.Atlas.WithLatency(latencyOf(t, "8.8.8.0/24,fra,7,30"))); n != 0 {
		t.Errorf("%d partitions are others", n)
	}
	for _, p := range h.c.parts {
		p.timed = true
		break
	}
	if n := renewed(h.view.Atlas.WithLatency(latencyOf(t, "8.8.8.0/24,fra,9,30"))); n != 1 {
		t.Errorf("%d partitions are others; one asks for latency", n)
	}
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, american)
	if n := renewed(turnedWorld(t).WithLatency(latencyOf(t, "8.8.8.0/24,fra,9,30"))); n != 2 {
		t.Errorf("%d partitions are others by another geography", n)
	}
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, singapore)
}

// latencyOf makes a table of one line.
func latencyOf(t *testing.T, line string) *geo.LatencyTable {
	t.Helper()
	var out bytes.Buffer
	inputs := []latency.Input{{Name: "line", Reader: strings.NewReader(line)}}
	if _, err := latency.Build(&out, latency.Config{Inputs: inputs, Measured: time.Unix(1_700_000_000, 0)}); err != nil {
		t.Fatal(err)
	}
	table, err := geo.OpenLatencyBytes("lines", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// What was compiled beside and no longer fits is compiled again.
func TestAGeographyThatCameLate(t *testing.T) {
	moved := "kind: Map\ntenant: platform\nname: office\nspec: {networks: [5.5.5.0/24]}\n"
	for name, meanwhile := range map[string]func(*harness, *Geography){
		"a map changed": func(h *harness, g *Geography) { h.put(moved) },
		"a map appeared": func(h *harness, g *Geography) {
			h.put(moved, strings.Replace(officeMap, "name: office", "name: other", 1))
		},
		"a service came": func(h *harness, g *Geography) {
			h.put(moved, service("more", "  rules: [{when: {geo: [AS]}, pools: [sg]}, {pools: [us]}]\n"))
		},
		"a service went": func(h *harness, g *Geography) {
			h.put(moved)
			h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"})
		},
		"another geography": func(h *harness, g *Geography) { h.put(moved); h.c.SetGeography(h.c.Geography(world)); h.compile(noon) },
		"it never began": func(h *harness, g *Geography) {
			h.put(moved)
			*g = *h.c.Geography(g.atlas)
			ended, end := context.WithCancel(t.Context())
			end()
			g.Compile(ended)
		},
	} {
		h := geoWorld(t)
		g := h.c.Geography(turnedWorld(t))
		g.Compile(t.Context())
		meanwhile(h, g)
		h.c.SetGeography(g)
		h.compile(noon)
		if len(h.last) > 0 {
			t.Errorf("%s: broken: %v", name, h.last)
		}
		h.expect("desk.shop.gtm.example.", "5.5.5.0/24", rr.IPv4, singapore)
		h.expect("desk.shop.gtm.example.", "8.8.8.0/24", rr.IPv4, american)
		if name == "a service came" {
			h.expect("more.shop.gtm.example.", "8.1.1.0/24", rr.IPv4, singapore)
		}
	}
}
