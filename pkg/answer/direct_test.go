package answer

import (
	"bytes"
	"fmt"
	"math/bits"
	"net/netip"
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// prefetched answers one query that was prefetched.
func (s *server) prefetched(msg []byte, m Meta) (reply []byte) {
	buf := make([]byte, 4096)
	n := copy(buf, msg)
	m.Source, m.Prefetched = s.src, 1
	s.a.Parse(0, buf[:n], m.Source)
	s.a.Prefetch(1)
	o := s.a.Answer(buf, n, &m)
	s.a.Flush()
	return buf[:o.Size]
}

// TestWhatIsAnsweredDirectly: the short way is taken by those whom it was made for, and by nobody who needs more.
func TestWhatIsAnsweredDirectly(t *testing.T) {
	s := newServer(t)
	tests := []struct {
		name, typ string
		opts      []string
		meta      Meta
		want      bool
	}{
		{"web.shop.gtm.example.", "A", nil, Meta{}, true},
		{"web.shop.gtm.example.", "A", []string{"edns", "rd"}, Meta{}, true},
		{"WEB.shop.gtm.example.", "A", []string{"ecs=91.198.174.0/24"}, Meta{}, true},
		{"web.shop.gtm.example.", "A", []string{"ecs=91.198.174.0/24"}, Meta{Stream: true}, true},
		{"web.shop.gtm.example.", "A", []string{"ecs=0.0.0.0/0"}, Meta{}, true},
		{"web.shop.gtm.example.", "A", []string{"ecs=10.1.0.0/16"}, Meta{}, false}, // the resolver decides
		{"web.shop.gtm.example.", "A", []string{"do"}, Meta{}, true},               // the zone is not signed
		{"web.shop.gtm.example.", "A", []string{"co"}, Meta{}, false},
		{"web.shop.gtm.example.", "A", []string{"nsid"}, Meta{}, false},
		{"web.shop.gtm.example.", "A", nil, Meta{Encrypted: true, Stream: true}, false}, // it is padded
		{"web.shop.gtm.example.", "TXT", nil, Meta{}, false},
		{"web.shop.gtm.example.", "A", []string{"ch"}, Meta{}, false},
		{"sticky.shop.gtm.example.", "A", nil, Meta{}, false},
		{"a.b.star.shop.gtm.example.", "A", nil, Meta{}, true}, // by a wildcard
		{"a.b.star.shop.gtm.example.", "MX", nil, Meta{}, false},
		{"x.wild.gtm.example.", "TXT", nil, Meta{}, false},
		{"static.gtm.example.", "A", nil, Meta{}, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.name, tt.typ, tt.opts, tt.meta.Encrypted), func(t *testing.T) {
			msg, err := query(t, tt.name, tt.typ, tt.opts...).Pack()
			if err != nil {
				t.Fatal(err)
			}
			buf := append(make([]byte, 0, 4096), msg...)
			s.a.Parse(0, buf, s.src)
			s.a.Prefetch(1)
			s.a.parsedQuery, tt.meta.Source = &s.a.queries[0], s.src
			if o, ok := s.a.direct(buf[:4096], &tt.meta); ok != tt.want || ok != (o.Size > 0) {
				t.Errorf("answered directly: %v %+v", ok, o)
			}
			if !tt.want && !bytes.Equal(buf, msg) {
				t.Error("the query was written over")
			}
		})
	}
}

// TestDirectSigned: signed answers are the same directly and otherwise, through the whole life of their signatures, and where a
// signature is missing, the query is put off with the same draw.
func TestDirectSigned(t *testing.T) {
	s := newServer(t)
	s.sign(dnssec.ECDSAP256)
	cfg := s.a.cfg
	ahead, plain := &server{t: t, a: New(cfg), src: s.src}, New(cfg)
	msg, err := query(t, "web.shop.gtm.example.", "A", "do", "ecs=91.198.174.0/24").Pack()
	if err != nil {
		t.Fatal(err)
	}
	sign := func() {
		for range 50 { // both sets
			buf := make([]byte, 4096)
			s.a.Answer(buf, copy(buf, msg), &Meta{Source: s.src, Slow: true})
		}
	}
	answered, deferred := 0, 0
	for i := range 2000 {
		s.now += 1000 // 23 days in all
		if i%700 == 0 {
			sign()
		}
		got, want := make([]byte, 4096), make([]byte, 4096)
		ahead.a.Parse(0, msg, s.src)
		ahead.a.Prefetch(1)
		og := ahead.a.Answer(got, copy(got, msg), &Meta{Source: s.src, Prefetched: 1})
		ow := plain.Answer(want, copy(want, msg), &Meta{Source: s.src})
		if og != ow || !bytes.Equal(got, want) {
			t.Fatalf("question %d:\nprefetched %+v %x\notherwise %+v %x", i, og, got[:og.Size], ow, want[:ow.Size])
		}
		if og.Deferred() {
			deferred++
		} else {
			answered++
		}
	}
	if answered < 1000 || deferred < 1 {
		t.Errorf("%d answered, %d put off", answered, deferred)
	}
	sign()
	direct, buf, meta := 0, make([]byte, 4096), &Meta{Source: s.src, Prefetched: 1}
	if n := testing.AllocsPerRun(300, func() {
		ahead.a.Parse(0, buf[:copy(buf, msg)], s.src)
		ahead.a.Prefetch(1)
		ahead.a.parsedQuery = &ahead.a.queries[0]
		if _, ok := ahead.a.direct(buf, meta); ok {
			direct++
		}
	}); n != 0 || direct < 300 {
		t.Errorf("%v allocations a query, %d answered directly", n, direct)
	}
}

