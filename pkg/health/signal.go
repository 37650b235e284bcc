package health

import (
	"fmt"
	"math"
	"time"
)

// Signal is what the owner of an endpoint says of it, until it expires. It is a whole statement: the next one replaces all of it.
type Signal struct {
	State State `json:"state"` // Up or Down
	// Score is what its weight is worth while it is Up, LeastSignal to 1. 0: nothing is said of that.
	Score float64 `json:"score,omitempty"`
	// Load is what the score follows from, where none is said. The zero value: it says nothing.
	Load Load `json:"load,omitzero"`
	// Time is when it was said, and Until when it expires, both by the clock of the control that took it.
	Time   time.Time `json:"time"`
	Until  time.Time `json:"until"`
	By     string    `json:"by,omitempty"` // what whoever said it goes by
	Reason string    `json:"reason,omitempty"`
	// Refused says what came since, and is not believed.
	Refused string `json:"refused,omitempty"`
}

// Load is how much an endpoint has to do, in whatever unit.
type Load struct {
	Current float64 `json:"current"`
	Target  float64 `json:"target"`             // up to this it does well
	Most    float64 `json:"capacity,omitempty"` // 0: not said
}

// Scores of signals go in steps of LeastSignal, which is the least that is left of a weight: who wants none says Down.
const (
	signalSteps = 20
	LeastSignal = 1.0 / signalSteps
)

// Word is what a check says of itself: a signal. Its score counts as it is said, where that of other checks follows from many.
type Word struct {
	Up     bool
	Score  float64
	Reason string // for Down, or a score below 1
	// Gradual: up from a lower score it goes by a step at each look.
	Gradual bool
}

// next gives the score that follows from what is said, and the one before: 1 of an endpoint that was not up.
func (w Word) next(score float64) float64 {
	if w.Gradual {
		return min(w.Score, inSteps(min(1, score+LeastSignal)))
	}
	return w.Score
}

// Word gives what a signal says. A score of a load is its target by what it has, and the least from its capacity on: a load alone takes
// nobody down.
func (s Signal) Word() Word {
	w := Word{Up: s.State != Down, Score: 1}
	why := "down"
	switch {
	case !w.Up:
		w.Score = 0
	case s.Score > 0:
		w.Score = inSteps(s.Score)
		why = fmt.Sprintf("score %v", s.Score)
	case s.Load != Load{}:
		w.Score, w.Gradual = s.Load.score(), true
		why = fmt.Sprintf("load %v of %v", s.Load.Current, s.Load.Target)
	}
	if w.Score == 1 {
		return w
	}
	w.Reason = "signal: " + why
	if s.By != "" {
		w.Reason += " by " + s.By
	}
	if s.Reason != "" {
		w.Reason += ": " + s.Reason
	}
	return w
}

func (l Load) score() float64 {
	if l.Current <= l.Target {
		return 1
	}
	if l.Most > 0 && l.Current >= l.Most {
		return LeastSignal
	}
	return inSteps(l.Target / l.Current)
}

// inSteps rounds a score. What is no score, which a damaged store may hold, is a whole one.
func inSteps(score float64) float64 {
	if !(score >= 0 && score <= 1) {
		return 1
	}
	return math.Max(1, math.Round(score*signalSteps)) / signalSteps
}

// mostTimes is how many times as much as the last one a load may be, or as its target.
const mostTimes = 1000

// Doubt tells why a load is not to be believed after what was said last; "": it is. Units change by accident, and counters overflow.
func (l Load) Doubt(last Load) string {
	switch {
	case l == Load{}:
		return ""
	case l.Current > mostTimes*math.Max(l.Target, last.Current) && last == Load{}:
		return fmt.Sprintf("a load of %v is more than %d times its target (%v)", l.Current, mostTimes, l.Target)
	case l.Current > mostTimes*math.Max(l.Target, last.Current):
		return fmt.Sprintf("a load of %v is more than %d times the last one (%v) and the target (%v)", l.Current, mostTimes, last.Current,
			l.Target)
	case last.Target > 0 && (l.Target*mostTimes < last.Target || l.Target > last.Target*mostTimes):
		return fmt.Sprintf("a target of %v is more than %d times off the last one (%v)", l.Target, mostTimes, last.Target)
	case last.Most > 0 && l.Most > 0 && l.Most*mostTimes < last.Most:
		return fmt.Sprintf("a capacity of %v is less than a thousandth of the last one (%v)", l.Most, last.Most)
	}
	return ""
}

// Equal reports whether two signals are the same one.
func (s Signal) Equal(o Signal) bool {
	same := s.Time.Equal(o.Time) && s.Until.Equal(o.Until)
	s.Time, s.Until = o.Time, o.Until
	return same && s == o
}
