package compile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone"
)

// BenchmarkStaticChange is what a new view takes for one changed address of a zone of 100,000 names, with a raised serial, and for a
// name that comes or goes.
func BenchmarkStaticChange(b *testing.B) {
	var lines strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&lines, "w%d A 192.0.%d.%d\n", i, i>>8&255, i&255)
	}
	text := func(serial, last int, more string) string {
		content := fmt.Sprintf("$TTL 300\n@ SOA ns1 host %d 2 3 4 60\n@ NS ns1\nns1 A 192.0.2.1\nwww A 192.0.2.%d\n%s", serial, last,
			more) + lines.String()
		canonical, _, err := zone.Canonical("z.example.", "z.example.", content, zone.Defaults{})
		if err != nil {
			b.Fatal(err)
		}
		return canonical
	}
	for _, tc := range []struct {
		name  string
		texts [2]string
	}{
		{"address", [2]string{text(0, 1, ""), text(0, 2, "")}},
		{"serial", [2]string{text(1, 1, ""), text(2, 2, "")}},
		{"name", [2]string{text(0, 1, ""), text(0, 1, "new A 192.0.2.3\n")}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			c := New(Config{Seed: 1, Workers: 1}, world)
			var spent []time.Duration
			for i := 0; b.Loop(); i++ {
				head := uint64(i + 1)
				c.Apply(Change{Full: i == 0, Tenants: []TenantChange{{Tenant: spec.Platform, Head: head, Put: []Item{{Generation: head,
					Resource: &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "z.example."},
						Spec: &spec.Zone{Content: strings.Clone(tc.texts[i%2])}}}}}}})
				began := time.Now()
				if _, broken, _ := c.Compile(noon); len(broken) > 0 {
					b.Fatal(broken[0])
				}
				if i > 0 { // the first one is compiled from its beginning
					spent = append(spent, time.Since(began))
				}
			}
			if len(spent) > 0 {
				slices.Sort(spent)
				b.ReportMetric(float64(spent[0].Microseconds())/1000, "ms/least")
				b.ReportMetric(float64(spent[len(spent)/2].Microseconds())/1000, "ms/median")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
