package chunks

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWriterAgainstASlice writes at random beside plain slices: what was frozen stays as it was, whatever is written later.
func TestWriterAgainstASlice(t *testing.T) {
	rnd := rand.New(rand.NewPCG(132, 1))
	var w Writer[int]
	var plain []int
	var used []uint32
	type frozen struct {
		list List[int]
		want []int
	}
	var kept []frozen
	for step := range 2000 {
		switch n := rnd.IntN(10); {
		case n < 5 || len(used) == 0:
			i := w.Add(step + 1)
			for int(i) >= len(plain) {
				plain = append(plain, 0)
			}
			if plain[i] != 0 {
				t.Fatalf("place %d was given twice", i)
			}
			plain[i], used = step+1, append(used, i)
		case n < 8:
			i := used[rnd.IntN(len(used))]
			w.Set(i, -step)
			plain[i] = -step
		case n < 9:
			at := rnd.IntN(len(used))
			w.Remove(used[at])
			plain[used[at]] = 0
			used = slices.Delete(used, at, at+1)
		default:
			kept = append(kept, frozen{w.Freeze(), slices.Clone(plain)})
		}
	}
	for _, f := range append(kept, frozen{w.Freeze(), plain}) {
		for i, want := range f.want {
			if got := *f.list.Ref(uint32(i)); got != want {
				t.Fatalf("element %d of a list that was frozen is %d, want %d", i, got, want)
			}
		}
	}
}

// TestSinceGivesWhatChanged: the piece of the changed element, and no other.
func TestSinceGivesWhatChanged(t *testing.T) {
	var w Writer[int]
	for i := range 3 << chunkBits {
		w.Add(i)
	}
	before := w.Freeze()
	w.Set(1<<chunkBits, -1)
	after := w.Freeze()
	var got []int
	for n := range after.Since(&before) {
		got = append(got, *n)
	}
	if len(got) != 1<<chunkBits || got[0] != -1 || got[1] != 1<<chunkBits+1 {
		t.Errorf("%v", got)
	}
	for range after.Since(&after) {
		t.Fatal("nothing has changed")
	}
}
