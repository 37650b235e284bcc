package compile

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
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/zones"
	"github.com/gti/gtm/pkg/zone"
)

// remakeNames, remakeData and remakeHosts make up zones: lines of one of these names and one of these records, and hosts of services.
var (
	remakeNames = []string{"@", "a", "b", "s.a", "t.s.a", "x.y.z", "y.z", "*.w", "q.w", "cut", "ns.cut", "x.ns.cut", "d",
		"whoami", "_explain", "mail", "ns1", "svc", "a-label-that-is-so-long-that-names-of-it-do-not-fit-into-a-line"}
	remakeData = []string{"A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1", "TXT text", "MX 10 mail", "MX 20 t.s.a", "MX 30 u.w",
		"SRV 1 2 3 s.a", "HTTPS 0 svc", "HTTPS 1 . alpn=h2", "NS ns.cut", "NS ns1", "NS x.y.z", "DNAME elsewhere.example.", "PTR b"}
	remakeHosts = []string{"v", "b", "v.a", "s.a", "z", "r.w", "u.w", "*.v", "ns.cut", "x.*.v", "t.u.v.a", "k.whoami", "k._explain",
		"q.cut", "q.d", "k.a-label-that-is-so-long-that-names-of-it-do-not-fit-into-a-line"}
)

// remakeWorld is a zone of which a few names change at a time.
type remakeWorld struct {
	h        *harness
	pick     func(n int) int // one of n
	records  map[string]bool
	services map[string]string // by name: the host
}

func newRemakeWorld(t *testing.T, pick func(n int) int) *remakeWorld {
	w := &remakeWorld{pick: pick, records: map[string]bool{}, services: map[string]string{}}
	w.h = newHarness(t, w.document(), testPools)
	return w
}

func (w *remakeWorld) one(list []string) string { return list[w.pick(len(list))] }

// content is the zone as a person writes it.
func (w *remakeWorld) content() string {
	lines := slices.Sorted(maps.Keys(w.records))
	return "$TTL 300\n@ SOA ns1 hostmaster 0 7200 1800 1209600 60\n@ NS ns1\nns1 A 192.0.2.53\n" + strings.Join(append(lines, ""), "\n")
}

func (w *remakeWorld) document() string {
	return "kind: Zone\ntenant: platform\nname: gtm.example.\nspec:\n  grants: {shop: [gtm.example.]}\n  content: |\n    " +
		strings.ReplaceAll(w.content(), "\n", "\n    ") + "\n"
}

// toggle has a record come or go, and takes out what may not stand beside it.
func (w *remakeWorld) toggle() {
	r := w.one(remakeNames) + " " + w.one(remakeData)
	if w.records[r] = !w.records[r]; !w.records[r] || strings.Contains(r, "@ DNAME") || strings.HasPrefix(r, "*.w NS") {
		delete(w.records, r)
	}
	for _, name := range slices.Sorted(maps.Keys(w.records)) { // one DNAME and one alias at a name
		n := strings.Fields(name)
		if n[1] == "DNAME" && n[0] != "d" || n[0] == "d" && n[1] == "NS" || n[1] == "HTTPS" && n[2] == "0" && n[0] != "a" ||
			len(w.records) > 30 {
			delete(w.records, name)
		}
	}
}

// step changes static sets, services, or both.
func (w *remakeWorld) step() {
	what := w.pick(4)
	if what > 0 {
		for range 1 + w.pick(2) {
			w.toggle()
		}
	}
	text, name := w.document(), fmt.Sprint("s", w.pick(8))
	_, stands := w.services[name]
	switch {
	case what > 1:
		w.h.put(text)
	case what == 0 && stands && w.pick(2) == 0:
		delete(w.services, name)
		w.h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: name})
	default:
		w.services[name] = w.one(remakeHosts)
		w.h.put(text, fmt.Sprintf("---\nkind: Service\ntenant: shop\nname: %s\nspec: {host: \"%s.gtm.example.\", rules: [{pools: [eu]}]}\n",
			name, w.services[name]))
	}
}

