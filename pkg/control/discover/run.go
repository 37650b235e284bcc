package discover

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/share"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// spreadTime is over how long first looks are spread by who is elected.
const spreadTime = 30 * time.Second

// longestTTL bounds how much later than its interval a source is asked for since its TTL is longer.
const longestTTL = 10 * time.Minute

// run looks at one source again and again.
type run struct {
	f      *Finder
	id     state.SourceID
	source *spec.Source // with its defaults
	stop   context.CancelFunc
	done   chan struct{}
	memory // the run's own until done
}

func sameSource(a, b *spec.Source) bool { return reflect.DeepEqual(a, b) }

func (f *Finder) start(ctx context.Context, id state.SourceID, is *spec.Source, m memory) *run {
	ctx, stop := context.WithCancel(ctx)
	r := &run{f: f, id: id, source: is, stop: stop, done: make(chan struct{}), memory: m}
	r.is.Tenant, r.is.Pool, r.is.Source = id.Tenant, id.Pool, id.Source
	go func() {
		defer close(r.done)
		r.loop(ctx)
	}()
	return r
}

func (r *run) loop(ctx context.Context) {
	interval := time.Duration(r.source.Interval)
	if r.is.Of == r.source.Of() { // it is known, and so are those of everybody else: all at once would be a burst
		if !r.f.cfg.Sleep(ctx, rand.N(min(interval, spreadTime))) {
			return
		}
	}
	for {
		free, ok := r.f.turn(ctx, r.id.Tenant)
		if !ok {
			return
		}
		o := r.look(ctx)
		free()
		if ctx.Err() != nil {
			return
		}
		r.note(ctx, &o)
		next := max(interval, min(o.ttl, longestTTL))
		if !r.f.cfg.Sleep(ctx, next+rand.N(next/10)) {
			return
		}
	}
}

func (r *run) look(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if r.source.File != "" {
		return r.lookInFile()
	}
	return r.lookUp(ctx)
}

// note takes in what a look gave, tells of what changed, and writes it. Where the tenant's share of the store is used up, it is as if
// nobody had looked.
func (r *run) note(ctx context.Context, o *outcome) {
	known := r.memory
	r.take(r.source, o, r.told(o.err), r.f.cfg.Now())
	has, ok := state.Discovered.Get(r.f.cfg.Mirror, r.id)
	news := !ok || !reflect.DeepEqual(has, r.is)
	if !news {
		r.tell(&known.is, o)
		return
	}
	value, _ := state.Discovered.Encode(r.is) // whoever writes it tells what is wrong
	cost := max(len(value), share.Least)
	if r.f.shares.Take(r.id.Tenant, cost) > 0 {
		r.memory = known
		r.f.metrics.looks.WithLabelValues("late").Inc()
		return
	}
	r.tell(&known.is, o)
	if err := r.f.cfg.Store.PutFound(ctx, r.is); err != nil && ctx.Err() == nil {
		r.f.shares.Pay(r.id.Tenant, -cost)
		r.log().Warn("what a source has cannot be written; it is tried again with the next look", "error", err)
	}
}

func (r *run) log() *slog.Logger {
	return r.f.cfg.Logger.With("tenant", r.id.Tenant, "pool", r.id.Pool, "source", r.id.Source)
}

// tell tells what a look changed.
func (r *run) tell(before *spec.Found, o *outcome) {
	log, result := r.log(), "good"
	switch is := &r.is; {
	case !is.Failed.IsZero():
		result = "failed"
		if before.Failed.IsZero() || before.Error != is.Error {
			log.Warn("a source of endpoints fails; what it had last is kept", "endpoints", len(is.Endpoints), "error", o.err)
		}
	case !before.Failed.IsZero():
		log.Info("a source of endpoints is good again", "endpoints", len(is.Endpoints))
	case !is.Since.Equal(before.Since):
		log.Info("a source has other endpoints", "before", len(before.Endpoints), "endpoints", len(is.Endpoints), "leaving", is.Leaving)
	}
	r.f.metrics.looks.WithLabelValues(result).Inc()
}

// told is an error without what tenants may not hear: who control's resolvers are, and where files stand.
func (r *run) told(err error) string {
	if err == nil {
		return ""
	}
	var t *tellable
	text := ""
	if errors.As(err, &t) {
		text = t.text
	} else {
		text = lookFault(err)
	}
	text = strings.ToValidUTF8(text[:min(len(text), mostTold)], "") // else the store has another text, and each look would be news
	return strings.Join(strings.Fields(text), " ")                  // of several lines, of a decoder, one
}

// mostTold is how many bytes of an error the store has: a file can be wrong in each of its lines.
const mostTold = 300

// tellable is an error whose text is for tenants; the log has all of it.
type tellable struct {
	text string
	err  error
}

func (t *tellable) Error() string {
	if t.err == nil {
		return t.text
	}
	return t.text + ": " + t.err.Error()
}
func (t *tellable) Unwrap() error { return t.err }
