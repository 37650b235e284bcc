package compile

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone"
)

const manyZones = 20_000

// maxZoneBytes is what a small zone may cost in memory, the text that it came from and its counters included.
const maxZoneBytes = 16 << 10

// smallZone gives a zone of a dozen records.
func smallZone(t *testing.T, i int, address string) *spec.Resource {
	t.Helper()
	name := fmt.Sprintf("zone%d.example.", i)
	text, _, err := zone.Canonical(name, name, "$TTL 300\n@ SOA ns1 hostmaster 0 7200 1800 1209600 60\n@ NS ns1\n@ NS ns2\n@ A "+address+
		"\n@ MX 10 mail\nns1 A 192.0.2.53\nns2 A 198.51.100.53\nmail A 192.0.2.25\nmail AAAA 2001:db8::25\nwww CNAME @\n*.apps CNAME "+
		"www\n@ TXT \"v=spf1 mx -all\"\n", zone.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	return &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}, Spec: &spec.Zone{Content: text}}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestManyZones(t *testing.T) {
	before := heap()
	change := TenantChange{Tenant: spec.Platform, Head: 1}
	for i := range manyZones {
		change.Put = append(change.Put, Item{smallZone(t, i, "192.0.2.1"), 1})
	}
	c := New(Config{Seed: 1, Workers: 2}, world)
	start := time.Now()
	c.Apply(Change{Tenants: []TenantChange{change}})
	first, broken, _ := c.Compile(noon)
	all := time.Since(start)
	if len(broken) > 0 || len(first.Zones()) != manyZones {
		t.Fatalf("%d zones, broken: %v", len(first.Zones()), broken[:min(len(broken), 3)])
	}
	each := (heap() - before) / manyZones
	start = time.Now()
	c.Apply(Change{Tenants: []TenantChange{{Tenant: spec.Platform, Head: 2, Put: []Item{{smallZone(t, 7777, "192.0.2.2"), 2}}}}})
	second, _, _ := c.Compile(noon)
	one := time.Since(start)
	t.Logf("%d zones: compiled in %v, %d bytes each; one changed in %v", manyZones, all, each, one)
	if each > maxZoneBytes {
		t.Errorf("a zone takes %d bytes, want %d at most", each, maxZoneBytes)
	}
	changed := 0
	for i, z := range second.Zones() {
		if z != first.Zones()[i] {
			changed++
			if z.Name != "zone7777.example." {
				t.Errorf("%s was compiled anew, though only zone7777.example. changed", z.Name)
			}
		}
	}
	if changed != 1 {
		t.Errorf("%d zones were compiled anew, want 1", changed)
	}
	runtime.KeepAlive(c)
}
