package prober

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pace"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table/compile"
)

// BenchmarkCut tells how long it takes from when the vantages have seen 100,000 endpoints fail until the last edge answers by it: a region
// is cut off, and with it pools of several tenants, or of one alone; all of it at once, or, as checks come to it, within five seconds.
// Probers, etcd and what follows, compiles and publishes at three edges are real; results of checks are made up. Each service has another
// pool, which stays up: those hold a fifth as many endpoints.
func BenchmarkCut(b *testing.B) {
	for _, c := range []cut{
		{tenants: 10, pools: 100, size: 100, vantages: 3},
		{tenants: 10, pools: 100, size: 100, vantages: 3, over: 5 * time.Second},
		{tenants: 1, pools: 1000, size: 100, vantages: 3},
		{tenants: 1, pools: 1000, size: 100, vantages: 3, over: 5 * time.Second},
		{tenants: 5, pools: 5, size: 4000, vantages: 3},
		{tenants: 1, pools: 25, size: 4000, vantages: 3},
		{tenants: 1, pools: 25, size: 4000, vantages: 3, over: 5 * time.Second},
		{tenants: 100, pools: 125, size: 8, vantages: 3},
		{tenants: 10, pools: 100, size: 100, vantages: 1},
		{tenants: 1, pools: 25, size: 4000, vantages: 1},
	} {
		b.Run(c.String(), c.run)
	}
}

// cut is a region that is cut off: so many pools of each tenant, of so many endpoints, over a time.
type cut struct {
	tenants, pools, size, vantages int
	over                           time.Duration
}

func (c cut) String() string {
	return fmt.Sprintf("tenants=%d/pools=%d/size=%d/vantages=%d/over=%s", c.tenants, c.tenants*c.pools, c.size, c.vantages, c.over)
}

func (c cut) run(b *testing.B) {
	const edges = 3
	at := etcds.Start(b)
	targets := c.declare(b, etcds.Open(b, at))
	lost := slices.DeleteFunc(slices.Clone(targets), func(t cutTarget) bool { return t.stays })
	ctx, stop := context.WithCancel(b.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	var isCut atomic.Bool
	var all []*Prober
	for i := range c.vantages {
		p, err := New(Config{ID: fmt.Sprint("v", i), Network: fmt.Sprint("AS6450", i), Store: etcds.Open(b, at),
			check: func(_ context.Context, ch probe.Check) probe.Result {
				if isCut.Load() && !stays(ch.Addrs[0].Addr()) {
					return probe.Result{Outcome: probe.Failed, Reason: "timeout", At: time.Now()}
				}
				return probe.Result{Outcome: probe.Passed, At: time.Now()}
			}})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, p)
		running.Go(func() { _ = p.Run(ctx) })
	}
	var watching []*publisher
	for range edges {
		w := newPublisher(b)
		watching = append(watching, w)
		client := etcds.Open(b, at)
		running.Go(func() { w.run(ctx, client) })
	}
	turn := func(what string, of []cutTarget, outcome probe.Outcome, down, up int) {
		begin := time.Now()
		var telling sync.WaitGroup
		for _, p := range all {
			telling.Go(func() { c.tell(p, of, outcome, what != "begin") })
		}
		telling.Wait()
		fell := time.Now()
		for _, w := range watching {
			w.await(down, up)
		}
		took := time.Since(fell)
		b.Logf("%s: told within %s, %d down and %d up at the last edge %s later", what, fell.Sub(begin).Round(time.Millisecond), down, up,
			took.Round(time.Millisecond))
		b.ReportMetric(took.Seconds(), "s/"+what)
	}
	for _, p := range all {
		<-p.world.complete
		for ; !p.agent.hasAll(len(targets)); time.Sleep(10 * time.Millisecond) {
		}
	}
	turn("begin", targets, probe.Passed, 0, len(targets))
	time.Sleep(10 * time.Second) // what is written behind that is done
	isCut.Store(true)
	turn("cut", lost, probe.Failed, len(lost), len(targets)-len(lost))
	time.Sleep(10 * time.Second)
	isCut.Store(false)
	turn("back", lost, probe.Passed, 0, len(targets))
	b.ReportMetric(0, "ns/op")
}

