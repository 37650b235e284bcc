package seam_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/serve/seam"
)

// plainFreshness is freshness, on what the oracle has read.
func plainFreshness(m *dns.Msg) uint32 {
	if len(m.Question) != 1 || m.Rcode&15 != dns.RcodeSuccess && m.Rcode&15 != dns.RcodeNameError {
		return 0
	}
	plain := func(ttl uint32) uint32 {
		if ttl >= 1<<31 {
			return 0
		}
		return ttl
	}
	if len(m.Answer) > 0 {
		least := uint32(1<<31 - 1)
		for _, rr := range m.Answer {
			least = min(least, plain(rr.Header().Ttl))
		}
		return least
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(plain(soa.Hdr.Ttl), plain(soa.Minttl))
		}
	}
	return 0
}

func TestFreshness(t *testing.T) {
	soa := "example. 3600 IN SOA ns.example. host.example. 1 2 3 4 900"
	for _, tc := range []struct {
		name, answer, authority string
		rcode                   int
		want                    uint32
	}{
		{"smallest", "a.example. 300 IN A 192.0.2.1\nb.example. 20 IN AAAA 2001:db8::1\nc.example. 40 IN TXT x", soa, 0, 20},
		{"NODATA", "", "example. 60 IN NS ns.example.\n" + soa, 0, 900},
		{"NODATA, SOA of a smaller TTL", "", "example. 30 IN SOA ns.example. host.example. 1 2 3 4 900", 0, 30},
		{"NXDOMAIN", "", soa, dns.RcodeNameError, 900},
		{"NXDOMAIN behind a CNAME", "a.example. 7 IN CNAME b.example.", soa, dns.RcodeNameError, 7},
		{"a referral", "", "example. 60 IN NS ns.example.", 0, 0},
		{"REFUSED", "", "", dns.RcodeRefused, 0},
		{"SERVFAIL with something", "a.example. 300 IN A 192.0.2.1", "", dns.RcodeServerFailure, 0},
		{"a TTL beyond all", "a.example. 2147483648 IN A 192.0.2.1\na.example. 5 IN A 192.0.2.2", "", 0, 0},
		{"nothing at all", "", "", 0, 0},
	} {
		m := new(dns.Msg)
		m.SetQuestion("www.example.", dns.TypeA)
		m.Compress, m.Rcode = true, tc.rcode
		m.Answer, m.Ns = records(t, tc.answer), records(t, tc.authority)
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got := seam.Freshness(packed); got != tc.want || plainFreshness(m) != tc.want {
			t.Errorf("%s: %d, want %d; the oracle says %d", tc.name, got, tc.want, plainFreshness(m))
		}
		for i := range packed { // cut off anywhere: no panic, and never fresher
			if got := seam.Freshness(packed[:i]); got > tc.want {
				t.Errorf("%s, %d bytes: %d", tc.name, i, got)
			}
		}
	}
}

func TestFreshnessAgainstTheOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	pick := []string{"a.example. 42 IN A 192.0.2.1", "example. 3600 IN SOA ns.example. h.example. 1 2 3 4 5",
		"x.y.z.example. 77 IN MX 10 example.",
		"example. 100 IN NS ns.example.", "o.example. 2147483649 IN TXT \"long\"", "c.example. 3 IN CNAME d.example."}
	for range 2000 {
		m := new(dns.Msg)
		m.SetQuestion("www.example.", dns.TypeA)
		m.Compress, m.Rcode = rnd.IntN(2) == 0, rnd.IntN(4)
		for range rnd.IntN(3) {
			m.Answer = append(m.Answer, records(t, pick[rnd.IntN(len(pick))])...)
		}
		for range rnd.IntN(3) {
			m.Ns = append(m.Ns, records(t, pick[rnd.IntN(len(pick))])...)
		}
		m.SetEdns0(1232, false)
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := seam.Freshness(packed), plainFreshness(m); got != want {
			t.Fatalf("%d, want %d:\n%v", got, want, m)
		}
	}
}

func FuzzFreshness(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion("www.example.", dns.TypeA)
	m.Compress = true
	m.Answer = records(f, "www.example. 300 IN A 192.0.2.1\nwww.example. 20 IN A 192.0.2.2")
	answer, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	m.Answer, m.Ns = nil, records(f, "example. 3600 IN SOA ns.example. host.example. 1 2 3 4 900")
	negative, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(answer)
	f.Add(negative)
	f.Add(append(bytes.Clone(answer[:seam.HeaderSize]), 0xc0, 12))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if got := seam.Freshness(msg); got >= 1<<31 {
			t.Errorf("%d", got)
		}
	})
}

func records(t testing.TB, text string) (all []dns.RR) {
	for line := range strings.SplitSeq(text, "\n") {
		if rr, err := dns.NewRR(line); err != nil {
			t.Error(err)
		} else if rr != nil {
			all = append(all, rr)
		}
	}
	return all
}
