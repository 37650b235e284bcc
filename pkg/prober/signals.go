package prober

import (
	"context"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/probe/checks"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// signals is what a prober has heard of signals. It is guarded by its world.
type signals struct {
	heard map[store.SignalKey]map[string]heardSignal
	since time.Time // when all of them were last read: what was said before may have been missed
	news  map[store.SignalKey]bool
	wake  chan struct{} // has a token when there is news
}

// heardSignal is one signal, and when it expires by the clock of this prober: as long after it was heard as its owner meant it to hold. So
// clocks that differ make a difference only to what was said before this prober listened, of which it cannot know how old it is.
type heardSignal struct {
	health.Signal
	until time.Time
}

func newSignals() signals {
	return signals{heard: map[store.SignalKey]map[string]heardSignal{}, news: map[store.SignalKey]bool{}, wake: make(chan struct{}, 1)}
}

// apply takes what is said. full: it is all there is.
func (s *signals) apply(groups []store.SignalGroup, full bool, now time.Time) {
	if full {
		s.since = now
		for key := range s.heard {
			s.news[key] = true
		}
		before := s.heard
		s.heard = make(map[store.SignalKey]map[string]heardSignal, len(groups))
		for _, g := range groups {
			s.hear(g, before[g.SignalKey], true, now)
		}
	}
	for _, g := range groups {
		if !full {
			s.hear(g, s.heard[g.SignalKey], false, now)
		}
		s.news[g.SignalKey] = true
	}
	if len(s.news) > 0 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// hear takes what is said of a group. read: some of it may be old.
func (s *signals) hear(g store.SignalGroup, before map[string]heardSignal, read bool, now time.Time) {
	if len(g.Endpoints) == 0 {
		delete(s.heard, g.SignalKey)
		return
	}
	all := make(map[string]heardSignal, len(g.Endpoints))
	for name, said := range g.Endpoints {
		was, known := before[name]
		h := heardSignal{said, now.Add(said.Until.Sub(said.Time))}
		if read && said.Until.Before(h.until) {
			h.until = said.Until
		}
		if known && was.Time.Equal(said.Time) && was.Until.Equal(said.Until) {
			h.until = was.until
		}
		all[name] = h
	}
	s.heard[g.SignalKey] = all
}

// signal gives what is heard of an endpoint.
func (w *world) signal(of probe.Signal) checks.Heard {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := store.SignalKeyOf(health.PoolID{Tenant: of.Tenant, Pool: of.Pool}, of.Endpoint)
	h := w.signals.heard[key][of.Endpoint]
	heard := checks.Heard{Signal: h.Signal, Until: h.until}
	if w.status.State == state.Current {
		heard.Since = w.signals.since
	}
	return heard
}

// signalled gives of what something is said anew.
func (w *world) signalled() map[store.SignalKey]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := w.signals.news
	w.signals.news = map[store.SignalKey]bool{}
	return news
}

// check makes a check, or looks at a signal.
func (a *agent) check(ctx context.Context, c probe.Check) probe.Result {
	if c.Type == spec.TypeSignal {
		return checks.Signal(c, a.heard(c.Signal), a.cfg.Clock())
	}
	return a.cfg.check(ctx, c)
}

// heard gives what is heard of an endpoint, and since when it could be: nobody can say anything before a check asks for it.
func (a *agent) heard(of probe.Signal) checks.Heard {
	h := a.world.signal(of)
	a.mu.Lock()
	defer a.mu.Unlock()
	if looked := a.looked[of.Tenant][of]; !h.Since.IsZero() && looked.After(h.Since) {
		h.Since = looked
	}
	return h
}

// heed looks at signals when there are new ones, until ctx ends.
func (a *agent) heed(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.world.signals.wake:
		}
		a.scheduler.Look(a.signalTargets(a.world.signalled()))
	}
}

// signalTargets gives the targets that go by these signals.
func (a *agent) signalTargets(news map[store.SignalKey]bool) (ids []probe.ID) {
	pools := map[health.PoolID]bool{}
	for key := range news {
		pools[key.Pool] = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range pools {
		w := a.pools[id.Tenant][id]
		if w == nil {
			continue
		}
		for name := range w.endpoints {
			declared, _, _ := strings.Cut(name, "/")
			for part, p := range w.rule.Parts {
				if p.Said && news[store.SignalKeyOf(id, declared)] {
					ids = append(ids, probe.ID{Tenant: id.Tenant, Pool: id.Pool, Endpoint: target(name, w.rule, part)})
				}
			}
		}
	}
	return ids
}
