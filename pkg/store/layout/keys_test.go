package layout

import (
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

func TestKeysWithOddNames(t *testing.T) {
	k := Keys("/gtm/")
	for _, name := range []string{"web", "gtm.example.", "a/b", "%2F", "", "ä b", "..", "?#"} {
		want := spec.Key{Tenant: name, Kind: spec.KindZone, Name: name}
		got, gen, ok := ParseVersionKey(k.Split(k.Version(want, 41)))
		if !ok || got != want || gen != 41 {
			t.Errorf("%q: got %v@%d, %v", name, got, gen, ok)
		}
	}
	if got, want := k.Version(spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"},
		41), "/gtm/config/res/shop/Pool/eu/0000000000000029"; got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	for _, key := range []string{"/other/config/res/a/Pool/b/0000000000000001", "/gtm/config/res/a/Pool/b/1",
		"/gtm/config/res/a/Pool/b/000000000000000g",
		"/gtm/config/res/a/Pool/b/0000000000000000", "/gtm/config/res/a/Pool/%zz/0000000000000001"} {
		if _, _, ok := ParseVersionKey(k.Split(key)); ok {
			t.Errorf("%s was taken for a version", key)
		}
	}
}
