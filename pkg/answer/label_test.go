package answer

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// rooms is a service by label of two pools, a name that keeps it from what is below, and one that lives by periods.
const rooms = `
kind: Service
tenant: shop
name: rooms
spec:
  host: "*.rtc.shop.gtm.example."
  pick: sticky
  sticky: {by: label}
  rules: [{pools: [{pool: eu, weight: 1}, {pool: us, weight: 1}]}]
---
kind: Service
tenant: shop
name: lobby
spec:
  host: "lobby.deep.rtc.shop.gtm.example."
  rules: [{pools: [eu]}]
---
kind: Service
tenant: shop
name: hourly
spec:
  host: "hourly.shop.gtm.example."
  ttl: 5m
  pick: sticky
  sticky: {period: 1h}
  rules: [{pools: [eu]}]
`

// TestLabelsMeet: clients of three continents, with a subnet or none, whatever the case they write, alone or looked ahead at, get one
// answer for a label, for all the world; labels get different ones, and those whose endpoint is well keep it.
func TestLabelsMeet(t *testing.T) {
	s := newServer(t)
	s.Put(rooms)
	ask := func() map[string]string {
		answers := map[string]string{}
		for i := range 60 {
			name := fmt.Sprintf("room-%d.rtc.shop.gtm.example.", i)
			for _, subnet := range []string{"91.198.174.0/24", "202.108.22.0/24", "8.8.8.0/24", "2a02:ec80:300::/48", ""} {
				var opts []string
				if subnet != "" {
					opts = append(opts, "ecs="+subnet)
				}
				for _, name := range []string{name, strings.ToUpper(name)} {
					q := query(t, name, "A", opts...)
					packed, err := q.Pack()
					if err != nil {
						t.Fatal(err)
					}
					r, ahead := s.ask(q, false), new(dns.Msg)
					if err := ahead.Unpack(s.prefetched(packed, Meta{})); err != nil {
						t.Fatal(err)
					}
					if len(r.Answer) != 1 || r.Answer[0].Header().Name != name || fmt.Sprint(r.Answer) != fmt.Sprint(ahead.Answer) {
						t.Fatalf("%s: %v\nlooked ahead at: %v", name, r, ahead)
					}
					got := r.Answer[0].(*dns.A).A.String()
					if at := strings.ToLower(name); answers[at] != "" && answers[at] != got {
						t.Fatalf("%s %s: %s, another got %s", name, subnet, got, answers[at])
					} else {
						answers[at] = got
					}
					if o := r.IsEdns0(); subnet != "" && o.Option[0].(*dns.EDNS0_SUBNET).SourceScope != 0 {
						t.Fatalf("%s: %v", subnet, o)
					}
				}
			}
		}
		return answers
	}
	given := ask()
	endpoints := map[string]int{}
	for _, a := range given {
		endpoints[a]++
	}
	if len(endpoints) != 3 {
		t.Errorf("60 labels get %v", endpoints)
	}
	s.Down("shop", "eu", "a")
	lost := ""
	for name, now := range ask() {
		if was := given[name]; was != now {
			if lost = was; endpoints[lost] == 0 || now == was {
				t.Fatal(was, now)
			}
			endpoints[lost]--
		}
	}
	if lost == "" || endpoints[lost] != 0 {
		t.Errorf("of those of %q %d are left", lost, endpoints[lost])
	}
}

