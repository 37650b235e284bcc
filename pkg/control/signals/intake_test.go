package signals

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pace"
	"github.com/gti/gtm/pkg/store/state"
)

func TestMain(m *testing.M) {
	etcds.Main()
	m.Run()
}

var _ Store = (*store.Client)(nil)

// memory is a store in memory.
type memory struct {
	mu     sync.Mutex
	said   map[store.SignalKey]map[string]health.Signal
	hear   map[int]func(store.SignalUpdate) error
	writes map[string]int // by tenant
	away   error
	slow   time.Duration // that a write takes
	bytes  int           // of a write
}

func newMemory() *memory {
	return &memory{said: map[store.SignalKey]map[string]health.Signal{}, hear: map[int]func(store.SignalUpdate) error{},
		writes: map[string]int{}}
}

func (m *memory) ChangeSignals(ctx context.Context, at store.SignalKey,
	change func(map[string]health.Signal) (map[string]health.Signal, bool)) (int, error) {
	time.Sleep(m.slow)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil || ctx.Err() != nil {
		return 0, errors.Join(m.away, ctx.Err())
	}
	now, changed := change(m.said[at])
	if !changed {
		return 0, nil
	}
	m.said[at] = maps.Clone(now)
	m.writes[at.Pool.Tenant]++
	for _, hear := range m.hear {
		_ = hear(store.SignalUpdate{Put: []store.SignalGroup{{SignalKey: at, Endpoints: maps.Clone(now)}}})
	}
	return m.bytes, nil
}

func (m *memory) FollowSignals(ctx context.Context, fn func(store.SignalUpdate) error) error {
	u := store.SignalUpdate{Full: true}
	m.mu.Lock()
	for key, said := range m.said {
		u.Put = append(u.Put, store.SignalGroup{SignalKey: key, Endpoints: maps.Clone(said)})
	}
	_ = fn(u)
	m.hear[len(m.hear)] = fn
	m.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (m *memory) setAway(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = err
}

func (m *memory) writesOf(tenant string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes[tenant]
}

// of gives what the store has of an endpoint.
func (m *memory) of(pool health.PoolID, endpoint string) health.Signal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said[store.SignalKeyOf(pool, endpoint)][endpoint]
}

// declared gives a mirror with a pool of so many endpoints, e0 and so on, of each tenant.
func declared(endpoints int, tenants ...string) *state.Mirror {
	m := state.NewMirror()
	u := state.Update{Full: true}
	for _, tenant := range tenants {
		pool := &spec.Pool{Monitor: "agent"}
		for i := range endpoints {
			pool.Endpoints = append(pool.Endpoints, spec.Endpoint{Name: fmt.Sprint("e", i),
				Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
		}
		version := func(kind spec.Kind, name string, s spec.Spec) state.Version {
			return state.Version{Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: kind, Name: name}, Spec: s}, Generation: 1}
		}
		u.Tenants = append(u.Tenants, state.TenantUpdate{Tenant: tenant, Head: 1, Put: []state.Version{
			version(spec.KindPool, "eu", pool), version(spec.KindMonitor, "agent", &spec.Monitor{Type: spec.TypeSignal})}})
	}
	m.Apply(u)
	return m
}

