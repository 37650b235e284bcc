package discover

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/resolve"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

func TestMain(m *testing.M) {
	etcds.Main()
	os.Exit(m.Run())
}

// within is how long a test waits for what must come about.
const within = 30 * time.Second

// resolver answers what a test says, by UDP and TCP.
type resolver struct {
	t  *testing.T
	at netip.AddrPort

	mu     sync.Mutex
	answer func(m *dns.Msg)
	asked  int
}

func newResolver(t *testing.T) *resolver {
	t.Helper()
	r := &resolver{t: t}
	var l net.Listener
	var pc net.PacketConn
	for try := 0; ; try++ { // the port that the one is given may be taken for the other
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if pc, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			break
		}
		if _ = l.Close(); try == 100 {
			t.Fatal(err)
		}
	}
	r.at = netip.MustParseAddrPort(pc.LocalAddr().String())
	r.says()
	for _, s := range []*dns.Server{{PacketConn: pc}, {Listener: l}} {
		started := make(chan struct{})
		udp := s.PacketConn != nil
		s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			m.SetReply(q)
			r.mu.Lock()
			r.asked++
			r.answer(m)
			r.mu.Unlock()
			if m.Compress = true; udp {
				m.Truncate(1232)
			}
			_ = w.WriteMsg(m)
		})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return r
}

func (r *resolver) does(answer func(m *dns.Msg)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// says has it answer with records of the name and type that is asked for; other names do not exist.
func (r *resolver) says(records ...string) {
	var all []dns.RR
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, rr)
	}
	r.does(func(m *dns.Msg) {
		q := m.Question[0]
		m.Rcode = dns.RcodeNameError
		for _, rr := range all {
			if strings.EqualFold(rr.Header().Name, q.Name) {
				m.Rcode = dns.RcodeSuccess
			}
			if strings.EqualFold(rr.Header().Name, q.Name) && rr.Header().Rrtype == q.Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
	})
}

// headOf is the head of a record of the name that is asked for.
func headOf(m *dns.Msg, typ uint16) dns.RR_Header {
	return dns.RR_Header{Name: m.Question[0].Name, Rrtype: typ, Class: dns.ClassINET, Ttl: 5}
}

