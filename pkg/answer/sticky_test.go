package answer

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// TestStickyAnswersOfSeveralAreSigned: the order is the client's, and a signature is of the records in whatever order, so pairs of five
// need ten.
func TestStickyAnswersOfSeveralAreSigned(t *testing.T) {
	s := newServer(t)
	keys := s.sign(dnssec.ECDSAP256)
	const pairs = 10
	for _, typ := range []string{"A", "AAAA", "HTTPS"} {
		firsts, contents, made := map[string]int{}, map[string]bool{}, 0
		for i := range 300 {
			q := query(t, "stickytwo.shop.gtm.example.", typ, "do", fmt.Sprintf("ecs=91.198.%d.0/24", i%256))
			packed, err := q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4096)
			if s.a.Answer(buf, copy(buf, packed), &Meta{Source: s.src, Stream: true}).Deferred() {
				made++
			}
			r := s.askSigned(q)
			verify(t, r.Answer, keys, time.Unix(int64(s.now), 0))
			if again := s.askSigned(q); fmt.Sprint(again.Answer) != fmt.Sprint(r.Answer) {
				t.Fatalf("%s: one client got\n%v\nand then\n%v", typ, r.Answer, again.Answer)
			}
			firsts[r.Answer[0].String()]++
			contents[fmt.Sprint(r.Answer[:len(r.Answer)-1])] = true
		}
		want := map[string]int{"A": 5, "AAAA": 3, "HTTPS": 2 * pairs}[typ]
		if len(firsts) != want {
			t.Errorf("%s: %d records come first, want %d: %v", typ, len(firsts), want, firsts)
		}
		if limit := map[string]int{"A": pairs, "AAAA": 3, "HTTPS": 2 * pairs}[typ]; made > limit || made == 0 || len(contents) < made {
			t.Errorf("%s: %d signatures for %d answers, want %d at most", typ, made, len(contents), limit)
		}
	}
}

// TestStickyAnswersOfSeveralDoNotAllocate, long as they are.
func TestStickyAnswersOfSeveralDoNotAllocate(t *testing.T) {
	s := newServer(t)
	for _, typ := range []string{"A", "AAAA", "HTTPS"} {
		packed, err := query(t, "stickytwo.shop.gtm.example.", typ, "ecs=91.198.174.0/24").Pack()
		if err != nil {
			t.Fatal(err)
		}
		buf, meta := make([]byte, 4096), &Meta{Source: s.src}
		ask := func() {
			if o := s.a.Answer(buf, copy(buf, packed), meta); o.Size < len(packed)+28 || buf[3]&15 != dns.RcodeSuccess {
				t.Fatalf("%+v", o)
			}
		}
		if n := testing.AllocsPerRun(100, ask); n != 0 {
			t.Errorf("%s: %v allocations", typ, n)
		}
	}
}

// BenchmarkStickyTwo is what a query for two of five endpoints costs beside the sockets.
func BenchmarkStickyTwo(b *testing.B) {
	s := newServer(b)
	var packed [64][]byte
	for i := range packed {
		var err error
		if packed[i], err = query(b, "stickytwo.shop.gtm.example.", "A", fmt.Sprintf("ecs=91.198.%d.0/24", i)).Pack(); err != nil {
			b.Fatal(err)
		}
	}
	buf, meta := make([]byte, 4096), &Meta{Source: s.src}
	run := func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			q := packed[i%len(packed)]
			s.a.Answer(buf, copy(buf, q), meta)
		}
	}
	b.Run("unfilled", run)
	s.a.cfg.View.Load().FillTables(b.Context(), nil)
	b.Run("filled", run)
}
