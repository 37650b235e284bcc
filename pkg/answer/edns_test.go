package answer

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/dnswire"
)

const cookieClient = "2464c4abcf10c957"

// cookieTime is when the tests that don't say otherwise take place.
const cookieTime = 1559731985

// withCookies gives s an Answerer with cookie secrets, at the time that clock holds.
func (s *server) withCookies(require bool, keys ...string) (clock *atomic.Uint32) {
	s.t.Helper()
	clock = new(atomic.Uint32)
	clock.Store(cookieTime)
	s.cookies.Store(newSecrets(s.t, keys...))
	s.a = New(Config{View: &s.view, ID: "edge-1", Seed: 1, Cookies: &s.cookies, Clock: clock.Load, RequireCookies: require})
	return clock
}

func newSecrets(t testing.TB, keys ...string) *dnswire.CookieSecrets {
	t.Helper()
	var raw [][]byte
	for _, k := range keys {
		b, err := hex.DecodeString(k)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, b)
	}
	secrets, err := dnswire.NewCookieSecrets(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

const (
	secret1 = "e5e973e5a6b2a43f48e7dc849e37bfcf"
	secret2 = "445536bcd2513298075a5d379663c962"
)

// exchange sends a message with all that is known of it, and unpacks the reply with the oracle's own code.
func (s *server) exchange(msg []byte, m Meta) (*dns.Msg, Outcome) {
	s.t.Helper()
	if !m.Source.IsValid() {
		m.Source = s.src
	}
	buf := make([]byte, 65535)
	o := s.a.Answer(buf, copy(buf, msg), &m)
	s.a.Flush()
	r := new(dns.Msg)
	if err := r.Unpack(buf[:o.Size]); err != nil {
		s.t.Fatalf("%x is answered by %x: %v", msg, buf[:o.Size], err)
	}
	if r.Truncated != o.Truncated || !r.Response || buf[0] != msg[0] || buf[1] != msg[1] {
		s.t.Errorf("%x is answered by %x, %+v", msg, buf[:o.Size], o)
	}
	return r, o
}

// packWith packs a query that change may change: its OPT record too, which is there unless taken away.
func packWith(t testing.TB, name string, qtype uint16, change func(*dns.Msg, *dns.OPT)) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.RecursionDesired = false
	m.Id = 4711
	o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	o.SetUDPSize(4096)
	m.Extra = []dns.RR{o}
	if change != nil {
		change(m, o)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func cookieQuery(t testing.TB, cookie string) []byte {
	return packWith(t, "static.gtm.example.", dns.TypeA, func(_ *dns.Msg, o *dns.OPT) {
		o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	})
}

func option[T dns.EDNS0](m *dns.Msg) (found T, n int) {
	if o := m.IsEdns0(); o != nil {
		for _, e := range o.Option {
			if e, ok := e.(T); ok {
				found = e
				n++
			}
		}
	}
	return found, n
}

func cookieOf(m *dns.Msg) string {
	if c, n := option[*dns.EDNS0_COOKIE](m); n == 1 {
		return c.Cookie
	}
	return ""
}

// TestProbes asks what RFC 8906, 8 lets a monitor ask, and expects what it expects.
func TestProbes(t *testing.T) {
	s := newServer(t)
	s.withCookies(false, secret1)
	local := func(code uint16) *dns.EDNS0_LOCAL { return &dns.EDNS0_LOCAL{Code: code, Data: []byte{1, 2, 3}} }
	for _, tc := range []struct {
		name    string
		qtype   uint16
		change  func(*dns.Msg, *dns.OPT)
		rcode   int
		aa      bool
		answers int
		options int
	}{
		{"8.1.1 SOA without EDNS", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.Extra = nil }, 0, true, 1, 0},
		{"8.1.2 unknown type", 1000, func(m *dns.Msg, _ *dns.OPT) { m.Extra = nil }, 0, true, 0, 0},
		{"8.1.2 a type for private use", 65280, nil, 0, true, 0, 0},
		{"8.1.3.1 CD", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.CheckingDisabled, m.Extra = true, nil }, 0, true, 1, 0},
		{"8.1.3.2 AD", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.AuthenticatedData, m.Extra = true, nil }, 0, true, 1, 0},
		{"8.1.3.3 reserved bit", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.Zero, m.Extra = true, nil }, 0, true, 1, 0},
		{"8.1.3.4 RD", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.RecursionDesired, m.Extra = true, nil }, 0, true, 1, 0},
		{"TC and RA in a query", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.Truncated, m.RecursionAvailable, m.Extra = true, true, nil }, 0, true, 1, 0},
		{"8.2.1 EDNS", dns.TypeSOA, nil, 0, true, 1, 0},
		{"8.2.2 version 1", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetVersion(1) }, dns.RcodeBadVers, false, 0, 0},
		{"8.2.3 unknown option", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.Option = append(o.Option, local(100)) }, 0, true, 1, 0},
		{"8.2.4 unknown flags", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetZ(0x1FFF) }, 0, true, 1, 0},
		{"8.2.5 version 1 with flags", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetVersion(1); o.SetZ(0x1FFF) }, dns.RcodeBadVers, false, 0, 0},
		{"8.2.6 version 1 with an option", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetVersion(1); o.Option = append(o.Option, local(100)) }, dns.RcodeBadVers, false, 0, 0},
		{"version 255", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetVersion(255) }, dns.RcodeBadVers, false, 0, 0},
		{"8.2.8 DO", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetDo() }, 0, true, 1, 0},
		{"8.2.10 several known options", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) {
			o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true},
				&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieClient}, local(13), /* CHAIN */
				&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 0, Address: []byte{0, 0, 0, 0}})
		}, 0, true, 1, 3},
		{"a size of 0", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetUDPSize(0) }, 0, true, 1, 0},
		{"a class of another kind", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.Question[0].Qclass = 77; m.Extra = nil }, dns.RcodeRefused, false, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, stream := range []bool{false, true} {
				msg := packWith(t, "gtm.example.", tc.qtype, tc.change)
				q := new(dns.Msg)
				if err := q.Unpack(msg); err != nil {
					t.Fatal(err)
				}
				r, _ := s.exchange(msg, Meta{Stream: stream})
				if r.Rcode != tc.rcode || r.Authoritative != tc.aa || len(r.Answer) != tc.answers || r.Question[0] != q.Question[0] {
					t.Errorf("%v", r)
				}
				if r.Zero || r.AuthenticatedData || r.RecursionAvailable || r.Truncated || r.RecursionDesired != q.RecursionDesired || r.CheckingDisabled != q.CheckingDisabled {
					t.Errorf("flags %+v", r.MsgHdr)
				}
				asked, got := q.IsEdns0(), r.IsEdns0()
				if (asked == nil) != (got == nil) {
					t.Fatalf("OPT %v for %v", got, asked)
				}
				if got != nil && (got.Version() != 0 || got.Do() != asked.Do() || got.Z() != 0 || got.UDPSize() != MaxUDP || len(got.Option) != tc.options) {
					t.Errorf("OPT %v", got)
				}
			}
		})
	}
}

