package guard

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
)

func mustLimiter(t testing.TB, c RateLimit) *Limiter {
	t.Helper()
	l, err := NewLimiter(&c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// plainLimiter is limiter with exact counters for all networks.
type plainLimiter struct {
	levels [2][]PrefixRate
	load   map[netip.Prefix]float64 // in replies
	last   map[netip.Prefix]int     // ticks
}

// allow tells, and how far from the limit that was, as a share of it.
func (p *plainLimiter) allow(a netip.Addr, tick int) (ok bool, margin float64) {
	ok, margin = true, 1
	levels := p.levels[seam.FamilyOf(a)]
	for _, l := range levels {
		net := netip.PrefixFrom(a, l.Bits).Masked()
		age := float64(tick-p.last[net]) * limitTick.Seconds()
		full := float64(l.Rate) * limitTau.Seconds()
		left := 1 - (p.load[net]*math.Exp(-age/limitTau.Seconds())+1)/full
		ok, margin = ok && left >= 0, min(margin, math.Abs(left))
	}
	for _, l := range levels {
		if net := netip.PrefixFrom(a, l.Bits).Masked(); ok {
			age := float64(tick-p.last[net]) * limitTick.Seconds()
			p.load[net] = p.load[net]*math.Exp(-age/limitTau.Seconds()) + 1
			p.last[net] = tick
		}
	}
	return ok, margin
}

func TestLimiterAgainstTheOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	four := []PrefixRate{{8, 2000}, {20, 200}, {24, 70}, {32, 20}}
	six := []PrefixRate{{32, 400}, {56, 60}, {63, 50}, {128, 20}}
	l := mustLimiter(t, RateLimit{IPv4: four, IPv6: six, Exempt: []netip.Prefix{}})
	p := &plainLimiter{levels: [2][]PrefixRate{four, six}, load: map[netip.Prefix]float64{}, last: map[netip.Prefix]int{}}
	tick, allowed, limited, doubtful := 0, 0, 0, 0
	for range 200_000 {
		if rnd.IntN(40) == 0 {
			tick += rnd.IntN(3)
		}
		if rnd.IntN(20_000) == 0 {
			tick += rnd.IntN(3000)
		}
		a := netip.AddrFrom4([4]byte{10, 0, byte(rnd.IntN(3)), byte(rnd.IntN(4))})
		if rnd.IntN(2) == 0 {
			a = netip.AddrFrom16([16]byte{0x20, 1, 13, 184, 0, 0, 0, byte(rnd.IntN(4)), 15: byte(rnd.IntN(3))})
		}
		want, margin := p.allow(a, tick)
		got := l.Allow(a, uint16(tick))
		if got != want && margin > 1e-4 {
			t.Fatalf("%s at tick %d: %v, want %v; the margin is %v", a, tick, got, want, margin)
		}
		if got != want { // rounding; go on from the same state
			doubtful++
			clear(p.load)
			l.buckets = make([]limitBucket, len(l.buckets))
		}
		if got {
			allowed++
		} else {
			limited++
		}
	}
	if allowed < 10_000 || limited < 10_000 || doubtful > 100 {
		t.Errorf("%d allowed, %d limited, %d in doubt: this tests little", allowed, limited, doubtful)
	}
}

// TestLimiterInTheLongRun finds that a client that asks all the time gets its rate, after what it may have at once.
func TestLimiterInTheLongRun(t *testing.T) {
	for _, rate := range []int{1, 5, 50, 1000} {
		l := mustLimiter(t, RateLimit{Rate: 1, IPv4: []PrefixRate{{32, rate}}})
		ask := func(from, to, perTick int) (passed int) {
			for tick := from; tick < to; tick++ {
				for range perTick {
					if l.Allow(netip.MustParseAddr("192.0.2.1"), uint16(tick)) {
						passed++
					}
				}
			}
			return passed
		}
		if got, want := ask(0, 1, 3*rate), rate*5/2; got != want {
			t.Errorf("rate %d: %d at once, want %d", rate, got, want)
		}
		tooMany := 1 + rate/4 // four times, or more
		ask(1, 1000, tooMany)
		if got := float64(ask(1000, 2600, tooMany)) / 100; math.Abs(got-float64(rate)) > 0.05*float64(rate)+0.6 {
			t.Errorf("rate %d: %v a second", rate, got)
		}
	}
}

func TestLimiterDefaults(t *testing.T) {
	l := mustLimiter(t, RateLimit{Rate: 10})
	for _, tc := range []struct {
		name string
		addr func(i int) netip.Addr
		most int // at once: two and a half seconds' worth
	}{
		{"one IPv4 address", func(int) netip.Addr { return netip.MustParseAddr("192.0.2.1") }, 25},
		{"an IPv4 /24", func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }, 32 * 25},
		{"an IPv4 /20", func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i % 16), byte(i >> 4)}) }, 256 * 25},
		{"one IPv6 address", func(int) netip.Addr { return netip.MustParseAddr("2001:db8::1") }, 25},
		{"an IPv6 /64", func(i int) netip.Addr { return netip.AddrFrom16([16]byte{32, 1, 14: byte(i >> 8), 15: byte(i)}) }, 50},
		{"an IPv6 /48", func(i int) netip.Addr { return netip.AddrFrom16([16]byte{32, 2, 6: byte(i), 7: byte(i >> 8)}) }, 100},
		{"loopback", func(int) netip.Addr { return netip.MustParseAddr("127.0.0.9") }, 10_000},
	} {
		n := 0
		for i := range 10_000 {
			if l.Allow(tc.addr(i), 0) {
				n++
			}
		}
		if n != tc.most {
			t.Errorf("%s: %d at once, want %d", tc.name, n, tc.most)
		}
	}
}

// TestLimiterKeepsTheHeavy floods a small table with forged sources, and finds that it still knows who had too much,
// and that one who asks little is not harmed.
func TestLimiterKeepsTheHeavy(t *testing.T) {
	l := mustLimiter(t, RateLimit{IPv4: []PrefixRate{{32, 100}}, Rate: 1, Size: 1 << 10})
	heavy, light := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	rnd := rand.New(rand.NewPCG(7, 8))
	passed := 0
	for tick := range uint16(160) { // ten seconds
		for range 1000 {
			l.Allow(netip.AddrFrom4([4]byte{10, byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))}), tick)
		}
		for range 100 {
			if l.Allow(heavy, tick) {
				passed++
			}
		}
		if !l.Allow(light, tick) {
			t.Fatalf("one that asks little was limited, at tick %d", tick)
		}
	}
	if passed > 1400 { // ten seconds and what it may have at once: 1250
		t.Errorf("%d of 16000 passed", passed)
	}
}

func TestLimiterTogether(t *testing.T) {
	l := mustLimiter(t, RateLimit{Rate: 1, IPv4: []PrefixRate{{24, 4000}, {32, 1000}}})
	var group sync.WaitGroup
	var passed [4]int
	for i := range passed {
		group.Go(func() {
			for range 20_000 {
				if l.Allow(netip.MustParseAddr("192.0.2.1"), 7) {
					passed[i]++
				}
			}
		})
	}
	group.Wait()
	sum := 0
	for _, n := range passed {
		sum += n
	}
	if sum < 2500 || sum > 2600 { // races may lose a few
		t.Errorf("%v passed, want 2500", passed)
	}
}

func BenchmarkLimiter(b *testing.B) {
	for _, clients := range []int{1, 100_000} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			l := mustLimiter(b, RateLimit{Rate: 50})
			for i := range b.N {
				n := i % clients
				l.Allow(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), uint16(i>>16))
			}
		})
	}
}
