package geo

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// slow answers from runs of atoms alone: the class of every run, and the widest prefix around x that holds no other class.
type slow struct {
	*runs
	ids []uint16 // by run
}

func (s *slow) lookup(x u128) (id uint16, scope int) {
	at := s.find(x)
	first, last := at, at
	for first > 0 && s.ids[first-1] == s.ids[at] {
		first--
	}
	for last+1 < s.len() && s.ids[last+1] == s.ids[at] {
		last++
	}
	if first > 0 {
		scope = x.common(s.start(first).prev()) + 1
	}
	if last+1 < s.len() {
		scope = max(scope, x.common(s.start(last+1))+1)
	}
	return s.ids[at], scope
}

// randomRuns draws runs of few ids, mostly beside each other, with boundaries of any length of prefix.
func randomRuns(rng *rand.Rand, v4 bool, n, ids int) *runs {
	starts := make([]u128, 0, n)
	x := u128{hi: rng.Uint64(), lo: rng.Uint64()}
	for range n {
		if rng.IntN(8) == 0 {
			x = u128{hi: rng.Uint64(), lo: rng.Uint64()}
		}
		length := 1 + rng.IntN(familyBits(v4))
		if rng.IntN(3) > 0 {
			length = familyBits(v4) - rng.IntN(20)
		}
		network, _ := x.addr(v4).Prefix(length)
		start, _ := fromAddr(network.Addr())
		starts = append(starts, start)
		if next, over := start.after(length); !over {
			x = next
		}
	}
	return runsAt(rng, v4, starts, ids)
}

// runsAt gives runs that begin at starts, and at zero, with ids drawn at random.
func runsAt(rng *rand.Rand, v4 bool, starts []u128, ids int) *runs {
	slices.SortFunc(starts, compareStarts)
	r := newRuns(v4, len(starts)+1)
	r.add(u128{}, rng.Uint32N(uint32(ids)))
	for _, x := range starts {
		r.add(x, rng.Uint32N(uint32(ids)))
	}
	return r
}

// partitionOf makes a partition of runs of atoms, given the ids of atoms.
func partitionOf(t testing.TB, v4, v6 *runs, classes []uint16, rules int) *Partition {
	t.Helper()
	s := &shape{atoms: make([]atom, len(classes))}
	for family, r := range map[*table]*runs{&s.v4: v4, &s.v6: v6} {
		if err := family.build(r); err != nil {
			t.Fatal(err)
		}
	}
	return newPartition(s, classes, rules)
}

// TestRandomPartitions compares partitions of runs drawn at random with the slow way, at and beside every boundary: with few ids and
// many, with atoms that a line cannot hold, with classes that a small value cannot tell.
func TestRandomPartitions(t *testing.T) {
	tests := []struct{ runs, atoms, rules int }{
		{0, 1, 1}, {1, 2, 2}, {15, 3, 2}, {16, 4, 2}, {17, 3, 1}, {40, 30, 3}, {300, 10, 2}, {300, 300, 2}, {3000, 200, 4},
		{3000, 3000, 250}, {3000, 40, 3}, {5000, 70_000, 3}, {2000, 90_000, 1000}, {20_000, 20_000, maxClasses},
	}
	for i, test := range tests {
		for seed := range uint64(4) {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			v4, v6 := randomRuns(rng, true, test.runs, test.atoms), randomRuns(rng, false, test.runs, test.atoms)
			classes := make([]uint16, test.atoms)
			for k := range classes {
				classes[k] = uint16(rng.IntN(test.rules + 1 + len(specialBlocks)))
				if rng.IntN(3) > 0 { // mostly few classes, so that neighbours have the same
					classes[k] = uint16(rng.IntN(min(test.rules, 3)))
				}
			}
			p := partitionOf(t, v4, v6, classes, test.rules)
			t.Run(fmt.Sprint(i, seed), func(t *testing.T) {
				compareRuns(t, p, v4, rng)
				compareRuns(t, p, v6, rng)
			})
		}
	}
}

