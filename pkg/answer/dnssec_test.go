package answer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// zoneKeys makes keys for zone gtm.example., and signs what they are published by, at the time now.
func zoneKeys(t testing.TB, alg dnssec.Algorithm, now uint32) *compile.ZoneKeys {
	t.Helper()
	ksk, err := dnssec.Generate(alg, true)
	if err != nil {
		t.Fatal(err)
	}
	zsk, err := dnssec.Generate(alg, false)
	if err != nil {
		t.Fatal(err)
	}
	apex, err := dnswire.AppendName(nil, "gtm.example.")
	if err != nil {
		t.Fatal(err)
	}
	set := dnssec.SignedSet{Type: dnswire.TypeDNSKEY, TTL: 3600, Data: [][]byte{ksk.DNSKEY(), zsk.DNSKEY()}}
	slices.SortFunc(set.Data, slices.Compare)
	sig, err := ksk.Sign(apex, 2, dnswire.TypeDNSKEY, 3600, set.Data, apex, now-3600, now+86400*14)
	if err != nil {
		t.Fatal(err)
	}
	set.Sigs = [][]byte{sig}
	return &compile.ZoneKeys{Keys: []*dnssec.Key{zsk}, Sets: []dnssec.SignedSet{set}}
}

// sign gives zone gtm.example. keys, and gives its DNSKEY records for checking.
func (s *server) sign(alg dnssec.Algorithm) []*dns.DNSKEY {
	s.t.Helper()
	s.SetKeys("gtm.example.", zoneKeys(s.t, alg, s.now))
	s.Change(compile.Change{})
	r := s.askSigned(query(s.t, "gtm.example.", "DNSKEY", "do"))
	var keys []*dns.DNSKEY
	for _, rr := range r.Answer {
		if k, ok := rr.(*dns.DNSKEY); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) != 2 {
		s.t.Fatalf("DNSKEY answer: %v", r)
	}
	return keys
}

// askSigned asks as serve does: a query that is deferred comes again where slowness is allowed.
func (s *server) askSigned(m *dns.Msg) *dns.Msg {
	s.t.Helper()
	packed, err := m.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	meta := Meta{Source: s.src, Stream: true}
	out := s.a.Answer(buf, copy(buf, packed), &meta)
	if out.Deferred() {
		meta.Slow, meta.Resume = true, s.a.Resume()
		out = s.a.Answer(buf, len(packed), &meta) // the query is as it came
	}
	r := new(dns.Msg)
	if err := r.Unpack(buf[:out.Size]); err != nil || out.Deferred() {
		s.t.Fatalf("%s: %+v: %v", m.Question[0].String(), out, err)
	}
	return r
}

// verify checks that each set of a section carries a signature that holds. Synthesized CNAMEs and a delegation's NS set carry none.
func verify(t *testing.T, section []dns.RR, keys []*dns.DNSKEY, at time.Time) {
	t.Helper()
	sets := map[string][]dns.RR{}
	dnames := map[string]bool{}
	for _, rr := range section {
		h := rr.Header()
		if h.Rrtype == dns.TypeDNAME {
			dnames[h.Name] = true
		}
		if h.Rrtype != dns.TypeRRSIG && h.Rrtype != dns.TypeOPT {
			id := fmt.Sprint(strings.ToLower(h.Name), h.Rrtype)
			sets[id] = append(sets[id], rr)
		}
	}
	for _, set := range sets {
		h := set[0].Header()
		if h.Rrtype == dns.TypeNS && h.Name != "gtm.example." {
			continue
		}
		if h.Rrtype == dns.TypeCNAME && slices.ContainsFunc(slices.Collect(mapKeys(dnames)),
			func(n string) bool { return dns.IsSubDomain(n, h.Name) && n != h.Name }) {
			continue
		}
		good := false
		for _, rr := range section {
			sig, ok := rr.(*dns.RRSIG)
			if !ok || sig.TypeCovered != h.Rrtype || !strings.EqualFold(sig.Hdr.Name, h.Name) {
				continue
			}
			for _, k := range keys {
				if k.KeyTag() == sig.KeyTag && sig.Verify(k, set) == nil && sig.ValidityPeriod(at) {
					good = true
				}
			}
			if sig.Hdr.Ttl != h.Ttl {
				t.Errorf("%s: TTL %d, its signature's %d", h, h.Ttl, sig.Hdr.Ttl)
			}
		}
		if !good {
			t.Errorf("no signature that holds over %v in\n%v", set, section)
		}
	}
}

