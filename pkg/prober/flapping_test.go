package prober

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