// TestDirectLeavesLargeReplies: a reply that not everybody takes goes the long way, with the same draw.
func TestDirectLeavesLargeReplies(t *testing.T) {
	ahead, plain := newServer(t), newServer(t)
	for _, s := range []*server{ahead, plain} {
		pool := &spec.Pool{}
		for i := range 60 {
			pool.Endpoints = append(pool.Endpoints,
				spec.Endpoint{Name: fmt.Sprint("e", i), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})}})
		}
		key := func(kind spec.Kind, name string) spec.Key { return spec.Key{Tenant: "shop", Kind: kind, Name: name} }
		service := &spec.Service{Host: "big.shop.gtm.example.", Answers: 29, Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "big"}}}}}
		s.Change(compile.Change{Tenants: []compile.TenantChange{{Tenant: "shop", Head: 42, Put: []compile.Item{
			{Generation: 42, Resource: &spec.Resource{Key: key(spec.KindPool, "big"), Spec: pool}},
			{Generation: 42, Resource: &spec.Resource{Key: key(spec.KindService, "big"), Spec: service}}}}}})
	}
	sizes := map[int]bool{}
	for i := range 200 {
		msg, err := query(t, "big.shop.gtm.example.", "A", []string{"edns", "size=4096", "ecs=2001:db8::/56", "rd"}[i%4]).Pack()
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 4096)
		o := plain.a.Answer(want, copy(want, msg), &Meta{Source: plain.src})
		if got := ahead.prefetched(msg, Meta{}); !bytes.Equal(got, want[:o.Size]) {
			t.Fatalf("question %d:\nprefetched %x\notherwise %x", i, got, want[:o.Size])
		}
		sizes[o.Size] = true
	}
	if len(sizes) < 2 {
		t.Errorf("all replies have one size: %v", sizes)
	}
}

// TestDirectCounts: what is answered directly is counted as ever.
func TestDirectCounts(t *testing.T) {
	ahead, plain := newServer(t), newServer(t)
	msg, err := query(t, "counted.shop.gtm.example.", "A").Pack()
	if err != nil {
		t.Fatal(err)
	}
	total := func(s *server) (zones, pools uint64) {
		for _, z := range s.View.Load().Zones() {
			for i := range z.Counts.Rows {
				zones += z.Counts.Rows[i][0].Load()
			}
		}
		for _, c := range s.View.Load().ServiceCounts() {
			for i := range c.Answers {
				pools += c.Answers[i].Load()
			}
		}
		return zones, pools
	}
	for range 100 {
		ahead.prefetched(msg, Meta{})
		buf := make([]byte, 4096)
		plain.a.Answer(buf, copy(buf, msg), &Meta{Source: plain.src})
	}
	plain.a.Flush()
	zones, pools := total(ahead)
	if wantZones, wantPools := total(plain); zones != wantZones || pools != wantPools || zones < 100 || pools < 100 {
		t.Errorf("counted %d and %d, otherwise %d and %d", zones, pools, wantZones, wantPools)
	}
}

// TestGenerator: every bit of the numbers is set as often as not, also within a row of one seed, and rows differ.
func TestGenerator(t *testing.T) {
	seen := map[uint64]bool{}
	for row := range uint64(8) {
		var g generator
		g.seed(1, row)
		var set [64]int
		const n = 10_000
		for range n {
			x := g.next()
			if seen[x] {
				t.Fatalf("row %d: %x came before", row, x)
			}
			seen[x] = true
			for ; x != 0; x &= x - 1 {
				set[bits.TrailingZeros64(x)]++
			}
		}
		for bit, times := range set {
			if times < n/2-300 || times > n/2+300 { // six standard deviations
				t.Errorf("row %d: bit %d was set %d times of %d", row, bit, times, n)
			}
		}
	}
}
