package prober

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// world is what a prober has heard from the store: plans, verdicts, observations, and who is alive. Two hear it with it: the
// agent, which checks, and the judge. It is safe for concurrent use.
type world struct {
	log    *slog.Logger
	clock  func() time.Time
	mirror *state.Mirror
	// complete is closed once configuration and observations were heard of in full.
	complete chan struct{}
	// reread has a token when observations came anew in full: the store may have lost some.
	reread chan struct{}

	mu           sync.Mutex
	graceUntil   time.Time // until then vantages correct the observations that came anew
	heardConfig  bool
	heardSights  bool
	status       state.FollowStatus // Refused: the store went back, and nobody has accepted it
	broken       map[string]map[spec.Key]bool
	plans        map[string]*plan
	observations map[string]map[health.PoolID]sightings // by tenant
	alive        map[string]bool
	about        map[string]health.Vantage  // of those that are alive, without Sees
	sees         map[string]int             // how many endpoints each vantage sees up
	releases     map[string][]store.Release // by tenant: those that wait
	pulse        state.Pulse                // the last one
	signals      signals
	listeners    map[*listener]bool
	older        bool // a program may be alive that reads the old form alone: see Prober.survey
}

// sightings are the observations of one pool, by vantage.
type sightings map[string]health.Observation

func newWorld(log *slog.Logger) *world {
	return &world{
		log: log, clock: time.Now, mirror: state.NewMirror(), complete: make(chan struct{}), reread: make(chan struct{}, 1),
		status: state.FollowStatus{State: state.Connecting},
		broken: map[string]map[spec.Key]bool{}, plans: map[string]*plan{},
		observations: map[string]map[health.PoolID]sightings{}, alive: map[string]bool{}, sees: map[string]int{},
		releases: map[string][]store.Release{}, signals: newSignals(), listeners: map[*listener]bool{},
		older: true,
	}
}

// listener collects the tenants that there is news of, until someone takes them.
type listener struct {
	world   *world
	sights  bool            // observations, vantages and verdicts are news too
	tenants map[string]bool // guarded by world.mu
	// verdicts are pools of which the store told a verdict, or none any more; anew: of all. Likewise guarded.
	verdicts map[health.PoolID]bool
	anew     bool
	wake     chan struct{} // has a token when there is something to take
}

