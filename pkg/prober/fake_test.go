package prober

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pieces"
	"github.com/gti/gtm/pkg/store/state"
)

// *store.Client is what a Prober is for.
var _ Store = (*store.Client)(nil)

// fakeStore is a store in memory, for several probers at once. Everything that it hands out comes at once and in order.
type fakeStore struct {
	mu       sync.Mutex
	head     state.Generation
	declared map[spec.Key]state.Version
	broken   []state.BrokenResource
	verdicts map[health.PoolID]health.Verdict
	obs      map[store.ObservationKey]health.Observation
	about    map[string]health.Vantage
	alive    map[string]bool
	status   func(state.FollowStatus) // of the last follower
	releases []store.Release
	taken    []store.Release
	said     map[store.SignalKey]map[string]health.Signal
	slow     bool // that a release is taken is not heard
	pulses   []state.Pulse
	hear     map[int]func(state.Pulse) // by follower
	config   map[chan state.Update]bool
	sights   map[chan store.ObservationUpdate]bool
	leader   string
	vacant   chan struct{} // holds a token while nobody leads
	// so many writes of observations and of verdicts fail
	failObs, failVerdicts int
	// what was written, for counting
	putObs, putVerdicts, deleted int
	wholeObs, wholeVerdicts      int // of putObs and putVerdicts
	verdictAt                    time.Time
	bytes                        map[string]int // of observations, by tenant
	refuse                       string         // the pool whose verdict is refused
	older                        string         // who reads the old form alone
	unasked                      bool           // nobody can be asked that
}

var errFake = errors.New("the store is away")

func newFakeStore() *fakeStore {
	f := &fakeStore{
		declared: map[spec.Key]state.Version{}, verdicts: map[health.PoolID]health.Verdict{},
		obs: map[store.ObservationKey]health.Observation{}, alive: map[string]bool{},
		about:  map[string]health.Vantage{},
		config: map[chan state.Update]bool{}, sights: map[chan store.ObservationUpdate]bool{},
		said:   map[store.SignalKey]map[string]health.Signal{},
		vacant: make(chan struct{}, 1), bytes: map[string]int{},
	}
	f.vacant <- struct{}{}
	return f
}

// declare puts resources of tenant shop; remove deletes them.
func (f *fakeStore) declare(resources ...*spec.Resource) { f.declareOf("shop", resources...) }

// declareOf puts resources, and gives them to a tenant.
func (f *fakeStore) declareOf(tenant string, resources ...*spec.Resource) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head++
	u := state.TenantUpdate{Tenant: tenant, Head: f.head}
	for _, r := range resources {
		r.Tenant = tenant
		f.declared[r.Key] = state.Version{Resource: r, Generation: f.head}
		u.Put = append(u.Put, f.declared[r.Key])
	}
	f.tellConfig(state.Update{Tenants: []state.TenantUpdate{u}})
}

func (f *fakeStore) remove(keys ...spec.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head++
	for _, k := range keys {
		delete(f.declared, k)
	}
	f.tellConfig(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: f.head, Deleted: keys}}})
}

// spoil makes a resource one that new followers cannot decode.
func (f *fakeStore) spoil(key spec.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.declared, key)
	b := state.BrokenResource{Key: key, Err: errFake}
	f.broken = append(f.broken, b)
	f.tellConfig(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: f.head, Broken: f.broken}}})
}

func (f *fakeStore) setStatus(now string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status(state.FollowStatus{State: now})
}

// again tells the followers of observations everything anew, as after a loss of contact.
func (f *fakeStore) again() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tellSights(store.ObservationUpdate{Full: true, AliveChanged: true, Put: slices.Collect(maps.Values(f.obs)), Signals: f.allSaid()})
}

// say has the owner of an endpoint of tenant shop say something that holds for so long, by control's clock, which is ahead by so much.
func (f *fakeStore) say(pool, endpoint string, s health.Signal, holds, ahead time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Time = time.Now().Add(ahead)
	s.Until = s.Time.Add(holds)
	key := store.SignalKeyOf(health.PoolID{Tenant: "shop", Pool: pool}, endpoint)
	f.said[key] = maps.Clone(f.said[key])
	if f.said[key] == nil {
		f.said[key] = map[string]health.Signal{}
	}
	f.said[key][endpoint] = s
	f.tellSights(store.ObservationUpdate{Signals: []store.SignalGroup{{SignalKey: key, Endpoints: f.said[key]}}})
}

func (f *fakeStore) allSaid() (all []store.SignalGroup) {
	for key, said := range f.said {
		all = append(all, store.SignalGroup{SignalKey: key, Endpoints: said})
	}
	return all
}

