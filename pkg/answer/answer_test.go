package answer

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/health"
)

// server is an Answerer over the resources of testdata/zone.yaml.
type server struct {
	*views.World
	t    testing.TB
	a    *Answerer
	src  netip.AddrPort
	meta Meta
	now  uint32          // Unix time
	told []health.PoolID // what down was called for

	cookies atomic.Pointer[dnswire.CookieSecrets]
}

func newServer(t testing.TB) *server {
	t.Helper()
	data, err := os.ReadFile("testdata/zone.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{World: views.New(t, 9), t: t, src: netip.MustParseAddrPort("127.0.0.1:4444"), now: 1795435200}
	s.Now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s.Generation = 40
	s.Put(string(data))
	s.a = New(Config{View: &s.View, ID: "edge-1", Seed: 1, Clock: func() uint32 { return s.now },
		ExplainFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	return s
}

func (s *server) down(pool string) {
	s.told = append(s.told, health.PoolID{Tenant: "shop", Pool: pool})
	s.Down("shop", pool, "a", "b")
}

// query makes a message; opts are +tcp-like words: do, nsid, size=N, ecs=NETWORK, id=N, rd, class=CH, noedns.
func query(t testing.TB, name, typ string, opts ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.StringToType[typ])
	m.RecursionDesired = false
	m.Id = 4711
	o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	o.SetUDPSize(1232)
	edns := false
	for _, opt := range opts {
		key, value, _ := strings.Cut(opt, "=")
		switch key {
		case "rd":
			m.RecursionDesired = true
		case "ch":
			m.Question[0].Qclass = dns.ClassCHAOS
		case "do":
			edns = true
			o.SetDo()
		case "co":
			edns = true
			o.Hdr.Ttl |= 1 << 14
		case "edns":
			edns = true
		case "nsid":
			edns = true
			o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
		case "size":
			edns = true
			var n uint16
			fmt.Sscan(value, &n)
			o.SetUDPSize(n)
		case "ecs":
			edns = true
			p := netip.MustParsePrefix(value)
			e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
			if p.Addr().Is6() {
				e.Family = 2
			}
			o.Option = append(o.Option, e)
		default:
			t.Fatalf("query option %q", opt)
		}
	}
	if edns {
		m.Extra = append(m.Extra, o)
	}
	return m
}

// answer sends bytes through the answerer.
func (s *server) answer(buf, msg []byte, stream bool) (n int, truncated bool) {
	s.meta = Meta{Source: s.src, Stream: stream}
	o := s.a.Answer(buf, copy(buf, msg), &s.meta)
	return o.Size, o.Truncated
}

// ask sends a message through the answerer and unpacks the reply with the oracle's own code.
func (s *server) ask(m *dns.Msg, stream bool) *dns.Msg {
	s.t.Helper()
	packed, err := m.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, truncated := s.answer(buf, packed, stream)
	r := new(dns.Msg)
	if err := r.Unpack(buf[:n]); err != nil {
		s.t.Fatalf("%s: the reply %x does not unpack: %v; see %s", m.Question[0].String(), buf[:n], err, gtmtest.Pcap(s.t, packed, buf[:n]))
	}
	if r.Id != m.Id || !r.Response || r.Truncated != truncated || r.Opcode != m.Opcode || r.RecursionDesired != m.RecursionDesired {
		s.t.Errorf("header: %+v", r.MsgHdr)
	}
	if (m.IsEdns0() == nil) != (r.IsEdns0() == nil) {
		s.t.Errorf("EDNS in query: %v, in reply: %v", m.IsEdns0() != nil, r.IsEdns0() != nil)
	}
	return r
}

// text gives a section as sorted lines without class, "owner ttl type data".
func text(rrs []dns.RR) string {
	var lines []string
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		lines = append(lines, strings.ReplaceAll(strings.ReplaceAll(rr.String(), "\tIN\t", " "), "\t", " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

const soaText = "gtm.example. 60 SOA ns1.gtm.example. hostmaster.gtm.example. 2078000082 7200 1800 1209600 60"

func TestAnswers(t *testing.T) {
	s := newServer(t)
	for _, tc := range []struct {
		name, qname, qtype string
		opts               []string
		rcode              int
		aa                 bool
		answer, ns, extra  string
	}{
		{"static", "static.gtm.example.", "A", nil, 0, true, "static.gtm.example. 300 A 192.0.2.10", "", ""},
		{"case is kept", "StAtIc.gTm.eXample.", "A", nil, 0, true, "StAtIc.gTm.eXample. 300 A 192.0.2.10", "", ""},
		{"nodata", "static.gtm.example.", "AAAA", nil, 0, true, "", soaText, ""},
		{"nxdomain", "nothing.gtm.example.", "A", nil, 3, true, "", soaText, ""},
		{"empty non-terminal", "shop.gtm.example.", "A", nil, 0, true, "", soaText, ""},
		{"apex SOA", "gtm.example.", "SOA", nil, 0, true,
			"gtm.example. 3600 SOA ns1.gtm.example. hostmaster.gtm.example. 2078000082 7200 1800 1209600 60", "", ""},
		{"apex NS", "gtm.example.", "NS", nil, 0, true, "gtm.example. 300 NS ns1.gtm.example.", "", "ns1.gtm.example. 300 A 192.0.2.1"},
		{"MX", "gtm.example.", "MX", nil, 0, true, "gtm.example. 300 MX 10 mail.gtm.example.", "", "mail.gtm.example. 300 A 192.0.2.2"},
		{"wildcard", "any.thing.wild.gtm.example.", "TXT", nil, 0, true, `any.thing.wild.gtm.example. 300 TXT "wild"`, "", ""},
		{"wildcard nodata", "x.wild.gtm.example.", "A", nil, 0, true, "", soaText, ""},
		{"a name below stops a wildcard", "x.known.wild.gtm.example.", "TXT", nil, 3, true, "", soaText, ""},
		{"the wildcard itself", "*.wild.gtm.example.", "TXT", nil, 0, true, `*.wild.gtm.example. 300 TXT "wild"`, "", ""},
		{"delegation", "www.sub.gtm.example.", "A", nil, 0, false, "",
			"sub.gtm.example. 300 NS ns.sub.gtm.example.\nsub.gtm.example. 300 NS ns1.gtm.example.",
			"ns.sub.gtm.example. 300 A 192.0.2.53\nns1.gtm.example. 300 A 192.0.2.1"},
		{"at the delegation", "sub.gtm.example.", "NS", nil, 0, false, "",
			"sub.gtm.example. 300 NS ns.sub.gtm.example.\nsub.gtm.example. 300 NS ns1.gtm.example.",
			"ns.sub.gtm.example. 300 A 192.0.2.53\nns1.gtm.example. 300 A 192.0.2.1"},
		{"glue is not an answer", "ns.sub.gtm.example.", "A", nil, 0, false, "",
			"sub.gtm.example. 300 NS ns.sub.gtm.example.\nsub.gtm.example. 300 NS ns1.gtm.example.",
			"ns.sub.gtm.example. 300 A 192.0.2.53\nns1.gtm.example. 300 A 192.0.2.1"},
		{"DS at the cut", "sub.gtm.example.", "DS", nil, 0, true, "", soaText, ""},
		{"CNAME inside", "alias.gtm.example.", "A", nil, 0, true,
			"alias.gtm.example. 300 CNAME static.gtm.example.\nstatic.gtm.example. 300 A 192.0.2.10", "", ""},
		{"CNAME asked for", "alias.gtm.example.", "CNAME", nil, 0, true, "alias.gtm.example. 300 CNAME static.gtm.example.", "", ""},
		{"CNAME to nothing", "dangling.gtm.example.", "A", nil, 3, true, "dangling.gtm.example. 300 CNAME nothing.gtm.example.",
			soaText, ""},
		{"CNAME to outside", "out.gtm.example.", "A", nil, 0, true, "out.gtm.example. 300 CNAME www.example.net.", "", ""},
		{"CNAME into a delegation", "into.gtm.example.", "A", nil, 0, true, "into.gtm.example. 300 CNAME www.sub.gtm.example.",
			"sub.gtm.example. 300 NS ns.sub.gtm.example.\nsub.gtm.example. 300 NS ns1.gtm.example.",
			"ns.sub.gtm.example. 300 A 192.0.2.53\nns1.gtm.example. 300 A 192.0.2.1"},
		{"CNAME into another zone", "other.gtm.example.", "A", nil, 0, true,
			"other.gtm.example. 300 CNAME www.other.example.\nwww.other.example. 60 A 192.0.2.77", "", ""},
		{"DNAME", "a.b.old.gtm.example.", "A", nil, 0, true,
			"a.b.new.gtm.example. 300 A 192.0.2.90\na.b.old.gtm.example. 300 CNAME a.b.new.gtm.example.\nold.gtm.example. 300 DNAME " +
				"new.gtm.example.", "", ""},
		{"DNAME's own name", "old.gtm.example.", "TXT", nil, 0, true, "", soaText, ""},
		{"steered by resolver: no rule but the last", "web.shop.gtm.example.", "A", nil, 0, true, "web.shop.gtm.example. 5 A 192.0.2.101",
			"", ""},
		{"steered by subnet", "web.shop.gtm.example.", "A", []string{"ecs=202.108.22.0/24"}, 0, true,
			"web.shop.gtm.example. 5 A 203.0.113.1", "", ""},
		{"steered, IPv6", "web.shop.gtm.example.", "AAAA", []string{"ecs=202.108.22.0/24"}, 0, true,
			"web.shop.gtm.example. 5 AAAA 2001:db8:3::1", "", ""},
		{"steered, another type", "web.shop.gtm.example.", "MX", []string{"ecs=202.108.22.0/24"}, 0, true, "", soaText, ""},
		{"steered, only IPv4 exists", "four.shop.gtm.example.", "AAAA", nil, 0, true, "", soaText, ""},
		{"TXT beside a steered name", "four.shop.gtm.example.", "TXT", nil, 0, true, `four.shop.gtm.example. 300 TXT "beside"`, "", ""},
		{"steered wildcard", "foo.bar.star.shop.gtm.example.", "A", nil, 0, true, "foo.bar.star.shop.gtm.example. 30 A 203.0.113.1", "",
			""},
		{"host names answer CNAME", "cdn.shop.gtm.example.", "A", nil, 0, true, "cdn.shop.gtm.example. 30 CNAME shop.cdn.example.", "", ""},
		{"CNAME to a steered name", "to-web.gtm.example.", "A", nil, 0, true,
			"to-web.gtm.example. 300 CNAME web.shop.gtm.example.\nweb.shop.gtm.example. 5 A 192.0.2.101", "", ""},
		{"with a subnet it stands alone (RFC 7871, 7.2.1)", "to-web.gtm.example.", "A", []string{"ecs=202.108.22.0/24"}, 0, true,
			"to-web.gtm.example. 300 CNAME web.shop.gtm.example.", "", ""},
		{"all addresses", "all.shop.gtm.example.", "A", nil, 0, true,
			"all.shop.gtm.example. 30 A 192.0.2.101\nall.shop.gtm.example. 30 A 192.0.2.102", "", ""},
		{"ANY", "static.gtm.example.", "ANY", nil, 0, true, "static.gtm.example. 3600 HINFO \"RFC8482\" \"\"", "", ""},
		{"ANY of a CNAME (RFC 8482, 4.2)", "alias.gtm.example.", "ANY", nil, 0, true, "alias.gtm.example. 300 CNAME static.gtm.example.",
			"", ""},
		{"another's name", "www.example.net.", "A", nil, 5, false, "", "", ""},
		{"AXFR", "gtm.example.", "AXFR", nil, 5, false, "", "", ""},
		{"class CH", "id.server.", "TXT", []string{"ch"}, 0, true, "id.server. 0 CH TXT \"edge-1\"", "", ""},
		{"class CH, unknown", "version.bind.", "TXT", []string{"ch"}, 5, false, "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			r := s.ask(query(t, tc.qname, tc.qtype, tc.opts...), false)
			if r.Rcode != tc.rcode || r.Authoritative != tc.aa {
				t.Errorf("rcode %d aa %v, want %d %v", r.Rcode, r.Authoritative, tc.rcode, tc.aa)
			}
			for _, sec := range []struct {
				name string
				got  []dns.RR
				want string
			}{{"answer", r.Answer, tc.answer}, {"authority", r.Ns, tc.ns}, {"additional", r.Extra, tc.extra}} {
				if got := text(sec.got); got != sec.want {
					t.Errorf("%s:\n%s\nwant\n%s", sec.name, got, sec.want)
				}
			}
			if len(r.Question) != 1 || r.Question[0].Name != tc.qname {
				t.Errorf("question %v", r.Question)
			}
		})
	}
}

// ecsOf gives the client subnet option of a reply.
func ecsOf(r *dns.Msg) *dns.EDNS0_SUBNET {
	if o := r.IsEdns0(); o != nil {
		for _, e := range o.Option {
			if s, ok := e.(*dns.EDNS0_SUBNET); ok {
				return s
			}
		}
	}
	return nil
}

func TestScope(t *testing.T) {
	s := newServer(t)
	for _, tc := range []struct {
		name, qname, qtype, subnet string
		want                       func(uint8) bool
	}{
		{"not steered", "static.gtm.example.", "A", "91.198.174.0/24", is(0)},
		{"negative", "nothing.gtm.example.", "A", "91.198.174.0/24", is(0)},
		{"nodata at a steered name", "web.shop.gtm.example.", "MX", "91.198.174.0/24", is(0)},
		{"steered", "web.shop.gtm.example.", "A", "91.198.174.0/24", between(1, 24)},
		{"source /0", "web.shop.gtm.example.", "A", "0.0.0.0/0", is(0)},
		{"private", "web.shop.gtm.example.", "A", "10.1.2.0/24", is(8)},
		{"loopback", "web.shop.gtm.example.", "A", "127.0.0.0/24", is(8)},
		{"shorter source than leaf", "web.shop.gtm.example.", "A", "91.0.0.0/8", between(1, 32)},
		{"no condition", "four.shop.gtm.example.", "A", "91.198.174.0/24", is(0)},
		{"sticky", "sticky.shop.gtm.example.", "A", "91.198.174.0/24", is(24)},
		{"sticky takes at most 24 bits", "sticky.shop.gtm.example.", "A", "91.198.174.77/32", is(24)},
		{"sticky of a source too short to decide has the scope of its first network", "sticky.shop.gtm.example.", "A",
			"91.198.160.0/20", is(24)},
		{"sticky, IPv6", "sticky.shop.gtm.example.", "A", "2a02:ec80:300::/56", is(48)},
		{"steered, IPv6", "web.shop.gtm.example.", "A", "2a02:ec80:300::/56", between(1, 64)},
		{"a map decides", "mapped.shop.gtm.example.", "A", "198.18.7.0/24", is(25)},
		{"whoami", "whoami.gtm.example.", "TXT", "91.198.174.0/24", is(24)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			q := query(t, tc.qname, tc.qtype, "ecs="+tc.subnet)
			r := s.ask(q, false)
			got, sent := ecsOf(r), ecsOf(q)
			if got == nil {
				t.Fatal("no option in the reply")
			}
			if got.Family != sent.Family || got.SourceNetmask != sent.SourceNetmask || !got.Address.Equal(sent.Address) {
				t.Errorf("echoed %v, sent %v", got, sent)
			}
			if !tc.want(got.SourceScope) {
				t.Errorf("scope %d", got.SourceScope)
			}
		})
	}
	if r := s.ask(query(t, "web.shop.gtm.example.", "A", "edns"), false); ecsOf(r) != nil {
		t.Error("no option in, but one out")
	}
}

func is(n uint8) func(uint8) bool { return func(got uint8) bool { return got == n } }
func between(lo, hi uint8) func(uint8) bool {
	return func(got uint8) bool { return lo <= got && got <= hi }
}

func TestStickyIsConstantWithinItsScope(t *testing.T) {
	s := newServer(t)
	seen := map[string]bool{}
	for i := range 64 {
		var first string
		for host := range 4 {
			r := s.ask(query(t, "sticky.shop.gtm.example.", "A", fmt.Sprintf("ecs=91.198.%d.%d/32", i, host*60)), false)
			if host == 0 {
				first = text(r.Answer)
			} else if text(r.Answer) != first {
				t.Fatalf("two answers within 91.198.%d.0/24", i)
			}
		}
		seen[first] = true
	}
	if len(seen) != 2 {
		t.Errorf("64 networks got %d different answers, want both endpoints", len(seen))
	}
}

func TestMalformedSubnetIsFORMERR(t *testing.T) {
	s := newServer(t)
	good := query(t, "web.shop.gtm.example.", "A", "ecs=91.198.174.0/24")
	packed, _ := good.Pack()
	at := len(packed) - 3 // the address ends the message
	for name, change := range map[string]func([]byte) []byte{
		"bits past the prefix": func(b []byte) []byte { b[at-2] = 20; return b },
		"too long an address":  func(b []byte) []byte { b[at-2] = 16; return b },
		"too short an address": func(b []byte) []byte { b[at-2] = 32; return b },
		"scope in a query":     func(b []byte) []byte { b[at-1] = 24; return b },
		"unknown family":       func(b []byte) []byte { b[at-3] = 3; return b },
	} {
		buf := make([]byte, 512)
		n, _ := s.answer(buf, change(slices.Clone(packed)), false)
		r := new(dns.Msg)
		if err := r.Unpack(buf[:n]); err != nil || r.Rcode != dns.RcodeFormatError || len(r.Answer) != 0 || ecsOf(r) != nil ||
			r.IsEdns0() == nil {
			t.Errorf("%s: %v %v", name, err, r)
		}
	}
}

func TestTruncation(t *testing.T) {
	s := newServer(t)
	q := query(t, "many.gtm.example.", "A", "size=512")
	r := s.ask(q, false)
	if !r.Truncated || len(r.Answer) != 0 || r.IsEdns0() == nil {
		t.Errorf("want an empty truncated reply: %v", r)
	}
	if r := s.ask(q, true); r.Truncated || len(r.Answer) != 60 {
		t.Errorf("over a stream: %d records, truncated %v", len(r.Answer), r.Truncated)
	}
	if r := s.ask(query(t, "many.gtm.example.", "A", "size=4096"), false); r.Truncated || len(r.Answer) != 60 {
		t.Errorf("with 4096 bytes: %d records, truncated %v", len(r.Answer), r.Truncated)
	}
	if r := s.ask(query(t, "many.gtm.example.", "A"), false); !r.Truncated {
		t.Error("without EDNS a reply has 512 bytes")
	}
}

func TestNSID(t *testing.T) {
	s := newServer(t)
	r := s.ask(query(t, "static.gtm.example.", "A", "nsid"), false)
	o := r.IsEdns0()
	if len(o.Option) != 1 || o.Option[0].String() != fmt.Sprintf("%x", "edge-1") {
		t.Errorf("options %v", o.Option)
	}
}

func TestServfailWhenTheServiceAsksForIt(t *testing.T) {
	s := newServer(t)
	s.down("sg")
	r := s.ask(query(t, "strict.shop.gtm.example.", "A", "edns"), false)
	if r.Rcode != dns.RcodeServerFailure || r.Authoritative || len(r.IsEdns0().Option) != 1 {
		t.Errorf("%v", r)
	}
	if r := s.ask(query(t, "foo.star.shop.gtm.example.", "A"), false); len(r.Answer) != 1 {
		t.Errorf("a service with all down must answer as if all were up: %v", r)
	}
}

func TestBeforeTheFirstView(t *testing.T) {
	s := newServer(t)
	s.View.Store(nil)
	if r := s.ask(query(t, "static.gtm.example.", "A", "edns"), false); r.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", r)
	}
	if r := s.ask(query(t, "id.server.", "TXT", "ch"), false); len(r.Answer) != 1 {
		t.Errorf("%v", r)
	}
}

func TestDrawsFollowTheWeights(t *testing.T) {
	s := newServer(t)
	const draws = 200_000
	got := map[string]int{}
	packed, _ := query(t, "web.shop.gtm.example.", "A", "ecs=91.198.174.0/24").Pack()
	buf := make([]byte, 1232)
	for range draws {
		n, _ := s.answer(buf, packed, false)
		last := buf[len(packed)-22+15 : len(packed)-22+16] // the question, then one A record, where the OPT record was
		if n != len(packed)+16 {
			t.Fatalf("reply of %d bytes", n)
		}
		got[fmt.Sprint(last[0])]++
	}
	for last, want := range map[string]float64{"1": .75, "2": .25} {
		if share := float64(got[last]) / draws; math.Abs(share-want) > .01 {
			t.Errorf("address ending in %s: share %.4f, want %.2f (%v)", last, share, want, got)
		}
	}
}

func TestWhoami(t *testing.T) {
	s := newServer(t)
	s.src = netip.MustParseAddrPort("91.198.174.192:5353")
	r := s.ask(query(t, "whoami.gtm.example.", "TXT", "ecs=202.108.22.0/24"), false)
	got := text(r.Answer)
	for _, want := range []string{"whoami.gtm.example. 0 TXT", "resolver 91.198.174.192", "subnet 202.108.22.0/24", "place EU-NL",
		"place AS-CN", "edge edge-1"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %q", got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	s := newServer(t)
	s.down("eu")
	r := s.ask(query(t, "web.shop.gtm.example._explain.gtm.example.", "TXT", "ecs=91.198.174.0/24"), true)
	got := text(r.Answer)
	for _, want := range []string{"shop/web at shop@41, edge edge-1", "subnet 91.198.174.0/24 place EU-NL", "rule europe (geo EU)",
		"pool eu down: 0 of 2", "pool us up", "chosen in 100% of the answers", "share 100%"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %q", got, want)
		}
	}
	s.src = netip.MustParseAddrPort("192.0.2.1:53")
	if r := s.ask(query(t, "web.shop.gtm.example._explain.gtm.example.", "TXT"), true); r.Rcode != dns.RcodeRefused {
		t.Errorf("explained to a stranger: %v", r)
	}
}

// TestNoAllocation walks every common way of a query.
func TestNoAllocation(t *testing.T) {
	s := newServer(t)
	for _, q := range []*dns.Msg{
		query(t, "static.gtm.example.", "A"),
		query(t, "web.shop.gtm.example.", "A", "ecs=91.198.174.0/24", "nsid", "do"),
		query(t, "web.shop.gtm.example.", "AAAA", "ecs=2a02:ec80:300::/56"),
		query(t, "web.shop.gtm.example.", "A"),
		query(t, "sticky.shop.gtm.example.", "A", "ecs=91.198.174.0/24"),
		query(t, "cdn.shop.gtm.example.", "A"),
		query(t, "nothing.gtm.example.", "A", "edns"),
		query(t, "gtm.example.", "MX"),
		query(t, "gtm.example.", "NS"),
		query(t, "x.wild.gtm.example.", "TXT"),
		query(t, "alias.gtm.example.", "A"),
		query(t, "a.b.old.gtm.example.", "A"),
		query(t, "www.sub.gtm.example.", "A"),
		query(t, "many.gtm.example.", "A"),
		query(t, "www.example.net.", "A", "edns"),
		query(t, "counted.shop.gtm.example.", "A"),
	} {
		packed, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		if n := testing.AllocsPerRun(500, func() {
			s.answer(buf, packed, false)
			s.a.Flush()
		}); n != 0 {
			t.Errorf("%s: %v allocations a query", q.Question[0].String(), n)
		}
	}
}

// FuzzAnswer: whatever comes in, what goes out unpacks, is no longer than the client takes, and repeats the ID.
func FuzzAnswer(f *testing.F) {
	s := newServer(f)
	for _, q := range []*dns.Msg{query(f, "web.shop.gtm.example.", "A", "ecs=91.198.174.0/24", "nsid"),
		query(f, "a.b.old.gtm.example.", "A"),
		query(f, "many.gtm.example.", "ANY"), query(f, "id.server.", "TXT", "ch"), query(f, ".", "NS"),
		query(f, "x._explain.gtm.example.", "TXT", "edns")} {
		packed, _ := q.Pack()
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) > 512 {
			return
		}
		buf := make([]byte, 4096)
		n, _ := s.answer(buf, msg, false)
		s.a.Flush()
		if n == 0 {
			return
		}
		if n > MaxUDP || buf[0] != msg[0] || buf[1] != msg[1] || buf[2]&0x80 == 0 {
			t.Fatalf("reply of %d bytes: %x", n, buf[:n])
		}
		if err := new(dns.Msg).Unpack(buf[:n]); err != nil {
			t.Fatalf("%x is answered by %x: %v", msg, buf[:n], err)
		}
	})
}
