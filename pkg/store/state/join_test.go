package state_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// TestJoinedLeadsToTheSame: however a row of updates is cut and each piece joined, a mirror comes to the same state.
func TestJoinedLeadsToTheSame(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		maker, mirror := storetest.NewUpdateMaker(seed), state.NewMirror()
		for range 30 {
			var us []state.Update
			for range 1 + rng.IntN(8) {
				us = append(us, maker.Delta())
			}
			joined := state.Joined(us)
			if last := us[len(us)-1]; joined.Full || joined.Cursor != last.Cursor || joined.Cluster != last.Cluster ||
				joined.Epoch != last.Epoch {
				t.Fatalf("seed %d: joined %+v, the last %+v", seed, joined, last)
			}
			if told := twice(joined); told != "" {
				t.Fatalf("seed %d: %s is told twice", seed, told)
			}
			mirror.Apply(joined)
			if diff := cmp.Diff(maker.Sum(), storetest.SumOf(mirror)); diff != "" {
				t.Fatalf("seed %d: %s", seed, diff)
			}
		}
	}
}

// twice gives something that an update tells more than once, "" if there is nothing.
func twice(u state.Update) string {
	seen := map[string]bool{}
	var again string
	tell := func(what ...any) {
		if s := fmt.Sprint(what...); seen[s] {
			again = s
		} else {
			seen[s] = true
		}
	}
	for _, tu := range u.Tenants {
		tell("tenant ", tu.Tenant)
		for _, v := range tu.Put {
			tell(v.Resource.Key)
		}
		for _, k := range tu.Deleted {
			tell(k)
		}
	}
	for _, v := range state.Verdicts.In(u).Put {
		tell(v.Pool)
	}
	for _, p := range state.Verdicts.In(u).Deleted {
		tell(p)
	}
	for _, ks := range state.Keysets.In(u).Put {
		tell("keyset ", ks.Zone)
	}
	for _, zone := range state.Keysets.In(u).Deleted {
		tell("keyset ", zone)
	}
	return again
}
