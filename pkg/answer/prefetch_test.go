package answer

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"
)

// everyWay lists queries that go every way through an Answerer.
func everyWay(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for _, name := range []string{".", "gtm.example.", "static.gtm.example.", "web.shop.gtm.example.", "WEB.shop.gtm.example.",
		"sticky.shop.gtm.example.",
		"cdn.shop.gtm.example.", "nothing.gtm.example.", "x.wild.gtm.example.", "alias.gtm.example.", "a.b.old.gtm.example.",
		"www.sub.gtm.example.",
		"many.gtm.example.", "www.example.net.", "counted.shop.gtm.example.", "whoami.gtm.example.",
		"web.shop.gtm.example._explain.gtm.example.", "shop.gtm.example.", "id.server."} {
		for _, typ := range []string{"A", "AAAA", "ANY", "DS", "NS", "SOA", "TXT", "CNAME", "HTTPS", "AXFR"} {
			for _, opts := range [][]string{nil, {"ecs=91.198.174.0/24"}, {"ecs=2a02:ec80:300::/56", "nsid"}, {"ecs=10.1.0.0/16", "do"},
				{"ecs=0.0.0.0/0"}, {"size=512", "rd"}, {"ch"}} {
				packed, err := query(t, name, typ, opts...).Pack()
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, packed)
			}
		}
	}
	return all
}

// TestLookingAheadChangesNothing compares, under equal seeds, replies to queries that were prefetched in windows with replies to
// the same queries one at a time; while the configuration changes between, and with damaged queries among them.
func TestLookingAheadChangesNothing(t *testing.T) {
	ahead, plain := newServer(t), newServer(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	all := everyWay(t)
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	compared := 0
	for len(all) > 0 {
		window := all[:min(len(all), 1+rnd.IntN(Window))]
		all = all[len(window):]
		for i, msg := range window {
			switch rnd.IntN(12) {
			case 0:
				window[i] = nil
				ahead.a.Parse(i, nil, ahead.src)
				continue
			case 1:
				msg[rnd.IntN(len(msg))] ^= 1 << rnd.IntN(8)
			case 2:
				window[i] = msg[:rnd.IntN(len(msg))]
			}
			ahead.a.Parse(i, window[i], ahead.src)
		}
		ahead.a.Prefetch(len(window))
		for i, msg := range window {
			if msg == nil {
				continue
			}
			got, want := make([]byte, 4096), make([]byte, 4096)
			og := ahead.a.Answer(got, copy(got, msg), &Meta{Source: ahead.src, Prefetched: 1 + i})
			ow := plain.a.Answer(want, copy(want, msg), &Meta{Source: plain.src})
			if og != ow || !bytes.Equal(got[:og.Size], want[:ow.Size]) {
				t.Fatalf("query %x:\nprefetched: %+v %x\notherwise: %+v %x", msg, og, got[:og.Size], ow, want[:ow.Size])
			}
			compared++
		}
		if rnd.IntN(20) == 0 { // the view changes between windows
			pool := []string{"eu", "us"}[rnd.IntN(2)]
			ahead.down(pool)
			plain.down(pool)
		}
	}
	if compared < 1000 {
		t.Errorf("only %d queries were compared", compared)
	}
}

// TestViewChangesInsideOfAWindow: what was prefetched is answered from the view in which it was found, what was not from the
// newest.
func TestViewChangesInsideOfAWindow(t *testing.T) {
	s := newServer(t)
	packed, err := query(t, "web.shop.gtm.example.", "A", "ecs=91.198.174.0/24").Pack()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(ahead int) string {
		buf := make([]byte, 4096)
		o := s.a.Answer(buf, copy(buf, packed), &Meta{Source: s.src, Prefetched: ahead})
		m := new(dns.Msg)
		if err := m.Unpack(buf[:o.Size]); err != nil || len(m.Answer) == 0 {
			t.Fatal(o, err)
		}
		return m.Answer[0].(*dns.A).A.String()
	}
	s.a.Parse(0, packed, s.src)
	s.a.Parse(1, packed, s.src)
	s.a.Prefetch(2)
	before := ask(1)
	s.down("eu")
	fresh := ask(0)
	if after := ask(2); after[:8] != before[:8] || fresh[:8] == before[:8] {
		t.Errorf("before %s, prefetched before %s, fresh %s", before, after, fresh)
	}
}

func TestLookingAheadDoesNotAllocate(t *testing.T) {
	s := newServer(t)
	packed, err := query(t, "web.shop.gtm.example.", "A", "ecs=91.198.174.0/24").Pack()
	if err != nil {
		t.Fatal(err)
	}
	buf, meta := make([]byte, 4096), &Meta{Source: s.src}
	if n := testing.AllocsPerRun(500, func() {
		for i := range Window {
			s.a.Parse(i, packed, s.src)
		}
		s.a.Prefetch(Window)
		for i := range Window {
			meta.Prefetched = 1 + i
			s.a.Answer(buf, copy(buf, packed), meta)
		}
		s.a.Flush()
	}); n != 0 {
		t.Errorf("%v allocations a window", n)
	}
}
