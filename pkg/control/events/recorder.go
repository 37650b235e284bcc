package events

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/past"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

const (
	// mostPending bounds the changes of verdicts that wait to be looked at; then the oldest are left out, and counted.
	mostPending = 200_000
	// mostAsked is of how many pools the vantages are asked at once; of others that changed with them events do not tell vantages.
	mostAsked = 32
	// askTime is how long events wait for what vantages saw, and askAgain how long nobody is asked when that failed.
	askTime  = 2 * time.Second
	askAgain = 10 * time.Second
	// tick is how often the clock, and whether a judge is heard, is looked at.
	tick = time.Second
)

// RecorderConfig is what a Recorder needs.
type RecorderConfig struct {
	Log    *Log
	Mirror *state.Mirror
	// History gives a tenant's last changes, newest first; nil: events of changes that guards did not stop are left out.
	History func(ctx context.Context, tenant string, limit int) ([]state.Record, error)
	// Health tells how old is what is known of health; nil: events of a judge's silence are left out.
	Health func() state.Health
	// Sights asks what the living vantages see of a pool; nil: they are not asked.
	Sights func(ctx context.Context, pool health.PoolID) (map[string]health.Observation, error)
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
	// Registerer gets the metrics; nil: nobody does.
	Registerer prometheus.Registerer
}

// Recorder makes events. Heard and Pulse may be called from anywhere, and do not wait; Run does the work.
type Recorder struct {
	cfg   RecorderConfig
	pools *pools
	judge string // who judges; empty: not known yet

	askAfter time.Time
	cursor   state.Cursor

	mu       sync.Mutex
	pending  []past.News
	changes  int // in pending
	leftOut  int
	pulses   []state.Pulse
	wake     chan struct{}
	rollouts rollouts
	edges    edges
	problems map[string]map[Subject]api.Event // by tenant: what is wrong now, by the event that tells of it
	counts   map[health.PoolID]map[string]int // of pools with series of their own, by kind
	metrics  *metrics
}

// NewRecorder makes a recorder.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Recorder{cfg: cfg, pools: newPools(cfg.Mirror), wake: make(chan struct{}, 1), problems: map[string]map[Subject]api.Event{},
		counts: map[health.PoolID]map[string]int{}}
	if r.metrics = newMetrics(r); cfg.Registerer != nil {
		if err := cfg.Registerer.Register(r.metrics); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Heard takes what an update replaced; it is past.Config.Replaced.
func (r *Recorder) Heard(n past.News) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.changes = append(r.pending, n), r.changes+len(n.Changes)
	for r.changes > mostPending && len(r.pending) > 1 {
		first := &r.pending[0]
		r.changes, r.leftOut = r.changes-len(first.Changes), r.leftOut+len(first.Changes)
		second := &r.pending[1] // what was declared must be looked at all the same
		second.Anew = second.Anew || first.Anew
		second.Declared = append(second.Declared, first.Declared...)
		second.Moved = append(first.Moved, second.Moved...)
		r.pending = r.pending[1:]
	}
	r.rouse()
}

// Pulse takes a judge's sign of life.
func (r *Recorder) Pulse(p state.Pulse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pulses = append(r.pulses, p); len(r.pulses) > 16 {
		r.pulses = r.pulses[1:]
	}
	r.rouse()
}

func (r *Recorder) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run makes events until ctx ends.
func (r *Recorder) Run(ctx context.Context) {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-clock.C:
		}
		r.Work(ctx)
	}
}

// Work makes events of what was heard, and of the clock. Run calls it, and tests, which have no other clock.
func (r *Recorder) Work(ctx context.Context) {
	r.mu.Lock()
	news, pulses, leftOut := r.pending, r.pulses, r.leftOut
	ofEdges := r.edges.news
	r.edges.news = nil
	r.pending, r.pulses, r.changes, r.leftOut = nil, nil, 0, 0
	r.mu.Unlock()
	if leftOut > 0 {
		r.cfg.Logger.Error("more verdicts changed than could be looked at; events of them are left out", "verdicts", leftOut)
	}
	now := r.cfg.Now()
	for i := range news {
		r.cursor = news[i].Cursor
		r.note(ctx, append(r.of(&news[i], now), r.brokenGlass(ctx, news[i].Moved)...))
	}
	var list []api.Event
	for tenant, names := range r.pools.ripe(now) {
		list = append(list, r.turn(tenant, r.pools.tenants[tenant].with(names...), nil, now)...)
	}
	list = append(append(list, r.rollouts.look(r, now)...), ofEdges...)
	r.note(ctx, append(list, r.judges(pulses, now)...))
}

// of gives the events of one update.
func (r *Recorder) of(n *past.News, now time.Time) (list []api.Event) {
	if n.Anew {
		return r.begin(now)
	}
	changes := make(map[health.PoolID]*past.Change, len(n.Changes))
	for i := range n.Changes {
		changes[n.Changes[i].Pool] = &n.Changes[i]
	}
	for _, tenant := range n.Declared {
		d := r.pools.declare(tenant)
		r.settleUndeclared(tenant, d)
		list = append(list, r.turn(tenant, slices.Sorted(maps.Keys(d.pools)), changes, now)...)
	}
	judged := map[string][]string{}
	for _, c := range n.Changes {
		list = append(list, verdictEvents(c, now)...)
		of, _ := c.Pool.Declared()
		judged[of.Tenant] = append(judged[of.Tenant], of.Pool)
		r.settleGone(c)
	}
	for _, tenant := range slices.Sorted(maps.Keys(judged)) {
		d := r.pools.tenants[tenant]
		if d == nil {
			d = r.pools.declare(tenant)
		}
		list = append(list, r.turn(tenant, d.with(judged[tenant]...), changes, now)...)
	}
	return list
}

