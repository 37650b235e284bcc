package store

import (
	"hash/maphash"
	"testing"

	"github.com/gti/gtm/pkg/store/storetest"
)

// A witness that etcd has compacted away vouches by its key for a watch that was just opened, until the key is written again.
// Without that, everything was read anew after a compaction, and no test noticed.
func TestACompactedWitnessVouchesByItsKey(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	key := c.keys.Head("witness")
	put(t, c, key, "1")
	resp, err := c.link.Etcd.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	w := witnesses{seed: maphash.MakeSeed()}
	w.see(resp.Kvs[0], false, true)
	vouches := func(when string, want bool) {
		t.Helper()
		if got, err := w.vouch(ctx, c.reader(c.link.Etcd)); err != nil || got != want {
			t.Errorf("%s: vouch = %v, %v; want %v", when, got, err, want)
		}
	}
	vouches("as it was seen", true)
	put(t, c, c.keys.Head("other"), "1") // moves the revision on
	compact(t, c)
	vouches("compacted away", true)
	put(t, c, key, "1")
	compact(t, c)
	vouches("compacted away, and its key written again with an equal value", false)
}