// check holds the zone against one that is read and compiled from its beginning.
func (w *remakeWorld) check(t *testing.T, step int) {
	t.Helper()
	state := w.h.c.zones["gtm.example."]
	if state.err != nil {
		t.Fatal(state.err)
	}
	text, _, err := zone.Canonical("gtm.example.", "gtm.example.", w.content(), zone.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	static, err := zone.Parse("gtm.example.", text)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := zones.New(&zones.Input{Static: static, Serial: state.serial, Added: state.added, Debug: true,
		Services: state.services, Counts: state.counts, Seed: w.h.c.cfg.Seed})
	if err != nil {
		t.Fatal(err)
	}
	sameZone(t, fmt.Sprintf("step %d, services %v:\n%s", step, w.services, text), w.h.view, w.h.view.Zones()[0], fresh)
}

// TestRemadeZoneEqualsFresh changes a few names at a time, and compares each outcome with a zone that was compiled from its beginning.
func TestRemadeZoneEqualsFresh(t *testing.T) {
	w := newRemakeWorld(t, rand.New(rand.NewPCG(17, 18)).IntN)
	moved, edited, wholes := 0, 0, 0
	for step := range 900 {
		before := w.h.view.Zones()[0]
		w.step()
		w.check(t, step)
		switch z := w.h.view.Zones()[0]; {
		case inside(z, "waste").Int() > inside(before, "waste").Int():
			edited++
		case z != before && inside(z, "sets").Pointer() == inside(before, "sets").Pointer():
			moved++
		case z != before && inside(z, "waste").Int() == 0:
			wholes++
		}
	}
	if moved < 60 || edited < 120 || wholes < 150 {
		t.Errorf("of 900 steps %d for services and %d for static sets were made from the old form, %d from the beginning", moved,
			edited, wholes)
	}
}

// TestAServiceComesWhereSomethingStands has services come to names that something else has to do with, and both come and go.
func TestAServiceComesWhereSomethingStands(t *testing.T) {
	for host, records := range map[string][]string{
		"b":          {"b A 192.0.2.1", "b TXT text"},
		"ns.cut":     {"cut NS ns1", "x.ns.cut A 192.0.2.1"},
		"z.cut":      {"cut NS ns1"},
		"r.d":        {"d DNAME elsewhere.example."},
		"u.w":        {"*.w A 192.0.2.1", "@ MX 10 u.w"},
		"s.a":        {"t.s.a A 192.0.2.1"},
		"*.v":        {"a A 192.0.2.1"},
		"x.v":        {"@ MX 10 x.v"},
		"_explain":   {"a A 192.0.2.1"},
		"x._explain": {"a A 192.0.2.1"},
	} {
		t.Run(host, func(t *testing.T) {
			w := newRemakeWorld(t, nil)
			service := fmt.Sprintf("kind: Service\ntenant: shop\nname: s\nspec: {host: \"%s.gtm.example.\", rules: [{pools: [eu]}]}\n",
				host)
			declare := func(there bool) {
				clear(w.records)
				for i := 0; there && i < len(records); i++ {
					w.records[records[i]] = true
				}
				w.h.put(w.document())
			}
			for step, f := range []func(){
				func() { declare(true) },
				func() { w.h.put(service) },
				func() { declare(false) },
				func() { declare(true) },
				func() { w.h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "s"}) },
				func() { declare(false) },
			} {
				f()
				w.check(t, step)
			}
		})
	}
}

// TestWhatRefersToOthersFollows changes static sets that others name as hosts, or that stand beside them.
func TestWhatRefersToOthersFollows(t *testing.T) {
	for name, c := range map[string]struct{ always, more []string }{
		"a wildcard's addresses":      {[]string{"@ MX 30 u.w", "*.w TXT text"}, []string{"*.w A 192.0.2.1"}},
		"a name beside a wildcard":    {[]string{"@ MX 30 u.w", "*.w A 192.0.2.1"}, []string{"u.w TXT text"}},
		"a name":                      {[]string{"@ MX 20 t.s.a"}, []string{"t.s.a A 192.0.2.1"}},
		"an address":                  {[]string{"@ MX 20 t.s.a", "t.s.a TXT text"}, []string{"t.s.a A 192.0.2.1"}},
		"an alias":                    {[]string{"@ HTTPS 0 svc", "svc A 192.0.2.1"}, []string{"svc HTTPS 1 . alpn=h2"}},
		"glue":                        {[]string{"cut NS ns.cut", "ns.cut TXT text"}, []string{"ns.cut A 192.0.2.1"}},
		"a DNAME where nothing stood": {[]string{"a A 192.0.2.1"}, []string{"d DNAME elsewhere.example."}},
		"a DNAME where a name stands": {[]string{"d A 192.0.2.1"}, []string{"d DNAME elsewhere.example."}},
		"a delegation":                {[]string{"a A 192.0.2.1"}, []string{"cut NS ns1"}},
		"a wildcard":                  {[]string{"@ MX 30 u.w"}, []string{"*.w A 192.0.2.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRemakeWorld(t, nil)
			for step := range 4 {
				clear(w.records)
				for _, r := range c.always {
					w.records[r] = true
				}
				for i := 0; step%2 == 1 && i < len(c.more); i++ {
					w.records[c.more[i]] = true
				}
				w.h.put(w.document())
				w.check(t, step)
			}
		})
	}
}

