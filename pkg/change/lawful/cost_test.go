package lawful

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

// TestContentIsReadOnceForAllAliases: for each alias that leads to a name of a zone, all of the zone's content was taken apart anew: an
// apply of aliases and records in equal parts cost the square of its length.
func TestContentIsReadOnceForAllAliases(t *testing.T) {
	const aliases, records = 1000, 10_000
	z := &spec.Zone{Nameservers: []string{"ns1.example."}, Contact: "hostmaster@example."}
	var content strings.Builder
	for i := range records {
		fmt.Fprintf(&content, "h%d A 192.0.2.1\n", i)
	}
	content.WriteString("away NS ns.example.net.\ntext TXT a\nsix AAAA 2001:db8::1\n")
	z.Content = content.String()
	for i := range aliases {
		z.Aliases = append(z.Aliases, spec.ZoneAlias{Name: fmt.Sprintf("a%d", i), To: fmt.Sprintf("h%d.many.example.", i)})
	}
	for i, to := range []string{"x.away", "six", "text", "nothing"} {
		z.Aliases = append(z.Aliases, spec.ZoneAlias{Name: fmt.Sprintf("b%d", i), To: to + ".many.example."})
	}
	r := &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "many.example."}, Spec: z}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Declared([]*spec.Resource{r})
	runtime.ReadMemStats(&after)
	errs, _ := err.(spec.Errors)
	if len(errs) != 2 || !strings.HasPrefix(errs[0].Msg, "b3.many.example. leads to nothing.") ||
		!strings.HasPrefix(errs[1].Msg, "b2.many.example. leads to text.") {
		t.Fatalf("%v", err)
	}
	if cost := after.TotalAlloc - before.TotalAlloc; cost > 100<<20 {
		t.Errorf("%d MB were allocated for %d aliases and %d records", cost>>20, aliases, records)
	}
}
