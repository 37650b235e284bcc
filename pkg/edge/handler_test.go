package edge

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/answer"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/serve"
)

// bareEdge is one without sockets and store.
func bareEdge(t *testing.T, cfg Config) *Edge {
	t.Helper()
	clock := &fakeTime{noon}
	cfg.Now = clock.now
	e := &Edge{cfg: cfg, rows: 1}
	e.clock.set(noon)
	var err error
	if e.cookies, err = newCookies("", t.TempDir(), cfg.Now, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if e.sampling, err = e.newSampling(); err != nil {
		t.Fatal(err)
	}
	return e
}

// askHandler hands a query with options to a handler, as serve does.
func askHandler(t *testing.T, h serve.Handler, r *serve.Request, options ...dns.EDNS0) (*dns.Msg, serve.Action) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("www.example.", dns.TypeA)
	m.SetEdns0(4096, false)
	m.IsEdns0().Option = options
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r.Buf = make([]byte, 4096)
	r.N = copy(r.Buf, packed)
	r.Source = netip.AddrPortFrom(cookieAddr, 4444)
	n, action := h.Handle(r)
	h.Flush()
	if n == 0 {
		return nil, action
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(r.Buf[:n]); err != nil {
		t.Fatal(err)
	}
	return reply, action
}

func optionsOf(m *dns.Msg) map[uint16]dns.EDNS0 {
	out := map[uint16]dns.EDNS0{}
	for _, o := range m.IsEdns0().Option {
		out[o.Option()] = o
	}
	return out
}

func TestCookiesThroughTheHandler(t *testing.T) {
	e := bareEdge(t, Config{ID: "edge-1", RequireCookies: true, MaxUDP: 1400})
	h := e.newHandler()
	cookie := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}
	r := &serve.Request{Transport: serve.UDP, Exempt: true}
	m, action := askHandler(t, h, r, cookie)
	if m == nil || m.Rcode != dns.RcodeBadCookie || action != serve.Send || r.Exempt || m.IsEdns0().UDPSize() != 1400 {
		t.Fatalf("a client cookie alone: %v, action %d, exempt %v", m, action, r.Exempt)
	}
	learned := optionsOf(m)[dns.EDNS0COOKIE]
	if m, _ = askHandler(t, h, r, learned); m.Rcode != dns.RcodeServerFailure || !r.Exempt { // SERVFAIL: there is no view yet
		t.Errorf("the cookie that was given: %v, exempt %v", m, r.Exempt)
	}
	e.clock.set(noon.Add(2 * time.Hour))
	if m, _ = askHandler(t, h, r, learned); m.Rcode != dns.RcodeBadCookie || r.Exempt {
		t.Errorf("two hours later: %v, exempt %v", m, r.Exempt)
	}
	if m, _ = askHandler(t, h, &serve.Request{Transport: serve.TCP}, cookie); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("over TCP: %v", m)
	}
}

func TestTransportsThroughTheHandler(t *testing.T) {
	h := bareEdge(t, Config{ID: "edge-1"}).newHandler()
	keepAlive := &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}
	for _, tc := range []struct {
		transport        serve.Transport
		keepAlive        uint16
		tells, encrypted bool
	}{{serve.UDP, 0, false, false}, {serve.TCP, 300, true, false}, {serve.TLS, 300, true, true}, {serve.HTTPS, 0, false, true}} {
		m, _ := askHandler(t, h, &serve.Request{Transport: tc.transport, KeepAlive: tc.keepAlive}, keepAlive)
		options := optionsOf(m)
		if _, ok := options[dns.EDNS0TCPKEEPALIVE]; ok != tc.tells {
			t.Errorf("%v: %v", tc.transport, m)
		}
		if _, ok := options[dns.EDNS0PADDING]; ok != tc.encrypted {
			t.Errorf("%v: %v", tc.transport, m)
		}
	}
	if m, action := askHandler(t, h, &serve.Request{Transport: serve.QUIC}, keepAlive); m != nil || action != serve.Close {
		t.Errorf("keepalive over QUIC: %v, action %d", m, action)
	}
	if m, action := askHandler(t, h, &serve.Request{Transport: serve.QUIC}); m == nil || action != serve.Send ||
		optionsOf(m)[dns.EDNS0PADDING] == nil {
		t.Errorf("QUIC: %v, action %d", m, action)
	}
	r := &serve.Request{Buf: make([]byte, 512), N: 3}
	if n, action := h.Handle(r); n != 0 || action != serve.Drop {
		t.Errorf("three bytes: %d, action %d", n, action)
	}
}

func TestClockRuns(t *testing.T) {
	var c clock
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx, func() time.Time {
			select {
			case asked <- struct{}{}:
			default:
			}
			return noon
		})
	}()
	<-asked // it was asked for the time once
	cancel()
	<-done
	if got := c.seconds.Load(); got != uint32(noon.Unix()) {
		t.Errorf("the clock shows %d", got)
	}
}

// TestASignedQuestionIsReadAnew: over UDP a signed message is looked at ahead of its turn, and what is answered is the message
// without its signature. Taken for the one that was looked at, it was left unanswered.
func TestASignedQuestionIsReadAnew(t *testing.T) {
	h := bareEdge(t, Config{ID: "edge"}).newHandler().(*handler)
	m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
	plain, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	m.SetTsig("key.example.", dns.HmacSHA256, 300, noon.Unix())
	signed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	h.Parse(0, signed, netip.AddrPortFrom(cookieAddr, 4444))
	h.Prefetch(1)
	h.meta.Prefetched = 1
	buf := make([]byte, 4096)
	if size, deferred := h.again(buf, copy(buf, plain)); size <= 0 || deferred {
		t.Errorf("size %d, deferred %v", size, deferred)
	}
}

// What an outcome without a reply asks of the sockets. Foreign queries are pkg/transfer's: TestASignedQuestionIsReadAnew.
func TestOutcomesWithoutAReply(t *testing.T) {
	h := bareEdge(t, Config{}).newHandler().(*handler)
	for _, tt := range []struct {
		kind      answer.Kind
		want      serve.Action
		preferred bool
	}{{answer.Drop, serve.Drop, false}, {answer.Close, serve.Close, false}, {answer.Defer, serve.Defer, false},
		{answer.DeferKnown, serve.Defer, true}} {
		r := &serve.Request{}
		if n, got := h.unsent(r, answer.Outcome{Kind: tt.kind}); n != 0 || got != tt.want || r.Preferred != tt.preferred {
			t.Errorf("kind %d: %d bytes, action %v, preferred %v", tt.kind, n, got, r.Preferred)
		}
	}
	e := bareEdge(t, Config{})
	w := views.New(t, 1)
	w.Put(strings.ReplaceAll(platformYAML, "gtm.example.", "example."))
	e.view.Store(w.View.Load())
	h = e.newHandler().(*handler)
	askHandler(t, h, &serve.Request{})
	r := &serve.Request{}
	if h.unsent(r, answer.Outcome{Kind: answer.DeferKnown}); r.Share == 0 {
		t.Error("work for a zone is of nobody's share")
	}
}
