package store

import "testing"

// TestFollowerHearsOfAChange is also the example of docs/contributing.md: a client with a part of etcd to itself, and one who follows.
func TestFollowerHearsOfAChange(t *testing.T) {
	c := testClient(t)
	f := follow(t, c, nil)
	mustCommit(t, c, Change{Tenant: "shop", Author: "ann", Put: resources(site("shop", "fra", "EU-DE"))})

	f.until("the site is there", func() bool {
		state := f.mirror.Tenant("shop")
		return state.Head == 1 && regionOf(t, state, "fra") == "EU-DE"
	})
}