// RFC 8906, 8.1.4: whatever opcode is not served gets NOTIMP, be there only a header or more.
func TestUnknownOpcodes(t *testing.T) {
	s := newServer(t)
	for opcode := 1; opcode < 16; opcode++ {
		full := packWith(t, "gtm.example.", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.Opcode = opcode; m.Zero = true })
		header := make([]byte, 12)
		copy(header, full[:4])
		for _, msg := range [][]byte{header, full} {
			r, o := s.exchange(msg, Meta{})
			if r.Rcode != dns.RcodeNotImplemented || r.Opcode != opcode || o.Size != 12 || r.Zero || r.Authoritative {
				t.Errorf("opcode %d: %v", opcode, r)
			}
		}
	}
}

// RFC 8906, 8.2.7: a reply that does not fit carries TC and the OPT record.
func TestTruncatedWithEDNS(t *testing.T) {
	s := newServer(t)
	s.withCookies(false, secret1)
	msg := packWith(t, "many.gtm.example.", dns.TypeA, func(_ *dns.Msg, o *dns.OPT) {
		o.SetUDPSize(512)
		o.SetDo()
		o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieClient})
	})
	r, o := s.exchange(msg, Meta{})
	if !r.Truncated || o.Size > 512 || len(r.Answer) != 0 || r.IsEdns0() == nil || !r.IsEdns0().Do() || len(cookieOf(r)) != 48 {
		t.Errorf("%v", r)
	}
}

