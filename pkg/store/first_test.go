package store

import (
	"testing"

	"github.com/gti/gtm/pkg/store/storetest"
)

// TestFollowerHearsOfAChange is also the example of docs/contributing.md: a client with a part of etcd to itself, and one who follows.
func TestFollowerHearsOfAChange(t *testing.T) {
	c := testClient(t)
	f := follow(t, c, nil)
	mustCommit(t, c, Change{Tenant: "shop", Author: "ann", Put: storetest.Resources(storetest.Site("shop", "fra", "EU-DE"))})

	f.until("the site is there", func() bool {
		now := f.mirror.Tenant("shop")
		return now.Head == 1 && regionOf(t, now, "fra") == "EU-DE"
	})
}