// begin runs an intake until the test ends.
func begin(t *testing.T, s Store, mirror *state.Mirror) *Intake {
	t.Helper()
	i, err := New(Config{Store: s, Mirror: mirror, Current: func() bool { return true }, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return i
}

var eu = health.PoolID{Tenant: "shop", Pool: "eu"}

// says gives a signal of now that holds for an hour.
func said(s health.Signal) health.Signal {
	s.Time = time.Now()
	s.Until = s.Time.Add(time.Hour)
	return s
}

func load(current float64) health.Signal {
	return said(health.Signal{State: health.Up, Load: health.Load{Current: current, Target: 100}})
}

func push(t *testing.T, i *Intake, pool health.PoolID, endpoint string, s health.Signal) (refused string) {
	t.Helper()
	no, err := i.Push(t.Context(), pool, map[string]health.Signal{endpoint: s})
	if err != nil {
		t.Fatal(err)
	}
	return no[endpoint]
}

// TestAStateIsWrittenBeforeItIsAnswered, and what ends a silence, and what takes a signal back.
func TestAStateIsWrittenBeforeItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		i := begin(t, m, declared(3, "shop"))
		for step, s := range []health.Signal{{State: health.Up}, {State: health.Down, Reason: "draining"}, {State: health.Up, Score: 0.5},
			{}, {State: health.Down}} {
			want := said(s)
			if s.State == "" {
				want = health.Signal{}
			}
			push(t, i, eu, "e1", want)
			if got := m.of(eu, "e1"); !got.Equal(want) {
				t.Errorf("step %d: %+v", step+1, got)
			}
		}
		time.Sleep(2 * time.Hour)
		if got := i.Of(eu)["e1"]; got.State != health.Down {
			t.Errorf("what has expired is not told: %+v", got)
		}
		again := said(health.Signal{State: health.Down})
		push(t, i, eu, "e1", again)
		if got := m.of(eu, "e1"); !got.Equal(again) {
			t.Errorf("behind a silence: %+v", got)
		}
		push(t, i, eu, "e1", health.Signal{})
		if got := i.Of(eu); len(got) != 0 {
			t.Errorf("taken back: %+v", got)
		}
		push(t, i, eu, "e1", said(health.Signal{State: health.Up}))
		time.Sleep(2 * time.Hour)
		push(t, i, eu, "e1", health.Signal{})
		if got := m.of(eu, "e1"); got.State != "" {
			t.Errorf("taken back behind a silence: %+v", got)
		}
	})
}

// TestManyPushesAreFewWrites: a thousand loads and prolongations a second of a pool are a write for each of its sixteen groups every five
// seconds; what says the same as before is one in half of its time.
func TestManyPushesAreFewWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		i := begin(t, m, declared(1000, "shop"))
		all := func(current float64) map[string]health.Signal {
			list := map[string]health.Signal{}
			for n := range 1000 {
				list[fmt.Sprint("e", n)] = load(current)
			}
			return list
		}
		pushAll := func(current float64) {
			t.Helper()
			if _, err := i.Push(t.Context(), eu, all(current)); err != nil {
				t.Fatal(err)
			}
		}
		pushAll(50)
		if n := m.writesOf("shop"); n != 16 {
			t.Fatalf("the first ones made %d writes", n)
		}
		for s := range 60 { // each another score
			time.Sleep(time.Second)
			pushAll(110 + 10*float64(s%5))
		}
		if n := m.writesOf("shop") - 16; n < 16*11 || n > 16*13 {
			t.Errorf("a minute of loads made %d writes", n)
		}
		time.Sleep(time.Minute)
		before := m.writesOf("shop")
		for range 2 * 60 { // within the same twentieth
			time.Sleep(time.Second)
			pushAll(150)
		}
		if n := m.writesOf("shop") - before; n > 16 {
			t.Errorf("two minutes of the same made %d writes", n)
		}
		for range 40 {
			time.Sleep(time.Minute)
			pushAll(150)
		}
		if n := m.writesOf("shop") - before; n != 16 {
			t.Errorf("three quarters of an hour of the same made %d writes", n)
		}
		if got := m.of(eu, "e7"); time.Until(got.Until) < 20*time.Minute {
			t.Errorf("it ends in %s", time.Until(got.Until))
		}
	})
}

// TestAShorterTimeIsWritten: who says that his word holds for less is believed.
func TestAShorterTimeIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		i := begin(t, m, declared(3, "shop"))
		push(t, i, eu, "e1", load(50))
		time.Sleep(time.Minute)
		short := load(50)
		short.Until = short.Time.Add(time.Minute)
		push(t, i, eu, "e1", short)
		time.Sleep(10 * time.Second)
		if got := m.of(eu, "e1"); !got.Until.Equal(short.Until) {
			t.Errorf("%+v", got)
		}
	})
}

