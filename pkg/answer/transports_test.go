package answer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/serve"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// drawing adds services to the resources of newServer: of several answers out of many, small and too large for UDP.
func (s *server) drawing() {
	pool := &spec.Pool{}
	for i := range 100 {
		pool.Endpoints = append(pool.Endpoints, spec.Endpoint{Name: fmt.Sprint("e", i), Weight: new(1 + i%5), Addresses: []netip.Addr{
			netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), netip.MustParseAddr(fmt.Sprintf("2001:db8:100::%x", i+1))}})
	}
	put := []compile.Item{{Generation: 42, Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "hundred"},
		Spec: pool}}}
	for name, answers := range map[string]int{"several": 3, "lots": 29} {
		service := &spec.Service{Host: name + ".shop.gtm.example.", Answers: answers,
			Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "hundred"}}}}}
		put = append(put, compile.Item{Generation: 42,
			Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: name}, Spec: service}})
	}
	s.Change(compile.Change{Tenants: []compile.TenantChange{{Tenant: "shop", Head: 42, Put: put}}})
}

// A wayQuery is a query, and what of its options matters to how transports may differ.
type wayQuery struct {
	text             string
	plain, keepAlive []byte // without and with the option of RFC 7828, if that is asked for; else nil
	edns             bool
	limit            int // of a reply over UDP
}

// wayQueries lists n queries of every kind, the same each time.
func wayQueries(t *testing.T, n int) []wayQuery {
	t.Helper()
	rnd := rand.New(rand.NewPCG(5, 6))
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	var all []wayQuery
	for range n {
		name := pick(strings.Fields("web.shop WEB.shop web.shop counted.shop several.shop several.shop several.shop several.shop " +
			"lots.shop lots.shop lots.shop " +
			"sticky.shop stickytwo.shop all.shop https.shop _sip._tcp.shop mail.shop cdn.shop " +
			"foo.star.shop four.shop mapped.shop to-web static nothing x.nothing shop @ many many x.wild x.known.wild www.sub sub alias " +
			"dangling out into other loop1 many " +
			"a.b.old old a.b.new www.other.example. www.example.net. whoami web.shop._explain id.server.")...)
		if !strings.HasSuffix(name, ".") {
			name = strings.TrimPrefix(name+".", "@.") + "gtm.example."
		}
		typ := pick("A", "A", "A", "A", "A", "A", "A", "A", "A", "AAAA", "AAAA", "AAAA", "HTTPS", "SVCB", "MX", "SRV", "TXT", "NS", "SOA",
			"DS", "DNSKEY", "NSEC", "ANY", "CNAME")
		var opts []string
		if name == "id.server." {
			opts = append(opts, "ch")
		}
		for _, some := range [][]string{{"edns", "do", "do", "", ""}, {"rd", "", ""}, {"nsid", "", "", ""}, {"co", "", "", "", "", ""},
			{"size=512", "size=512", "size=1232", "size=4096", ""}, {"ecs=91.198.174.0/24", "ecs=202.108.22.0/24", "ecs=198.18.7.128/25",
				"ecs=2a02:ec80:300::/56", "ecs=2001:db8::/48", "ecs=10.1.0.0/16", "ecs=0.0.0.0/0", "", "", ""}} {
			if opt := pick(some...); opt != "" {
				opts = append(opts, opt)
			}
		}
		all = append(all, newWayQuery(t, rnd, name, typ, opts))
	}
	return all
}

func newWayQuery(t *testing.T, rnd *rand.Rand, name, typ string, opts []string) wayQuery {
	t.Helper()
	m := query(t, name, typ, opts...)
	m.Id = 0 // as RFC 9250, 4.2.1 has it
	q := wayQuery{text: fmt.Sprint(name, " ", typ, " ", opts), limit: 512}
	o := m.IsEdns0()
	if o != nil {
		q.edns, q.limit = true, min(MaxUDP, max(512, int(o.UDPSize())))
		if rnd.IntN(5) == 0 {
			o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieClient})
		}
		if rnd.IntN(5) == 0 {
			o.Option = append(o.Option, &dns.EDNS0_PADDING{Padding: make([]byte, 20)})
		}
	}
	pack := func() []byte {
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return packed
	}
	q.plain = pack()
	if o != nil && rnd.IntN(4) == 0 {
		o.Option = append(o.Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
		q.keepAlive = pack()
	}
	return q
}

