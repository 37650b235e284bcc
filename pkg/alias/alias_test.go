package alias

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/resolve"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
)

// within bounds what must happen; only a test that fails waits so long.
const within = 20 * time.Second

// recursor is a resolver that a test scripts.
type recursor struct {
	t    *testing.T
	addr netip.AddrPort
	mu   sync.Mutex
	ans  func(m *dns.Msg, network, subnet string) // fills in the reply
	seen []string                                 // questions: network, name, type, subnet
}

func newRecursor(t *testing.T) *recursor {
	t.Helper()
	r := &recursor{t: t}
	l, pc := listenBoth(t)
	r.addr = netip.MustParseAddrPort(pc.LocalAddr().String())
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: r.handler("udp")}, {Listener: l, Handler: r.handler("tcp")}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return r
}

// listenBoth listens on one port by TCP and UDP. The port that the one is given may be taken for the other.
func listenBoth(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for try := 1; ; try++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, pc
		}
		if _ = l.Close(); try == 100 {
			t.Fatal(err)
		}
	}
}

func (r *recursor) handler(network string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		subnet := ""
		if opt := q.IsEdns0(); opt != nil {
			for _, o := range opt.Option {
				if e, ok := o.(*dns.EDNS0_SUBNET); ok {
					subnet = fmt.Sprintf("%s/%d", e.Address, e.SourceNetmask)
				}
			}
		}
		m := new(dns.Msg)
		m.SetReply(q)
		r.mu.Lock()
		r.seen = append(r.seen, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", network, strings.ToLower(q.Question[0].Name),
			dns.TypeToString[q.Question[0].Qtype], subnet)))
		r.ans(m, network, subnet)
		r.mu.Unlock()
		_ = w.WriteMsg(m)
	}
}

// set changes what it answers.
func (r *recursor) set(ans func(m *dns.Msg, network, subnet string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ans = ans
}

// zone answers with records, in which @ stands for the name asked for, of the type asked for or CNAME.
func (r *recursor) zone(records ...string) {
	r.set(func(m *dns.Msg, _, _ string) { fill(r.t, m, records...) })
}

func fill(t *testing.T, m *dns.Msg, records ...string) {
	for _, text := range records {
		rr, err := dns.NewRR(strings.ReplaceAll(text, "@", m.Question[0].Name))
		if err != nil {
			t.Error(err)
			continue
		}
		if typ := rr.Header().Rrtype; typ == m.Question[0].Qtype || typ == dns.TypeCNAME {
			m.Answer = append(m.Answer, rr)
		}
	}
}

func (r *recursor) questions() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

var cdn = compile.Target{Host: "www.cdn.example."}

// keeper is a Keeper at work, and what it delivered.
type keeper struct {
	*Keeper
	t    *testing.T
	news chan *compile.Resolved
	stop func()
	reg  *prometheus.Registry
}

func work(t *testing.T, file string, atlas *geo.Atlas, resolver netip.AddrPort, targets ...compile.Target) *keeper {
	t.Helper()
	k := &keeper{t: t, news: make(chan *compile.Resolved, 1000), reg: prometheus.NewRegistry()}
	var err error
	k.Keeper, err = New(Config{Resolvers: []netip.AddrPort{resolver}, Timeout: time.Second, Shortest: 20 * time.Millisecond,
		Longest: 50 * time.Millisecond,
		File:    file, Deliver: func(_ context.Context, _ compile.Target, r *compile.Resolved) { k.news <- r }, Registerer: k.reg})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	k.Want(targets, atlas)
	go func() { k.Run(ctx); close(done) }()
	k.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(k.stop)
	return k
}

// until waits for a delivery that ok likes.
func (k *keeper) until(what string, ok func(*compile.Resolved) bool) *compile.Resolved {
	k.t.Helper()
	for end := time.After(within); ; {
		select {
		case r := <-k.news:
			if ok(r) {
				return r
			}
		case <-end:
			k.t.Fatalf("never: %s", what)
		}
	}
}

func (k *keeper) untilState(what string, ok func(State) bool) {
	k.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(2 * time.Millisecond) {
		if s := k.States(); len(s) == 1 && ok(s[0]) {
			return
		}
		if time.Now().After(end) {
			k.t.Fatalf("never: %s; %+v", what, k.States())
		}
	}
}

func has(list []netip.Addr, addrs ...string) bool {
	want := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		want[i] = netip.MustParseAddr(a)
	}
	return slices.Equal(list, want)
}

