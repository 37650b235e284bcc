package health

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Limits are a monitor's thresholds: how many results in a row turn an endpoint up, and down. Less than 1 counts as 1.
type Limits struct {
	Rise, Fall int
	Unsure     bool // sights tell whether they are amid these
	// Latency is what a good check takes at most. Slower ones count less for the score. 0: all that pass are good.
	Latency time.Duration
	Plain   bool // up scores 1, whatever the checks say
}

// memory is how many results a score looks back on, full what each of them is worth at most.
const (
	memory = 16
	full   = math.MaxUint8
)

// Threshold is the rise-and-fall state machine of one endpoint at one vantage. The zero value is ready and Unknown.
// It is not safe for concurrent use.
//
//	Unknown, Down → Up     after Rise results in a row that passed, or more where it is unstable
//	Unknown, Up   → Down   after Fall results in a row that failed
//	any           → blind  after Fall checks in a row that could not be made; the first result ends it
//
// The first result alone decides nothing: Unknown answers as up, so that waiting costs a healthy endpoint nothing,
// and one lost packet at the start takes nobody out.
//
// It is unstable while it has turned Down more than 3 times in 10 minutes: each time more doubles the results in a row that it
// needs for Up, up to 32 times Rise, until they are forgotten. Turning Down is never delayed.
//
// While Up, the score is the mean of what the last 16 results are worth, in quarters and at least ¼. A failure is worth 0, a pass 1, or
// Limits.Latency divided by what it took, where that is less: one that is slow costs the score no more than one that failed. It moves only
// when that mean is 3/16 or more away from it, so that it does not flutter. Turning Up starts it at 1. With Limits.Plain it stays there.
//
// With Limits.Unsure a sight is Unsure from the first result against its state until the state changes, or a minute has passed without
// another one: an endpoint that flaps changes its sight for that twice a minute at most.
type Threshold struct {
	sight  Sight
	seen   string // the reason, blindness left aside
	run    int    // results in a row of the kind that passed tells
	passed bool
	missed int                           // checks in a row that could not be made
	lost   [memory]uint8                 // what each of the last results lacks, of full: failures all of it
	next   uint8                         // where the next one of these goes
	doubt  time.Time                     // of the last result against the state
	downs  [steady + doublings]time.Time // when it turned Down the last times, the newest first
}

// How a Threshold is damped: so many turns to Down within memoryTime are free, and so many more double Rise.
const (
	steady     = 3
	doublings  = 5
	memoryTime = 10 * time.Minute
)

// doubtTime is how long a sight stays Unsure behind the last result against it.
const doubtTime = time.Minute

// Resume continues from a sight that was stored, so that a restart neither forgets nor invents.
func Resume(s Sight) Threshold {
	s.Watched = "" // of a check that is not looked at any more
	t := Threshold{sight: s, seen: s.Reason}
	if s.State == Down {
		t.downs[0] = s.Since
	}
	if s.State == Up && s.Score > 0 && s.Score < 1 {
		for i := range int(math.Round((1 - s.Score) * memory)) {
			t.lost[i] = full // the oldest ones, so that they are forgotten first
		}
	}
	return t
}

// Sight tells what the vantage knows.
func (t *Threshold) Sight() Sight {
	if t.sight.State == "" {
		return Sight{State: Unknown, Score: 1, Since: t.sight.Since, Reason: t.sight.Reason, Blind: t.sight.Blind}
	}
	return t.sight
}

// Add takes one result, and reports whether the sight changed. Reason says why the check failed.
func (t *Threshold) Add(passed bool, reason string, at time.Time, l Limits) bool {
	return t.AddTimed(passed, 0, reason, at, l)
}

// AddTimed is Add for a result of a check that took so long.
func (t *Threshold) AddTimed(passed bool, took time.Duration, reason string, at time.Time, l Limits) bool {
	changed := t.regain()
	if t.run == 0 || t.passed != passed {
		t.run, t.passed = 0, passed
	}
	t.run++
	t.lost[t.next] = lack(passed, took, l.Latency)
	t.next = (t.next + 1) % memory
	switch {
	case passed && t.sight.State != Up && t.run >= t.rise(at, l):
		t.lost = [memory]uint8{}
		t.set(Sight{State: Up, Score: 1, Since: at})
	case !passed && t.sight.State != Down && t.run >= max(l.Fall, 1):
		t.goDown(reason, at, l)
	case t.sight.State == Up:
		rescored, doubted := t.rescore(took, reason, l), t.weighDoubt(!passed, at, l)
		return rescored || doubted || changed
	default:
		return t.weighDoubt(passed && t.sight.State == Down, at, l) || changed
	}
	return true
}

// AddWord takes one look at what is said, and reports whether the sight changed. While Up, the score is the one that is said last, and
// not what many results are worth; while Down, so is the reason.
func (t *Threshold) AddWord(w Word, at time.Time, l Limits) bool {
	was, score, why := t.sight, t.sight.Score, t.seen
	t.AddTimed(w.Up, 0, w.Reason, at, l)
	if t.sight.State != Up {
		if t.sight.State == Down && !w.Up && !t.sight.isDownFor(w.Reason) {
			t.sight.Reason = w.Reason + t.unstable(at, l)
			t.seen = t.sight.Reason
		}
		return t.sight != was
	}
	if was.State != Up || l.Plain {
		score, why = 1, ""
	}
	if next := w.next(score); w.Up && !l.Plain && next != score {
		score, why = next, w.Reason
	}
	t.sight.Score, t.sight.Reason, t.seen = score, why, why
	return t.sight != was
}

