package draws

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/rr"
)

// poolOf makes a draw of n endpoints of random weights.
func poolOf(t *testing.T, rnd *rand.Rand, form Form, at, n int) *Draw {
	t.Helper()
	pool := &spec.Pool{}
	for i := range n {
		weight := 1 + rnd.IntN(5)
		pool.Endpoints = append(pool.Endpoints, spec.Endpoint{Name: fmt.Sprint("e", i), Weight: &weight,
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, byte(at), byte(i)})}})
	}
	d, err := New(steer.NewPool(health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", at)}, pool, nil, nil, time.Time{}), form, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestASplitHasTheSharesOfItsPools: each set of each pool is drawn as often as by drawing the pool first, then the set; it has the same
// records, and is told apart by the same content.
func TestASplitHasTheSharesOfItsPools(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 163))
	compared := 0
	for n := range 200 {
		form := Form{Answers: int32(1 + n%2), Pick: []Pick{Weighted, All}[n/2%2]}
		var list []Part
		total, sets := 0.0, 0
		for i := range 1 + rnd.IntN(5) {
			list = append(list, Part{Draw: poolOf(t, rnd, form, i, 1+rnd.IntN(4)), Share: float64(1 + rnd.IntN(9)),
				Path: []uint16{uint16(i)}})
			total, sets = total+list[i].Share, sets+len(list[i].Draw.From(rr.IPv4, false).sets)
		}
		var s Split
		if ok := s.Put(rr.IPv4, 30, list); ok != (sets <= MaxSplit) {
			t.Fatalf("%d sets drawn at once: %v", sets, ok)
		} else if !ok {
			continue
		}
		compared++
		all, ttl := s.From(rr.IPv4)
		if p, _ := s.From(rr.IPv6); ttl != 30 || p != nil || s.Sets() != len(all.sets) {
			t.Fatalf("TTL %d, IPv6 %v, %d sets", ttl, p, s.Sets())
		}
		at := 0
		for i := range list {
			own := list[i].Draw.From(rr.IPv4, false)
			for set, share := range own.Shares() {
				part, of := s.Part(rr.IPv4, at)
				got, want := all.Shares()[at], share*list[i].Share/total
				if part.Path[0] != uint16(i) || of != set || math.Abs(got-want) > 1e-6 {
					t.Fatalf("set %d of pool %d: it is %d of %v, drawn %v of times, want %v", set, i, of, part.Path, got, want)
				}
				records, count := all.Records(at)
				same, n := own.Records(set)
				if !bytes.Equal(records, same) || count != n || all.ID(at) != own.ID(set) {
					t.Fatalf("set %d of pool %d has other records", set, i)
				}
				at++
			}
		}
	}
	if compared < 120 {
		t.Errorf("only %d compared", compared)
	}
}

// TestWhatASplitDoesNotDraw: sticky pools, where the client decides, and more sets than it has room for.
func TestWhatASplitDoesNotDraw(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 163))
	large := poolOf(t, rnd, Form{Answers: 1}, 1, MaxSplit-1)
	for _, tc := range []struct {
		with *Draw
		ok   bool
	}{{poolOf(t, rnd, Form{Answers: 1}, 2, 1), true}, {poolOf(t, rnd, Form{Answers: 1}, 2, 2), false},
		{poolOf(t, rnd, Form{Answers: 1, Pick: Sticky, Hashing: ByNetwork}, 2, 2), false}} {
		var s Split
		if ok := s.Put(rr.IPv4, 30, []Part{{Draw: tc.with, Share: 1}, {Draw: large, Share: 1}}); ok != tc.ok || (s.Sets() > 0) != tc.ok {
			t.Errorf("%d and %d sets: %v", len(tc.with.From(rr.IPv4, false).sets), MaxSplit-1, ok)
		}
	}
}
