package notify

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/events"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

const (
	batch     = 100 // events of one message
	readAhead = 1000
	mostIDs   = 64 // of one revision that are remembered as told: more of them may be told again
	refusals  = 3  // of one message, and it is dropped
)

// target is one that is told. The log is its queue: it knows how far it is, and what the log dropped meanwhile it was not told.
type target struct {
	t         *Teller
	tenant    string
	spec      *spec.EventTarget
	post      *poster
	stop      context.CancelFunc
	done      chan struct{}
	forgotten bool

	at events.Position // of the log; the run's own

	mu      sync.Mutex
	mark    store.ToldMark
	dirty   bool
	sent    uint64
	dropped uint64
	fault   string
	since   time.Time // of fault
}

func (t *Teller) start(ctx context.Context, tenant string, is *spec.EventTarget, mark store.ToldMark, fresh bool) *target {
	ctx, stop := context.WithCancel(ctx)
	g := &target{t: t, tenant: tenant, spec: is, stop: stop, done: make(chan struct{}), mark: mark, dirty: fresh, post: t.guarded}
	if tenant == spec.Platform {
		g.post = t.open
	}
	scope := scopeOf(tenant)
	if fresh { // it hears what is new
		g.mark = store.ToldMark{Epoch: t.cfg.Mirror.Epoch(), Revision: t.cfg.Mirror.Revision()}
	}
	if g.at = t.cfg.Log.Before(scope, g.mark.Epoch, g.mark.Revision); fresh {
		list, _ := t.cfg.Log.After(scope, g.at, mostIDs)
		g.advance(list, 0)
		g.at = t.cfg.Log.Newest(scope)
	}
	go func() {
		defer close(g.done)
		if is.FormatOr() == spec.FormatAlertmanager {
			g.runAlerts(ctx)
			return
		}
		g.run(ctx)
	}()
	return g
}

// run tells events as they come.
func (g *target) run(ctx context.Context) {
	wait, refused := time.Duration(0), 0
	for ctx.Err() == nil {
		changed := g.t.cfg.Log.Changed()
		list, lost := g.next()
		if len(list) == 0 {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		var told []api.Event
		for i := range list {
			if e := &list[i].Event; g.wants(e) && !g.was(&list[i]) {
				told = append(told, *e)
			}
		}
		if len(told) == 0 {
			g.drop(lost)
			g.advance(list, 0)
			continue
		}
		err := g.send(ctx, message(g.spec.FormatOr(), g.tenant, g.spec.Name, told, lost))
		if err == nil {
			g.well()
			g.drop(lost)
			g.advance(list, len(told))
			wait, refused = 0, 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		g.ill(err)
		if isRefusal(err) {
			refused++
		}
		if refused >= refusals || g.t.cfg.Now().Sub(told[0].Noted) > g.t.pace.GiveUp {
			g.drop(lost + uint64(len(told)))
			g.t.metrics.count("dropped", len(told))
			g.t.cfg.Logger.Error("events were not taken, and are dropped", "tenant", g.tenant, "target", g.spec.Name,
				"events", len(told), "error", err)
			g.advance(list, 0)
			refused = 0
		}
		wait = min(max(2*wait, g.t.pace.First), g.t.pace.Most)
		sleep(ctx, max(jitter(wait), min(retryAfter(err), g.t.pace.Most)))
	}
}

// next gives what comes next of the log, at most so much of it as one message holds.
func (g *target) next() (list []events.Entry, lost uint64) {
	list, lost = g.t.cfg.Log.After(scopeOf(g.tenant), g.at, readAhead)
	wanted := 0
	for i := range list {
		if g.wants(&list[i].Event) {
			if wanted++; wanted == batch {
				return list[:i+1], lost
			}
		}
	}
	return list, lost
}

func (g *target) wants(e *api.Event) bool { return g.spec.Wants(g.tenant, e.Kind, e.Tenant, e.Pool) }

// was reports whether the target was told of an event by whoever told before.
func (g *target) was(e *events.Entry) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return e.Epoch == g.mark.Epoch && e.Revision == g.mark.Revision && slices.Contains(g.mark.IDs, e.ID)
}

// advance goes on behind some of the log, of which so many were told.
func (g *target) advance(list []events.Entry, told int) {
	if len(list) == 0 {
		return
	}
	last := &list[len(list)-1]
	g.at = events.Position{Seq: last.Seq, Of: last.Of}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range list {
		e := &list[i]
		if e.Epoch != g.mark.Epoch || e.Revision != g.mark.Revision {
			g.mark = store.ToldMark{Epoch: e.Epoch, Revision: e.Revision}
		}
		if !slices.Contains(g.mark.IDs, e.ID) {
			g.mark.IDs = append(g.mark.IDs[max(0, len(g.mark.IDs)-mostIDs+1):], e.ID)
		}
	}
	if told > 0 {
		g.sent += uint64(told)
		g.dirty = true
	}
}

// send posts a message, when it is the target's turn.
func (g *target) send(ctx context.Context, m msg) error {
	free, ok := g.t.turn(ctx, g.tenant)
	if !ok {
		return ctx.Err()
	}
	defer free()
	err := g.post.do(ctx, g.spec, g.t.cfg.Secrets, g.tenant, m, g.t.cfg.Now())
	result := "sent"
	if err != nil {
		result = "failed"
	}
	g.t.metrics.count(result, 1)
	return err
}

func (g *target) well() {
	g.mu.Lock()
	was := g.fault
	g.fault, g.since = "", time.Time{}
	g.mu.Unlock()
	if was != "" {
		g.t.cfg.Logger.Info("a target of events takes them again", "tenant", g.tenant, "target", g.spec.Name)
	}
}

func (g *target) ill(err error) {
	g.mu.Lock()
	was := g.fault
	if g.fault = told(err); was == "" {
		g.since = g.t.cfg.Now()
	}
	g.mu.Unlock()
	if was == "" {
		g.t.cfg.Logger.Warn("a target of events does not take them", "tenant", g.tenant, "target", g.spec.Name, "error", err)
	}
}

func (g *target) drop(n uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropped += n
}

func (g *target) marked() store.ToldMark {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.mark
	m.IDs = slices.Clone(m.IDs)
	return m
}

func (g *target) unsaved() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dirty
}

// saved notes that a mark stands in the store.
func (g *target) saved(m store.ToldMark) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mark.Revision == m.Revision && slices.Equal(g.mark.IDs, m.IDs) {
		g.dirty = false
	}
}

func (g *target) describe(out *api.EventTarget) {
	g.mu.Lock()
	defer g.mu.Unlock()
	out.Sent, out.Dropped, out.Error, out.Since = g.sent, g.dropped, g.fault, g.since
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