// Recheck reports whether the next check should come sooner than usual: the last result speaks against the state, or the state is not known
// yet, so that a few more results decide. One that is unstable is not hurried on its way up: what damps it are results over time.
func (t *Threshold) Recheck(at time.Time) bool {
	switch {
	case t.run == 0 || t.missed > 0:
		return false
	case t.sight.State == Up:
		return !t.passed
	case t.sight.State == Down:
		return t.passed && t.fallen(at) <= steady
	}
	return true
}

// weighDoubt finds out whether the state is unsure, and reports whether that changed.
func (t *Threshold) weighDoubt(against bool, at time.Time, l Limits) bool {
	if against {
		t.doubt = at
	}
	was := t.sight.Unsure
	t.sight.Unsure = l.Unsure && (against || was && at.Sub(t.doubt) < doubtTime)
	return t.sight.Unsure != was
}

// goDown remembers that it went down, and says what it means for the way back.
func (t *Threshold) goDown(reason string, at time.Time, l Limits) {
	copy(t.downs[1:], t.downs[:])
	t.downs[0] = at
	t.set(Sight{State: Down, Since: at, Reason: reason + t.unstable(at, l)})
}

// unstableText stands between why it is Down and what that means for the way back.
const unstableText = "; unstable: "

// unstable says what it means for the way back that it went down so often; "": nothing.
func (t *Threshold) unstable(at time.Time, l Limits) string {
	n := t.fallen(at)
	if n <= steady {
		return ""
	}
	times := fmt.Sprint(n)
	if n == len(t.downs) {
		times = "at least " + times
	}
	return fmt.Sprintf("%sdown %s times in %.0fm, %d good checks in a row needed", unstableText, times, memoryTime.Minutes(), t.rise(at, l))
}

// isDownFor reports whether that is the reason given.
func (s Sight) isDownFor(reason string) bool {
	return s.Reason == reason || strings.HasPrefix(s.Reason, reason+unstableText)
}

// fallen is how many times it has turned Down of late.
func (t *Threshold) fallen(at time.Time) int {
	n := 0
	for _, down := range t.downs {
		if !down.IsZero() && at.Sub(down) < memoryTime {
			n++
		}
	}
	return n
}

// rise is how many results in a row turn it Up now.
func (t *Threshold) rise(at time.Time, l Limits) int {
	return max(l.Rise, 1) << max(0, t.fallen(at)-steady)
}

// Miss takes one check that could not be made, which is no evidence, and reports whether the sight changed.
func (t *Threshold) Miss(reason string, at time.Time, l Limits) bool {
	t.missed++
	if t.sight.Blind || t.missed < max(l.Fall, 1) {
		return false
	}
	if t.sight.State == "" {
		t.sight = Sight{State: Unknown, Score: 1, Since: at}
	}
	t.sight.Blind, t.sight.Reason = true, notChecked+reason
	return true
}

// notChecked stands before why a check cannot be made.
const notChecked = "not checked: "

// regain ends blindness.
func (t *Threshold) regain() bool {
	t.missed = 0
	if !t.sight.Blind {
		return false
	}
	t.sight.Blind, t.sight.Reason = false, t.seen
	return true
}

func (t *Threshold) set(s Sight) { t.sight, t.seen = s, s.Reason }

// lack is what a result lacks to be worth all. Only one that failed lacks full.
func lack(passed bool, took, target time.Duration) uint8 {
	switch {
	case !passed:
		return full
	case target <= 0 || took <= target:
		return 0
	}
	return min(full-1, full-uint8(full*target/took))
}

// rescore moves the score of an Up endpoint where its recent results differ enough.
func (t *Threshold) rescore(took time.Duration, reason string, l Limits) bool {
	lost, failed, slow := 0, 0, 0
	for _, n := range t.lost {
		switch lost += int(n); n {
		case 0:
		case full:
			failed++
		default:
			slow++
		}
	}
	if l.Plain {
		lost = 0
	}
	worth := 1 - float64(lost)/(full*memory)
	if math.Abs(worth-t.sight.Score) < 3.0/memory {
		return false
	}
	score := max(0.25, math.Round(worth*4)/4)
	if score == t.sight.Score {
		return false
	}
	s := t.sight
	s.Score, s.Reason = score, ""
	if score < 1 {
		s.Reason = whyLess(failed, slow, took, reason, l)
	}
	t.set(s)
	return true
}

// whyLess says why a score is below 1.
func whyLess(failed, slow int, took time.Duration, reason string, l Limits) string {
	var parts []string
	if failed > 0 {
		text := fmt.Sprintf("%d of the last %d checks failed", failed, memory)
		if reason != "" {
			text += ", the last one: " + reason
		}
		parts = append(parts, text)
	}
	if slow > 0 {
		text := fmt.Sprintf("%d of the last %d checks took longer than %s", slow, memory, l.Latency)
		if took > l.Latency {
			text += ", the last one " + took.Round(time.Millisecond).String()
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
