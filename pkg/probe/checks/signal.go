package checks

import (
	"context"
	"errors"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
)

// Heard is what a prober has heard of an endpoint's owner.
type Heard struct {
	Signal health.Signal // its State empty: none
	Until  time.Time     // when it expires, by the prober's own clock
	// Since is since when the prober hears what is said; zero: it does not now.
	Since time.Time
}

// patience is how long somebody who has said nothing yet has for it.
const patience = time.Minute

// Signal makes a check of type signal: it looks at what was heard. What is out of date could not be checked, or failed, as the monitor
// says; but it is no failure until the owner had as long as a signal holds to say something that the prober could hear.
func Signal(c probe.Check, h Heard, now time.Time) probe.Result {
	r := probe.Result{At: now}
	if h.Signal.State != "" && now.Before(h.Until) {
		w := h.Signal.Word()
		r.Word, r.Reason, r.Outcome = &w, w.Reason, probe.Passed
		if !w.Up {
			r.Outcome = probe.Failed
		}
		return r
	}
	r.Reason, r.Outcome = "no signal", probe.Unable
	given := patience
	if h.Signal.State != "" {
		r.Reason = "no signal since " + h.Signal.Time.UTC().Format(time.RFC3339)
		given = h.Signal.Until.Sub(h.Signal.Time)
	}
	if c.Signal.SilentDown && !h.Since.IsZero() && !now.Before(h.Since.Add(given)) {
		r.Word, r.Outcome = &health.Word{Reason: r.Reason}, probe.Failed
	}
	return r
}

// runSignal is never called by a prober, which knows what was heard.
func runSignal(context.Context, *attempt) error {
	return unable{errors.New("a signal is heard, and not asked for")}
}