func mapKeys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestSignedAnswers(t *testing.T) {
	for _, alg := range []dnssec.Algorithm{dnssec.ECDSAP256, dnssec.Ed25519} {
		s := newServer(t)
		keys := s.sign(alg)
		for _, tc := range []struct {
			name, qname, qtype string
			opts               []string
			rcode              int
			nsec               string // owner and types of the denial
		}{
			{"static", "static.gtm.example.", "A", nil, 0, ""},
			{"apex", "gtm.example.", "SOA", nil, 0, ""},
			{"keys", "gtm.example.", "DNSKEY", nil, 0, ""},
			{"upper case", "STATIC.gtm.example.", "A", nil, 0, ""},
			{"nodata", "static.gtm.example.", "AAAA", nil, 0, "static.gtm.example. A RRSIG NSEC"},
			{"nodata at the apex", "gtm.example.", "AAAA", nil, 0, "gtm.example. NS SOA MX RRSIG NSEC DNSKEY"},
			{"nxdomain", "nothing.gtm.example.", "A", nil, 0, "nothing.gtm.example. RRSIG NSEC NXNAME"},
			{"nxdomain, compact answers ok", "nothing.gtm.example.", "A", []string{"co"}, 3, "nothing.gtm.example. RRSIG NSEC NXNAME"},
			{"empty non-terminal", "shop.gtm.example.", "A", nil, 0, "shop.gtm.example. RRSIG NSEC"},
			{"wildcard", "any.wild.gtm.example.", "TXT", nil, 0, ""},
			{"wildcard nodata", "any.wild.gtm.example.", "A", nil, 0, "any.wild.gtm.example. TXT RRSIG NSEC"},
			{"insecure delegation", "www.sub.gtm.example.", "A", nil, 0, "sub.gtm.example. NS RRSIG NSEC"},
			{"no DS at the cut", "sub.gtm.example.", "DS", nil, 0, "sub.gtm.example. NS RRSIG NSEC"},
			{"CNAME", "alias.gtm.example.", "A", nil, 0, ""},
			{"CNAME to nothing", "dangling.gtm.example.", "A", nil, 0, "nothing.gtm.example. RRSIG NSEC NXNAME"},
			{"DNAME", "a.b.old.gtm.example.", "A", nil, 0, ""},
			{"steered", "web.shop.gtm.example.", "A", []string{"ecs=91.198.174.0/24"}, 0, ""},
			{"steered, IPv6", "web.shop.gtm.example.", "AAAA", nil, 0, ""},
			{"steered, nodata", "web.shop.gtm.example.", "MX", []string{"ecs=91.198.174.0/24"}, 0,
				"web.shop.gtm.example. A AAAA RRSIG NSEC"},
			{"steered, nodata for another client", "web.shop.gtm.example.", "MX", []string{"ecs=202.108.22.0/24"}, 0,
				"web.shop.gtm.example. A AAAA RRSIG NSEC"},
			{"steered wildcard", "foo.star.shop.gtm.example.", "A", nil, 0, ""},
			{"steered wildcard nodata", "foo.star.shop.gtm.example.", "MX", nil, 0, "foo.star.shop.gtm.example. A AAAA RRSIG NSEC"},
			{"steered CNAME", "cdn.shop.gtm.example.", "A", nil, 0, ""},
			{"all", "all.shop.gtm.example.", "A", nil, 0, ""},
			{"ANY", "static.gtm.example.", "ANY", nil, 0, ""},
			{"ANY of a CNAME", "alias.gtm.example.", "ANY", nil, 0, ""},
			{"whoami", "whoami.gtm.example.", "TXT", nil, 0, ""},
			{"whoami nodata", "whoami.gtm.example.", "A", nil, 0, "whoami.gtm.example. TXT RRSIG NSEC"},
			{"explain", "web.shop.gtm.example._explain.gtm.example.", "TXT", nil, 0, ""},
			{"NSEC asked for", "static.gtm.example.", "NSEC", nil, 0, ""},
			{"NSEC of a name that does not exist", "nothing.gtm.example.", "NSEC", nil, 0, ""},
			{"NSEC of a CNAME's owner", "alias.gtm.example.", "NSEC", nil, 0, ""},
			{"NSEC of a steered CNAME", "cdn.shop.gtm.example.", "NSEC", nil, 0, ""},
			{"NSEC of a wildcard", "any.wild.gtm.example.", "NSEC", nil, 0, ""},
			{"NSEC of whoami", "whoami.gtm.example.", "NSEC", nil, 0, ""},
			{"NSEC of an explanation", "web.shop.gtm.example._explain.gtm.example.", "NSEC", nil, 0, ""},
		} {
			t.Run(alg.String()+" "+tc.name, func(t *testing.T) {
				s.t = t
				q := query(t, tc.qname, tc.qtype, append(tc.opts, "do")...)
				r := s.askSigned(q)
				if r.Rcode != tc.rcode {
					t.Errorf("rcode %d, want %d", r.Rcode, tc.rcode)
				}
				at := time.Unix(int64(s.now), 0)
				verify(t, r.Answer, keys, at)
				verify(t, r.Ns, keys, at)
				var got string
				for _, rr := range r.Ns {
					if n, ok := rr.(*dns.NSEC); ok {
						got = n.Hdr.Name
						for _, typ := range n.TypeBitMap {
							got += " " + strings.Replace(dns.Type(typ).String(), "TYPE128", "NXNAME", 1)
						}
						if want := `\000.` + n.Hdr.Name; n.NextDomain != want {
							t.Errorf("next %s, want %s: it must deny no other name", n.NextDomain, want)
						}
					}
				}
				if tc.qtype == "NSEC" && (len(r.Answer) != 2 || r.Answer[0].Header().Rrtype != dns.TypeNSEC ||
					r.Answer[0].Header().Name != tc.qname) {
					t.Errorf("no NSEC record of the name: %v", r.Answer)
				}
				if got != tc.nsec {
					t.Errorf("denial %q, want %q", got, tc.nsec)
				}
				plain := s.ask(query(t, tc.qname, tc.qtype,
					slices.DeleteFunc(slices.Clone(tc.opts), func(o string) bool { return o == "co" })...), true)
				for _, rr := range slices.Concat(plain.Answer, plain.Ns) {
					if typ := rr.Header().Rrtype; typ == dns.TypeRRSIG || typ == dns.TypeNSEC && tc.qtype != "NSEC" {
						t.Errorf("without DO there is %v", rr)
					}
				}
			})
		}
	}
}

