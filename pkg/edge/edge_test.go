package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

func TestAnswersOnAllAddresses(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), func(c *Config) { c.DNS = addrs("127.0.0.1:0", "127.0.0.2:0", "[::1]:0") })
	if err := r.e.Ready(); err == nil || !strings.Contains(err.Error(), "the store is connecting") {
		t.Errorf("before any news, it is ready: %v", err)
	}
	r.status(state.Stale, "connection refused")
	if err := r.e.Ready(); err == nil || !strings.Contains(err.Error(), "stale: connection refused") {
		t.Errorf("without a store, it is ready: %v", err)
	}
	r.tell(everything(t, 1))
	r.ready()

	cases := []struct{ name, typ, subnet, want string }{
		{"static.gtm.example.", "A", "", "NOERROR 192.0.2.80"},
		{"static.gtm.example.", "AAAA", "", "NOERROR"},
		{"web.shop.gtm.example.", "A", european, "NOERROR " + euA},
		{"web.shop.gtm.example.", "AAAA", european, "NOERROR 2001:db8:1::1"},
		{"web.shop.gtm.example.", "A", "2001:db8:e::/56", "NOERROR " + euA},
		{"web.shop.gtm.example.", "A", american, "NOERROR " + usA},
		{"w.other.gtm.example.", "A", "", "NOERROR " + otherA},
		{"none.gtm.example.", "A", "", "NXDOMAIN"},
		{"www.example.org.", "A", "", "REFUSED"},
	}
	for _, addr := range r.e.Addrs() {
		for _, network := range []string{"udp", "tcp"} {
			for _, c := range cases {
				reply, err := exchange(query(c.name, c.typ, c.subnet), network, addr.String())
				if err != nil {
					t.Errorf("%s %s: %v", network, addr, err)
				} else if got := short(reply); got != c.want {
					t.Errorf("%s %s: %s %s for %s: %s, want %s", network, addr, c.name, c.typ, c.subnet, got, c.want)
				}
			}
		}
	}
}

func TestWhoAnswers(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	m := query("id.server.", "TXT", "")
	m.Question[0].Qclass = dns.ClassCHAOS
	reply, err := exchange(m, "udp", r.e.Addrs()[0].String())
	if err != nil || len(reply.Answer) != 1 || !strings.Contains(reply.Answer[0].String(), `"edge-1"`) {
		t.Errorf("id.server: %v, %v", reply, err)
	}
	if got := r.ask("web.shop.gtm.example._explain.gtm.example.", "TXT", european); !strings.Contains(got, "rule europe") {
		t.Errorf("_explain: %s", got)
	}
	far := startServing(t, func(c *Config) { c.ExplainFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	if got := far.ask("web.shop.gtm.example._explain.gtm.example.", "TXT", european); got != "REFUSED" {
		t.Errorf("_explain from elsewhere: %s", got)
	}
}

func TestIsFoundInTheStore(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), func(c *Config) { c.DNS = addrs("127.0.0.1:0", "[::1]:0") })
	r.tell(everything(t, 1)) // so that it knows its ports
	select {
	case e := <-r.store.edges:
		want := []string{r.e.Addrs()[0].String(), r.e.Addrs()[1].String()}
		if e.ID != "edge-1" || e.HTTP != "192.0.2.1:8053" || e.Version != "v7" || fmt.Sprint(e.DNS) != fmt.Sprint(want) ||
			e.Started.IsZero() {
			t.Errorf("it is found as %+v", e)
		}
		if r.e.Addrs()[0].Port() == 0 {
			t.Error("its ports are not known")
		}
	case <-time.After(within):
		t.Fatal("it is not found")
	}
}

// TestNothingListensWithoutAnAnswer: sockets that were open before there was a view answered SERVFAIL at each start.
func TestNothingListensWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	free := startServing(t, nil)
	at := free.e.Addrs()[0]
	free.stop()
	r := start(t, t.TempDir(), func(c *Config) { c.DNS = []netip.AddrPort{at} })
	select {
	case e := <-r.store.edges:
		if fmt.Sprint(e.DNS) != fmt.Sprint([]string{at.String()}) {
			t.Errorf("it is found as %+v", e)
		}
	case <-time.After(within):
		t.Fatal("it is not found")
	}
	r.status(state.Stale, "connection refused")
	for _, network := range []string{"udp", "tcp"} {
		if reply, err := exchange(query("static.gtm.example.", "A", ""), network, at.String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, %v", network, reply, err)
		}
	}
	if err := r.e.Ready(); err == nil || !strings.Contains(err.Error(), "nothing listens for DNS: the store is stale: connection refused") {
		t.Errorf("it is ready: %v", err)
	}
	r.logged("there is no configuration on disk: DNS is served once the store has told one")
	r.tell(everything(t, 1))
	r.ready()
	r.always("static.gtm.example.", "A", "", "NOERROR 192.0.2.80")
}