// TestAnAbsurdLoadIsHeld: what was said before holds until it expires, and the store tells why.
func TestAnAbsurdLoadIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		i := begin(t, m, declared(3, "shop"))
		first := load(80)
		push(t, i, eu, "e1", first)
		for range 5 {
			time.Sleep(10 * time.Second)
			if why := push(t, i, eu, "e1", load(8e6)); why == "" {
				t.Fatal("it was believed")
			}
		}
		if got := m.of(eu, "e1"); got.Refused == "" || got.Load != first.Load || !got.Until.Equal(first.Until) {
			t.Errorf("%+v", got)
		}
		if n := m.writesOf("shop"); n != 2 {
			t.Errorf("%d writes", n)
		}
		push(t, i, eu, "e1", load(90))
		time.Sleep(10 * time.Second)
		if got := m.of(eu, "e1"); got.Refused != "" || got.Load.Current != 90 {
			t.Errorf("one that is believed: %+v", got)
		}
		if why := push(t, i, eu, "e2", load(8e6)); why == "" || m.of(eu, "e2").State != "" {
			t.Errorf("the first of all: %q, %+v", why, m.of(eu, "e2"))
		}
		time.Sleep(2 * time.Hour)
		after := said(health.Signal{State: health.Up, Load: health.Load{Current: 8e6, Target: 1e7}})
		if why := push(t, i, eu, "e1", after); why != "" {
			t.Errorf("behind a silence: %s", why)
		}
	})
}

// TestAStoreThatIsAwayLosesNothing: what changes a state is refused, what can wait is written when the store is back.
func TestAStoreThatIsAwayLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		i := begin(t, m, declared(3, "shop"))
		push(t, i, eu, "e0", load(80))
		push(t, i, eu, "e1", load(80))
		time.Sleep(time.Minute)
		m.setAway(errors.New("nobody there"))
		push(t, i, eu, "e1", load(300)) // waits
		if _, err := i.Push(t.Context(), eu, map[string]health.Signal{"e0": said(health.Signal{State: health.Down})}); err == nil {
			t.Error("a state was taken that is not written")
		}
		if _, err := i.Push(t.Context(), eu, map[string]health.Signal{"e0": load(300)}); !errors.Is(err, ErrAway) {
			t.Errorf("%v", err)
		}
		time.Sleep(time.Minute)
		if got := i.Of(eu)["e0"]; got.State != health.Up {
			t.Errorf("what was refused is told: %+v", got)
		}
		m.setAway(nil)
		time.Sleep(time.Minute)
		if got := m.of(eu, "e1"); got.Load.Current != 300 {
			t.Errorf("what waited is lost: %+v", got)
		}
		down := said(health.Signal{State: health.Down})
		push(t, i, eu, "e0", down)
		if got := m.of(eu, "e0"); !got.Equal(down) {
			t.Errorf("%+v", got)
		}
	})
}

// TestATenantAtItsLimitSlowsNoOther: one changes states without end, over a store that takes its time.
func TestATenantAtItsLimitSlowsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.slow, m.bytes = 5*time.Millisecond, 200_000
		i := begin(t, m, declared(100, "greedy", "shop"))
		greedy := health.PoolID{Tenant: "greedy", Pool: "eu"}
		ctx, cancel := context.WithCancel(t.Context())
		var pushing sync.WaitGroup
		late := 0
		var mu sync.Mutex
		for n := range 50 {
			pushing.Go(func() {
				for up := true; ctx.Err() == nil; up = !up {
					s := said(health.Signal{State: health.Down})
					if up {
						s.State = health.Up
					}
					_, err := i.Push(ctx, greedy, map[string]health.Signal{fmt.Sprint("e", n): s})
					if wrong := new(LateError); errors.As(err, &wrong) {
						mu.Lock()
						late++
						mu.Unlock()
						time.Sleep(time.Second)
					}
				}
			})
		}
		time.Sleep(time.Minute) // it has used up what it may write at once
		begun := m.writesOf("greedy")
		for n := range 100 {
			at := time.Now()
			push(t, i, eu, fmt.Sprint("e", n), said(health.Signal{State: health.Down}))
			if took := time.Since(at); took > 100*time.Millisecond {
				t.Errorf("another tenant's push took %s", took)
			}
			time.Sleep(4 * time.Second)
		}
		if n := m.writesOf("greedy") - begun; n > 400*pace.TenantRate/m.bytes+100 {
			t.Errorf("%d writes of the greedy one in 400 s", n)
		}
		cancel()
		pushing.Wait()
		if late == 0 || testutil.ToFloat64(i.metrics.pushed.WithLabelValues("late")) == 0 {
			t.Error("nobody was told")
		}
	})
}