func TestMaxUDP(t *testing.T) {
	s := newServer(t)
	for limit, want := range map[int]int{0: 1232, 600: 600, 100: 512, 2000: 2000, 9000: 4096} {
		s.a = New(Config{View: &s.view, ID: "edge-1", MaxUDP: limit})
		r, o := s.exchange(packWith(t, "many.gtm.example.", dns.TypeA, nil), Meta{})
		if int(r.IsEdns0().UDPSize()) != want || o.Size > want || r.Truncated != (want < 1000) {
			t.Errorf("MaxUDP %d: %d bytes, %v", limit, o.Size, r.IsEdns0())
		}
	}
}

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
		{"of another address", []string{secret1}, false, cookieTime, good, netip.MustParseAddrPort("198.51.100.101:53"), false, 0, false, ""},
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
			if r.Rcode != tc.rcode || o.Exempt != tc.exempt || len(r.Answer) != want || r.Authoritative != (want == 1) || len(r.Question) != 1 {
				t.Errorf("exempt %v, %v", o.Exempt, r)
			}
			got := cookieOf(r)
			if len(got) != 48 || !strings.HasPrefix(got, cookieClient) || tc.reply != "" && got != tc.reply || tc.reply == "" && got == tc.cookie {
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
		s.a = New(Config{View: &s.view, ID: "edge-1", Cookies: cookies, RequireCookies: true})
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
	s.view.Store(nil)
	s.withCookies(false, secret1)
	if r, _ := s.exchange(bare(cookieClient), Meta{}); r.Rcode != 0 || len(cookieOf(r)) != 48 {
		t.Errorf("before the first view: %v", r)
	}
}

func TestPaddingOnlyWhereItIsEncrypted(t *testing.T) {
	s := newServer(t)
	s.withCookies(false, secret1)
	for _, name := range []string{"static.gtm.example.", "many.gtm.example.", "nothing.gtm.example.", "www.sub.gtm.example.", "elsewhere.", "whoami.gtm.example."} {
		for _, asked := range []bool{false, true} {
			msg := packWith(t, name, dns.TypeA, func(_ *dns.Msg, o *dns.OPT) {
				if asked {
					o.Option = append(o.Option, &dns.EDNS0_PADDING{Padding: make([]byte, 77)})
				}
			})
			clear, o := s.exchange(msg, Meta{Stream: true})
			if _, n := option[*dns.EDNS0_PADDING](clear); n != 0 {
				t.Errorf("%s: padded in the open: %v", name, clear)
			}
			padded, e := s.exchange(msg, Meta{Stream: true, Encrypted: true})
			if e.Size%468 != 0 || e.Size < o.Size || e.Size > o.Size+4+467 {
				t.Errorf("%s: %d bytes padded to %d", name, o.Size, e.Size)
			}
			opt := padded.IsEdns0()
			opt.Option = opt.Option[:len(opt.Option)-1]
			if padded.String() != clear.String() {
				t.Errorf("padding makes a difference: %v\n%v", padded, clear)
			}
		}
	}
	msg, _ := query(t, "static.gtm.example.", "A").Pack()
	if r, o := s.exchange(msg, Meta{Stream: true, Encrypted: true}); o.Size%468 == 0 || r.IsEdns0() != nil {
		t.Errorf("padded without EDNS: %v", r)
	}
}

