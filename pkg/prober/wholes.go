package prober

import (
	"context"
	"time"

	"github.com/gti/gtm/pkg/store"
)

// wholes is what is known of how a large pool stands in the store.
type wholes struct {
	at       time.Time // when it was last written as a whole
	whole    int       // the bytes of that; 0: not known
	inPieces bool      // it was written in pieces since, or may have been
	since    int       // the bytes of these
}

// leastWhole is how many bytes a whole has for each endpoint, where it is not known.
const leastWhole = 16

// wrote notes what was written.
func (w *wholes) wrote(got store.Written, now time.Time) {
	if got.Whole {
		*w = wholes{at: now, whole: got.Bytes}
		return
	}
	w.inPieces, w.since = true, w.since+got.Bytes
}

// due reports whether it is time for a whole of so many endpoints: when pieces have taken as much as it does, so that what is written stays
// in proportion to what changed, and what is to be read in proportion to what is known. Where a program is alive that reads no pieces, or
// not all of them, it is time once a minute.
func (w *wholes) due(endpoints int, older bool, now time.Time) bool {
	if older {
		return now.Sub(w.at) >= wholeEvery
	}
	return w.inPieces && w.since >= max(w.whole, leastWhole*endpoints)
}

// survey asks again and again who reads the store, until ctx ends. Until that is known, it may be one that reads the old form alone.
func (p *Prober) survey(ctx context.Context) error {
	ticker := time.NewTicker(sweep)
	defer ticker.Stop()
	for told := ""; ; {
		older, err := p.cfg.Store.SurveyReaders(ctx)
		why := older
		if err != nil {
			why = err.Error()
		} else {
			p.world.setOlder(older != "")
		}
		switch {
		case why == told || why == "" || ctx.Err() != nil:
		case p.world.hasOlder():
			p.cfg.Logger.Warn("health is written in its old form, which is more: not all programs that are alive read the new one, or "+
				"they cannot be asked; upgrade edges and control before probers", "why", why)
		default:
			p.cfg.Logger.Warn("it cannot be asked who reads health; it is written in the new form still, which all read that were known",
				"why", why)
		}
		told = why
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// setOlder notes whether a program is alive that reads the old form alone.
func (w *world) setOlder(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.older = is
}

func (w *world) hasOlder() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.older
}
