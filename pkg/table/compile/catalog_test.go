package compile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
)

func TestCatalogListsItsMembers(t *testing.T) {
	catalog := strings.Replace(strings.Split(testZone, "  grants")[0], "gtm.example.\nspec", "cat.example.\nspec", 1)
	member := func(name, more string) string {
		return fmt.Sprintf("\n---\nkind: Zone\ntenant: platform\nname: %s\nspec:\n  nameservers: [ns1.gtm.example.]\n  contact: "+
			"hostmaster.gtm.example.\n%s", name, more)
	}
	listed := func(h *harness) (names []string, version bool) {
		z := h.view.Zones()[0]
		for _, s := range h.view.Records(z) {
			switch owner := dnswire.NameString(s.Owner); {
			case s.Type == dnswire.TypePTR && strings.HasSuffix(owner, ".zones.cat.example."):
				names = append(names, dnswire.NameString(s.Data[0]))
			case owner == "version.cat.example." && s.Type == dnswire.TypeTXT:
				version = string(s.Data[0]) == "\x012"
			}
		}
		slices.Sort(names)
		return names, version
	}
	h := newHarness(t, catalog+member("one.test.", "  catalog: cat.example\n")+member("two.test.", "  catalog: cat.example.\n")+member(
		"three.test.", ""))
	check := func(want ...string) {
		t.Helper()
		if names, version := listed(h); !slices.Equal(names, want) || !version {
			t.Errorf("the catalog lists %v (version %v), want %v", names, version, want)
		}
	}
	check("one.test.", "two.test.")
	before := h.serial()
	h.put(member("three.test.", "  catalog: cat.example.\n"))
	check("one.test.", "three.test.", "two.test.")
	h.delete(spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "one.test."})
	check("three.test.", "two.test.")
	h.put(member("two.test.", ""))
	h.put(member("three.test.", ""))
	check()
	if int32(h.serial()-before) < 4 {
		t.Errorf("the catalog's serial went from %d to %d", before, h.serial())
	}
}
