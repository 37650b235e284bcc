package compile

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gti/gtm/pkg/table/zones"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// TestSignedZonesShareRoom: whoever asks many signed zones for names at random fills a bounded room.
func TestSignedZonesShareRoom(t *testing.T) {
	key, err := dnssec.Generate(dnssec.Ed25519, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, zones := range []int{1, 100, 1000} {
		c := New(Config{Seed: 1, Workers: 1}, world)
		change := TenantChange{Tenant: "platform", Head: 1}
		for i := range zones {
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
			n := len(z.sigs.dynamic)
			if total += n; n < zones.fewestPlaces {
				t.Errorf("%d zones: %s keeps %d signatures", zones, z.Name, n)
			}
		}
		if total > zones.allPlaces {
			t.Errorf("%d zones keep up to %d signatures together, want %d at most", zones, total, zones.allPlaces)
		}
	}
}

// TestNoSignatureIsNotAnEmptyOne: where none may be made, or making it fails, the answer is told so, and nothing is kept.
func TestNoSignatureIsNotAnEmptyOne(t *testing.T) {
	var s zones.zoneSigs
	var place atomic.Pointer[zones.signature]
	fails := func(uint32) (*zones.signature, error) { return nil, errors.New("no key") }
	for _, slow := range []bool{false, true} {
		if sig, ok := s.from(&place, &zones.When{Now: 1, Slow: slow}, fails); ok || sig.Count != 0 || place.Load() != nil {
			t.Errorf("slow %v: %v, %+v", slow, ok, sig)
		}
	}
}
