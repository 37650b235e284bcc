package zone

import (
	"fmt"
	"strings"
	"testing"
)

// TestContentIsBoundedAsItIsStored: content that is small as it is written, below a long origin or with long data, was bounded by its
// input alone, and became twenty times as large in memory and in the store, whose quota is everybody's.
func TestContentIsBoundedAsItIsStored(t *testing.T) {
	const most = 1 << 20
	origin := strings.Repeat(strings.Repeat("o", 60)+".", 3) + "example."
	var owners, data strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&owners, "h%d A 192.0.2.1\n", i)
		fmt.Fprintf(&data, "%d.example. PTR h%d\n", i, i)
	}
	defaults := Defaults{Nameservers: []string{"ns1.example.net."}, Contact: "hostmaster.example.net."}
	for name, tc := range map[string]struct{ origin, content string }{
		"owners":    {origin, owners.String()},
		"generated": {origin, "$GENERATE 0-9999 h$ A 192.0.2.1\n"},
		"data":      {"example.", "$ORIGIN " + origin + "\n" + data.String()},
	} {
		text, _, err := canonical(tc.origin, "f", tc.content, defaults, most)
		if err == nil || text != "" || !strings.Contains(err.Error(), "with all names written out it is larger than 1 MiB") {
			t.Errorf("%s: %d bytes of text, %v", name, len(text), err)
		}
		whole, _, err := Canonical(tc.origin, "f", tc.content, defaults)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again, _, err := canonical(tc.origin, "f", whole, defaults, len(whole)); again != whole {
			t.Errorf("%s: content of exactly as many bytes as there may be is refused: %v", name, err)
		}
	}
}