// TestWhatAServiceHidesIsToldOnce: a set that is not served since a service stands at its name is a problem of the zone, once.
func TestWhatAServiceHidesIsToldOnce(t *testing.T) {
	w := newRemakeWorld(t, nil)
	w.records["b MX 10 mail"], w.records["mail TXT text"] = true, true
	w.h.put(w.document(), "---\nkind: Service\ntenant: shop\nname: s\nspec: {host: b.gtm.example., mx: {}, rules: [{pools: [hosts]}]}\n",
		"---\nkind: Pool\ntenant: shop\nname: hosts\nspec: {endpoints: [{name: a, host: a.example.}]}\n")
	w.check(t, 0)
	if problems := w.h.view.Zones()[0].Problems; len(problems) != 1 {
		t.Fatalf("problems %q", problems)
	}
	w.records["mail A 192.0.2.1"] = true
	w.h.put(w.document())
	w.check(t, 1)
}

// TestAZoneThatIsReadAnewIsCompiledAnew: where nobody knows what differs, all may.
func TestAZoneThatIsReadAnewIsCompiledAnew(t *testing.T) {
	w := newRemakeWorld(t, nil)
	w.records["a A 192.0.2.1"] = true
	w.h.apply(Change{Tenants: []TenantChange{{Tenant: spec.Platform, Head: 9, Put: []Item{{Generation: 9, Resource: &spec.Resource{
		Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "gtm.example."},
		// as no program of ours writes it
		Spec: &spec.Zone{Content: w.content(), Grants: map[string][]string{"shop": {"gtm.example."}}}}}}}}})
	w.check(t, 0)
}