func (f *fakeStore) tellConfig(u state.Update) {
	for c := range f.config {
		c <- u
	}
}

func (f *fakeStore) tellSights(u store.ObservationUpdate) {
	u.Alive, u.About, u.Releases = slices.Sorted(maps.Keys(f.alive)), maps.Clone(f.about), slices.Clone(f.releases)
	for c := range f.sights {
		c <- u
	}
}

func (f *fakeStore) Follow(ctx context.Context, cfg store.FollowConfig) error {
	f.mu.Lock()
	news := make(chan state.Update, 10_000)
	f.config[news] = true
	defer func() { f.mu.Lock(); delete(f.config, news); f.mu.Unlock() }()
	full := state.Update{Full: true, Values: state.Verdicts.Put(slices.Collect(maps.Values(f.verdicts))...)}
	if f.head > 0 {
		of := map[string]*state.TenantUpdate{"shop": {Tenant: "shop", Head: f.head, Broken: f.broken}}
		for key, v := range f.declared {
			if of[key.Tenant] == nil {
				of[key.Tenant] = &state.TenantUpdate{Tenant: key.Tenant, Head: f.head}
			}
			of[key.Tenant].Put = append(of[key.Tenant].Put, v)
		}
		for _, u := range of {
			full.Tenants = append(full.Tenants, *u)
		}
	}
	f.status = cfg.OnStatus
	if f.hear == nil {
		f.hear = map[int]func(state.Pulse){}
	}
	me := len(f.hear)
	f.hear[me] = cfg.OnPulse
	if n := len(f.pulses); n > 0 {
		cfg.OnPulse(f.pulses[n-1])
	}
	f.mu.Unlock()
	cfg.OnStatus(state.FollowStatus{State: state.Current})
	return drain(ctx, full, news, cfg.OnUpdate)
}

func (f *fakeStore) FollowObservations(ctx context.Context, fn func(store.ObservationUpdate) error) error {
	f.mu.Lock()
	news := make(chan store.ObservationUpdate, 10_000)
	f.sights[news] = true
	defer func() { f.mu.Lock(); delete(f.sights, news); f.mu.Unlock() }()
	full := store.ObservationUpdate{Full: true, ReleasesChanged: true, Releases: slices.Clone(f.releases),
		Put: slices.Collect(maps.Values(f.obs)), Alive: slices.Sorted(maps.Keys(f.alive)), Signals: f.allSaid()}
	f.mu.Unlock()
	return drain(ctx, full, news, fn)
}

func drain[T any](ctx context.Context, first T, news chan T, fn func(T) error) error {
	if err := fn(first); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u := <-news:
			if err := fn(u); err != nil {
				return err
			}
		}
	}
}

// fails reports whether this write does.
func fails(left *int) error {
	if *left > 0 {
		*left--
		return errFake
	}
	return nil
}

func (f *fakeStore) WriteObservations(ctx context.Context, writes []store.ObservationWrite) map[health.PoolID]store.Written {
	written := map[health.PoolID]store.Written{}
	for _, one := range writes {
		o := one.Observation
		w := store.Written{Bytes: 100 * len(o.Endpoints), Whole: one.Was == nil}
		if one.Was != nil {
			changed, _ := pieces.ChangedSights(one.Was.Endpoints, o.Endpoints, pieces.Plain)
			w.Bytes = 300 * len(changed)
		}
		if w.Err = f.PutObservation(ctx, o); w.Err == nil {
			f.mu.Lock()
			f.bytes[o.Pool.Tenant] += w.Bytes
			if w.Whole {
				f.wholeObs++
			}
			f.mu.Unlock()
		}
		written[o.Pool] = w
	}
	return written
}

func (f *fakeStore) PutObservation(_ context.Context, o health.Observation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := fails(&f.failObs); err != nil {
		return err
	}
	f.putObs++
	f.obs[store.ObservationKey{Vantage: o.Vantage, Pool: o.Pool}] = o
	f.tellSights(store.ObservationUpdate{Put: []health.Observation{o}})
	return nil
}

func (f *fakeStore) DeleteObservation(_ context.Context, vantage string, p health.PoolID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := fails(&f.failObs); err != nil {
		return err
	}
	key := store.ObservationKey{Vantage: vantage, Pool: p}
	delete(f.obs, key)
	f.deleted++
	f.tellSights(store.ObservationUpdate{Deleted: []store.ObservationKey{key}})
	return nil
}

func (f *fakeStore) KeepVantage(ctx context.Context, v store.Vantage, _ time.Duration) error {
	f.mu.Lock()
	f.about[v.ID] = health.Vantage{Region: v.Region, Network: v.Network}
	f.mu.Unlock()
	f.setAlive(v.ID, true)
	<-ctx.Done()
	f.setAlive(v.ID, false)
	return ctx.Err()
}