// cutTarget is one endpoint.
type cutTarget struct {
	probe.ID
	of    string
	stays bool
}

// stays reports whether what has an address is not cut off.
func stays(a netip.Addr) bool { return a.As4()[0] == 12 }

// declare has each tenant have pools of one region, and some of another, and a service for each of the former.
func (c cut) declare(b *testing.B, client *store.Client) (all []cutTarget) {
	others := max(1, c.pools/5)
	n := 0
	var zones []*spec.Resource
	pool := func(tenant, name string, first byte) *spec.Resource {
		p := &spec.Pool{Monitor: "m"}
		for i := range c.size {
			n++
			e := spec.Endpoint{Name: fmt.Sprintf("endpoint-%04d", i),
				Addresses: []netip.Addr{netip.AddrFrom4([4]byte{first, byte(n >> 16), byte(n >> 8), byte(n)})}}
			p.Endpoints = append(p.Endpoints, e)
			all = append(all, cutTarget{probe.ID{Tenant: tenant, Pool: name, Endpoint: e.Name}, e.Checked(), first == 12})
		}
		return &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: name}, Spec: p}
	}
	for i := range c.tenants {
		tenant := fmt.Sprint("tenant", i)
		m := &spec.Monitor{Type: "tcp", Port: 80, Interval: spec.Duration(5 * time.Minute), Rise: 2, Fall: 2}
		put := []*spec.Resource{{Key: spec.Key{Tenant: tenant, Kind: spec.KindMonitor, Name: "m"}, Spec: m}}
		zones = append(zones, &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: tenant + ".example."},
			Spec: &spec.Zone{Content: "@ 3600 SOA ns1 hostmaster 1 3600 900 604800 300\n@ NS ns1\nns1 A 192.0.2.1\n"}})
		for j := range others {
			put = append(put, pool(tenant, fmt.Sprint("q", j), 12))
		}
		for j := range c.pools {
			name := fmt.Sprint("p", j)
			s := &spec.Service{Host: fmt.Sprintf("%s.%s.example.", name, tenant),
				Rules: []spec.Rule{{Pools: []spec.Target{{Pool: name}, {Pool: fmt.Sprint("q", j%others)}}}}}
			put = append(put, pool(tenant, name, 11),
				&spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindService, Name: name}, Spec: s})
		}
		commit(b, client, tenant, put)
	}
	commit(b, client, spec.Platform, zones)
	return all
}

// commit has a tenant declare resources.
func commit(b *testing.B, client *store.Client, tenant string, put []*spec.Resource) {
	base := state.Generation(0)
	for some := range slices.Chunk(put, 20) {
		rec, err := client.Commit(b.Context(), store.Change{Tenant: tenant, Base: base, Author: "test", Time: time.Now(), Put: some})
		if err != nil {
			b.Fatal(err)
		}
		base = rec.Generation
	}
}

// tell has a vantage see a change of each target: enough results for its thresholds. Each has an order of its own.
func (c cut) tell(p *Prober, targets []cutTarget, outcome probe.Outcome, slowly bool) {
	if slowly && c.over > 0 {
		targets = slices.Clone(targets)
		rng := rand.New(rand.NewPCG(uint64(len(p.cfg.ID)), uint64(p.cfg.ID[1])))
		rng.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	}
	begin := time.Now()
	for i, t := range targets {
		if due := begin.Add(c.over * time.Duration(i) / time.Duration(len(targets))); slowly && i%100 == 0 {
			time.Sleep(time.Until(due))
		}
		for range 2 {
			p.agent.result(probe.Result{ID: t.ID, Of: t.of, Outcome: outcome, Reason: "timeout", At: time.Now()})
		}
	}
}

// hasAll reports whether so many endpoints are watched.
func (a *agent) hasAll(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, pools := range a.pools {
		for _, w := range pools {
			n -= len(w.endpoints)
		}
	}
	return n == 0
}

