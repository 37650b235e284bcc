package sim

import (
	"math/rand/v2"
	"testing"
	"time"
)

// plainCache is the twin of cache: it looks at all that was ever kept.
type plainCache []plainAnswer

type plainAnswer struct {
	of network
	answer
}

func (c *plainCache) keep(subnet network, scope uint8, a answer) {
	of := subnet
	if scope < subnet.length {
		of.length, of.bits = scope, 0
		for bit := range scope {
			of.bits |= subnet.bits & (1 << (63 - bit))
		}
	}
	for i, old := range *c {
		if old.of == of {
			*c = append((*c)[:i], (*c)[i+1:]...)
			break
		}
	}
	*c = append(*c, plainAnswer{of, a})
}

func (c plainCache) find(subnet network, now time.Duration) (best answer, ok bool) {
	longest := uint8(0)
	for _, kept := range c {
		if kept.of.v4 != subnet.v4 || kept.of.length > subnet.length || kept.expires <= now {
			continue
		}
		inside := true
		for bit := range kept.of.length {
			inside = inside && kept.of.bits>>(63-bit)&1 == subnet.bits>>(63-bit)&1
		}
		if inside && (!ok || kept.of.length > longest) {
			best, longest, ok = kept.answer, kept.of.length, true
		}
	}
	return best, ok
}

// TestCacheAgreesWithPlainReading compares what resolvers find with RFC 7871, 7.3, read plainly, with scopes that overlap, grow and shrink.
func TestCacheAgreesWithPlainReading(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		var fast cache
		var plain plainCache
		clients := make([]network, 40)
		memos := make([]memo, len(clients))
		for i := range clients {
			n := network{length: []uint8{24, 20, 8}[random.IntN(3)], v4: true}
			if random.IntN(3) == 0 {
				n.length, n.v4 = []uint8{56, 48}[random.IntN(2)], false
			}
			n.bits = uint64(random.IntN(8)) << (64 - n.length) // near each other
			if random.IntN(2) == 0 {
				n.bits |= uint64(random.IntN(4)) << 62
			}
			clients[i] = network{n.bits, 64, n.v4}.within(n.length)
		}
		found := 0
		for now := time.Duration(0); now < 3000; now++ {
			i := random.IntN(len(clients))
			got := fast.find(clients[i], &memos[i], now)
			want, wanted := plain.find(clients[i], now)
			if (got != nil) != wanted || wanted && *got != want {
				t.Fatalf("seed %d, at %d: %v finds %v, and by the RFC %v %v", seed, now, clients[i], got, want, wanted)
			}
			if wanted {
				found++
			}
			if !wanted || random.IntN(20) == 0 {
				a := answer{expires: now + time.Duration(random.IntN(60)), endpoint: uint16(random.IntN(1000))}
				scope := uint8(random.IntN(60))
				fast.keep(clients[i], scope, a)
				plain.keep(clients[i], scope, a)
			}
		}
		if found < 300 || found > 2900 {
			t.Errorf("seed %d: %d of 3000 were found: the test looks at one side only", seed, found)
		}
	}
}