func (f *fakeStore) setAlive(id string, alive bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.alive[id] = true; !alive {
		delete(f.alive, id)
	}
	f.tellSights(store.ObservationUpdate{AliveChanged: true})
}

func (f *fakeStore) Campaign(ctx context.Context, id string, lead func(context.Context) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.vacant:
		}
		f.setLeader(id)
		err := lead(ctx)
		f.setLeader("")
		f.vacant <- struct{}{}
		if err != nil {
			return err
		}
	}
}

func (f *fakeStore) setLeader(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leader = id
}

// releasedSo gives the releases that were taken, and those that wait.
func (f *fakeStore) releasedSo() (taken, left []store.Release) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.taken), slices.Clone(f.releases)
}

// judging gives who judges; nobody: empty.
func (f *fakeStore) judging() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leader
}

func (f *fakeStore) WriteVerdicts(ctx context.Context, writes []store.VerdictWrite) (map[health.PoolID]store.Written, error) {
	written := map[health.PoolID]store.Written{}
	var good []health.Verdict
	f.mu.Lock()
	refuse := f.refuse
	f.mu.Unlock()
	for _, w := range writes {
		if refuse != "" && w.Verdict.Pool.Pool == refuse {
			written[w.Verdict.Pool] = store.Written{Err: errFake}
			continue
		}
		written[w.Verdict.Pool] = store.Written{Bytes: 100 * len(w.Verdict.Endpoints), Whole: w.Was == nil}
		good = append(good, w.Verdict)
		if w.Was == nil {
			f.mu.Lock()
			f.wholeVerdicts++
			f.mu.Unlock()
		}
	}
	if err := f.PutVerdicts(ctx, good); err != nil {
		return nil, err
	}
	return written, nil
}

func (f *fakeStore) PutVerdicts(_ context.Context, verdicts []health.Verdict) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := fails(&f.failVerdicts); err != nil {
		return err
	}
	for _, v := range verdicts {
		f.putVerdicts++
		f.verdicts[v.Pool] = v
	}
	f.verdictAt = time.Now()
	f.tellConfig(state.Update{Values: state.Verdicts.Put(verdicts...)})
	return nil
}

func (f *fakeStore) DeleteVerdict(_ context.Context, p health.PoolID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.verdicts, p)
	f.tellConfig(state.Update{Values: state.Verdicts.Delete(p)})
	return nil
}

func (f *fakeStore) PutPulse(_ context.Context, p state.Pulse) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := fails(&f.failVerdicts); err != nil {
		return err
	}
	f.pulses = append(f.pulses, p)
	for _, hear := range f.hear {
		hear(p)
	}
	return nil
}

func (f *fakeStore) SurveyReaders(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unasked {
		return "", errFake
	}
	return f.older, nil
}

// release is a person's word.
func (f *fakeStore) release(r store.Release) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.releases = append(f.releases, r)
	f.tellSights(store.ObservationUpdate{ReleasesChanged: true})
}

func (f *fakeStore) TakeRelease(_ context.Context, r store.Release) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taken = append(f.taken, r); f.slow {
		return nil
	}
	f.releases = slices.DeleteFunc(f.releases, func(is store.Release) bool { return is == r })
	f.tellSights(store.ObservationUpdate{ReleasesChanged: true})
	return nil
}

// servers are the checked ones, by address: what a check of them gives. Absent: it passes.
type servers struct {
	mu     sync.Mutex
	result map[string]probe.Result
	checks map[string]int
	blind  map[string]bool // vantages that see nothing up
	cut    map[string]bool // as in "ams 192.0.2.1": that vantage does not reach it
}

// isCut reports whether a vantage sees a check fail, whatever it gives.
func (s *servers) isCut(vantage string, c probe.Check) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blind[vantage] || s.cut[vantage+" "+c.Addrs[0].Addr().String()]
}

func (s *servers) setCut(is bool, vantage string, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range addrs {
		s.cut[vantage+" "+a] = is
	}
}

func (s *servers) setBlind(is bool, vantages ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range vantages {
		s.blind[v] = is
	}
}

func (s *servers) check(_ context.Context, c probe.Check) probe.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	addr := c.Addrs[0].Addr().String()
	s.checks[addr]++
	r, ok := s.result[addr]
	if !ok {
		r.Outcome = probe.Passed
	}
	r.At = time.Now()
	return r
}

func (s *servers) set(o probe.Outcome, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range addrs {
		s.result[a] = probe.Result{Outcome: o, Reason: "refused"}
	}
}

func (s *servers) count(addr string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checks[addr]
}

