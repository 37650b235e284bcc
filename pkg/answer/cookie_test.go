package answer

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/dnswire"
)

func TestCookies(t *testing.T) {
	const good = cookieClient + "010000005cf79f111f8130c3eee29480" // of secret1 for 198.51.100.100, made at cookieTime
	const later = cookieClient + "010000005cf7a871d4a564a1442aca77"
	src := netip.MustParseAddrPort("198.51.100.100:53")
	two := []string{secret2, secret1}
	for _, tc := range []struct {
		name    string
		secrets []string
		require bool
		now     uint32
		cookie  string
		src     netip.AddrPort
		stream  bool
		rcode   int
		exempt  bool
		reply   string // "": any new and good one
	}{
		{"client cookie", []string{secret1}, false, cookieTime, cookieClient, src, false, 0, false, good},
		{"client cookie, over a stream", []string{secret1}, false, cookieTime, cookieClient, src, true, 0, false, good},
		{"a good one", []string{secret1}, false, cookieTime + 60, good, src, false, 0, true, good},
		{"after half an hour a new one", []string{secret1}, false, cookieTime + 2400, good, src, false, 0, true, later},
		{"after an hour it is void", []string{secret1}, false, cookieTime + 3601, good, src, false, 0, false, ""},
		{"of the future", []string{secret1}, false, cookieTime - 301, good, src, false, 0, false, ""},
		{"of another address", []string{secret1}, false, cookieTime, good, netip.MustParseAddrPort("198.51.100.101:53"), false,
			0, false, ""},
		{"of the old secret", two, false, cookieTime, good, src, false, 0, true, ""},
		{"of a secret that is gone", []string{secret2}, false, cookieTime, good, src, false, 0, false, ""},
		{"forged", []string{secret1}, false, cookieTime, good[:46] + "81", src, false, 0, false, good},
		{"of another kind", []string{secret1}, false, cookieTime, good + "0011", src, false, 0, false, good},
		{"required, client cookie", []string{secret1}, true, cookieTime, cookieClient, src, false, dns.RcodeBadCookie, false, good},
		{"required, forged", []string{secret1}, true, cookieTime, good[:46] + "81", src, false, dns.RcodeBadCookie, false, good},
		{"required, of the old secret", two, true, cookieTime, good, src, false, 0, true, ""},
		{"required, good", []string{secret1}, true, cookieTime, good, src, false, 0, true, good},
		{"required, but over a stream", []string{secret1}, true, cookieTime, cookieClient, src, true, 0, false, good},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t)
			clock := s.withCookies(tc.require, tc.secrets...)
			clock.Store(tc.now)
			r, o := s.exchange(cookieQuery(t, tc.cookie), Meta{Source: tc.src, Stream: tc.stream})
			want := 1
			if tc.rcode != 0 {
				want = 0
			}
			if r.Rcode != tc.rcode || o.Exempt != tc.exempt || len(r.Answer) != want || r.Authoritative != (want == 1) ||
				len(r.Question) != 1 {
				t.Errorf("exempt %v, %v", o.Exempt, r)
			}
			got := cookieOf(r)
			if len(got) != 48 || !strings.HasPrefix(got, cookieClient) || tc.reply != "" && got != tc.reply || tc.reply == "" &&
				got == tc.cookie {
				t.Errorf("cookie %s", got)
			}
			// what it got is good for the next query, even where cookies are required
			if r, o = s.exchange(cookieQuery(t, got), Meta{Source: tc.src}); r.Rcode != 0 || !o.Exempt || cookieOf(r) != got {
				t.Errorf("the next query: exempt %v, %v", o.Exempt, r)
			}
		})
	}
}

func TestWithoutCookies(t *testing.T) {
	s := newServer(t)
	s.withCookies(true, secret1)
	plain := packWith(t, "static.gtm.example.", dns.TypeA, nil)
	if r, o := s.exchange(plain, Meta{}); r.Rcode != 0 || len(r.Answer) != 1 || o.Exempt || len(r.IsEdns0().Option) != 0 {
		t.Errorf("a client that knows no cookies: %v", r)
	}
	// malformed ones
	for _, n := range []int{0, 1, 7, 9, 15, 41} {
		r, o := s.exchange(cookieQuery(t, strings.Repeat("00", n)), Meta{})
		if r.Rcode != dns.RcodeFormatError || o.Exempt || r.IsEdns0() == nil || len(r.IsEdns0().Option) != 0 || len(r.Question) != 1 {
			t.Errorf("a cookie of %d bytes: %v", n, r)
		}
	}
	// no secrets
	s.cookies.Store(nil)
	for _, cookies := range []*atomic.Pointer[dnswire.CookieSecrets]{nil, &s.cookies} {
		s.a = New(Config{View: &s.View, ID: "edge-1", Cookies: cookies, RequireCookies: true})
		if r, o := s.exchange(cookieQuery(t, cookieClient), Meta{}); r.Rcode != 0 || o.Exempt || len(r.IsEdns0().Option) != 0 {
			t.Errorf("without secrets: %v", r)
		}
	}
}

// RFC 7873, 5.4
func TestCookieWithoutQuestion(t *testing.T) {
	s := newServer(t)
	bare := func(cookie string) []byte {
		return packWith(t, ".", 0, func(m *dns.Msg, o *dns.OPT) {
			m.Question = nil
			if cookie != "" {
				o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
			}
		})
	}
	for _, require := range []bool{false, true} {
		s.withCookies(require, secret1)
		r, o := s.exchange(bare(cookieClient), Meta{})
		good := cookieOf(r)
		if r.Rcode != 0 || o.Exempt || len(good) != 48 || len(r.Question) != 0 || r.Authoritative {
			t.Errorf("%v", r)
		}
		if r, o = s.exchange(bare(good), Meta{}); r.Rcode != 0 || !o.Exempt || cookieOf(r) != good {
			t.Errorf("%v", r)
		}
		if r, o = s.exchange(bare(good[:46]+"00"), Meta{Stream: true}); r.Rcode != dns.RcodeBadCookie || o.Exempt || cookieOf(r) != good {
			t.Errorf("%v", r)
		}
		if r, _ = s.exchange(bare(""), Meta{}); r.Rcode != dns.RcodeFormatError || len(r.Question) != 0 {
			t.Errorf("%v", r)
		}
	}
	s.cookies.Store(nil)
	if r, _ := s.exchange(bare(cookieClient), Meta{}); r.Rcode != dns.RcodeFormatError || cookieOf(r) != "" {
		t.Errorf("without secrets: %v", r)
	}
	s.View.Store(nil)
	s.withCookies(false, secret1)
	if r, _ := s.exchange(bare(cookieClient), Meta{}); r.Rcode != 0 || len(cookieOf(r)) != 48 {
		t.Errorf("before the first view: %v", r)
	}
}

func BenchmarkCookie(b *testing.B) {
	s := newServer(b)
	s.withCookies(false, secret1)
	r, _ := s.exchange(cookieQuery(b, cookieClient), Meta{})
	for name, cookie := range map[string]string{"new": cookieClient, "known": cookieOf(r)} {
		b.Run(name, func(b *testing.B) {
			msg, buf, m := cookieQuery(b, cookie), make([]byte, 4096), &Meta{Source: s.src}
			b.ReportAllocs()
			for b.Loop() {
				s.a.Answer(buf, copy(buf, msg), m)
			}
		})
	}
}
