package alias

import (
	"context"
	"errors"
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
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
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
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
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
		r.seen = append(r.seen, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", network, strings.ToLower(q.Question[0].Name), dns.TypeToString[q.Question[0].Qtype], subnet)))
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

var cdn = table.Target{Host: "www.cdn.example."}

// asker is a Keeper that only asks.
func asker(t *testing.T, at ...netip.AddrPort) *Keeper {
	t.Helper()
	k, err := New(Config{Resolvers: at, Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatIsTakenFromAnswers(t *testing.T) {
	r := newRecursor(t)
	rcode := func(code int) func(*dns.Msg, string, string) {
		return func(m *dns.Msg, _, _ string) { m.Rcode = code }
	}
	records := func(list ...string) func(*dns.Msg, string, string) {
		return func(m *dns.Msg, _, _ string) { fill(t, m, list...) }
	}
	many := make([]string, 0, 2*maxAddresses)
	for i := range cap(many) {
		many = append(many, fmt.Sprintf("@ 60 A 192.0.2.%d", i))
	}
	for _, tc := range []struct {
		name string
		ans  func(*dns.Msg, string, string)
		want string // addresses and TTL, or part of the error
	}{
		{"both families", records("@ 300 A 192.0.2.2", "@ 300 A 192.0.2.1", "@ 60 AAAA 2001:db8::1"), "192.0.2.1 192.0.2.2 2001:db8::1 60"},
		{"one family", records("@ 30 AAAA 2001:db8::1"), "2001:db8::1 30"},
		{"twice the same", records("@ 30 A 192.0.2.1", "@ 30 A 192.0.2.1"), "192.0.2.1 30"},
		{"chain", records("b.example. 500 A 192.0.2.9", "@ 20 CNAME a.EXAMPLE.", "a.example. 600 CNAME b.example."), "192.0.2.9 20"},
		{"chain that leads nowhere", records("@ 20 CNAME a.example.", "b.example. 5 A 192.0.2.9"), "no addresses"},
		{"loop", records("@ 20 CNAME a.example.", "a.example. 20 CNAME b.example.", "b.example. 20 CNAME a.example."), "no addresses"},
		{"another owner", records("other.example. 20 A 192.0.2.9"), "no addresses"},
		{"nothing", records(), "no addresses"},
		{"NXDOMAIN", rcode(dns.RcodeNameError), "does not exist"},
		{"SERVFAIL", rcode(dns.RcodeServerFailure), "answered SERVFAIL"},
		{"REFUSED", rcode(dns.RcodeRefused), "answered REFUSED"},
		{"loopback", records("@ 30 A 127.0.0.1", "@ 30 AAAA ::1"), "refused: loopback"},
		{"one of them is loopback", records("@ 30 A 127.9.9.9", "@ 40 A 192.0.2.1"), "192.0.2.1 30"},
		{"link-local", records("@ 30 A 169.254.169.254", "@ 30 AAAA fe80::1"), "refused: link-local"},
		{"unspecified", records("@ 30 A 0.0.0.0", "@ 30 AAAA ::"), "refused: unspecified"},
		{"this network", records("@ 30 A 0.1.2.3"), "refused: unspecified"},
		{"multicast", records("@ 30 A 224.0.0.1", "@ 30 AAAA ff02::1"), "refused: multicast"},
		{"broadcast", records("@ 30 A 255.255.255.255"), "refused: reserved"},
		{"private", records("@ 30 A 10.1.2.3"), "10.1.2.3 30"},
		{"too many", records(many...), "192.0.2.0 192.0.2.1 "},
		{"another question", func(m *dns.Msg, _, _ string) { m.Question[0].Name = "other.example." }, "another question"},
		{"no question", func(m *dns.Msg, _, _ string) { m.Question = nil }, "another question"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.set(tc.ans)
			f, err := asker(t, r.addr).ask(t.Context(), question{host: cdn.Host})
			got := strings.Trim(fmt.Sprint(f.addresses), "[]") + fmt.Sprint(" ", f.ttl)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tc.want) || len(f.addresses) > maxAddresses {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestIPv4InIPv6FormIsRefused(t *testing.T) {
	if why := unfit(netip.MustParseAddr("::ffff:127.0.0.1")); why == "" {
		t.Error("it is taken")
	}
}

func TestFallsBackToTCP(t *testing.T) {
	for name, change := range map[string]func(m *dns.Msg){
		"cut":            func(m *dns.Msg) { m.Truncated, m.Answer = true, nil },
		"case not kept":  func(m *dns.Msg) { m.Question[0].Name = strings.ToUpper(m.Question[0].Name) },
		"other question": func(m *dns.Msg) { m.Question[0].Name, m.Answer = "forged.example.", nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecursor(t)
			r.set(func(m *dns.Msg, network, _ string) {
				fill(t, m, "@ 30 A 192.0.2.1")
				if network == "udp" {
					change(m)
				}
			})
			k := asker(t, r.addr)
			k.cfg.Random = func() uint64 { return 1 } // all lower case
			f, err := k.ask(t.Context(), question{host: cdn.Host})
			if err != nil || len(f.addresses) != 1 {
				t.Errorf("%v, %v", f, err)
			}
			if got := r.questions(); !slices.Contains(got, "tcp www.cdn.example. A") {
				t.Errorf("questions %v", got)
			}
		})
	}
}

func TestCaseIsRandom(t *testing.T) {
	k := asker(t)
	seen := map[string]bool{}
	for range 50 {
		m := k.message(question{host: cdn.Host}, dns.TypeA)
		if !strings.EqualFold(m.Question[0].Name, cdn.Host) {
			t.Fatalf("name %s", m.Question[0].Name)
		}
		seen[m.Question[0].Name] = true
	}
	if len(seen) < 10 {
		t.Errorf("only %d ways to write it", len(seen))
	}
}

func TestNextResolverWhenOneFails(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	bad, good := newRecursor(t), newRecursor(t)
	bad.set(func(m *dns.Msg, _, _ string) { m.Rcode = dns.RcodeServerFailure })
	good.zone("@ 30 A 192.0.2.1")
	k := asker(t, netip.MustParseAddrPort(silent.LocalAddr().String()), bad.addr, good.addr)
	if f, err := k.ask(t.Context(), question{host: cdn.Host}); err != nil || len(f.addresses) != 1 {
		t.Errorf("%v, %v", f, err)
	}
	good.set(func(m *dns.Msg, _, _ string) { m.Rcode = dns.RcodeNameError })
	asked := len(bad.questions())
	if _, err := k.ask(t.Context(), question{host: cdn.Host, skip: 2}); !errors.Is(err, errNoHost) || len(bad.questions()) != asked {
		t.Errorf("%v; others were asked whether it does not exist", err)
	}
	if _, err := asker(t).ask(t.Context(), question{host: cdn.Host}); err == nil || !strings.Contains(err.Error(), "--resolver") {
		t.Errorf("without resolvers: %v", err)
	}
}

// keeper is a Keeper at work, and what it delivered.
type keeper struct {
	*Keeper
	t    *testing.T
	news chan *table.Resolved
	stop func()
	reg  *prometheus.Registry
}

func work(t *testing.T, file string, atlas *geo.Atlas, resolver netip.AddrPort, targets ...table.Target) *keeper {
	t.Helper()
	k := &keeper{t: t, news: make(chan *table.Resolved, 1000), reg: prometheus.NewRegistry()}
	var err error
	k.Keeper, err = New(Config{Resolvers: []netip.AddrPort{resolver}, Timeout: time.Second, Shortest: 20 * time.Millisecond, Longest: 50 * time.Millisecond,
		File: file, Deliver: func(_ context.Context, _ table.Target, r *table.Resolved) { k.news <- r }, Registerer: k.reg})
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
func (k *keeper) until(what string, ok func(*table.Resolved) bool) *table.Resolved {
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
	k.until("it is resolved", func(r *table.Resolved) bool { return has(r.Addresses, "192.0.2.1") })
	r.zone("@ 1 A 192.0.2.2", "@ 1 AAAA 2001:db8::2")
	k.until("it is refreshed", func(r *table.Resolved) bool { return has(r.Addresses, "192.0.2.2", "2001:db8::2") })
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
	k.until("a family that is gone", func(r *table.Resolved) bool { return has(r.Addresses, "192.0.2.4") })
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
	k := work(t, "", atlas, r.addr, table.Target{Host: cdn.Host, By: spec.ByContinent})
	got := k.until("all but one are resolved", func(r *table.Resolved) bool {
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
	k.until("it is resolved", func(*table.Resolved) bool { return true })
	other := table.Target{Host: "other.example."}
	if gone := k.Want([]table.Target{other}, nil); !slices.Equal(gone, []table.Target{cdn}) {
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
	first.until("it is resolved", func(*table.Resolved) bool { return true })
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
	if gone := second.Want([]table.Target{cdn}, nil); len(gone) != 0 || len(second.States()) != 1 || second.States()[0].Resolved.IsZero() {
		t.Errorf("gone %v, states %+v", gone, second.States())
	}
	if gone := asker(t).Want(nil, nil); len(gone) != 0 {
		t.Errorf("gone %v", gone)
	}
	for name, text := range map[string]string{"cut": "{", "version": `{"version": 9}`, "address": `{"version":1,"targets":[{"host":"a.example.","places":[{"addresses":["127.0.0.1"]}]}]}`} {
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
	f.Add([]byte(`{"version":1,"targets":[{"host":"a.example.","by":"continent","places":[{"addresses":["192.0.2.1"],"ttl":5,"at":"2026-01-01T00:00:00Z"},{"place":"EU","ttl":0,"at":"0001-01-01T00:00:00Z"}]}]}`))
	f.Add([]byte(`{"version":1,"targets":[{"host":"a.example.","places":[{"addresses":["::ffff:1.2.3.4"]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		kept, err := decode(data)
		if err != nil {
			return
		}
		for _, of := range kept {
			if r := of.resolved(); r != nil && slices.ContainsFunc(r.Addresses, func(a netip.Addr) bool { return unfit(a) != "" }) {
				t.Errorf("%+v", r)
			}
		}
	})
}

func FuzzFollow(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion(cdn.Host, dns.TypeA)
	m.Response = true
	for _, text := range []string{cdn.Host + " 5 CNAME a.example.", "a.example. 5 A 192.0.2.1"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	packed, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Fuzz(func(t *testing.T, data []byte) {
		m := new(dns.Msg)
		if m.Unpack(data) != nil {
			return
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			addresses, _ := follow(m, cdn.Host, qtype)
			for _, a := range addresses {
				if a.Is4() != (qtype == dns.TypeA) {
					t.Errorf("%v for %s", a, dns.TypeToString[qtype])
				}
			}
		}
	})
}

func TestMetricsAreWellFormed(t *testing.T) {
	r := newRecursor(t)
	r.zone("@ 1 A 192.0.2.1")
	k := work(t, "", nil, r.addr, cdn)
	k.until("it is resolved", func(*table.Resolved) bool { return true })
	if problems, err := testutil.GatherAndLint(k.reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestSystemResolvers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions edns0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := SystemResolvers(file)
	if want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:53")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := SystemResolvers(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file, no error")
	}
}
