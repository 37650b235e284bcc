package steer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// Notes are what is told of few pools.
type Notes struct {
	// Unsure says why answers from the pool should not be kept for long; empty: it is sure, or nobody asked.
	Unsure string
	Acts   []Act
}

// Act is something that moves a pool's traffic by itself, or would.
type Act struct {
	What string // ActResume and so on
	Mode string // spec.ModeEnforce, or spec.ModeObserve: it would
	Why  string // of what takes the pool down as a whole, in words
}

// What moves traffic of a pool by itself.
const (
	ActResume    = "resume"
	ActDepends   = "depends"
	ActSlowStart = "slowStart"
)

// note gives the pool's notes, to be written.
func (p *Pool) note() *Notes {
	if p.Notes == nil {
		p.Notes = &Notes{}
	}
	return p.Notes
}

// Unsure says why answers from the pool should not be kept for long; empty: it is sure, or nobody asked.
func (p *Pool) Unsure() string {
	if p.Notes == nil {
		return ""
	}
	return p.Notes.Unsure
}

// Acts lists what moves the pool's traffic by itself, or would.
func (p *Pool) Acts() []Act {
	if p.Notes == nil {
		return nil
	}
	return p.Notes.Acts
}

// Would says for what the pool would be down, were that not only observed; empty: for nothing.
func (p *Pool) Would() string {
	var all []string
	for _, act := range p.Acts() {
		if act.Mode == spec.ModeObserve && act.Why != "" {
			all = append(all, "would be down: "+act.Why)
		}
	}
	return strings.Join(all, "; ")
}

// takeDown has a pool down for a reason that is not its own endpoints', or, with ModeObserve, notes that it would be. It does nothing to
// a pool that a person has said to be up as a whole.
func (p *Pool) takeDown(what, mode, why string) {
	if why == "" || p.saidUp || mode == spec.ModeOff {
		return
	}
	p.note().Acts = append(p.note().Acts, Act{what, mode, why})
	if mode == spec.ModeEnforce {
		p.Up = false
		p.Why = why + "; by itself: " + p.Why
	}
}

// DependOn applies what the pool depends on; why is what DownBy gives. It must be called before others see the pool.
func (p *Pool) DependOn(declared *spec.Pool, why string) {
	p.takeDown(ActDepends, declared.DependsMode(), why)
}

// keepOut applies what the judge says of a pool that failed and has not been resumed.
func (p *Pool) keepOut(declared *spec.Pool, out *health.Out) {
	if out == nil {
		return
	}
	mode := declared.ResumeMode()
	if out.Observed && mode == spec.ModeEnforce {
		return // the judge has not heard of the mode yet, and forgets what it observed
	}
	p.takeDown(ActResume, mode,
		fmt.Sprintf("failed at %s (%s) and stays out until: gtmctl pool resume %s", clock(out.Since), out.Why, p.ID))
}

// DownBy says with which of its dependencies a pool is down; empty: with none. state gives a pool of the tenant; nil, nothing is known
// of it, counts as up. rules gives the pools of a service's rules.
func DownBy(declared *spec.Pool, state func(pool string) *Pool, rules func(service string) []string) string {
	down := func(pool string) bool { p := state(pool); return p != nil && !p.Up }
	for _, d := range declared.Depends {
		if d.Pool != "" {
			if down(d.Pool) {
				return fmt.Sprintf("depends on pool %s, which is down (%s)", d.Pool, state(d.Pool).Why)
			}
			continue
		}
		pools := rules(d.Service)
		n := 0
		for _, pool := range pools {
			if down(pool) {
				n++
			}
		}
		if n > 0 && n == len(pools) {
			return fmt.Sprintf("depends on service %s, of whose rules no pool is up (%s: %s)", d.Service, pools[0], state(pools[0]).Why)
		}
	}
	return ""
}

// unsureTime is how long a pool is unsure behind a change of state.
const unsureTime = time.Minute

// Doubt finds out whether the pool is unsure, of a verdict that it was made of, and says so in its notes. It looks at the endpoints that
// take clients and whose state is by evidence. Expires takes heed of when that ends by the clock. It must be called before others see
// the pool.
func (p *Pool) Doubt(v *health.Verdict, now time.Time) {
	known := lookup{verdict: v}
	for i := range p.Candidates {
		c := &p.Candidates[i]
		f := known.of(c.Endpoint)
		if c.Drained || c.Weight <= 0 || c.said || f.State == health.Unknown || f.State == "" {
			continue
		}
		why := ""
		switch ago := now.Sub(f.Since); {
		case c.Held != "":
			why = "is held by the brake"
		case f.Unsure:
			why = "is amid its thresholds"
		case c.State == health.Up && c.Score < 1:
			why = "has score " + strconv.FormatFloat(c.Score, 'g', 2, 64)
		case ago < unsureTime && ago > -unsureTime: // else the judge's clock is wrong
			why = fmt.Sprintf("is %s since %s", c.State, clock(f.Since))
			p.wakeAt(f.Since.Add(unsureTime))
		}
		if why != "" && p.Unsure() == "" {
			p.note().Unsure = "endpoint " + c.Endpoint.Name + " " + why
		}
	}
}

// wakeAt has the pool made anew at a time, or before.
func (p *Pool) wakeAt(at time.Time) {
	if p.Next.IsZero() || at.Before(p.Next) {
		p.Next = at
	}
}

// Slow start goes from the first part of an endpoint's weight to all of it by steps of so much.
const (
	startPercent = 10
	stepPercent  = 5
	startSteps   = (100 - startPercent) / stepPercent
)

// slowStart gives the part of its weight that an endpoint has which recovered at since, and when that changes; zero: it does not.
func slowStart(over time.Duration, since, now time.Time) (percent int, next time.Time) {
	step := over / startSteps
	done := max(0, now.Sub(since)) / step
	if done >= startSteps {
		return 100, time.Time{}
	}
	return startPercent + stepPercent*int(done), since.Add((done + 1) * step)
}

// start applies slow start to a candidate that is up by evidence, and gives the part of its weight.
func (p *Pool) start(declared *spec.Pool, s *Standing, f health.Finding, now time.Time) float64 {
	mode := declared.SlowStartMode()
	if mode == spec.ModeOff || !f.Recovered || f.State != health.Up {
		return 1
	}
	percent, next := slowStart(time.Duration(declared.SlowStart), f.Since, now)
	if percent == 100 {
		return 1
	}
	p.wakeAt(next)
	if act := (Act{What: ActSlowStart, Mode: mode}); !slices.Contains(p.Acts(), act) {
		p.note().Acts = append(p.note().Acts, act)
	}
	whole := clock(f.Since.Add(time.Duration(declared.SlowStart)))
	if mode == spec.ModeObserve {
		s.Note = fmt.Sprintf("slow start would give it %d%% of its weight, all at %s", percent, whole)
		return 1
	}
	s.Note = fmt.Sprintf("slow start: %d%% of its weight, all at %s", percent, whole)
	return float64(percent) / 100
}

// clock writes a time for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