// TestWildcardServicesStandWhereNothingElseDoes: RFC 4592, 2.2.1 and 3.3.1.
func TestWildcardServicesStandWhereNothingElseDoes(t *testing.T) {
	s := newServer(t)
	s.Put(rooms)
	for name, want := range map[string]string{
		"a.rtc.shop.gtm.example.":            "NOERROR 1",
		"b.a.rtc.shop.gtm.example.":          "NOERROR 1",
		"*.rtc.shop.gtm.example.":            "NOERROR 1",
		"a.*.rtc.shop.gtm.example.":          "NXDOMAIN 0", // the asterisk is its closest encloser
		"rtc.shop.gtm.example.":              "NOERROR 0",  // an empty non-terminal
		"deep.rtc.shop.gtm.example.":         "NOERROR 0",
		"a.deep.rtc.shop.gtm.example.":       "NXDOMAIN 0",
		"lobby.deep.rtc.shop.gtm.example.":   "NOERROR 1",
		"a.lobby.deep.rtc.shop.gtm.example.": "NXDOMAIN 0",
		"nothing.shop.gtm.example.":          "NXDOMAIN 0",
	} {
		q := query(t, name, "A", "ecs=91.198.174.0/24")
		packed, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		r, ahead := s.ask(q, false), s.prefetched(packed, Meta{})
		if got := fmt.Sprint(dns.RcodeToString[r.Rcode], " ", len(r.Answer)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if again := s.wire(q); !bytes.Equal(again, ahead) && !strings.HasPrefix(name, "lobby.") { // which is drawn
			t.Errorf("%s: looked ahead at\n%x, otherwise\n%x", name, ahead, again)
		}
	}
	for name, want := range map[string]string{"a.rtc": "A AAAA RRSIG NSEC", "*.rtc": "A AAAA RRSIG NSEC", "rtc": "RRSIG NSEC"} {
		s.sign(dnssec.ECDSAP256)
		r := s.askSigned(query(t, name+".shop.gtm.example.", "MX", "do"))
		if got := fmt.Sprint(r.Ns); !strings.Contains(got, " "+want+"]") && !strings.Contains(got, " "+want+" ") {
			t.Errorf("%s: %v, want the types %s", name, r, want)
		}
	}
}

// TestLabelsAreSigned: each name has a signature of its own, which a validator takes, and which waits behind those of names that exist.
func TestLabelsAreSigned(t *testing.T) {
	s := newServer(t)
	keys := s.sign(dnssec.ECDSAP256)
	s.Put(rooms)
	for _, name := range []string{"a.rtc.shop.gtm.example.", "b.a.rtc.shop.gtm.example.", "*.rtc.shop.gtm.example."} {
		q := query(t, name, "A", "do", "ecs=91.198.174.0/24")
		packed, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		if o := s.a.Answer(buf, copy(buf, packed), &Meta{Source: s.src}); o.Kind != Defer && (name[0] != '*' || o.Kind != DeferKnown) {
			t.Errorf("%s: %+v", name, o)
		}
		r := s.askSigned(q)
		verify(t, r.Answer, keys, time.Unix(int64(s.now), 0))
		sig, ok := r.Answer[len(r.Answer)-1].(*dns.RRSIG)
		if !ok || int(sig.Labels) != dns.CountLabel(strings.TrimPrefix(name, "*.")) || len(r.Answer) != 2 {
			t.Errorf("%s: %v", name, r.Answer)
		}
		if o := s.a.Answer(buf, copy(buf, packed), &Meta{Source: s.src}); o.Kind != Send {
			t.Errorf("%s: the signature was not kept: %+v", name, o)
		}
	}
}

// TestNamesOfAWildcardDoNotShareSignatures: one that is kept for the wildcard's own name is not that of a name that it makes, also where
// that is looked ahead at.
func TestNamesOfAWildcardDoNotShareSignatures(t *testing.T) {
	s := newServer(t)
	keys := s.sign(dnssec.ECDSAP256)
	for range 2 {
		for _, name := range []string{"*.star.shop.gtm.example.", "foo.star.shop.gtm.example.", "a.b.star.shop.gtm.example."} {
			q := query(t, name, "A", "do", "ecs=91.198.174.0/24")
			verify(t, s.askSigned(q).Answer, keys, time.Unix(int64(s.now), 0))
			packed, err := q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			ahead := new(dns.Msg)
			if err := ahead.Unpack(s.prefetched(packed, Meta{})); err != nil || len(ahead.Answer) != 2 {
				t.Fatalf("%s: %v %v", name, err, ahead)
			}
			verify(t, ahead.Answer, keys, time.Unix(int64(s.now), 0))
			labels := dns.CountLabel(strings.TrimPrefix(name, "*."))
			if sig, ok := ahead.Answer[1].(*dns.RRSIG); !ok || int(sig.Labels) != labels { // fewer want a proof that the name is not there
				t.Errorf("%s: %v", name, ahead.Answer)
			}
		}
	}
}

// TestNoAnswerOutlivesItsPeriod, signed or not: every second of an hour, what is answered then holds as long as its TTL says.
func TestNoAnswerOutlivesItsPeriod(t *testing.T) {
	s := newServer(t)
	keys := s.sign(dnssec.ECDSAP256)
	s.Put(rooms)
	q, signed := query(t, "hourly.shop.gtm.example.", "A", "ecs=91.198.174.0/24"), query(t, "hourly.shop.gtm.example.", "A", "do",
		"ecs=91.198.174.0/24")
	ttls, moved := map[uint32]bool{}, 0
	last, until := "", uint32(0)
	for from := s.now; s.now < from+4*3600; s.now += 3 {
		r := s.ask(q, false)
		a := r.Answer[0].(*dns.A)
		if got := a.A.String(); got != last {
			if moved++; s.now < until {
				t.Fatalf("%s at %d, and %s lives until %d", got, s.now, last, until)
			}
			last = got
		}
		until = max(until, s.now+a.Hdr.Ttl)
		if !ttls[a.Hdr.Ttl] {
			ttls[a.Hdr.Ttl] = true
			v := s.askSigned(signed)
			verify(t, v.Answer, keys, time.Unix(int64(s.now), 0))
			if got := v.Answer[0].Header().Ttl; got != a.Hdr.Ttl {
				t.Errorf("TTL %d, signed %d", a.Hdr.Ttl, got)
			}
		}
	}
	if len(ttls) < 4 || len(ttls) > 10 || moved < 2 {
		t.Errorf("TTLs %v, moved %d times", ttls, moved)
	}
}

// TestLabelsAreExplained over DNS.
func TestLabelsAreExplained(t *testing.T) {
	s := newServer(t)
	s.Put(rooms)
	at := map[string]string{}
	for _, c := range []string{"91.198.174.0/24", "8.8.8.0/24"} {
		got := text(s.ask(query(t, "Room-7.rtc.shop.gtm.example._explain.gtm.example.", "TXT", "ecs="+c), true).Answer)
		for _, want := range []string{"shop/rooms", "scope /0", "chosen for 50% of the labels, this one among them",
			"shares are of labels: this label always gets the same answer, whoever asks"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s lacks %q:\n%s", c, want, got)
			}
		}
		at[c] = got[strings.Index(got, "step 1"):]
	}
	if at["91.198.174.0/24"] != at["8.8.8.0/24"] {
		t.Error(at)
	}
	for i := range 10 { // the label is that of the name before _explain
		name := fmt.Sprintf("Room-%d.rtc.shop.gtm.example.", i)
		told := text(s.ask(query(t, name+"_explain.gtm.example.", "TXT"), true).Answer)
		answered := s.ask(query(t, name, "A"), false).Answer[0].(*dns.A).A.String()
		pool := map[bool]string{true: "eu", false: "us"}[strings.HasPrefix(answered, "198.51.100.")]
		if _, of, _ := strings.Cut(told, "pool "+pool); !strings.Contains(of[:strings.Index(of, "\n")], "this one among them") {
			t.Errorf("%s is answered %s, and told:\n%s", name, answered, told)
		}
	}
	got := text(s.ask(query(t, "hourly.shop.gtm.example._explain.gtm.example.", "TXT", "ecs=91.198.174.0/24"), true).Answer)
	if !strings.Contains(got, "shares are of client networks: this one gets the same answer until its period of 1h ends, in ") {
		t.Error(got)
	}
}