// TestSignaturesAreMadeOnceAndNeverOnTheWayOfAQuery asks twice, as a worker does.
func TestSignaturesAreMadeOnceAndNeverOnTheWayOfAQuery(t *testing.T) {
	s := newServer(t)
	s.sign(dnssec.ECDSAP256)
	s.down("eu")
	share := uint8(0)
	for i, q := range []*dns.Msg{query(t, "nothing.gtm.example.", "A", "do"), query(t, "x.wild.gtm.example.", "TXT", "do"),
		query(t, "static.gtm.example.", "A", "do"), query(t, "static.gtm.example.", "AAAA", "do"),
		query(t, "web.shop.gtm.example.", "A", "do", "ecs=91.198.174.0/24"), query(t, "www.sub.gtm.example.", "A", "do")} {
		packed, _ := q.Pack()
		buf := make([]byte, 4096)
		meta := Meta{Source: s.src}
		if out := s.a.Answer(buf, copy(buf, packed), &meta); !out.Deferred() || (out.Kind == DeferKnown) != (i >= 2) {
			t.Fatalf("%s: signed on the way of a query: %+v", q.Question[0].String(), out)
		}
		if got := s.a.Share(); i > 0 && got != share || got == 0 {
			t.Errorf("%s: its share is %d, and that of the zone %d", q.Question[0].String(), got, share)
		}
		share = s.a.Share()
		meta.Slow = true
		first := s.a.Answer(buf, copy(buf, packed), &meta)
		if first.Kind != Send {
			t.Fatalf("%s: %+v", q.Question[0].String(), first)
		}
		meta.Slow = false
		if n := testing.AllocsPerRun(300, func() {
			if out := s.a.Answer(buf, copy(buf, packed), &meta); out.Deferred() {
				t.Fatalf("%s: deferred again", q.Question[0].String())
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a query", q.Question[0].String(), n)
		}
	}
	packed, _ := query(t, "elsewhere.test.", "A").Pack()
	buf := make([]byte, 4096)
	if s.a.Answer(buf, copy(buf, packed), &Meta{Source: s.src}); s.a.Share() != 0 {
		t.Errorf("what is in no zone has the share %d", s.a.Share())
	}
}

// TestHealthNeedsNoNewSignature: what was signed before stays signed while health goes back and forth.
func TestHealthNeedsNoNewSignature(t *testing.T) {
	s := newServer(t)
	s.sign(dnssec.ECDSAP256)
	packed, _ := query(t, "web.shop.gtm.example.", "A", "do", "ecs=202.108.22.0/24").Pack()
	ask := func(slow bool) Outcome {
		buf := make([]byte, 4096)
		return s.a.Answer(buf, copy(buf, packed), &Meta{Source: s.src, Slow: slow})
	}
	ask(true)
	s.down("sg")
	if !ask(false).Deferred() {
		t.Fatal("another pool's set cannot be signed yet")
	}
	ask(true)
	s.Change(compile.Change{VerdictsDeleted: s.told})
	if ask(false).Deferred() {
		t.Error("the first set was signed before, but is signed anew")
	}
	s.down("sg")
	if ask(false).Deferred() {
		t.Error("the second set was signed before, but is signed anew")
	}
}

// TestADeferredQueryIsDrawnOnce: a query that had to wait for a signature drew anew, so that answers which were signed already came in
// the place of those that were not. What is drawn without signatures is what is drawn with them.
func TestADeferredQueryIsDrawnOnce(t *testing.T) {
	s := newServer(t)
	signed, plain := query(t, "web.shop.gtm.example.", "A", "do", "ecs=91.198.174.0/24"),
		query(t, "web.shop.gtm.example.", "A", "ecs=91.198.174.0/24")
	address := func(seed uint64, q *dns.Msg) string {
		s.a = New(Config{View: &s.View, Seed: seed, Clock: func() uint32 { return s.now }})
		return s.askSigned(q).Answer[0].(*dns.A).A.String()
	}
	seen := map[string]int{}
	for seed := range uint64(40) {
		s.sign(dnssec.ECDSAP256) // what was signed before is of no use
		want := address(seed, plain)
		if got := address(seed, signed); got != want {
			t.Errorf("seed %d: %s without signatures, %s with one that was waited for", seed, want, got)
		}
		seen[want]++
	}
	if len(seen) < 2 {
		t.Errorf("all answers are %v", seen)
	}
}

// TestSignaturesAreRenewedBeforeTheyEnd moves the clock through the life of a signature.
func TestSignaturesAreRenewedBeforeTheyEnd(t *testing.T) {
	s := newServer(t)
	keys := s.sign(dnssec.ECDSAP256)
	start := s.now
	q := query(t, "static.gtm.example.", "A", "do")
	packed, _ := q.Pack()
	renewed := 0
	for s.now = start; s.now < start+30*86400; s.now += 3600 {
		buf := make([]byte, 4096)
		deferred := 0
		for range 200 {
			if s.a.Answer(buf, copy(buf, packed), &Meta{Source: s.src}).Deferred() {
				deferred++
				s.a.Answer(buf, copy(buf, packed), &Meta{Source: s.src, Slow: true})
			}
		}
		if deferred > 0 {
			renewed++
		}
		r := s.askSigned(q)
		verify(t, r.Answer, keys, time.Unix(int64(s.now), 0))
	}
	if renewed < 5 || renewed > 8 {
		t.Errorf("signed %d times in 30 days, want about every 5 days", renewed)
	}
}

// TestNXNAMEIsNotAskedFor: the type only stands in bitmaps (RFC 9824, 3.5).
func TestNXNAMEIsNotAskedFor(t *testing.T) {
	s := newServer(t)
	for _, name := range []string{"static.gtm.example.", "nothing.gtm.example."} {
		m := query(t, name, "A", "edns")
		m.Question[0].Qtype = dnswire.TypeNXNAME
		r := s.ask(m, false)
		ede, ok := r.IsEdns0().Option[0].(*dns.EDNS0_EDE)
		if r.Rcode != dns.RcodeFormatError || len(r.Answer)+len(r.Ns) > 0 || !ok || ede.InfoCode != 30 {
			t.Errorf("%v", r)
		}
	}
}
