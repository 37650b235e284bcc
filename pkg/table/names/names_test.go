package names

import (
	"math/rand/v2"
	"testing"
)

func TestNames(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	n := New(5000)
	want := map[string]uint32{}
	for len(want) < 5000 {
		var name []byte
		for range 1 + rnd.IntN(6) {
			l := 1 + rnd.IntN(20)
			name = append(name, byte(l))
			for range l {
				name = append(name, "abc-123\x00"[rnd.IntN(8)])
			}
		}
		name = append(name, 0)
		if _, ok := want[string(name)]; !ok {
			want[string(name)] = uint32(len(want))
			n.Put(name, NewKey(name, 7).Hashes[0], want[string(name)])
		}
	}
	for name, v := range want {
		k := NewKey([]byte(name), 7)
		if l := n.Find([]byte(name), k.Hashes[0]); l == nil || l.Value != v {
			t.Fatalf("%q: %+v, want %d", name, l, v)
		}
		for i := range k.Labels + 1 { // the hash of a suffix is the suffix's own
			if own := NewKey(k.Suffix(i), 7).Hashes[0]; own != k.Hashes[i] {
				t.Fatalf("%q: the hash of suffix %d is not that of the name", name, i)
			}
		}
	}
	if l := n.Find([]byte("\x04none\x00"), NewKey([]byte("\x04none\x00"), 7).Hashes[0]); l != nil {
		t.Errorf("found what was never put: %+v", l)
	}
}