// turn gives the events of pools that went up or down. changes say which verdicts changed with it.
func (r *Recorder) turn(tenant string, names []string, changes map[health.PoolID]*past.Change, now time.Time) (list []api.Event) {
	for _, t := range r.pools.look(tenant, names, now) {
		at := now
		if c := changes[t.id]; c != nil {
			if newest := newestIn(c.Is); newest.After(newestIn(c.Was)) {
				at = newest
			}
		}
		e := subject(api.EventPool, t.id, "").event(at, upDown(t.was.up), upDown(t.now.up))
		if e.Reason = t.now.why; t.verdict != nil {
			e.Judge = t.verdict.Judge
		}
		identify(&e, "")
		list = append(list, e)
	}
	return list
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// begin looks at everything: what stands otherwise than the last events tell has changed while no control of this folder looked.
func (r *Recorder) begin(now time.Time) (list []api.Event) {
	last, newest := r.cfg.Log.Lasts()
	if e := last[Subject{Kind: api.EventJudge, Tenant: spec.Platform}]; e != nil && r.judge == "" {
		r.judge = e.To
	}
	r.pools = newPools(r.cfg.Mirror)
	r.mu.Lock()
	clear(r.problems)
	r.mu.Unlock()
	if !newest.IsZero() { // else all that is known would be news
		for _, v := range r.cfg.Mirror.Verdicts() {
			list = append(list, missed(&v, last, newest, now)...)
		}
	}
	for _, tenant := range r.cfg.Mirror.Tenants() {
		d := r.pools.declare(tenant)
		for name := range d.pools {
			for _, region := range append([]string{""}, geo.Continents[:]...) {
				id := health.PoolID{Tenant: tenant, Pool: name}.For(region)
				if e := last[subject(api.EventPool, id, "")]; e != nil {
					r.pools.stand[id] = standing{up: e.To == "up"}
				}
			}
		}
		list = append(list, r.turn(tenant, slices.Sorted(maps.Keys(d.pools)), nil, now)...)
	}
	r.findProblems(now)
	r.rollouts = rollouts{} // what is wrong there is told anew, under the names that it had
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edges.held = nil
	return list
}

// judges gives the events of who judges.
func (r *Recorder) judges(pulses []state.Pulse, now time.Time) (list []api.Event) {
	for _, p := range pulses {
		if p.Judge == "" || p.Judge == r.judge {
			continue
		}
		if r.judge != "" {
			list = append(list, judgeEvent(r.judge, p.Judge, "", p.Nonce, now))
		}
		r.judge = p.Judge
	}
	if r.cfg.Health == nil {
		return list
	}
	// Before the first pulse, which the store has of the last judge, this control only has not heard it yet.
	if h := r.cfg.Health(); h.StandsStill && !h.Pulse.IsZero() && r.judge != "" && r.judge != api.NoJudge {
		e := judgeEvent(r.judge, api.NoJudge, "health stands still: "+h.Why, "", now)
		list, r.judge = append(list, e), api.NoJudge
	} else if !h.StandsStill && r.judge == api.NoJudge && h.Judge != "" {
		list = append(list, judgeEvent(r.judge, h.Judge, "", "", now))
		r.judge = h.Judge
	}
	return list
}

// note keeps events, with what vantages saw.
func (r *Recorder) note(ctx context.Context, list []api.Event) {
	if len(list) == 0 {
		return
	}
	r.ask(ctx, list)
	added := r.cfg.Log.Add(r.cursor.Revision, r.cursor.Epoch, list...)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range list {
		r.setProblem(&list[i])
	}
	for i := range added {
		r.count(&added[i].Event)
	}
}

// ask adds to events of endpoints what the vantages that live see of them.
func (r *Recorder) ask(ctx context.Context, list []api.Event) {
	if r.cfg.Sights == nil || r.cfg.Now().Before(r.askAfter) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	asked := map[health.PoolID]map[string]health.Observation{}
	for i := range list {
		e := &list[i]
		id := health.PoolID{Tenant: e.Tenant, Pool: e.Pool}
		if e.Kind != api.EventEndpoint {
			continue
		}
		seen, known := asked[id]
		if !known {
			if len(asked) == mostAsked {
				return
			}
			var err error
			if seen, err = r.cfg.Sights(ctx, id); err != nil {
				r.askAfter = r.cfg.Now().Add(askAgain)
				return
			}
			asked[id] = seen
		}
		e.Vantages = sightTexts(seen, e.Endpoint)
	}
}

// sightTexts writes what each vantage sees of an endpoint, as in "down: status 503".
func sightTexts(seen map[string]health.Observation, endpoint string) map[string]string {
	texts := map[string]string{}
	for vantage, o := range seen {
		s, ok := o.Endpoints[endpoint]
		if !ok {
			continue
		}
		words := []string{string(s.State)}
		if s.Blind {
			words = []string{"blind"}
		}
		if s.Reason != "" {
			words = append(words, s.Reason)
		}
		texts[vantage] = strings.Join(words, ": ")
	}
	if len(texts) == 0 {
		return nil
	}
	return texts
}
