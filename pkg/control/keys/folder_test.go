package keys

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// A zone's name may have slashes, be a dot, or be long in its escapes: its files stay in the folder and have names that a file can have.
func TestFilesOfZonesOfAnyName(t *testing.T) {
	f := folder("/keys")
	seen := map[string]string{}
	for _, zone := range []string{".", "example.", "0/25.2.0.192.in-addr.arpa.", `..\/x.`, `\000\/.`, strings.Repeat(`\000`, 63) + ".a.",
		strings.Repeat(`\000`, 63) + ".b.",
		strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 40) + "."} {
		for _, path := range []string{f.path(zone, keyName{dnssec.Algorithm(13), 65535}), f.keptPath(zone)} {
			if filepath.Dir(path) != "/keys" || len(filepath.Base(path)) > 255 {
				t.Errorf("%s: %s", zone, path)
			}
			if other, taken := seen[path]; taken {
				t.Errorf("%s and %s share %s", zone, other, path)
			}
			seen[path] = zone
		}
	}
	if got := f.path("example.", keyName{13, 7}); got != "/keys/Kexample.+013+00007.private" {
		t.Errorf("a usual name became %s", got)
	}
}