// TestAnEmptyStoreIsNoAnswerBeforeApply: the store of a first start is empty until --apply has filled it.
func TestAnEmptyStoreIsNoAnswerBeforeApply(t *testing.T) {
	t.Parallel()
	for _, with := range []string{"zones", "nothing"} {
		filled := make(chan struct{})
		r := start(t, t.TempDir(), func(c *Config) { c.Filled = filled })
		r.tell(state.Update{Full: true, Cursor: 1, Cluster: 7})
		gtmtest.Eventually(t, "there is a view", func() error {
			if r.fetchStatus().View.Serial == 0 {
				return errors.New("there is none")
			}
			return nil
		})
		if r.e.Ready() == nil {
			t.Error("it is ready with a store that is empty")
		}
		if with == "zones" {
			r.tell(everything(t, 1))
		} else {
			close(filled)
		}
		r.ready()
	}
}

// TestNothingIsAnsweredBeforeTheStoreTold: --apply has nothing to do where the store holds everything already, as after the loss of the
// copy on disk. An edge that then opened with a view of nothing refused every query, until it heard the store.
func TestNothingIsAnsweredBeforeTheStoreTold(t *testing.T) {
	t.Parallel()
	filled := make(chan struct{})
	close(filled)
	r := start(t, t.TempDir(), func(c *Config) { c.Filled = filled })
	for range 3 { // there is room for one: with the third, the first has made a view, as any other news does
		r.e.clock.rings <- struct{}{}
	}
	if r.e.Ready() == nil {
		t.Error("it is ready without having heard the store")
	}
	r.tell(everything(t, 1))
	r.ready()
	r.always("static.gtm.example.", "A", "", "NOERROR 192.0.2.80")
}

// TestAddressIsTakenMeanwhile: what comes into the way of an edge that waits for its first view ends it, as at its start.
func TestAddressIsTakenMeanwhile(t *testing.T) {
	t.Parallel()
	free := startServing(t, nil)
	at := free.e.Addrs()[0]
	free.stop()
	waiting := newFakeStore()
	e, err := New(Config{ID: "e", Store: waiting, Dir: t.TempDir(), DNS: []netip.AddrPort{at},
		GeoFiles: []string{writeGeo(t, t.TempDir(), fixtureGeo)}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- e.Run(t.Context()) }()
	start(t, t.TempDir(), func(c *Config) { c.DNS = []netip.AddrPort{at} }).tell(everything(t, 1))
	gtmtest.Eventually(t, "the other one has the address", func() error {
		_, err := exchange(query("static.gtm.example.", "A", ""), "tcp", at.String())
		return err
	})
	whole := everything(t, 1)
	waiting.calls <- func(cfg store.FollowConfig) { _ = cfg.OnUpdate(whole) }
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), at.String()) ||
			!strings.Contains(err.Error(), "stop that, or give another address") {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(within):
		t.Error("it does not end")
	}
}

func TestDeltas(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	u := delta(t, 2, declared.Resources(t, strings.ReplaceAll(shopYAML, "203.0.113.1", "203.0.113.9"))...)
	u.Values = state.Verdicts.Put(down("eu", "a", "b"))
	r.tell(u)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR 203.0.113.9")
	r.always("w.other.gtm.example.", "A", "", "NOERROR "+otherA)
	if got := r.fetchStatus().Tenants; got["shop"] != 2 || got["other"] != 1 || got["platform"] != 1 {
		t.Errorf("generations %v", got)
	}
	r.tell(state.Update{Cursor: 103, Cluster: 7, Values: state.Verdicts.Delete(down("eu").Pool)})
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	gone := state.Update{Cursor: 104, Cluster: 7, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 3,
		Deleted: keysOf(u.Tenants[0].Put)}}}
	r.tell(gone)
	r.expect("web.shop.gtm.example.", "A", european, "NXDOMAIN")
	if s := r.fetchStatus(); len(s.Broken) != 0 || s.Services != 1 {
		t.Errorf("status after a deletion: %+v", s)
	}
}

func TestOverrideEndsByItself(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	const override = `
kind: Override
tenant: shop
name: o
spec: {pool: eu, endpoint: a, state: down, reason: test, expires: "%s"}
`
	end := time.Now().Add(1500 * time.Millisecond)
	r.tell(delta(t, 2, declared.Resources(t, fmt.Sprintf(override, end.UTC().Format(time.RFC3339Nano)))...))
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	if at := time.Now(); at.Before(end) {
		t.Errorf("it ended %v too early", end.Sub(at))
	}
}

// TestOverrideEndsWhenTheClockIsSet: the end was a timer's, which a step of the clock does not move.
func TestOverrideEndsWhenTheClockIsSet(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())).Round(0) }
	r := startServing(t, func(c *Config) { c.Now = now })
	override := fmt.Sprintf("{kind: Override, tenant: shop, name: o, spec: {pool: eu, endpoint: a, state: down, reason: test, "+
		"expires: %q}}",
		now().Add(time.Hour).UTC().Format(time.RFC3339))
	r.tell(delta(t, 2, declared.Resources(t, override)...))
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	ahead.Store(int64(59 * time.Minute))
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	ahead.Store(int64(61 * time.Minute))
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	taken := r.e.Addrs()[0]
	_, err := New(Config{ID: "e", Store: newFakeStore(), Dir: t.TempDir(), DNS: []netip.AddrPort{taken}})
	if err == nil || !strings.Contains(err.Error(), taken.String()) {
		t.Errorf("error %v; want one that names %s", err, taken)
	}
}

func keysOf(versions []state.Version) (keys []spec.Key) {
	for _, v := range versions {
		keys = append(keys, v.Resource.Key)
	}
	return keys
}