func (r *resolver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// world is a store with pools, for which controls look.
type world struct {
	t     *testing.T
	at    string // of etcd
	files string
	dns   *resolver
}

func newWorld(t *testing.T) *world {
	return &world{t: t, at: etcds.Start(t), files: t.TempDir(), dns: newResolver(t)}
}

// declare has the pool shop/p have these sources.
func (w *world) declare(sources ...string) {
	w.t.Helper()
	const form = `kind: Zone
tenant: platform
name: gtm.example.
spec:
  nameservers: [ns.example.]
  contact: hostmaster@example.org
  grants: {shop: [shop.gtm.example.]}
---
kind: Pool
tenant: shop
name: p
spec: {endpoints: [{name: own, addresses: [192.0.2.99]}], discover: [%s]}
`
	w.apply(fmt.Sprintf(form, strings.Join(sources, ", ")))
}

func (w *world) apply(yaml string) {
	w.t.Helper()
	c := change.New(change.Config{Store: etcds.Open(w.t, w.at)})
	plan, err := c.Plan(w.t.Context(), change.Input{Put: declared.Resources(w.t, yaml), Author: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := c.Apply(w.t.Context(), plan); err != nil {
		w.t.Fatal(err)
	}
}

// control is one that follows the store, and looks when it is elected.
type control struct {
	*Finder
	w      *world
	mirror *state.Mirror
	store  *store.Client
	reg    *prometheus.Registry
	stop   func()
	log    *gtmtest.Log
}

func (w *world) control(id string, configure func(*Config)) *control {
	w.t.Helper()
	c := &control{w: w, mirror: state.NewMirror(), store: etcds.Open(w.t, w.at), reg: prometheus.NewRegistry(), log: gtmtest.NewLog(w.t)}
	cfg := Config{ID: id, Store: c.store, Mirror: c.mirror, Resolvers: []netip.AddrPort{w.dns.at}, Files: w.files, Logger: c.log.Logger(),
		Registerer: c.reg, Sleep: func(ctx context.Context, _ time.Duration) bool { return sleep(ctx, 5*time.Millisecond) }}
	if configure != nil {
		configure(&cfg)
	}
	var err error
	if c.Finder, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	var both sync.WaitGroup
	both.Go(func() { c.Run(ctx) })
	both.Go(func() {
		_ = c.store.Follow(ctx, store.FollowConfig{OnUpdate: func(u state.Update) error { c.mirror.Apply(u); return nil }})
	})
	c.stop = sync.OnceFunc(func() { cancel(); both.Wait() })
	w.t.Cleanup(c.stop)
	return c
}

// until waits until what a source has is as it should be, and gives that.
func (c *control) until(what, source string, is func(f *spec.Found) bool) (f spec.Found) {
	c.w.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(2 * time.Millisecond) {
		f, _ = state.Discovered.Get(c.mirror, state.SourceID{Tenant: "shop", Pool: "p", Source: source})
		if is(&f) {
			return f
		}
		if time.Now().After(end) {
			c.w.t.Fatalf("never: %s; it is %+v", what, f)
		}
	}
}

// has waits until a source has just these.
func (c *control) has(source, want string) spec.Found {
	c.w.t.Helper()
	return c.until("it has "+want, source, func(f *spec.Found) bool { return text(f.Endpoints) == want })
}

func (c *control) fails(source, why string) spec.Found {
	c.w.t.Helper()
	return c.until("it fails: "+why, source, func(f *spec.Found) bool { return strings.Contains(f.Error, why) && !f.Failed.IsZero() })
}

func (w *world) file(name, text string) {
	w.t.Helper()
	folder := filepath.Join(w.files, "shop")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "new"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(folder, "new"), filepath.Join(folder, name)); err != nil {
		w.t.Fatal(err)
	}
}

// A name is followed where it goes; whatever resolvers do instead of answering keeps what was good last, and is told.
func TestNames(t *testing.T) {
	w := newWorld(t)
	w.declare("{name: n, dns: Edge.Partner.example, families: [ipv4, ipv6], most: 20}")
	w.dns.says("edge.partner.example. 5 A 192.0.2.1", "edge.partner.example. 5 AAAA 2001:db8::1")
	c := w.control("a", nil)
	c.has("n", "1 2001:db8::1")
	w.dns.says("edge.partner.example. 5 A 192.0.2.2", "edge.partner.example. 5 AAAA 2001:db8::1")
	c.has("n", "2 2001:db8::1")
	for name, tc := range map[string]struct {
		does func(m *dns.Msg)
		why  string
	}{
		"SERVFAIL": {func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, "edge.partner.example. A: answered SERVFAIL"},
		"NXDOMAIN": {func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, "does not exist"},
		"empty":    {func(*dns.Msg) {}, "it has no addresses"},
		"another question": {func(m *dns.Msg) { m.Question[0].Name = "other.example." },
			"the answer is to another question"},
		"another name": {func(m *dns.Msg) {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "other.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5},
				A: net.IPv4(192, 0, 2, 7)})
		}, "it has no addresses"},
		"thousands": {func(m *dns.Msg) {
			for i := range 3900 {
				m.Answer = append(m.Answer, &dns.A{Hdr: headOf(m, dns.TypeA), A: net.IPv4(203, 0, byte(i>>8), byte(i))})
			}
			if m.Question[0].Qtype != dns.TypeA {
				m.Answer = nil
			}
		}, "it has 3900 addresses, more than the 20 of spec.discover[].most: none of them is taken"},
		"inner places": {func(m *dns.Msg) {
			for _, a := range []net.IP{{127, 0, 0, 1}, {10, 1, 2, 3}, {10, 1, 2, 4}, {169, 254, 169, 254}} {
				m.Answer = append(m.Answer, &dns.A{Hdr: headOf(m, dns.TypeA), A: a})
			}
			if m.Question[0].Qtype != dns.TypeA {
				m.Answer = nil
			}
		}, "it leads to nothing that clients are sent to: refused 1 a metadata service, 1 loopback, 2 private"},
		"IPv4 in IPv6": {func(m *dns.Msg) {
			if m.Question[0].Qtype == dns.TypeAAAA {
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: headOf(m, dns.TypeAAAA), AAAA: net.ParseIP("64:ff9b::7f00:1")})
			}
		}, "refused 1 loopback"},
	} {
		w.dns.does(tc.does)
		f := c.fails("n", tc.why)
		if text(f.Endpoints) != "2 2001:db8::1" || f.Good.IsZero() {
			t.Errorf("%s: %+v", name, f)
		}
		if strings.Contains(f.Error, "127.0.0.1") || strings.Contains(f.Error, "10.1.2") {
			t.Errorf("%s tells what is inside: %s", name, f.Error)
		}
		w.dns.says("edge.partner.example. 5 A 192.0.2.2", "edge.partner.example. 5 AAAA 2001:db8::1")
		c.until("it is good again", "n", func(f *spec.Found) bool { return f.Failed.IsZero() && f.Error == "" })
	}
	if problems, err := testutil.GatherAndLint(c.reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// The SRV records of the lowest priority are followed, with their weights and ports.
func TestServers(t *testing.T) {
	w := newWorld(t)
	w.declare("{name: s, srv: _rtmp._tcp.partner.example, empty: take}")
	const name = "_rtmp._tcp.partner.example. 5 SRV "
	w.dns.says(name+"10 7 1935 b.partner.example.", name+"10 0 1936 a.partner.example.", name+"20 9 1 later.partner.example.",
		"a.partner.example. 5 A 192.0.2.1", "b.partner.example. 5 A 192.0.2.2", "b.partner.example. 5 A 192.0.2.3",
		"later.partner.example. 5 A 192.0.2.4")
	c := w.control("a", nil)
	f := c.has("s", "1 2 3")
	for i, want := range []struct {
		port   uint16
		weight int
	}{{1936, 1}, {1935, 7}, {1935, 7}} {
		if e := f.Endpoints[i]; e.Port != want.port || e.Weight == nil || *e.Weight != want.weight {
			t.Errorf("%+v, want %+v", e, want)
		}
	}
	w.dns.does(func(m *dns.Msg) {
		for i := range mostTargets + 1 {
			m.Answer = append(m.Answer, &dns.SRV{Hdr: headOf(m, dns.TypeSRV), Target: "a.partner.example.", Port: uint16(i + 1)})
		}
	})
	c.fails("s", "33 records, more than the 32")
	asked := w.dns.count()
	w.dns.says(name+"10 7 1935 gone.partner.example.", name+"10 7 1935 a.partner.example.", "a.partner.example. 5 A 192.0.2.1")
	c.until("a target that is gone leaves the others", "s", func(f *spec.Found) bool {
		return text(f.Endpoints) == "1" && f.Notes == "the targets of 1 SRV records do not exist"
	})
	if w.dns.count() == asked {
		t.Error("it was not asked")
	}
	w.dns.says(name+"10 5 8080 a.partner.example.", name+"10 7 9090 a.partner.example.", "a.partner.example. 5 A 192.0.2.1")
	c.until("two ports of one address are one endpoint, and told", "s", func(f *spec.Found) bool {
		return f.Notes == "1 of its addresses have several ports, of which one is checked" && text(f.Endpoints) == "1" &&
			f.Endpoints[0].Port == 8080 && *f.Endpoints[0].Weight == 12
	})
	w.dns.says(name + "0 0 0 .") // "decidedly not available"
	c.until("an empty list is taken", "s", func(f *spec.Found) bool { return len(f.Endpoints) == 0 && f.Failed.IsZero() })
}

// Resolvers that tenants name are guarded as checks are.
func TestResolversOfTenantsAreGuarded(t *testing.T) {
	w := newWorld(t)
	w.dns.says("a.example. 5 A 192.0.2.1")
	other := newResolver(t)
	other.says("a.example. 5 A 192.0.2.2")
	w.declare("{name: theirs, dns: a.example, resolver: '" + other.at.String() + "'}")
	c := w.control("a", nil)
	f := c.fails("theirs", "its resolver is not one that control asks for tenants")
	if other.count() != 0 || strings.Contains(f.Error, "loopback") {
		t.Errorf("asked %d times: %s", other.count(), f.Error)
	}
	c.stop()
	w.control("b", func(cfg *Config) { cfg.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }).has("theirs", "2")
	if w.dns.count() != 0 {
		t.Error("control's own resolver was asked")
	}
}

// Of two controls one looks; the other goes on with what was good last, and takes away what is declared no more.
func TestOneControlLooks(t *testing.T) {
	w := newWorld(t)
	w.declare("{name: n, dns: a.example}", "{name: x, pushed: true}", "{name: y, pushed: true, empty: take}")
	w.dns.says("a.example. 5 A 192.0.2.1", "a.example. 5 A 192.0.2.2")
	a := w.control("a", nil)
	a.has("n", "1 2")
	clock := struct {
		sync.Mutex
		now time.Time
	}{now: time.Now()}
	b := w.control("b", func(cfg *Config) {
		cfg.Now = func() time.Time { clock.Lock(); defer clock.Unlock(); return clock.now }
	})
	b.has("n", "1 2")
	if strings.Contains(b.log.String(), "looks for endpoints now") {
		t.Error("two look")
	}
	w.dns.does(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })
	a.fails("n", "SERVFAIL")
	a.stop()
	w.dns.says("a.example. 5 A 192.0.2.2", "a.example. 5 A 192.0.2.3")
	b.has("n", "2 3")
	pushed := spec.Found{Tenant: "shop", Pool: "p", Source: "x", Of: "pushed", Endpoints: listOf("192.0.2.7"), By: "me",
		Expires: clock.now.Add(time.Minute).UTC().Truncate(time.Second)}
	toTake := pushed
	toTake.Source = "y"
	if err := b.store.PushFound(t.Context(), pushed, toTake); err != nil {
		t.Fatal(err)
	}
	b.has("x", "7")
	b.has("y", "7")
	clock.Lock()
	clock.now = clock.now.Add(time.Hour)
	clock.Unlock()
	if f := b.fails("x", "nobody pushed a newer list"); len(f.Endpoints) != 0 || f.By != "me" {
		t.Errorf("%+v", f)
	}
	b.until("to have none is no fault of it", "y", func(f *spec.Found) bool {
		return len(f.Endpoints) == 0 && f.Failed.IsZero() && f.Notes == "nobody pushed a newer list before it expired"
	})
	w.declare("{name: other, dns: a.example}")
	b.has("other", "2 3")
	clock.Lock()
	clock.now = clock.now.Add(time.Hour)
	clock.Unlock()
	b.until("what nobody declares is gone", "n", func(f *spec.Found) bool { return f.Tenant == "" })
	b.until("what nobody declares is gone", "x", func(f *spec.Found) bool { return f.Tenant == "" })
	if err := a.store.PutFound(t.Context(), pushed); err == nil {
		t.Error("who does not look any more writes")
	}
}

// A refused connection is told in few words, and not by whom.
func TestLookFault(t *testing.T) {
	err := fmt.Errorf("a.example. A: %w", &resolve.AtError{At: "192.0.2.53:53", Err: &net.OpError{Op: "read", Net: "udp",
		Err: os.NewSyscallError("read", syscall.ECONNREFUSED)}})
	if got := lookFault(err); got != "a.example. A: read: connection refused" {
		t.Error(got)
	}
}