// TestWhatIsGoneIsForgotten: of endpoints and pools that are declared no more, an hour after it expired.
func TestWhatIsGoneIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, mirror := newMemory(), declared(3, "shop")
		i := begin(t, m, mirror)
		push(t, i, eu, "e1", load(80))
		mirror.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2,
			Deleted: []spec.Key{{Tenant: "shop", Kind: spec.KindPool, Name: "eu"}}}}})
		time.Sleep(100 * time.Minute)
		if m.of(eu, "e1").State == "" {
			t.Error("it is gone already")
		}
		time.Sleep(40 * time.Minute)
		if got := m.of(eu, "e1"); got.State != "" || len(i.Of(eu)) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// TestWhatWaitsIsWrittenAtTheEnd: a control that stops takes nothing with it.
func TestWhatWaitsIsWrittenAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		i, err := New(Config{Store: m, Mirror: declared(3, "shop")})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- i.Run(ctx) }()
		push(t, i, eu, "e1", load(80))
		push(t, i, eu, "e1", load(300))
		synctest.Wait()
		if got := m.of(eu, "e1"); got.Load.Current != 80 {
			t.Fatalf("it did not wait: %+v", got)
		}
		cancel()
		<-done
		if got := m.of(eu, "e1"); got.Load.Current != 300 {
			t.Errorf("%+v", got)
		}
	})
}

// TestSeveralControlsLoseNothing: they write the same pool at once, to a real store. What waited here gives way to a word that another
// control was told meanwhile.
func TestSeveralControlsLoseNothing(t *testing.T) {
	t.Parallel()
	const controls, each = 4, 15
	endpoint, mirror := etcds.Start(t), declared(controls*each, "shop")
	var intakes []*Intake
	for range controls {
		intakes = append(intakes, begin(t, etcds.Open(t, endpoint), mirror))
	}
	var pushing sync.WaitGroup
	for n, i := range intakes {
		pushing.Go(func() {
			for k := range each {
				s := said(health.Signal{State: health.Down, Reason: fmt.Sprint(n)})
				if _, err := i.Push(t.Context(), eu, map[string]health.Signal{fmt.Sprint("e", n*each+k): s}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	pushing.Wait()
	for n, i := range intakes {
		eventually(t, func() bool { return len(i.Of(eu)) == controls*each })
		if got := i.Of(eu)["e7"]; got.Reason != "0" || got.State != health.Down {
			t.Errorf("control %d: %+v", n, got)
		}
	}

	up := said(health.Signal{State: health.Up})
	push(t, intakes[0], eu, "e1", up)
	eventually(t, func() bool { return intakes[1].Of(eu)["e1"].Equal(up) })
	scored := said(health.Signal{State: health.Up, Score: 0.5})
	push(t, intakes[0], eu, "e1", scored) // waits
	down := said(health.Signal{State: health.Down, Reason: "later"})
	push(t, intakes[1], eu, "e1", down)
	eventually(t, func() bool { return testutil.ToFloat64(intakes[0].metrics.writes.WithLabelValues("ok")) >= each+2 })
	for n, i := range intakes {
		eventually(t, func() bool { return i.Of(eu)["e1"].Equal(down) })
		if got := i.Of(eu)["e1"]; got.Reason != "later" {
			t.Errorf("control %d: %+v", n, got)
		}
	}
}

func eventually(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// TestFoundEndpointsHaveOwners: what a source found was told to be no endpoint of the pool.
func TestFoundEndpointsHaveOwners(t *testing.T) {
	m := declared(1, "shop")
	v, _ := m.Tenant("shop").Resources.Get(spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"})
	pool := *v.Resource.Spec.(*spec.Pool)
	pool.Discover = []spec.Source{{Name: "a", Pushed: true}}
	v.Resource = &spec.Resource{Key: v.Resource.Key, Spec: &pool}
	m.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2, Put: []state.Version{v}}},
		Values: state.Discovered.Put(spec.Found{Tenant: "shop", Pool: "eu", Source: "a",
			Endpoints: []spec.FoundEndpoint{{Address: netip.MustParseAddr("203.0.113.9")}}})})
	i := begin(t, newMemory(), m)
	if got := i.Endpoints(health.PoolID{Tenant: "shop", Pool: "eu"}); !got["e0"] || !got["ip-203-0-113-9"] || len(got) != 2 {
		t.Errorf("%v", got)
	}
}
