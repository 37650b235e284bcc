package link

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/gti/gtm/pkg/store/storetest"
)

type fakeConn struct {
	balancer.SubConn
	name string
}

func TestMembersOfGoodStandingAreTakenInTurn(t *testing.T) {
	now := storetest.Time
	m := &members{now: func() time.Time { return now }, avoid: map[string]time.Time{}}
	ready := map[balancer.SubConn]base.SubConnInfo{}
	for _, name := range []string{"a", "b", "c"} {
		ready[&fakeConn{name: name}] = base.SubConnInfo{Address: resolver.Address{Addr: name}}
	}
	p := m.Build(base.PickerBuildInfo{ReadySCs: ready})
	bad := map[string]balancer.DoneInfo{}
	turns := func(n int) string {
		got := ""
		for range n {
			r, err := p.Pick(balancer.PickInfo{})
			if err != nil {
				t.Fatal(err)
			}
			name := r.SubConn.(*fakeConn).name
			got += name
			r.Done(bad[name])
		}
		return got
	}
	silent := balancer.DoneInfo{Err: status.Error(codes.DeadlineExceeded, "")}
	for _, row := range []struct {
		what  string
		do    func()
		times map[string]int // of 9 turns
	}{
		{"all are well", func() {}, map[string]int{"a": 3, "b": 3, "c": 3}},
		{"b is silent", func() { bad["b"] = silent }, map[string]int{"b": 1}},
		{"it is left alone", func() {}, map[string]int{"b": 0}},
		{"c has no leader as well", func() { bad["c"] = balancer.DoneInfo{Err: rpctypes.ErrGRPCNoLeader} }, map[string]int{"b": 0, "c": 1}},
		{"they are tried, once each", func() { now = now.Add(avoidance) }, map[string]int{"a": 7, "b": 1, "c": 1}},
		{"all are bad", func() { bad["a"] = silent }, map[string]int{}},
		{"and take turns all the same", func() {}, map[string]int{"a": 3, "b": 3, "c": 3}},
		{"b comes back", func() { delete(bad, "b") }, map[string]int{}},
		{"and is found", func() {}, map[string]int{"a": 0, "b": 9, "c": 0}},
		{"they all are", func() { clear(bad); now = now.Add(avoidance) }, map[string]int{}},
		{"and take turns", func() {}, map[string]int{"a": 3, "b": 3, "c": 3}},
		{"half an answer is no silence", func() {
			bad["a"] = balancer.DoneInfo{Err: silent.Err, BytesReceived: true}
			bad["b"] = balancer.DoneInfo{Err: status.Error(codes.OutOfRange, "compacted")}
		}, map[string]int{"a": 3, "b": 3, "c": 3}},
	} {
		row.do()
		got := turns(9)
		for name, want := range row.times {
			if strings.Count(got, name) != want {
				t.Errorf("%s: %s; want %d of %s", row.what, got, want, name)
			}
		}
	}
	if _, err := m.Build(base.PickerBuildInfo{}).Pick(balancer.PickInfo{}); !errors.Is(err, balancer.ErrNoSubConnAvailable) {
		t.Errorf("without a connection: %v", err)
	}
}
