package answer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// expectOPT is what the oracle says of the reply's OPT record, for a good query of a name that is not steered.
func expectOPT(q *dns.OPT, m Meta) []string {
	var want []string
	seen := map[uint16]bool{}
	for _, e := range q.Option {
		if seen[e.Option()] {
			continue
		}
		seen[e.Option()] = true
		switch e := e.(type) {
		case *dns.EDNS0_NSID:
			want = append(want, fmt.Sprintf("nsid %x", "edge-1"))
		case *dns.EDNS0_COOKIE:
			want = append(want, "cookie "+e.Cookie[:16])
		case *dns.EDNS0_SUBNET:
			want = append(want, fmt.Sprintf("subnet %d %s/%d/0", e.Family, e.Address, e.SourceNetmask))
		case *dns.EDNS0_TCP_KEEPALIVE:
			if m.Stream && m.KeepAlive > 0 {
				want = append(want, fmt.Sprintf("keepalive %d", m.KeepAlive))
			}
		}
	}
	if m.Encrypted {
		want = append(want, "padding")
	}
	return want
}

func gotOPT(r *dns.OPT) []string {
	var got []string
	for _, e := range r.Option {
		switch e := e.(type) {
		case *dns.EDNS0_NSID:
			got = append(got, "nsid "+e.Nsid)
		case *dns.EDNS0_COOKIE:
			got = append(got, "cookie "+e.Cookie[:16])
		case *dns.EDNS0_SUBNET:
			got = append(got, fmt.Sprintf("subnet %d %s/%d/%d", e.Family, e.Address, e.SourceNetmask, e.SourceScope))
		case *dns.EDNS0_TCP_KEEPALIVE:
			got = append(got, fmt.Sprintf("keepalive %d", e.Timeout))
		case *dns.EDNS0_PADDING:
			got = append(got, "padding")
		default:
			got = append(got, e.String())
		}
	}
	return got
}

func randomOptions(r *rand.Rand) []dns.EDNS0 {
	all := []dns.EDNS0{
		&dns.EDNS0_NSID{Code: dns.EDNS0NSID},
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: fmt.Sprintf("%016x", r.Uint64())},
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: fmt.Sprintf("%048x", r.Uint64())},
		&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE},
		&dns.EDNS0_PADDING{Padding: make([]byte, r.IntN(50))},
		&dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true},
		&dns.EDNS0_LOCAL{Code: 20000 + uint16(r.IntN(45000)), Data: make([]byte, r.IntN(20))},
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{81, 2, 69, 0}},
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:r.IntN(len(all)+1)]
}

// TestOptionsAgainstOracle: one Answerer for queries with any options and flags in any order, so that nothing of one
// query (DO above all) shows in the reply to another.
func TestOptionsAgainstOracle(t *testing.T) {
	s := newServer(t)
	s.withCookies(false, secret1)
	r := rand.New(rand.NewPCG(21, 22))
	names := []string{"static.gtm.example.", "many.gtm.example.", "nothing.gtm.example.", "elsewhere.", "www.sub.gtm.example."}
	for range 5000 {
		var asked *dns.OPT
		msg := packWith(t, names[r.IntN(len(names))], dns.TypeA, func(m *dns.Msg, o *dns.OPT) {
			if r.IntN(4) == 0 {
				m.Extra = nil
				return
			}
			asked = o
			o.SetDo(r.IntN(2) == 0)
			o.SetCo(r.IntN(2) == 0)
			o.Option = randomOptions(r)
		})
		m := Meta{Source: s.src, Stream: r.IntN(2) == 0, KeepAlive: uint16(r.IntN(2) * 300)}
		m.Encrypted = m.Stream && r.IntN(2) == 0
		reply, _ := s.exchange(msg, m)
		opt := reply.IsEdns0()
		if (asked == nil) != (opt == nil) {
			t.Fatalf("asked %v, got %v", asked, opt)
		}
		if asked == nil {
			continue
		}
		want, got := expectOPT(asked, m), gotOPT(opt)
		if len(opt.Option) > 0 && reply.Rcode == dns.RcodeRefused {
			got = dropEDE(got)
		}
		if opt.Do() != asked.Do() || opt.Co() != asked.Co() || opt.Version() != 0 || !sameSet(got, want) {
			t.Fatalf("%+v\nasked %v\ngot %v\nwant %v", m, asked, opt, want)
		}
	}
}

// dropEDE takes the extended error of a refusal away.
func dropEDE(options []string) []string {
	var out []string
	for _, o := range options {
		if !strings.HasPrefix(o, "20 (") {
			out = append(out, o)
		}
	}
	return out
}

func sameSet(a, b []string) bool {
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestOptionsWithoutAllocation(t *testing.T) {
	s := newServer(t)
	clock := s.withCookies(false, secret1, secret2)
	all := packWith(t, "static.gtm.example.", dns.TypeA, func(_ *dns.Msg, o *dns.OPT) {
		o.SetDo()
		o.Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieClient},
			&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}, &dns.EDNS0_PADDING{Padding: make([]byte, 40)}}
	})
	r, _ := s.exchange(cookieQuery(t, cookieClient), Meta{})
	refused, _ := query(t, "elsewhere.", "A", "nsid").Pack()
	for name, msg := range map[string][]byte{"all options": all, "a good cookie": cookieQuery(t, cookieOf(r)), "an extended error": refused,
		"no question": packWith(t, ".", 0, func(m *dns.Msg, o *dns.OPT) {
			m.Question = nil
			o.Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieClient}}
		})} {
		buf := make([]byte, 4096)
		m := &Meta{Source: s.src, Stream: true, Encrypted: true, KeepAlive: 100}
		if n := testing.AllocsPerRun(300, func() {
			clock.Add(10)
			s.a.Answer(buf, copy(buf, msg), m)
			s.a.Flush()
		}); n != 0 {
			t.Errorf("%s: %v allocations a query", name, n)
		}
	}
}

// FuzzOptions: whatever the options, over every kind of transport, the reply unpacks and stays within its room.
func FuzzOptions(f *testing.F) {
	s := newServer(f)
	s.withCookies(true, secret1)
	for _, m := range [][]byte{cookieQuery(f, cookieClient), cookieQuery(f, cookieClient+strings.Repeat("01", 16)), cookieQuery(f, "01")} {
		f.Add(m, uint8(0), uint16(0))
		f.Add(m, uint8(3), uint16(100))
	}
	f.Fuzz(func(t *testing.T, msg []byte, transport uint8, keepAlive uint16) {
		if len(msg) > 512 {
			return
		}
		m := Meta{Source: s.src, Stream: transport&1 != 0, Encrypted: transport&3 == 3, KeepAlive: keepAlive}
		buf := make([]byte, 4096)
		o := s.a.Answer(buf, copy(buf, msg), &m)
		s.a.Flush()
		if o.Kind != Send {
			return
		}
		r := new(dns.Msg)
		if err := r.Unpack(buf[:o.Size]); err != nil {
			t.Fatalf("%x is answered by %x: %v", msg, buf[:o.Size], err)
		}
		if !m.Stream && o.Size > MaxUDP || m.Encrypted && r.IsEdns0() != nil && o.Size%468 != 0 && o.Size != len(buf) {
			t.Fatalf("reply of %d bytes over %+v", o.Size, m)
		}
		if r.Rcode == dns.RcodeBadCookie && (m.Stream && len(r.Question) == 1 || len(r.Answer) > 0 || o.Exempt) {
			t.Fatalf("%x is answered by %v", msg, r)
		}
	})
}
