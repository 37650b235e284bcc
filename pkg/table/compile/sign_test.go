package compile

import (
	"fmt"
	"testing"

	"github.com/gti/gtm/pkg/table/zones"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// TestSignedZonesShareRoom: whoever asks many signed zones for names at random fills a bounded room.
func TestSignedZonesShareRoom(t *testing.T) {
	const fewest, most = 64, 1 << 19
	key, err := dnssec.Generate(dnssec.Ed25519, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range []int{1, 100, 1000} {
		c := New(Config{Seed: 1, Workers: 1}, world)
		change := TenantChange{Tenant: "platform", Head: 1}
		for i := range count {
			change.Put = append(change.Put, Item{smallZone(t, i, "192.0.2.1"), 1})
			c.SetKeys(fmt.Sprintf("zone%d.example.", i), &zones.ZoneKeys{Keys: []*dnssec.Key{key}, Serial: 1})
		}
		c.Apply(Change{Tenants: []TenantChange{change}})
		v, broken, _ := c.Compile(noon)
		if len(broken) > 0 {
			t.Fatal(broken[0])
		}
		total := 0
		for _, z := range v.Zones() {
			n := inside(z, "sigs", "Signer", "dynamic").Len()
			if total += n; n < fewest {
				t.Errorf("%d zones: %s keeps %d signatures", count, z.Name, n)
			}
		}
		if total > most {
			t.Errorf("%d zones keep up to %d signatures together, want %d at most", count, total, most)
		}
	}
}