func TestRefreshesAndKeepsTheLastGoodResult(t *testing.T) {
	r := newRecursor(t)
	r.set(func(m *dns.Msg, _, _ string) { m.Rcode = dns.RcodeServerFailure })
	k := work(t, "", nil, r.addr, cdn)
	k.untilState("the first question fails", func(s State) bool { return s.Failing == 1 })
	if got := k.gather("gtm_alias_unresolved_targets"); got != 1 {
		t.Errorf("%v targets are told as unresolved", got)
	}
	r.zone("@ 1 A 192.0.2.1")
	k.until("it is resolved", func(r *compile.Resolved) bool { return has(r.Addresses, "192.0.2.1") })
	r.zone("@ 1 A 192.0.2.2", "@ 1 AAAA 2001:db8::2")
	k.until("it is refreshed", func(r *compile.Resolved) bool { return has(r.Addresses, "192.0.2.2", "2001:db8::2") })
	for _, fault := range []func(m *dns.Msg, network, subnet string){
		func(m *dns.Msg, _, _ string) { m.Rcode = dns.RcodeServerFailure },
		func(m *dns.Msg, _, _ string) { m.Rcode = dns.RcodeNameError },
		func(*dns.Msg, string, string) {}, // no addresses
		func(m *dns.Msg, _, _ string) { fill(t, m, "@ 1 A 127.0.0.1") },
		func(m *dns.Msg, _, _ string) { // one family alone is no good result
			if fill(t, m, "@ 1 A 192.0.2.3"); m.Question[0].Qtype == dns.TypeAAAA {
				m.Rcode = dns.RcodeServerFailure
			}
		},
	} {
		r.set(fault)
		k.untilState("it fails", func(s State) bool {
			return s.Failing == 1 && s.Error != "" && has(s.Addresses, "192.0.2.2", "2001:db8::2")
		})
		if k.gather("gtm_alias_failing_targets") != 1 || k.gather("gtm_alias_stale_seconds") <= 0 {
			t.Error("the metrics do not tell of it")
		}
		r.zone("@ 1 A 192.0.2.2", "@ 1 AAAA 2001:db8::2")
		k.untilState("it is resolved again", func(s State) bool { return s.Failing == 0 })
	}
	for len(k.news) > 0 {
		if r := <-k.news; !has(r.Addresses, "192.0.2.2", "2001:db8::2") {
			t.Errorf("a failure was delivered: %+v", r)
		}
	}
	r.zone("@ 1 A 192.0.2.4")
	k.until("a family that is gone", func(r *compile.Resolved) bool { return has(r.Addresses, "192.0.2.4") })
}

