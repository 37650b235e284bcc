package state

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// pulsePatience is how long health counts as looked after without a pulse, of which the judge sends one every five seconds.
const pulsePatience = 20 * time.Second

// Evidence keeps the judge's last pulse, and so knows how old is what is known of health. It goes by the clock of whoever hears the
// pulses, since those of other machines differ. The zero value is ready, and it is safe for concurrent use.
type Evidence struct {
	mu    sync.Mutex
	pulse Pulse
	at    time.Time // when it came; zero: none ever did
}

// Health tells how old is what is known of health. The zero value says that nobody has told yet.
type Health struct {
	Judge       string    // whose pulse came last
	Pulse       time.Time // when it came
	StandsStill bool      // verdicts may be out of date
	Since       time.Time // since when they may be
	Why         string
	Silent      []string // vantages that had lost their lease, by the last pulse
	Troubles    []string // what the judge cannot write, by the last pulse
}

// Heard takes a pulse. One that is told again, as after a new connection, is no news.
func (e *Evidence) Heard(p Pulse, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.at.IsZero() && p.Nonce != "" && p.Nonce == e.pulse.Nonce {
		return
	}
	e.pulse, e.at = p, now
}

// Health judges at now: the store must be followed, and pulses must come, once there was one. contact is when the store was heard last;
// zero: not known.
func (e *Evidence) Health(now time.Time, following FollowStatus, contact time.Time) Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := Health{Judge: e.pulse.Judge, Pulse: e.at, Silent: slices.Clone(e.pulse.Silent), Troubles: slices.Clone(e.pulse.Troubles)}
	if contact.IsZero() {
		contact = following.Since
	}
	switch {
	case following.State == Refused:
		h.Since, h.Why = following.Since, "the store is refused, since it went back"
	case following.State == Stale:
		h.Since, h.Why = contact, "the store is not heard"
	case following.State != Current:
		h.Since, h.Why = contact, "the store has not been heard yet"
	case !e.at.IsZero() && now.Sub(e.at) > pulsePatience:
		h.Since, h.Why = e.at, fmt.Sprintf("no judge is heard, and the last one was %s", cmp.Or(e.pulse.Judge, "one without a name"))
	}
	h.StandsStill = h.Why != ""
	return h
}

// Text says that health stands still, or nothing.
func (h *Health) Text(now time.Time) string {
	if !h.StandsStill {
		return ""
	}
	return fmt.Sprintf("health stands still since %s (%s): %s; what stands above is what was known then",
		clockText(h.Since, now), now.Sub(h.Since).Round(time.Second), h.Why)
}

// clockText writes a time of today, or of another day.
func clockText(t, now time.Time) string {
	if t, now = t.UTC(), now.UTC(); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05Z")
	}
	return t.Format("2006-01-02 15:04:05Z")
}
