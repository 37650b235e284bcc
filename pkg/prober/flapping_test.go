package prober

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// crowd is a pool of so many endpoints, each with an address of its own.
func crowd(n int) *spec.Pool {
	p := &spec.Pool{Monitor: "m"}
	for i := range n {
		p.Endpoints = append(p.Endpoints, spec.Endpoint{Name: fmt.Sprintf("endpoint-%04d", i),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})}})
	}
	return p
}

// BenchmarkFlappingPool tells how many bytes a second one endpoint makes that can and cannot be checked in turn, in a pool of 4,096 that is
// checked as often as may be: keys and values that one prober, who is also the judge, writes to etcd.
func BenchmarkFlappingPool(b *testing.B) {
	at := etcds.Start(b)
	c := etcds.Open(b, at)
	m := &spec.Monitor{Type: "tcp", Port: 80, Interval: spec.Duration(200 * time.Millisecond), Rise: 1, Fall: 1}
	if _, err := c.Commit(b.Context(), store.Change{Tenant: "shop", Author: "test", Time: time.Now(), Put: []*spec.Resource{
		{Key: spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: "m"}, Spec: m}, {Key: poolKey("eu"), Spec: crowd(4096)},
	}}); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var turns atomic.Int64
	p, err := New(Config{ID: "fra", Store: c, check: func(_ context.Context, ch probe.Check) probe.Result {
		if ch.Addrs[0].Addr() != netip.MustParseAddr("198.18.0.0") || turns.Add(1)%2 == 0 {
			return probe.Result{Outcome: probe.Passed}
		}
		return probe.Result{Outcome: probe.Unable, Reason: "no route to host"}
	}})
	if err != nil {
		b.Fatal(err)
	}
	go p.Run(ctx)
	seen := state.NewMirror()
	go c.Follow(ctx, store.FollowConfig{OnUpdate: func(u state.Update) error { seen.Apply(u); return nil }})
	for { // everything is up before it is measured
		changed := seen.Changed()
		if v, ok := seen.Verdict(health.PoolID{Tenant: "shop", Pool: "eu"}); ok && v.Endpoints["endpoint-4095"].State == health.Up {
			break
		}
		<-changed
	}
	raw, err := clientv3.New(clientv3.Config{Endpoints: []string{at}})
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	const span = 60 * time.Second
	watching, end := context.WithTimeout(ctx, span)
	defer end()
	sums, writes := map[string]int{}, map[string]int{}
	for resp := range raw.Watch(watching, store.DefaultPrefix, clientv3.WithPrefix()) {
		for _, ev := range resp.Events {
			kind := strings.Split(strings.TrimPrefix(string(ev.Kv.Key), store.DefaultPrefix), "/")[0]
			sums[kind] += len(ev.Kv.Key) + len(ev.Kv.Value)
			writes[kind]++
		}
	}
	for kind, sum := range sums {
		b.ReportMetric(float64(sum)/span.Seconds(), kind+"-B/s")
		b.ReportMetric(float64(writes[kind])/span.Seconds(), kind+"-writes/s")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFlapping tells what one prober, who is also the judge, writes to etcd of so many endpoints in pools of 4,000 of ten tenants, one
// percent of which come and go every two minutes, how soon all are known, how many tenants are late, and how large etcd is. They are
// checked every minute. Each takes 22 minutes from when all are known, in which history is compacted at least twice.
func BenchmarkFlapping(b *testing.B) {
	for _, pools := range []int{3, 25} {
		b.Run(fmt.Sprint(pools*40_000), func(b *testing.B) { flap(b, pools) })
	}
}

func flap(b *testing.B, pools int) {
	const tenants, size, turn = 10, 4000, 2 * time.Minute
	at := etcds.Start(b)
	c := etcds.Open(b, at)
	m := &spec.Monitor{Type: "tcp", Port: 80, Interval: spec.Duration(time.Minute), Rise: 2, Fall: 2}
	for tenant := range tenants {
		name := fmt.Sprint("tenant", tenant)
		base := state.Generation(0)
		for pool := range pools {
			put := []*spec.Resource{{Key: spec.Key{Tenant: name, Kind: spec.KindPool, Name: fmt.Sprint("p", pool)}, Spec: crowd(size)}}
			if pool == 0 {
				put = append(put, &spec.Resource{Key: spec.Key{Tenant: name, Kind: spec.KindMonitor, Name: "m"}, Spec: m})
			}
			for i := range put[0].Spec.(*spec.Pool).Endpoints { // an address of its own
				n := (tenant*pools+pool)*size + i
				put[0].Spec.(*spec.Pool).Endpoints[i].Addresses[0] = netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)})
			}
			rec, err := c.Commit(b.Context(), store.Change{Tenant: name, Base: base, Author: "test", Time: time.Now(), Put: put})
			if err != nil {
				b.Fatal(err)
			}
			base = rec.Generation
		}
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	began := time.Now()
	registry := prometheus.NewRegistry()
	p, err := New(Config{ID: "fra", Store: c, Registerer: registry, check: func(_ context.Context, ch probe.Check) probe.Result {
		a := ch.Addrs[0].Addr().As4()
		n := int(a[1])<<16 | int(a[2])<<8 | int(a[3])
		phase := time.Duration(n) * time.Millisecond // they turn one after the other
		if n%100 == 0 && int((time.Since(began)+phase)/turn)%2 == 1 {
			return probe.Result{Outcome: probe.Failed, Reason: "connect: connection refused", At: time.Now()}
		}
		return probe.Result{Outcome: probe.Passed, At: time.Now()}
	}})
	if err != nil {
		b.Fatal(err)
	}
	go p.Run(ctx)
	raw, err := clientv3.New(clientv3.Config{Endpoints: []string{at}})
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	var bytes, writes [2]atomic.Int64
	go func() {
		for resp := range raw.Watch(ctx, store.DefaultPrefix, clientv3.WithPrefix()) {
			for _, ev := range resp.Events {
				kind := 0
				if strings.HasPrefix(strings.TrimPrefix(string(ev.Kv.Key), store.DefaultPrefix), "verdict") {
					kind = 1
				}
				bytes[kind].Add(int64(len(ev.Kv.Key) + len(ev.Kv.Value)))
				writes[kind].Add(1)
			}
		}
	}()
	const every, span = 30 * time.Second, 22 * time.Minute
	var known time.Time
	var last, atKnown [4]int64
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ; known.IsZero() || time.Since(known) < span; <-tick.C {
		status, err := raw.Status(ctx, at)
		if err != nil {
			b.Fatal(err)
		}
		now := [4]int64{bytes[0].Load(), writes[0].Load(), bytes[1].Load(), writes[1].Load()}
		m := p.metrics
		up, down := testutil.ToFloat64(m.endpoints.WithLabelValues("up")), testutil.ToFloat64(m.endpoints.WithLabelValues("down"))
		b.Logf("after %s: observations %d kB/s in %d writes/s, verdicts %d kB/s in %d; %v up, %v down; late: %v of observations, %v of "+
			"verdicts; etcd has %d MB, %d of them in use", time.Since(began).Round(time.Second), (now[0]-last[0])/every.Milliseconds(),
			(now[1]-last[1])/int64(every.Seconds()), (now[2]-last[2])/every.Milliseconds(), (now[3]-last[3])/int64(every.Seconds()),
			up, down, testutil.ToFloat64(m.late.WithLabelValues("observations")), testutil.ToFloat64(m.late.WithLabelValues("verdicts")),
			status.DbSize>>20, status.DbSizeInUse>>20)
		if last = now; known.IsZero() && int(up+down) == tenants*pools*size {
			known, atKnown = time.Now(), now
			b.Logf("all are known after %s, of %d MB", time.Since(began).Round(time.Second), (now[0]+now[2])>>20)
			b.ReportMetric(time.Since(began).Seconds(), "s/known")
		}
		if time.Since(began) > time.Hour {
			b.Fatal("not all are known after an hour")
		}
	}
	b.ReportMetric(float64(last[0]+last[2]-atKnown[0]-atKnown[2])/1e6/time.Since(known).Seconds(), "MB/s")
	b.ReportMetric(0, "ns/op")
}
