package table

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
)

// editNames and editData make up static content: lines of one of these names and one of these records.
var (
	editNames = []string{"@", "a", "b", "s.a", "t.s.a", "x.y.z", "y.z", "*.w", "q.w", "cut", "ns.cut", "x.ns.cut", "d", "whoami", "_explain", "mail", "ns1", "svc",
		"a-label-that-is-so-long-that-names-of-it-do-not-fit-into-a-line"}
	editData = []string{"A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1", "TXT text", "MX 10 mail", "MX 20 t.s.a", "MX 30 u.w", "SRV 1 2 3 s.a", "HTTPS 0 svc",
		"HTTPS 1 . alpn=h2", "NS ns.cut", "NS ns1", "NS x.y.z", "DNAME elsewhere.example.", "PTR b"}
)

// TestEditedZoneEqualsFresh changes the static sets of a few names at a time, has services come and go meanwhile, and compares
// each outcome with a zone that was compiled from its beginning.
func TestEditedZoneEqualsFresh(t *testing.T) {
	rnd := rand.New(rand.NewPCG(17, 18))
	records := map[string]bool{}
	document := func() string {
		var lines []string
		for r := range records {
			lines = append(lines, "    "+r+"\n")
		}
		slices.Sort(lines)
		return "kind: Zone\ntenant: platform\nname: gtm.example.\nspec:\n  content: |\n    $TTL 300\n" +
			"    @ SOA ns1 hostmaster 0 7200 1800 1209600 60\n    @ NS ns1\n    ns1 A 192.0.2.53\n" + strings.Join(lines, "") +
			"  grants: {shop: [gtm.example.]}\n"
	}
	toggle := func() {
		r := editNames[rnd.IntN(len(editNames))] + " " + editData[rnd.IntN(len(editData))]
		if records[r] = !records[r]; !records[r] || strings.Contains(r, "@ DNAME") || strings.HasPrefix(r, "*.w NS") {
			delete(records, r)
		}
		for _, name := range slices.Sorted(maps.Keys(records)) { // one DNAME and one alias at a name
			n := strings.Fields(name)
			if n[1] == "DNAME" && n[0] != "d" || n[0] == "d" && n[1] == "NS" || n[1] == "HTTPS" && n[2] == "0" && n[0] != "a" || len(records) > 30 {
				delete(records, name)
			}
		}
	}
	h := newHarness(t, document(), testPools)
	edited, wholes := 0, 0
	for step := range 700 {
		before := h.view.Zones()[0]
		for range 1 + rnd.IntN(2) {
			toggle()
		}
		text := document()
		if rnd.IntN(3) == 0 {
			name := fmt.Sprint("s", rnd.IntN(6))
			text += fmt.Sprintf("---\nkind: Service\ntenant: shop\nname: %s\nspec: {host: \"%s\", rules: [{pools: [eu]}]}\n", name,
				[]string{"v", "b", "v.a", "s.a", "z", "r.w"}[rnd.IntN(6)]+".gtm.example.")
		}
		h.put(text)
		z := h.view.Zones()[0]
		state := h.c.zones["gtm.example."]
		if state.err != nil {
			t.Fatal(state.err)
		}
		fresh, err := newZone(&zoneInput{static: state.static, serial: state.serial, added: state.added, debug: true,
			services: state.services, counts: state.counts, seed: h.c.cfg.Seed})
		if err != nil {
			t.Fatal(err)
		}
		if z.waste > before.waste {
			edited++
		} else if z.waste == 0 {
			wholes++
		}
		sameZone(t, fmt.Sprintf("step %d:\n%s", step, text), h.view, z, fresh)
	}
	if edited < 150 || wholes < 150 {
		t.Errorf("%d of 700 steps were made from the old form, %d from the beginning", edited, wholes)
	}
}

// sameZone compares all that two forms of a zone say.
func sameZone(t *testing.T, what string, v *View, got, want *Zone) {
	t.Helper()
	if g, w := v.Records(got), v.Records(want); !reflect.DeepEqual(g, w) {
		t.Fatalf("%s\n%v\nwant\n%v", what, g, w)
	}
	if got.Serial != want.Serial || !bytes.Equal(got.SOA().Wire, want.SOA().Wire) || !slices.Equal(got.Problems, want.Problems) {
		t.Fatalf("%s\nserial %d, SOA %x, problems %q\nwant %d, %x, %q", what, got.Serial, got.SOA().Wire, got.Problems, want.Serial, want.SOA().Wire, want.Problems)
	}
	if g, _ := got.Short(got.SOA()); !reflect.DeepEqual(g, shortOf(want.Short(want.SOA()))) {
		t.Fatalf("%s\nshort SOA %x", what, g.Data)
	}
	for _, name := range editNames {
		name = strings.TrimPrefix(name+".gtm.example.", "@.")
		for _, name := range []string{name, strings.Replace("q."+name, "*.", "", 1)} {
			for _, typ := range []uint16{dnswire.TypeA, dnswire.TypeMX, dnswire.TypeNS, dnswire.TypeSOA, dnswire.TypeSRV, dnswire.TypeHTTPS, dnswire.TypeDS} {
				sameName(t, what, v, got, want, name, typ)
			}
		}
	}
}

func shortOf(s Short, _ bool) Short { return s }

func sameName(t *testing.T, what string, v *View, got, want *Zone, name string, typ uint16) {
	t.Helper()
	wire, err := wireHost(name)
	if err != nil {
		t.Fatal(err)
	}
	k := newWireKey([]byte(wire), v.seed)
	q := &dnswire.Query{Name: k.name, LabelOff: k.offs, Labels: k.labels, NameLen: k.length, QType: typ}
	var h Hashes
	v.Find(q, &h)
	say := func(z *Zone) string {
		m := z.Lookup(q, &h)
		out := fmt.Sprint(m.Kind, m.Label, m.service)
		if m.Kind == Missing || m.Kind == Whoami || m.Kind == Explain {
			return out
		}
		if m.Kind == Referral {
			typ = dnswire.TypeNS
		}
		set, ok := z.Set(m.Node, typ)
		var short Short
		if ok {
			short, _ = z.Short(set)
		}
		return out + fmt.Sprint(z.Empty(m.Node), z.nodes[m.Node].served, ok, set.Count, set.Wire, short, z.Additional(m.Node, typ), z.Glue(m.Node))
	}
	if g, w := say(got), say(want); g != w {
		t.Fatalf("%s\n%s %d: %s\nwant %s", what, name, typ, g, w)
	}
}

// TestZoneIsWrittenAnewBeforeItIsMostlyWaste changes one set again and again.
func TestZoneIsWrittenAnewBeforeItIsMostlyWaste(t *testing.T) {
	h := newHarness(t, editZone(0))
	most := 0
	for i := range 400 {
		h.put(editZone(i + 1))
		most = max(most, len(h.view.Zones()[0].data))
	}
	if fresh := len(newHarness(t, editZone(0)).view.Zones()[0].data); most > 3*fresh+1<<17 {
		t.Errorf("%d bytes, of which %d are used", most, fresh)
	}
}

func editZone(i int) string {
	return fmt.Sprintf("kind: Zone\ntenant: platform\nname: gtm.example.\nspec:\n  content: |\n    @ SOA ns1 hostmaster 0 7200 1800 1209600 60\n"+
		"    @ NS ns1\n    ns1 A 192.0.2.53\n    a TXT %d-%s\n", i, strings.Repeat("x", 200))
}