// TestKeyedAnswersDoNotAllocate.
func TestKeyedAnswersDoNotAllocate(t *testing.T) {
	s := newServer(t)
	s.Put(rooms)
	s.View.Load().FillTables(t.Context(), nil)
	for _, name := range []string{"a-room-of-a-long-name.rtc.shop.gtm.example.", "hourly.shop.gtm.example."} {
		packed, err := query(t, name, "A", "ecs=91.198.174.0/24").Pack()
		if err != nil {
			t.Fatal(err)
		}
		buf, meta := make([]byte, 4096), &Meta{Source: s.src}
		if n := testing.AllocsPerRun(100, func() { s.a.Answer(buf, copy(buf, packed), meta) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkLabel is what a query for a room costs beside the sockets, alone and looked ahead at.
func BenchmarkLabel(b *testing.B) {
	s := newServer(b)
	s.Put(rooms)
	s.View.Load().FillTables(b.Context(), nil)
	var packed [Window][]byte
	for i := range packed {
		var err error
		if packed[i], err = query(b, fmt.Sprintf("room-%d.rtc.shop.gtm.example.", i), "A", "ecs=91.198.174.0/24").Pack(); err != nil {
			b.Fatal(err)
		}
	}
	buf, meta := make([]byte, 4096), &Meta{Source: s.src}
	b.Run("alone", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			meta.Prefetched = 0
			s.a.Answer(buf, copy(buf, packed[i%Window]), meta)
		}
	})
	b.Run("ahead", func(b *testing.B) {
		var bufs [Window][]byte
		for i := range bufs {
			bufs[i] = make([]byte, 512)
		}
		for i := 0; b.Loop(); i++ {
			if i %= Window; i == 0 {
				for j := range packed {
					copy(bufs[j], packed[j])
					s.a.Parse(j, bufs[j][:len(packed[j])], s.src)
				}
				s.a.Prefetch(Window)
			}
			meta.Prefetched = i + 1
			s.a.Answer(bufs[i], len(packed[i]), meta)
		}
	})
}
