package answer

import (
	"bytes"
	"encoding/hex"
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
	s.a = New(Config{View: &s.View, ID: "edge-1", Seed: 1, Cookies: &s.cookies, Clock: clock.Load, RequireCookies: require})
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
		{"TC and RA in a query", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.Truncated, m.RecursionAvailable, m.Extra = true, true, nil },
			0, true, 1, 0},
		{"8.2.1 EDNS", dns.TypeSOA, nil, 0, true, 1, 0},
		{"8.2.2 version 1", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetVersion(1) }, dns.RcodeBadVers, false, 0, 0},
		{"8.2.3 unknown option", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.Option = append(o.Option, local(100)) }, 0, true, 1, 0},
		{"8.2.4 unknown flags", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetZ(0x1FFF) }, 0, true, 1, 0},
		{"8.2.5 version 1 with flags", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetVersion(1); o.SetZ(0x1FFF) }, dns.RcodeBadVers,
			false, 0, 0},
		{"8.2.6 version 1 with an option", dns.TypeSOA,
			func(_ *dns.Msg, o *dns.OPT) { o.SetVersion(1); o.Option = append(o.Option, local(100)) }, dns.RcodeBadVers, false, 0, 0},
		{"version 255", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetVersion(255) }, dns.RcodeBadVers, false, 0, 0},
		{"8.2.8 DO", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetDo() }, 0, true, 1, 0},
		{"8.2.10 several known options", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) {
			o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true},
				&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieClient}, local(13), /* CHAIN */
				&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 0, Address: []byte{0, 0, 0, 0}})
		}, 0, true, 1, 3},
		{"a size of 0", dns.TypeSOA, func(_ *dns.Msg, o *dns.OPT) { o.SetUDPSize(0) }, 0, true, 1, 0},
		{"a class of another kind", dns.TypeSOA, func(m *dns.Msg, _ *dns.OPT) { m.Question[0].Qclass = 77; m.Extra = nil },
			dns.RcodeRefused, false, 0, 0},
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
				if r.Zero || r.AuthenticatedData || r.RecursionAvailable || r.Truncated || r.RecursionDesired != q.RecursionDesired ||
					r.CheckingDisabled != q.CheckingDisabled {
					t.Errorf("flags %+v", r.MsgHdr)
				}
				asked, got := q.IsEdns0(), r.IsEdns0()
				if (asked == nil) != (got == nil) {
					t.Fatalf("OPT %v for %v", got, asked)
				}
				if got != nil && (got.Version() != 0 || got.Do() != asked.Do() || got.Z() != 0 || got.UDPSize() != MaxUDP ||
					len(got.Option) != tc.options) {
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
		s.a = New(Config{View: &s.View, ID: "edge-1", MaxUDP: limit})
		r, o := s.exchange(packWith(t, "many.gtm.example.", dns.TypeA, nil), Meta{})
		if int(r.IsEdns0().UDPSize()) != want || o.Size > want || r.Truncated != (want < 1000) {
			t.Errorf("MaxUDP %d: %d bytes, %v", limit, o.Size, r.IsEdns0())
		}
	}
}

func TestPaddingOnlyWhereItIsEncrypted(t *testing.T) {
	s := newServer(t)
	s.withCookies(false, secret1)
	for _, name := range []string{"static.gtm.example.", "many.gtm.example.", "nothing.gtm.example.", "www.sub.gtm.example.", "elsewhere.",
		"whoami.gtm.example."} {
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
		for _, m := range []Meta{{}, {KeepAlive: 100}, {Stream: true}, {Stream: true, KeepAlive: 100},
			{Stream: true, KeepAlive: 65535, Encrypted: true}} {
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
	if o := s.a.Answer(buf, copy(buf, msg), &m); o != (Outcome{Kind: Close}) {
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
		{"strict.shop.gtm.example.", dns.TypeA, dns.ClassINET, dns.RcodeServerFailure, dns.ExtendedErrorCodeNetworkError,
			"no endpoint is up"},
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
	s.View.Store(nil)
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
		{169, long, true, false, false}, {174, long, true, false, false}, {175, long, false, true, true},
		{255, "gtm.example.", true, true, true}} {
		s.withCookies(false, secret1)
		s.a.nsid = bytes.Repeat([]byte{'x'}, tc.id)
		s.View.Store(nil) // so that there is an extended error with text
		msg := packWith(t, tc.name, dns.TypeA, func(_ *dns.Msg, o *dns.OPT) {
			o.SetUDPSize(512)
			o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID},
				&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieClient},
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
