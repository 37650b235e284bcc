package table

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
)

const movesZone = `kind: Zone
tenant: platform
name: gtm.example.
spec:
  content: |
    $TTL 300
    @ SOA ns1 hostmaster 0 7200 1800 1209600 60
    @ NS ns1
    ns1 A 192.0.2.53
    s.a.shop A 192.0.2.1
    *.w.shop TXT wild
    cut.shop NS ns1
    d.shop DNAME elsewhere.example.
    @ MX 10 t.a.shop
    @ MX 10 u.w.shop
  grants: {shop: [shop.gtm.example.]}
`

// TestMovedZoneEqualsFresh has services come and go, and compares every name with a zone that was compiled from its beginning.
func TestMovedZoneEqualsFresh(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	labels := []string{"a", "b", "s", "t", "w", "u", "cut", "d", "*", "a-label-that-is-so-long-that-names-of-it-do-not-fit-into-a-line"}
	host := func() string {
		name := "shop.gtm.example."
		for range rnd.IntN(4) {
			name = labels[rnd.IntN(len(labels))] + "." + name
		}
		return name
	}
	h := newHarness(t, movesZone, testPools)
	now := map[string]string{} // service to its host
	moved := 0
	for step := range 400 {
		name := fmt.Sprint("s", rnd.IntN(12))
		before := h.view.Zones()[0]
		if _, ok := now[name]; ok && rnd.IntN(2) == 0 {
			delete(now, name)
			h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: name})
		} else {
			now[name] = host()
			h.put(fmt.Sprintf("kind: Service\ntenant: shop\nname: %s\nspec: {host: \"%s\", rules: [{pools: [eu]}]}\n", name, now[name]))
		}
		z := h.view.Zones()[0]
		if z != before && &z.sets[0] == &before.sets[0] {
			moved++
		}
		state := h.c.zones["gtm.example."]
		fresh, err := newZone(&zoneInput{static: state.static, serial: state.serial, added: state.added, debug: true,
			services: state.services, counts: state.counts, seed: h.c.cfg.Seed})
		if err != nil {
			t.Fatal(err)
		}
		if z.Serial != fresh.Serial {
			t.Fatalf("step %d: serial %d, want %d", step, z.Serial, fresh.Serial)
		}
		for range 150 {
			compareName(t, h.view, z, fresh, host())
		}
		for _, name := range []string{"gtm.example.", "whoami.gtm.example.", "x._explain.gtm.example.", "a.gtm.example."} {
			compareName(t, h.view, z, fresh, name)
		}
	}
	if moved < 50 {
		t.Errorf("only %d of 400 steps were made from the old form", moved)
	}
}

// compareName compares what two forms of a zone say of a name.
func compareName(t *testing.T, v *View, a, b *Zone, name string) {
	t.Helper()
	wire, err := wireHost(name)
	if err != nil {
		t.Fatal(err)
	}
	k := newWireKey([]byte(wire), v.seed)
	for _, typ := range []uint16{dnswire.TypeA, dnswire.TypeMX, dnswire.TypeDS} {
		q := &dnswire.Query{Name: k.name, LabelOff: k.offs, Labels: k.labels, NameLen: k.length, QType: typ}
		var h Hashes
		v.Find(q, &h)
		x, y := a.Lookup(q, &h), b.Lookup(q, &h)
		if x.Kind != y.Kind || x.Label != y.Label || x.service != y.service {
			t.Fatalf("%s: %+v, want %+v", name, x, y)
		}
		if x.Kind == Missing || x.Kind == Whoami || x.Kind == Explain {
			continue
		}
		if a.Empty(x.Node) != b.Empty(y.Node) || a.nodes[x.Node].served != b.nodes[y.Node].served {
			t.Fatalf("%s: %+v, want %+v", name, a.nodes[x.Node], b.nodes[y.Node])
		}
		s, _ := a.Set(x.Node, typ)
		w, _ := b.Set(y.Node, typ)
		if s.Count != w.Count || fmt.Sprint(a.Additional(x.Node, typ)) != fmt.Sprint(b.Additional(y.Node, typ)) {
			t.Fatalf("%s: other records", name)
		}
	}
}

// TestDebuggingNameComesBackWhenAServiceGoes: where a service stood at or below a debugging name, that stands again afterwards.
func TestDebuggingNameComesBackWhenAServiceGoes(t *testing.T) {
	for host, kind := range map[string]MatchKind{"whoami.gtm.example.": Whoami, "k.whoami.gtm.example.": Whoami, "k._explain.gtm.example.": Explain} {
		h := newHarness(t, strings.Replace(movesZone, "[shop.gtm.example.]", "[gtm.example.]", 1), testPools)
		h.put(fmt.Sprintf("kind: Service\ntenant: shop\nname: s\nspec: {host: %s, rules: [{pools: [eu]}]}\n", host))
		h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "s"})
		name := "whoami.gtm.example."
		if kind == Explain {
			name = "x._explain.gtm.example."
		}
		wire, err := wireHost(name)
		if err != nil {
			t.Fatal(err)
		}
		k := newWireKey([]byte(wire), h.view.seed)
		q := &dnswire.Query{Name: k.name, LabelOff: k.offs, Labels: k.labels, NameLen: k.length, QType: dnswire.TypeTXT}
		var hashes Hashes
		h.view.Find(q, &hashes)
		if m := h.view.Zones()[0].Lookup(q, &hashes); m.Kind != kind {
			t.Errorf("after a service at %s: %s is found as %+v", host, name, m)
		}
	}
}