// TestEqualSeedsOverEveryTransport asks servers of equal seeds, one by each transport, the same queries in turn, and compares their
// replies section by section: UDP (where queries are prefetched, and many are answered directly), TCP, TLS, HTTP/1.1 to 3 and
// QUIC. That AF_XDP answers as the UDP sockets do, byte by byte and draw by draw, is TestXDPSeeds in cmd/gtmd/interop, as it takes
// root; the two make one chain, from AF_XDP by UDP to all others.
func TestEqualSeedsOverEveryTransport(t *testing.T) {
	files, trust := selfSigned(t)
	queries := wayQueries(t, 500)
	keys := zoneKeys(t, dnssec.Ed25519, newServer(t).now) // an algorithm that signs the same way each time
	unsigned, signed, cold := equalServer(t, nil), equalServer(t, keys), equalServer(t, keys)
	signAhead(signed, queries)
	for _, tc := range []struct {
		name        string
		quick, slow *server // the slow one gets what the quick one puts off
		putOff      bool    // all that needs a signature
	}{
		{"unsigned", unsigned, unsigned, false},
		{"signed", signed, signed, false},
		{"put off", cold, signed, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			replies := map[string][]wayReply{}
			for _, w := range ways {
				h := &sharing{quick: New(tc.quick.a.cfg), slow: New(tc.slow.a.cfg)}
				replies[w.name] = w.askAll(t, w.connect(t, listen(t, h, w.transport, files), trust), queries)
				if ahead, putOff := h.counts(); (ahead == len(queries)) != (w.transport == serve.UDP) ||
					(putOff > len(queries)/4) != tc.putOff {
					t.Errorf("over %s: of %d queries %d were prefetched, %d put off", w.name, len(queries), ahead, putOff)
				}
			}
			for _, w := range ways {
				compareWays(t, w, queries, replies[w.name], replies["TCP"])
			}
			checkDraws(t, replies["TCP"])
		})
	}
}

// equalServer gives a server of newServer's and drawing's resources, with cookies, and with zone gtm.example. signed if there are keys.
func equalServer(t *testing.T, keys *compile.ZoneKeys) *server {
	t.Helper()
	s := newServer(t)
	s.drawing()
	if keys != nil {
		s.SetKeys("gtm.example.", keys)
		s.Change(compile.Change{})
	}
	s.cookies.Store(newSecrets(t, secret1))
	s.a.cfg.Cookies = &s.cookies
	return s
}

// signAhead has all signed that the queries may draw.
func signAhead(s *server, queries []wayQuery) {
	a, buf := New(s.a.cfg), make([]byte, 65535)
	for range 5 {
		for _, q := range queries {
			a.Answer(buf, copy(buf, q.plain), &Meta{Source: s.src, Stream: true, Slow: true})
		}
	}
}

// A wayReply is a reply, taken apart.
type wayReply struct {
	*dns.Msg
	size    int
	body    []byte // what stands before the OPT record
	opt     string // the OPT record but for padding and the idle timeout
	padding bool
	timeout bool
}

// askAll asks one query after the other.
func (w way) askAll(t *testing.T, ask func([]byte) ([]byte, error), queries []wayQuery) []wayReply {
	t.Helper()
	var all []wayReply
	for i, q := range queries {
		query := q.plain
		if q.keepAlive != nil && w.transport != serve.QUIC { // where it is an error (RFC 9250, 4.3.3)
			query = q.keepAlive
		}
		packed, err := ask(query)
		if err != nil {
			t.Fatalf("query %d, %s, over %s: %v", i, q.text, w.name, err)
		}
		r, err := takeApart(packed)
		if err != nil {
			t.Fatalf("query %d, %s, over %s: %v in %x", i, q.text, w.name, err, packed)
		}
		if want := w.keepAlive && q.keepAlive != nil; r.timeout != want {
			t.Errorf("query %d, %s, over %s: tells an idle timeout: %v", i, q.text, w.name, r.timeout)
		}
		if want := w.encrypted() && q.edns; r.padding != want || want && r.size%padBlock != 0 {
			t.Errorf("query %d, %s, over %s: %d bytes, padded %v", i, q.text, w.name, r.size, r.padding)
		}
		all = append(all, r)
	}
	return all
}