func TestKeepAlive(t *testing.T) {
	s := newServer(t)
	for _, asked := range []bool{false, true} {
		msg := packWith(t, "static.gtm.example.", dns.TypeA, func(_ *dns.Msg, o *dns.OPT) {
			if asked {
				o.Option = append(o.Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
			}
		})
		for _, m := range []Meta{{}, {KeepAlive: 100}, {Stream: true}, {Stream: true, KeepAlive: 100}, {Stream: true, KeepAlive: 65535, Encrypted: true}} {
			r, _ := s.exchange(msg, m)
			e, n := option[*dns.EDNS0_TCP_KEEPALIVE](r)
			want := asked && m.Stream && m.KeepAlive > 0
			if (n == 1) != want || want && e.Timeout != m.KeepAlive {
				t.Errorf("asked %v, %+v: %v", asked, m, r.IsEdns0())
			}
		}
	}
}

// RFC 9250, 4.3.3 and 5.5.2: keepalive has no place in QUIC, and its sender must be cut off.
func TestKeepAliveOverQUIC(t *testing.T) {
	s := newServer(t)
	msg := packWith(t, "static.gtm.example.", dns.TypeA, func(_ *dns.Msg, o *dns.OPT) {
		o.Option = append(o.Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
	})
	m := Meta{Source: s.src, Stream: true, Encrypted: true, QUIC: true}
	buf := make([]byte, 4096)
	if o := s.a.Answer(buf, copy(buf, msg), &m); o != (Outcome{Size: Fatal}) {
		t.Errorf("%+v", o)
	}
	if r, o := s.exchange(packWith(t, "static.gtm.example.", dns.TypeA, nil), m); len(r.Answer) != 1 || o.Size%468 != 0 {
		t.Errorf("%v", r)
	}
}

func TestExtendedErrors(t *testing.T) {
	s := newServer(t)
	s.down("sg")
	for _, tc := range []struct {
		name   string
		qtype  uint16
		qclass uint16
		rcode  int
		code   uint16
		text   string
	}{
		{"www.example.net.", dns.TypeA, dns.ClassINET, dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative, ""},
		{"gtm.example.", dns.TypeSOA, dns.ClassHESIOD, dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported, ""},
		{"secrets.server.", dns.TypeTXT, dns.ClassCHAOS, dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported, ""},
		{"gtm.example.", dns.TypeAXFR, dns.ClassINET, dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, ""},
		{"strict.shop.gtm.example.", dns.TypeA, dns.ClassINET, dns.RcodeServerFailure, dns.ExtendedErrorCodeNetworkError, "no endpoint is up"},
	} {
		msg := packWith(t, tc.name, tc.qtype, func(m *dns.Msg, _ *dns.OPT) { m.Question[0].Qclass = tc.qclass })
		r, _ := s.exchange(msg, Meta{})
		e, n := option[*dns.EDNS0_EDE](r)
		if r.Rcode != tc.rcode || n != 1 || e.InfoCode != tc.code || e.ExtraText != tc.text {
			t.Errorf("%s: %v", tc.name, r)
		}
		msg = packWith(t, tc.name, tc.qtype, func(m *dns.Msg, _ *dns.OPT) { m.Question[0].Qclass = tc.qclass; m.Extra = nil })
		if r, _ := s.exchange(msg, Meta{}); r.Rcode != tc.rcode || len(r.Extra) != 0 {
			t.Errorf("%s without EDNS: %v", tc.name, r)
		}
	}
	s.view.Store(nil)
	r, _ := s.exchange(packWith(t, "gtm.example.", dns.TypeA, nil), Meta{})
	if e, n := option[*dns.EDNS0_EDE](r); n != 1 || e.InfoCode != dns.ExtendedErrorCodeNotReady || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", r)
	}
}

// A long name, every option and the longest ID: what matters least is left out, and 512 bytes are kept.
func TestOptionsThatDoNotFit(t *testing.T) {
	s := newServer(t)
	long := strings.Repeat("a.", 121) + "gtm.example."
	for _, tc := range []struct {
		id              int
		name            string
		nsid, ede, text bool
	}{{255, long, false, true, true}, {148, long, true, true, true}, {149, long, true, true, false}, {168, long, true, true, false},
		{169, long, true, false, false}, {174, long, true, false, false}, {175, long, false, true, true}, {255, "gtm.example.", true, true, true}} {
		s.withCookies(false, secret1)
		s.a.nsid = bytes.Repeat([]byte{'x'}, tc.id)
		s.view.Store(nil) // so that there is an extended error with text
		msg := packWith(t, tc.name, dns.TypeA, func(_ *dns.Msg, o *dns.OPT) {
			o.SetUDPSize(512)
			o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieClient},
				&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: 128, Address: make([]byte, 16)})
		})
		r, o := s.exchange(msg, Meta{})
		_, nsid := option[*dns.EDNS0_NSID](r)
		e, ede := option[*dns.EDNS0_EDE](r)
		if o.Size > 512 || r.Rcode != dns.RcodeServerFailure || cookieOf(r) == "" || ecsOf(r) == nil || (nsid == 1) != tc.nsid ||
			(ede == 1) != tc.ede || tc.ede && (e.ExtraText != "") != tc.text {
			t.Errorf("ID of %d bytes, %d bytes of name: %d bytes, %v", tc.id, len(tc.name), o.Size, r)
		}
	}
}

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
		if o.Size == 0 {
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