// listen makes a listener, to whom every tenant is news. End it with stop.
func (w *world) listen(sights bool) *listener {
	l := &listener{world: w, sights: sights, tenants: map[string]bool{}, verdicts: map[health.PoolID]bool{}, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners[l] = true
	l.tell(w.everyone())
	return l
}

func (l *listener) stop() {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	delete(l.world.listeners, l)
}

// again makes tenants news; none given: all.
func (l *listener) again(tenants ...string) {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	if len(tenants) == 0 {
		tenants = l.world.everyone()
	}
	l.tell(tenants)
}

// take gives the tenants that there is news of, sorted.
func (l *listener) take() []string {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	tenants := slices.Sorted(maps.Keys(l.tenants))
	clear(l.tenants)
	return tenants
}

// takeVerdicts gives the pools whose stored verdicts are news; all: they were told anew, and some may be missing.
func (l *listener) takeVerdicts() (pools []health.PoolID, all bool) {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	pools, all = slices.Collect(maps.Keys(l.verdicts)), l.anew
	clear(l.verdicts)
	l.anew = false
	return pools, all
}

// tell is called with world.mu held.
func (l *listener) tell(tenants []string) {
	for _, t := range tenants {
		l.tenants[t] = true
	}
	if len(l.tenants)+len(l.verdicts) == 0 {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// everyone lists all tenants that anything is known of: plans, observations, verdicts and releases.
func (w *world) everyone() []string {
	all := map[string]bool{}
	for t := range w.plans {
		all[t] = true
	}
	for t := range w.observations {
		all[t] = true
	}
	for t := range w.releases {
		all[t] = true
	}
	for id := range w.mirror.Verdicts() {
		all[id.Tenant] = true
	}
	return slices.Collect(maps.Keys(all))
}

// announce tells listeners of news, with w.mu held.
func (w *world) announce(tenants []string, sights bool) {
	if w.heardConfig && w.heardSights {
		select {
		case <-w.complete:
		default:
			close(w.complete)
		}
	}
	for l := range w.listeners {
		if l.sights || !sights {
			l.tell(tenants)
		}
	}
}

// applyConfig takes an update of the configuration and of verdicts.
func (w *world) applyConfig(u state.Update) error {
	names := w.mirror.Rejoined(&u) // what was found for a pool is news of it
	w.mirror.Apply(u)
	w.mu.Lock()
	defer w.mu.Unlock()
	var news []string
	w.noteVerdicts(u)
	old, platform := w.plans, w.plans[spec.Platform].settings()
	if u.Full {
		w.heardConfig = true
		news = w.everyone() // those that are gone, too
		w.plans = make(map[string]*plan, len(u.Tenants))
		clear(w.broken)
	}
	anew := map[string]bool{}
	for _, name := range names {
		anew[name] = true
	}
	for _, t := range u.Tenants {
		w.noteBroken(t)
		anew[t.Tenant] = true
		if places(t) {
			for tenant, p := range w.plans {
				anew[tenant] = anew[tenant] || p.placed
			}
		}
	}
	for _, tenant := range slices.Sorted(maps.Keys(anew)) {
		if !anew[tenant] {
			continue
		}
		p := makePlan(w.mirror.Joined(tenant).Resources, w.mirror.Tenant(spec.Platform).Resources, w.broken[tenant])
		for _, fault := range p.faults {
			if before := old[tenant]; before == nil || !slices.Contains(before.faults, fault) {
				w.log.Warn("a pool is not wholly checked", "fault", fault)
			}
		}
		w.plans[tenant] = p
		news = append(news, tenant)
	}
	if !reflect.DeepEqual(platform, w.plans[spec.Platform].settings()) {
		news = w.everyone() // what the platform sets is for all
	}
	w.announce(news, false)
	return nil
}

// noteVerdicts tells the judge what verdicts the store has now: they may not be those that it wrote.
func (w *world) noteVerdicts(u state.Update) {
	verdicts := state.Verdicts.In(u)
	for l := range w.listeners {
		if !l.sights {
			continue
		}
		for i := range verdicts.Put {
			l.verdicts[verdicts.Put[i].Pool] = true
		}
		for _, id := range verdicts.Deleted {
			l.verdicts[id] = true
		}
		l.anew = l.anew || u.Full
		l.tell(nil)
	}
}

// applyPulse takes a sign of life of a judge.
func (w *world) applyPulse(p state.Pulse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pulse = p
}

// lastPulse gives the last sign of life of any judge.
func (w *world) lastPulse() state.Pulse {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pulse
}

// vantages lists those that are alive, and those that monitors name or that have told something and are not.
func (w *world) vantages() (alive, silent []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := map[string]bool{}
	for _, p := range w.plans {
		for _, pp := range p.pools {
			for _, v := range pp.vantages {
				known[v] = true
			}
		}
	}
	for _, pools := range w.observations {
		for _, seen := range pools {
			for v := range seen {
				known[v] = true
			}
		}
	}
	for v := range known {
		if !w.alive[v] {
			silent = append(silent, v)
		}
	}
	slices.Sort(silent)
	return slices.Sorted(maps.Keys(w.alive)), silent
}

// noteBroken keeps track of the resources that stand in the store and cannot be decoded.
func (w *world) noteBroken(t state.TenantUpdate) {
	set := w.broken[t.Tenant]
	if set == nil {
		set = map[spec.Key]bool{}
		w.broken[t.Tenant] = set
	}
	for _, v := range t.Put {
		delete(set, v.Resource.Key)
	}
	for _, key := range t.Deleted {
		delete(set, key)
	}
	for _, b := range t.Broken {
		set[b.Key] = true
	}
}

// applyStatus notes whether the store is one to believe.
func (w *world) applyStatus(s state.FollowStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.status.State
	w.status = s
	if was == state.Refused && s.State != state.Refused {
		w.announce(w.everyone(), false)
	}
}

// applyObservations takes an update of what vantages see, and of who is alive.
func (w *world) applyObservations(u store.ObservationUpdate) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := map[string]bool{}
	if u.Full {
		w.readAnew()
		clear(w.observations)
		clear(w.sees)
	}
	if u.Full || len(u.Signals) > 0 {
		w.signals.apply(u.Signals, u.Full, w.clock())
	}
	saw := maps.Clone(w.sees)
	if u.ReleasesChanged {
		w.releases = map[string][]store.Release{}
		for _, r := range u.Releases {
			w.releases[r.Tenant] = append(w.releases[r.Tenant], r)
			news[r.Tenant] = true
		}
	}
	for _, o := range u.Put {
		w.see(o)
		news[o.Pool.Tenant] = true
	}
	for _, k := range u.Deleted {
		w.forget(k)
		news[k.Pool.Tenant] = true
	}
	tenants := slices.Collect(maps.Keys(news))
	if w.eyesOpened(saw) {
		tenants = w.everyone()
	}
	if u.Full || u.AliveChanged { // a new map each time: the old one may be lent
		w.alive = make(map[string]bool, len(u.Alive))
		for _, v := range u.Alive {
			w.alive[v] = true
		}
		w.about = u.About
		tenants = w.everyone()
	}
	w.announce(tenants, true)
	return nil
}

// readAnew has this vantage look at once whether the store has what it saw, when all is read for another time; and the judge wait
// until the vantages have: observations of a store that went back are old.
func (w *world) readAnew() {
	if w.heardSights {
		w.graceUntil = time.Now().Add(correctTime)
		select {
		case w.reread <- struct{}{}:
		default:
		}
	}
	w.heardSights = true
}

// unsettled tells how long observations that came anew are still to be waited for.
func (w *world) unsettled() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Until(w.graceUntil)
}

func (w *world) see(o health.Observation) {
	pools := w.observations[o.Pool.Tenant]
	if pools == nil {
		pools = map[health.PoolID]sightings{}
		w.observations[o.Pool.Tenant] = pools
	}
	if pools[o.Pool] == nil {
		pools[o.Pool] = sightings{}
	}
	w.sees[o.Vantage] += seenUp(o) - seenUp(pools[o.Pool][o.Vantage])
	pools[o.Pool][o.Vantage] = o
}

// seenUp counts what an observation says is up.
func seenUp(o health.Observation) (n int) {
	for _, s := range o.Endpoints {
		if s.State == health.Up && !s.Blind && !s.Said {
			n++
		}
	}
	return n
}

// eyesOpened reports whether a vantage sees something up that saw nothing before, or nothing any more. What it says of all tenants counts
// otherwise then.
func (w *world) eyesOpened(saw map[string]int) bool {
	for vantage, n := range w.sees {
		if (n > 0) != (saw[vantage] > 0) {
			return true
		}
	}
	return false
}

// known gives what is known of the vantages that are alive.
func (w *world) known() map[string]health.Vantage {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := make(map[string]health.Vantage, len(w.alive))
	for vantage := range w.alive {
		about := w.about[vantage]
		about.Sees = w.sees[vantage]
		known[vantage] = about
	}
	return known
}

func (w *world) forget(k store.ObservationKey) {
	pools := w.observations[k.Pool.Tenant]
	w.sees[k.Vantage] -= seenUp(pools[k.Pool][k.Vantage])
	delete(pools[k.Pool], k.Vantage)
	if len(pools[k.Pool]) == 0 {
		delete(pools, k.Pool)
	}
	if len(pools) == 0 {
		delete(w.observations, k.Pool.Tenant)
	}
}

// plan gives a tenant's plan; an empty one where there is none.
func (w *world) plan(tenant string) *plan {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.plans[tenant]; p != nil {
		return p
	}
	return &plan{}
}

// released gives the releases that wait for a tenant.
func (w *world) released(tenant string) []store.Release {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.releases[tenant])
}

// seenBy gives what a vantage has stored on the pools of a tenant.
func (w *world) seenBy(vantage, tenant string) map[health.PoolID]health.Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[health.PoolID]health.Observation{}
	for id, by := range w.observations[tenant] {
		if o, ok := by[vantage]; ok {
			seen[id] = o
		}
	}
	return seen
}

// evidence gives what all vantages have told of a pool, and who is alive.
func (w *world) evidence(id health.PoolID) (seen map[string]health.Observation, alive map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.observations[id.Tenant][id]), w.alive
}

func (w *world) isRefused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status.State == state.Refused
}

// ready tells why the word of a vantage does not count; nil: it does.
func (w *world) ready(vantage string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	why := ""
	if w.status.Err != "" {
		why = ": " + w.status.Err
	}
	switch {
	case !w.heardConfig || !w.heardSights:
		return fmt.Errorf("no configuration yet: the store is %s%s", w.status.State, why)
	case w.status.State != state.Current:
		return fmt.Errorf("the store is %s%s", w.status.State, why)
	case !w.alive[vantage]:
		return fmt.Errorf("vantage %s does not count yet: it holds no lease in the store; it takes one after its first look at all "+
			"endpoints", vantage)
	}
	return nil
}
