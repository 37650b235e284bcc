package rig

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/pkg/geo"
)

func TestHistogram(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var h histogram
	var all []uint64
	for range 10000 {
		ns := random.Uint64N(1 << (1 + random.IntN(34)))
		h.add(ns)
		all = append(all, ns)
	}
	slices.Sort(all)
	for _, share := range []float64{0, 0.1, 0.5, 0.99, 0.999} {
		want, got := float64(all[int(share*10000)]), h.at(share)
		if got <= want || got > want*33/32+1 {
			t.Errorf("at(%v) = %v; the number there is %v, and buckets are a 32nd wide", share, got, want)
		}
	}
}

func TestWorld(t *testing.T) {
	w := World{Services: 2000, Endpoints: 3, Partitions: 1000, Names: 5}
	if w.Partitions > MaxPartitions {
		t.Fatalf("there are only %d sets of matches", MaxPartitions)
	}
	dir := t.TempDir()
	if err := peers.WriteSnapshot(dir, w.Resources()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for r := range w.Resources() {
		n++
		if r.Tenant == "" || r.Name == "" {
			t.Fatalf("%v has no name", r.Key)
		}
	}
	if want := 2 + 1 + 2000 + 1 + 2000; n != want {
		t.Errorf("%d resources, want %d", n, want)
	}
}

func TestGeography(t *testing.T) {
	dir := t.TempDir()
	file, err := Geography(dir, 20000, 1)
	if err != nil {
		t.Fatal(err)
	}
	atlas, err := geo.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := atlas.Info()[0].Networks; n < 15000 || n > 30000 {
		t.Errorf("%d networks; about 20000 were asked for", n)
	}
	for _, addr := range []string{"1.2.3.4", "198.18.5.1", "2a00:1450::1"} {
		if place, _ := atlas.Lookup(netip.MustParseAddr(addr)); place.Country == "" || place.Subdivision == "" {
			t.Errorf("%s is at %v", addr, place)
		}
	}
}