// compareRuns compares a partition with the slow way around every boundary, and anywhere.
func compareRuns(t *testing.T, p *Partition, r *runs, rng *rand.Rand) {
	t.Helper()
	v4 := r.lo == nil
	s := &slow{runs: r}
	for _, id := range r.id {
		s.ids = append(s.ids, p.classes[id])
	}
	check := func(x u128) {
		addr := x.addr(v4)
		x, is4 := fromAddr(addr)
		if is4 != v4 {
			return
		}
		id, scope := s.lookup(x)
		if class, got := p.Lookup(addr); class != p.class(uint32(id)) || int(got) != scope {
			t.Fatalf("%s: class %d scope %d; want class %d scope %d", addr, class, got, p.class(uint32(id)), scope)
		}
		if class, got := inSteps(p, x, v4); class != p.class(uint32(id)) || int(got) != scope {
			t.Fatalf("%s in steps: class %d scope %d; want class %d scope %d", addr, class, got, p.class(uint32(id)), scope)
		}
	}
	for i := range r.len() {
		x := r.start(i)
		check(x)
		check(x.prev())
		if v4 {
			check(u128{hi: x.hi - 1<<32})
			check(u128{hi: x.hi + 1<<32})
		} else {
			check(u128{hi: x.hi + 1, lo: x.lo})
			check(u128{hi: x.hi, lo: x.lo + 1})
		}
		check(u128{hi: rng.Uint64(), lo: rng.Uint64()})
	}
}

// inSteps looks an address up as Search does.
func inSteps(p *Partition, x u128, v4 bool) (class uint16, scope uint8) {
	var s Search
	if s.Begin(p, x.hi, v4); s.Top(p, x.hi, v4) == 1 {
		s.Cell(p, x.hi, x.lo, v4)
		s.Deep(p, x.hi, x.lo, v4)
		s.Run(p, x.hi, x.lo, v4)
	}
	return s.Result(p)
}

// TestDenseNetworks has every address of some networks be a run of its own, which no cell may hold.
func TestDenseNetworks(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	var starts4, starts6 []u128
	base4, _ := fromAddr(netip.MustParseAddr("192.0.2.0"))
	base6, _ := fromAddr(netip.MustParseAddr("2001:db8::ffff:ffff:ffff:f000"))
	for i := range uint64(5000) {
		starts4 = append(starts4, u128{hi: base4.hi + i<<32})
		starts6 = append(starts6, u128{hi: base6.hi, lo: base6.lo + i})
	}
	v4, v6 := runsAt(rng, true, starts4, 50), runsAt(rng, false, starts6, 50)
	classes := make([]uint16, 50)
	for i := range classes {
		classes[i] = uint16(i % 3)
	}
	p := partitionOf(t, v4, v6, classes, 2)
	compareRuns(t, p, v4, rng)
	compareRuns(t, p, v6, rng)
}

// TestShapeIsShared compiles over equal and over different maps.
func TestShapeIsShared(t *testing.T) {
	a := smallAtlas(t)
	maps := func(network string) []Map { return []Map{{Name: "a", Networks: prefixes(network)}} }
	first := mustCompile(t, a, maps("9.0.0.0/24"), Matcher{Maps: []string{"a"}})
	same := mustCompile(t, a, maps("9.0.0.0/24"), Matcher{})
	other := mustCompile(t, a, maps("9.0.0.0/25"), Matcher{Maps: []string{"a"}})
	if first.shape != same.shape {
		t.Error("partitions over equal maps do not share what they could")
	}
	checkLookups(t, first, []lookupTest{{"9.0.0.1", 0, 24}, {"9.0.0.200", 0, 24}})
	checkLookups(t, other, []lookupTest{{"9.0.0.1", 0, 25}, {"9.0.0.200", NoClass, 25}})

	again := maps("9.0.0.0/24")
	mustCompile(t, a, again, Matcher{})
	again[0].ASN = 7
	checkLookups(t, mustCompile(t, a, again, Matcher{ASN: []uint32{7}}), []lookupTest{{"9.0.0.1", 0, 24}, {"9.0.1.1", NoClass, 24}})
}

// TestManyAtoms has more different places than a line can name.
func TestManyAtoms(t *testing.T) {
	a := smallAtlas(t)
	big, v4 := &Atlas{v6: a.v6, places: a.places}, newPacker(true, 0)
	v4.add(u128{}, 0)
	for i := range uint64(100_000) {
		v4.add(u128{hi: (i*7 + 11<<24) << 32}, uint32(len(big.places)))
		big.places = append(big.places, Place{ASN: uint32(i + 1)})
	}
	big.v4 = v4.done()
	p := mustCompile(t, big, nil, Matcher{ASN: []uint32{90_001, 90_002}}, Matcher{ASN: []uint32{5}})
	at := func(i uint32) uint32 { return i*7 + 11<<24 }
	for _, test := range []struct {
		addr  uint32
		class uint16
	}{{at(90_000), 0}, {at(90_001) + 6, 0}, {at(90_002), NoClass}, {at(90_000) - 1, NoClass}, {at(4), 1}, {at(5), NoClass}} {
		if class, _ := p.Lookup4(test.addr); class != test.class {
			t.Errorf("%x: class %d; want %d", test.addr, class, test.class)
		}
	}
}

func compareStarts(a, b u128) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}