// FuzzRemake is TestRemadeZoneEqualsFresh with changes of any kind. What it covers differs from run to run, so that Go
// minimizes for long: -fuzzminimizetime 5x lets it go on.
func FuzzRemake(f *testing.F) {
	rnd := rand.New(rand.NewPCG(19, 20))
	for range 8 {
		seed := make([]byte, 60)
		for i := range seed {
			seed[i] = byte(rnd.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newRemakeWorld(t, func(n int) int {
			if len(data) == 0 {
				return 0
			}
			first := data[0]
			data = data[1:]
			return int(first) % n
		})
		for step := 0; len(data) > 0 && step < 10; step++ {
			w.step()
			w.check(t, step)
		}
	})
}

// sameZone compares all that two forms of a zone say.
func sameZone(t *testing.T, what string, v *table.View, got, want *zones.Zone) {
	t.Helper()
	if g, w := v.Records(got), v.Records(want); !reflect.DeepEqual(g, w) {
		t.Fatalf("%s\n%v\nwant\n%v", what, g, w)
	}
	if got.Serial != want.Serial || !bytes.Equal(got.SOA().Wire, want.SOA().Wire) || !slices.Equal(got.Problems, want.Problems) {
		t.Fatalf("%s\nserial %d, SOA %x, problems %q\nwant %d, %x, %q", what, got.Serial, got.SOA().Wire, got.Problems,
			want.Serial, want.SOA().Wire, want.Problems)
	}
	if g, _ := got.Short(got.SOA()); !reflect.DeepEqual(g, shortOf(want.Short(want.SOA()))) {
		t.Fatalf("%s\nshort SOA %x", what, g.Data)
	}
	for _, name := range slices.Concat(remakeNames, remakeHosts, []string{"r.d", "z.cut", "x.v", "x._explain"}) {
		name = strings.TrimPrefix(name+".gtm.example.", "@.")
		for _, name := range []string{name, strings.Replace("q."+name, "*.", "", 1)} {
			for _, typ := range []uint16{dnswire.TypeA, dnswire.TypeMX, dnswire.TypeNS, dnswire.TypeSOA, dnswire.TypeSRV, dnswire.TypeHTTPS,
				dnswire.TypeDS} {
				sameName(t, what, v, got, want, name, typ)
			}
		}
	}
}

func shortOf(s zones.Short, _ bool) zones.Short { return s }

func sameName(t *testing.T, what string, v *table.View, got, want *zones.Zone, name string, typ uint16) {
	t.Helper()
	q, h := queryOf(t, v, name, typ)
	say := func(z *zones.Zone) string {
		m := z.Lookup(q, h)
		out := fmt.Sprint(m.Kind, m.Label, m.Service)
		if m.Kind == zones.Missing || m.Kind == zones.Whoami || m.Kind == zones.Explain {
			return out
		}
		if m.Kind == zones.Referral {
			typ = dnswire.TypeNS
		}
		set, ok := z.Set(m.Node, typ)
		var short zones.Short
		if ok {
			short, _ = z.Short(set)
		}
		return out + fmt.Sprint(z.Empty(m.Node), inside(z, "nodes").Index(int(m.Node)).FieldByName("served"), ok, set.Count, set.Wire,
			short, z.Additional(m.Node, typ), z.Glue(m.Node))
	}
	if g, w := say(got), say(want); g != w {
		t.Fatalf("%s\n%s %d: %s\nwant %s", what, name, typ, g, w)
	}
}

// queryOf makes a query for a name, and the hashes of it.
func queryOf(t *testing.T, v *table.View, name string, typ uint16) (*dnswire.Query, *names.Hashes) {
	t.Helper()
	wire, err := names.Wire(name)
	if err != nil {
		t.Fatal(err)
	}
	k := names.NewKey([]byte(wire), v.Seed)
	q, h := k.Query(typ), new(names.Hashes)
	v.Find(q, h)
	return q, h
}

// TestZoneIsWrittenAnewBeforeItIsMostlyWaste changes one set again and again.
func TestZoneIsWrittenAnewBeforeItIsMostlyWaste(t *testing.T) {
	document := func(i int) string {
		return fmt.Sprintf("kind: Zone\ntenant: platform\nname: gtm.example.\nspec:\n  content: |\n"+
			"    @ SOA ns1 hostmaster 0 7200 1800 1209600 60\n    @ NS ns1\n    ns1 A 192.0.2.53\n    a TXT %d-%s\n", i,
			strings.Repeat("x", 200))
	}
	h := newHarness(t, document(0))
	most := 0
	for i := range 400 {
		h.put(document(i + 1))
		most = max(most, inside(h.view.Zones()[0], "data").Len())
	}
	if fresh := inside(newHarness(t, document(0)).view.Zones()[0], "data").Len(); most > 3*fresh+1<<17 {
		t.Errorf("%d bytes, of which %d are used", most, fresh)
	}
}

// TestDebuggingNameComesBackWhenAServiceGoes: where a service stood at or below a debugging name, that stands again afterwards.
func TestDebuggingNameComesBackWhenAServiceGoes(t *testing.T) {
	for host, kind := range map[string]zones.MatchKind{"whoami": zones.Whoami, "k.whoami": zones.Whoami, "k._explain": zones.Explain} {
		w := newRemakeWorld(t, nil)
		w.h.put(fmt.Sprintf("kind: Service\ntenant: shop\nname: s\nspec: {host: %s.gtm.example., rules: [{pools: [eu]}]}\n", host))
		w.h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "s"})
		name := "whoami.gtm.example."
		if kind == zones.Explain {
			name = "x._explain.gtm.example."
		}
		q, h := queryOf(t, w.h.view, name, dnswire.TypeTXT)
		if m := w.h.view.Zones()[0].Lookup(q, h); m.Kind != kind {
			t.Errorf("after a service at %s: %s is found as %+v", host, name, m)
		}
	}
}

// TestAZoneThatLosesItsSOAIsToldSo: its serial was asked for before that was looked at, and the index that found no SOA record with it.
func TestAZoneThatLosesItsSOAIsToldSo(t *testing.T) {
	w := newRemakeWorld(t, nil)
	before := w.h.view.Zones()[0]
	w.h.apply(Change{Tenants: []TenantChange{{Tenant: spec.Platform, Head: 9, Put: []Item{{Generation: 9, Resource: &spec.Resource{
		Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "gtm.example."}, Spec: &spec.Zone{
			Content: "gtm.example.\t300\tIN\tNS\tns1.gtm.example.\nns1.gtm.example.\t300\tIN\tA\t192.0.2.53\n"}}}}}}})
	if len(w.h.last) != 1 || w.h.last[0].Err == nil || !strings.HasSuffix(w.h.last[0].Err.Error(), "has no SOA record") {
		t.Errorf("broken: %v", w.h.last)
	}
	if w.h.view.Zones()[0] != before {
		t.Error("its last good form is gone")
	}
}