// lab is a fake store, fake servers, and the probers that were started, in a synctest bubble.
type lab struct {
	*testing.T
	*fakeStore
	servers
	where   map[string]health.Vantage // what probers say of themselves
	running map[string]func()
	probers map[string]*Prober
	ahead   map[string]time.Duration // of a prober's wall clock
	log     *slog.Logger
}

// mustNew is New in a test.
func mustNew(t *testing.T, cfg Config) *Prober {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func inLab(t *testing.T, play func(*lab)) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{T: t, fakeStore: newFakeStore(), where: map[string]health.Vantage{}, running: map[string]func(){},
			probers: map[string]*Prober{}, ahead: map[string]time.Duration{}}
		l.servers = servers{result: map[string]probe.Result{}, checks: map[string]int{}, blind: map[string]bool{}, cut: map[string]bool{}}
		defer func() {
			for id := range l.running {
				l.stop(id)
			}
		}()
		play(l)
	})
}

func (l *lab) start(id string) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ahead := l.ahead[id]
	check := func(ctx context.Context, c probe.Check) probe.Result {
		r := l.servers.check(ctx, c)
		if l.servers.isCut(id, c) {
			r.Outcome, r.Reason = probe.Failed, "timeout"
		}
		return r
	}
	p := mustNew(l.T, Config{ID: id, Region: l.where[id].Region, Network: l.where[id].Network, Store: l.fakeStore, check: check,
		Logger: l.log,
		Clock:  func() time.Time { return time.Now().Add(ahead) }})
	l.probers[id] = p
	go func() { done <- p.Run(ctx) }()
	l.running[id] = func() {
		cancel()
		if err := <-done; err != nil {
			l.Errorf("%s: %v", id, err)
		}
	}
}

func (l *lab) stop(id string) {
	l.running[id]()
	delete(l.running, id)
}

// states gives a pool's verdict as in "a:up b:down".
func (l *lab) states(pool string) string {
	synctest.Wait()
	l.fakeStore.mu.Lock()
	defer l.fakeStore.mu.Unlock()
	v, ok := l.verdicts[health.PoolID{Tenant: "shop", Pool: pool}]
	if !ok {
		return "none"
	}
	text := ""
	for _, name := range slices.Sorted(maps.Keys(v.Endpoints)) {
		text += " " + name + ":" + string(v.Endpoints[name].State)
	}
	if v.Frozen {
		text += " frozen"
	}
	return text[1:]
}

func (l *lab) verdict(pool string) health.Verdict {
	l.fakeStore.mu.Lock()
	defer l.fakeStore.mu.Unlock()
	return l.verdicts[health.PoolID{Tenant: "shop", Pool: pool}]
}

func (l *lab) want(what, pool, states string) {
	l.Helper()
	if got := l.states(pool); got != states {
		l.Errorf("%s: pool %s is %q, want %q", what, pool, got, states)
	}
}

// writes gives how many observations and verdicts were written so far.
func (l *lab) writes() (obs, verdicts int) {
	synctest.Wait()
	l.fakeStore.mu.Lock()
	defer l.fakeStore.mu.Unlock()
	return l.putObs, l.putVerdicts
}

func monitorRes(name string, m spec.Monitor) *spec.Resource {
	m.Type, m.Port, m.Interval = "tcp", 80, spec.Duration(time.Second)
	return &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: name}, Spec: &m}
}

// poolRes makes a pool whose endpoints a, b... have the addresses.
func poolRes(name, monitor string, addrs ...string) *spec.Resource {
	p := &spec.Pool{Monitor: monitor}
	for i, a := range addrs {
		p.Endpoints = append(p.Endpoints, spec.Endpoint{Name: string(rune('a' + i)), Addresses: []netip.Addr{netip.MustParseAddr(a)}})
	}
	return &spec.Resource{Key: poolKey(name), Spec: p}
}

func poolKey(name string) spec.Key {
	return spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: name}
}

func serviceRes(name string, s spec.Service) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: name}, Spec: &s}
}

// rulesRes makes a service with a rule for each list of pools; only the last one takes every client.
func rulesRes(name string, rules ...[]string) *spec.Resource {
	s := spec.Service{Host: name + ".example."}
	for i, pools := range rules {
		rule := spec.Rule{}
		if i+1 < len(rules) {
			rule.When = &spec.When{ASN: []uint32{uint32(i + 1)}}
		}
		for _, pool := range pools {
			rule.Pools = append(rule.Pools, spec.Target{Pool: pool})
		}
		s.Rules = append(s.Rules, rule)
	}
	return serviceRes(name, s)
}

func overrideRes(name string, o spec.Override) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: name}, Spec: &o}
}
