package sim

import (
	"math"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/health"
)

// Step is how long what is recorded is counted together.
const Step = 5 * time.Second

// Record is what a run keeps of what happened, from its beginning on.
type Record struct {
	Steps    []Counts // of each Step
	Verdicts []Verdict
	// LastWrong is when a session was last sent to a dead endpoint, LastBad when gtm last named one. Less than zero: never.
	LastWrong, LastBad time.Duration

	counts Counts // of the step that is not over
}

// Counts are what happened in a step.
type Counts struct {
	Starts   uint32   // sessions that clients wanted to begin, each once
	Wrong    uint32   // of those, how many were sent to a dead endpoint, or got no answer
	Retries  uint32   // further attempts, also of those whose sessions were cut
	Cut      uint32   // sessions that ended because their endpoint died
	Answers  uint32   // that gtm gave
	Bad      uint32   // of those, how many named a dead endpoint
	Squares  uint64   // the sum of the squares of how often each answer was told, as far as it grew
	Begun    []uint32 // by endpoint: sessions that began
	Sessions []uint32 // by endpoint: sessions at the end of the step
}

// Verdict is that an endpoint went down or came up, as edges heard of it.
type Verdict struct {
	At       time.Duration
	Endpoint int // of Run.Endpoints
	State    health.State
}

func (c *Record) open(endpoints int) {
	c.LastWrong, c.LastBad = -1, -1
	c.counts.Begun = make([]uint32, endpoints)
}

// wrong counts a session that was sent to a dead endpoint.
func (c *Record) wrong(now time.Duration) {
	c.counts.Wrong++
	c.LastWrong = now
}

// answered counts an answer of gtm.
func (c *Record) answered(bad bool, now time.Duration) {
	c.counts.Answers++
	if bad {
		c.counts.Bad++
		c.LastBad = now
	}
}

// hear notes which endpoints verdicts take out or bring back.
func (c *Record) hear(r *Run, verdicts []health.Verdict) {
	for _, v := range verdicts {
		for i := range r.Endpoints {
			e := &r.Endpoints[i]
			if e.id != v.Pool {
				continue
			}
			state := v.Endpoints[e.Name].State
			if state != e.state && (state == health.Down || e.state == health.Down) {
				c.Verdicts = append(c.Verdicts, Verdict{r.Now(), i, state})
			}
			e.state = state
		}
	}
}

// sample ends a step where it is over.
func (c *Record) sample(r *Run) {
	now := r.Now()
	if now%Step != 0 {
		return
	}
	begun := c.counts.Begun
	if now > 0 {
		c.counts.Begun, c.counts.Sessions = slices.Clone(begun), make([]uint32, len(r.Endpoints))
		for i := range r.Endpoints {
			c.counts.Sessions[i] = r.Endpoints[i].active
		}
		c.Steps = append(c.Steps, c.counts)
	}
	clear(begun)
	c.counts = Counts{Begun: begun}
}

// Between gives what happened from one time to another, both at the end of a step.
func (c *Record) Between(from, to time.Duration) (sum Counts) {
	sum.Begun = make([]uint32, len(c.counts.Begun))
	for _, s := range c.Steps[min(int(from/Step), len(c.Steps)):min(int(to/Step), len(c.Steps))] {
		sum.Starts, sum.Wrong, sum.Retries = sum.Starts+s.Starts, sum.Wrong+s.Wrong, sum.Retries+s.Retries
		sum.Cut, sum.Answers, sum.Bad = sum.Cut+s.Cut, sum.Answers+s.Answers, sum.Bad+s.Bad
		sum.Squares += s.Squares
		for i, n := range s.Begun {
			sum.Begun[i] += n
		}
		sum.Sessions = s.Sessions
	}
	return sum
}

// Load gives how many sessions endpoints have at a time.
func (c *Record) Load(endpoints []int, at time.Duration) (n float64) {
	step := min(max(0, int(at/Step)-1), len(c.Steps)-1)
	for _, i := range endpoints {
		n += float64(c.Steps[step].Sessions[i])
	}
	return n
}

// Share gives which part of the sessions that began in a time began at endpoints.
func (c *Record) Share(endpoints []int, from, to time.Duration) float64 {
	begun := c.Between(from, to).Begun
	own, all := 0.0, 0.0
	for i, n := range begun {
		if all += float64(n); slices.Contains(endpoints, i) {
			own += float64(n)
		}
	}
	return own / max(1, all)
}

// Chance gives the standard deviation of an endpoint's part of the sessions that began in a time, where answers are drawn with that part.
// Resolvers tell many clients the same answer, so that there are fewer draws than sessions: as many as would differ so much
// if each were told equally often.
func (c *Record) Chance(part float64, from, to time.Duration) float64 {
	b := c.Between(from, to)
	told := float64(b.Starts + b.Retries)
	return math.Sqrt(part * (1 - part) * float64(b.Squares) / (told * told))
}

// Judged gives when edges had heard, after a time, that all of the endpoints were of a state; false: they never did.
func (c *Record) Judged(endpoints []int, state health.State, after time.Duration) (at time.Duration, ok bool) {
	left := slices.Clone(endpoints)
	for _, v := range c.Verdicts {
		if v.At >= after && v.State == state {
			if i := slices.Index(left, v.Endpoint); i >= 0 {
				left = slices.Delete(left, i, i+1)
				at = v.At
			}
		}
	}
	return at, len(left) == 0
}

// Recovered gives how long after a failure, at the end of a step, less than so many of all new sessions go wrong for good.
func (c *Record) Recovered(failed time.Duration, below float64) time.Duration {
	for i := len(c.Steps) - 1; i >= int(failed/Step); i-- {
		if s := c.Steps[i]; float64(s.Wrong) >= below*float64(max(1, s.Starts)) {
			return time.Duration(i+1)*Step - failed
		}
	}
	return 0
}

// Assignment is which endpoint each client had last, at a time.
type Assignment struct {
	at   time.Duration
	last []uint16
	when []int32
}

// Assigned gives the endpoints of now.
func (r *Run) Assigned() Assignment {
	a := Assignment{r.Now(), make([]uint16, len(r.crowd.clients)), make([]int32, len(r.crowd.clients))}
	for i := range r.crowd.clients {
		a.last[i], a.when[i] = r.crowd.clients[i].last, r.crowd.clients[i].since
	}
	return a
}

// Moved compares two assignments by the clients that began a session in some time before each, in which nothing else happened: the part of
// them whose endpoint is another one, and the part whose endpoint was one of the gone, which had to be.
func Moved(before, after Assignment, within time.Duration, gone []int) (moved, had float64, clients int) {
	recent := func(a *Assignment, i int) bool {
		return a.last[i] != none && time.Duration(a.when[i])*time.Second >= a.at-within
	}
	for i := range before.last {
		if !recent(&before, i) || !recent(&after, i) {
			continue
		}
		clients++
		if before.last[i] != after.last[i] {
			moved++
		}
		if slices.Contains(gone, int(before.last[i])) {
			had++
		}
	}
	return moved / max(1, float64(clients)), had / max(1, float64(clients)), clients
}