// publisher is what an edge does from the store to the view: it follows, compiles and publishes.
type publisher struct {
	*compile.Compiler
	states    map[health.PoolID][2]int // down and up, of what was compiled
	published chan [2]int              // of all; it has the last one
}

func newPublisher(b *testing.B) *publisher {
	return &publisher{Compiler: compile.New(compile.Config{Seed: 1, Workers: 2}, views.Atlas(b)), states: map[health.PoolID][2]int{},
		published: make(chan [2]int, 1)}
}

func (p *publisher) run(ctx context.Context, client *store.Client) {
	news := make(chan state.Update, 16)
	go client.Follow(ctx, store.FollowConfig{OnUpdate: func(u state.Update) error {
		select {
		case news <- u:
		case <-ctx.Done():
		}
		return ctx.Err()
	}})
	for {
		select {
		case u := <-news:
			p.take(u)
		case <-ctx.Done():
			return
		}
		for more := true; more; {
			select {
			case u := <-news:
				p.take(u)
			default:
				more = false
			}
		}
		p.Compile(time.Now())
		sum := [2]int{}
		for _, s := range p.states {
			sum[0], sum[1] = sum[0]+s[0], sum[1]+s[1]
		}
		select {
		case <-p.published:
		default:
		}
		p.published <- sum
		p.CatchUp()
	}
}

func (p *publisher) take(u state.Update) {
	verdicts := state.Verdicts.In(u)
	ch := compile.Change{Full: u.Full, Verdicts: verdicts.Put, VerdictsDeleted: verdicts.Deleted}
	for _, t := range u.Tenants {
		tc := compile.TenantChange{Tenant: t.Tenant, Head: uint64(t.Head), Deleted: t.Deleted}
		for _, v := range t.Put {
			tc.Put = append(tc.Put, compile.Item{Resource: v.Resource, Generation: uint64(v.Generation)})
		}
		ch.Tenants = append(ch.Tenants, tc)
	}
	p.Apply(ch)
	for i := range verdicts.Put {
		s := [2]int{}
		for _, f := range verdicts.Put[i].Endpoints {
			switch f.State {
			case health.Down:
				s[0]++
			case health.Up:
				s[1]++
			}
		}
		p.states[verdicts.Put[i].Pool] = s
	}
}

// await waits until so many endpoints are down and up in what was published.
func (p *publisher) await(down, up int) {
	for (<-p.published) != [2]int{down, up} {
	}
}

// TestACutOfOneTenantIsWithinItsBurst: what is known of 100,000 endpoints of one tenant takes an eighth of what it may write at once, as
// observations and as verdicts. Plain, it took most of that, and the recovery minutes.
func TestACutOfOneTenantIsWithinItsBurst(t *testing.T) {
	bytes := [2]int{}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for pool := range 25 {
		id := health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", pool)}
		o := health.Observation{Vantage: "fra", Pool: id, Endpoints: map[string]health.Sight{}}
		v := health.Verdict{Pool: id, Judge: "fra", Endpoints: map[string]health.Finding{}}
		for i := range 4000 {
			name, of := fmt.Sprintf("endpoint-%04d", i), fmt.Sprintf("10.%d.%d.%d", pool, i>>8, i&255)
			at := now.Add(time.Duration(i*7919%60_000) * time.Millisecond)
			o.Endpoints[name] = health.Sight{State: health.Down, Since: at, Reason: "connect: timeout after 2s", Of: of}
			v.Endpoints[name] = health.Finding{State: health.Down, Since: at, Reason: "2 of 3 vantages: connect: timeout after 2s", Of: of,
				Proven: true}
		}
		for i, value := range []any{o, v} {
			plain, err := state.MarshalPlain(value)
			if err != nil {
				t.Fatal(err)
			}
			bytes[i] += len(state.Pack(plain))
		}
	}
	if t.Logf("%d kB of observations, %d kB of verdicts", bytes[0]/1000, bytes[1]/1000); max(bytes[0], bytes[1]) > pace.TenantBurst/8 {
		t.Errorf("%d bytes of observations and %d of verdicts, of %d", bytes[0], bytes[1], pace.TenantBurst)
	}
}