func (k *keeper) gather(name string) float64 {
	k.t.Helper()
	families, err := k.reg.Gather()
	if err != nil {
		k.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	k.t.Fatalf("no series %s", name)
	return 0
}

func TestByContinent(t *testing.T) {
	atlas, err := geo.Open()
	if err != nil {
		t.Fatal(err)
	}
	r := newRecursor(t)
	r.set(func(m *dns.Msg, _, subnet string) {
		if subnet == "" {
			fill(t, m, "@ 30 A 192.0.2.1")
			return
		}
		p, _ := atlas.Lookup(netip.MustParsePrefix(subnet).Addr())
		switch p.Continent {
		case "EU":
			fill(t, m, "@ 20 A 192.0.2.2")
		case "AS":
			m.Rcode = dns.RcodeServerFailure
		default:
			fill(t, m, "@ 30 A 192.0.2.3")
		}
	})
	k := work(t, "", atlas, r.addr, compile.Target{Host: cdn.Host, By: spec.ByContinent})
	got := k.until("all but one are resolved", func(r *compile.Resolved) bool {
		n := 0
		for _, p := range r.Places {
			n += len(p.Addresses)
		}
		return n == 6
	})
	if len(got.Places) != 7 || !has(got.Addresses, "192.0.2.1") {
		t.Fatalf("%+v", got)
	}
	for _, p := range got.Places {
		want := []string{"192.0.2.3"}
		switch p.Place {
		case "EU":
			want[0] = "192.0.2.2"
		case "AS":
			want = nil
		}
		if !has(p.Addresses, want...) {
			t.Errorf("%s: %v, want %v", p.Place, p.Addresses, want)
		}
	}
}

func TestWantedNoMore(t *testing.T) {
	r := newRecursor(t)
	r.zone("@ 1 A 192.0.2.1")
	k := work(t, "", nil, r.addr, cdn)
	k.until("it is resolved", func(*compile.Resolved) bool { return true })
	other := compile.Target{Host: "other.example."}
	if gone := k.Want([]compile.Target{other}, nil); !slices.Equal(gone, []compile.Target{cdn}) {
		t.Errorf("gone %v", gone)
	}
	k.untilState("the other is resolved", func(s State) bool { return s.Target == other && !s.Resolved.IsZero() })
	before := slices.DeleteFunc(r.questions(), func(q string) bool { return !strings.Contains(q, "www.cdn") })
	for range 3 {
		at := k.States()[0].Resolved
		k.untilState("it is refreshed", func(s State) bool { return s.Resolved.After(at) })
	}
	// a question may have been under way
	after := slices.DeleteFunc(r.questions(), func(q string) bool { return !strings.Contains(q, "www.cdn") })
	if len(after) > len(before)+2 {
		t.Errorf("%d more questions about what is not wanted", len(after)-len(before))
	}
}

func TestResultsOutliveARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "aliases.json")
	r := newRecursor(t)
	r.zone("@ 1 A 192.0.2.1")
	first := work(t, file, nil, r.addr, cdn)
	first.until("it is resolved", func(*compile.Resolved) bool { return true })
	first.stop()

	second := asker(t)
	second.cfg.File = file
	if err := second.load(); err != nil {
		t.Fatal(err)
	}
	kept := second.Kept()
	if len(kept) != 1 || !has(kept[cdn].Addresses, "192.0.2.1") {
		t.Fatalf("kept %+v", kept)
	}
	gone := second.Want([]compile.Target{cdn}, nil)
	if len(gone) != 0 || len(second.States()) != 1 || second.States()[0].Resolved.IsZero() {
		t.Errorf("gone %v, states %+v", gone, second.States())
	}
	if gone := asker(t).Want(nil, nil); len(gone) != 0 {
		t.Errorf("gone %v", gone)
	}
	for name, text := range map[string]string{"cut": "{", "version": `{"version": 9}`,
		"address": `{"version":1,"targets":[{"host":"a.example.","places":[{"addresses":["127.0.0.1"]}]}]}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := New(Config{File: file})
		if err != nil || len(k.Kept()) != 0 {
			t.Errorf("%s: %v, kept %v", name, err, k.Kept())
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"targets":[{"host":"a.example.","by":"continent","places":[` +
		`{"addresses":["192.0.2.1"],"ttl":5,"at":"2026-01-01T00:00:00Z"},{"place":"EU","ttl":0,"at":"0001-01-01T00:00:00Z"}]}]}`))
	f.Add([]byte(`{"version":1,"targets":[{"host":"a.example.","places":[{"addresses":["::ffff:1.2.3.4"]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		kept, err := decode(data)
		if err != nil {
			return
		}
		for _, of := range kept {
			if r := of.resolved(); r != nil && slices.ContainsFunc(r.Addresses, func(a netip.Addr) bool { return resolve.Unfit(a) != "" }) {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestMetricsAreWellFormed(t *testing.T) {
	r := newRecursor(t)
	r.zone("@ 1 A 192.0.2.1")
	k := work(t, "", nil, r.addr, cdn)
	k.until("it is resolved", func(*compile.Resolved) bool { return true })
	if problems, err := testutil.GatherAndLint(k.reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