func takeApart(packed []byte) (wayReply, error) {
	r := wayReply{Msg: new(dns.Msg), size: len(packed), body: packed}
	if err := r.Unpack(packed); err != nil {
		return r, err
	}
	o := r.IsEdns0()
	if o == nil {
		return r, nil
	}
	if r.Extra[len(r.Extra)-1] != dns.RR(o) {
		return r, fmt.Errorf("OPT is not last")
	}
	r.Extra = r.Extra[:len(r.Extra)-1]
	r.body = packed[:len(packed)-dns.Len(o)]
	o.Option = slices.DeleteFunc(o.Option, func(e dns.EDNS0) bool {
		r.padding = r.padding || e.Option() == dns.EDNS0PADDING
		r.timeout = r.timeout || e.Option() == dns.EDNS0TCPKEEPALIVE
		return e.Option() == dns.EDNS0PADDING || e.Option() == dns.EDNS0TCPKEEPALIVE
	})
	r.opt = o.String()
	return r, nil
}

// lines gives a section in its order.
func lines(section []dns.RR) []string {
	var all []string
	for _, rr := range section {
		all = append(all, rr.String())
	}
	return all
}

// compareWays compares replies by w with those by TCP. Where one is too large for UDP, its sections may end earlier there.
func compareWays(t *testing.T, w way, queries []wayQuery, replies, byTCP []wayReply) {
	t.Helper()
	cut := 0
	for i, q := range queries {
		got, want := replies[i], byTCP[i]
		size := want.size
		if want.timeout {
			size -= 6
		}
		tooLarge := w.transport == serve.UDP && size > q.limit
		if tooLarge {
			cut++
		}
		header := got.MsgHdr
		header.Truncated = header.Truncated && !tooLarge
		if header != want.MsgHdr || got.opt != want.opt || fmt.Sprint(got.Question) != fmt.Sprint(want.Question) {
			t.Fatalf("query %d, %s, over %s: %+v %s\nby TCP: %+v %s", i, q.text, w.name, header, got.opt, want.MsgHdr, want.opt)
		}
		for _, s := range []struct {
			name      string
			got, want []dns.RR
		}{{"answer", got.Answer, want.Answer}, {"authority", got.Ns, want.Ns}, {"additional", got.Extra, want.Extra}} {
			one, two := lines(s.got), lines(s.want)
			if tooLarge && len(one) < len(two) {
				two = two[:len(one)]
			}
			if !slices.Equal(one, two) {
				t.Fatalf("query %d, %s, over %s: %s section\n%s\nby TCP:\n%s", i, q.text, w.name, s.name, strings.Join(one, "\n"),
					strings.Join(two, "\n"))
			}
		}
		if !tooLarge && !bytes.Equal(got.body, want.body) {
			t.Fatalf("query %d, %s, over %s: %x\nby TCP: %x", i, q.text, w.name, got.body, want.body)
		}
	}
	if (cut > 5) != (w.transport == serve.UDP) || cut > len(queries)/4 {
		t.Errorf("over %s: %d replies of %d are too large", w.name, cut, len(queries))
	}
}

// checkDraws makes sure that there was something to draw, and something of each kind.
func checkDraws(t *testing.T, replies []wayReply) {
	t.Helper()
	drawn, rcodes := map[string]int{}, map[int]bool{}
	for _, r := range replies {
		rcodes[r.Rcode] = true
		if len(r.Answer) == 3 && strings.HasPrefix(r.Question[0].Name, "several.") {
			drawn[strings.Join(lines(r.Answer), "\n")]++
		}
		if len(r.Answer) > 0 && strings.EqualFold(r.Question[0].Name, "web.shop.gtm.example.") {
			drawn[fmt.Sprint(r.Answer[0])]++
		}
	}
	if len(drawn) < 20 || !rcodes[dns.RcodeSuccess] || !rcodes[dns.RcodeNameError] || !rcodes[dns.RcodeRefused] {
		t.Errorf("%d different draws, rcodes %v", len(drawn), rcodes)
	}
}
