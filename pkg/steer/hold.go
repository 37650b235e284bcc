package steer

import (
	"math"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// Scores gives the scores that endpoints of a pool have by all evidence, slow starts and what takes the pool down as a whole among it,
// but for those that are 1: what a hold writes down. The pool must be made without overrides.
func (p *Pool) Scores() spec.Scores {
	scores := spec.Scores{}
	for i := range p.Candidates {
		c := &p.Candidates[i]
		score := c.Score
		if c.Weight > 0 {
			score = c.Effective / float64(c.Weight)
		}
		if p.Enough && !p.Up {
			score = 0
		}
		if score != 1 {
			scores[c.Endpoint.Name] = score
		}
	}
	return scores
}

// In gives the pool as that for clients of a region for whom nothing else is known of it than for all.
func (p *Pool) In(region string) *Pool {
	if p.Region == region {
		return p
	}
	in := *p
	in.Region = region
	return &in
}

// Held gives a pool as a hold has it: by the scores that it wrote down, with the overrides of now. actual is the pool without the hold,
// which is given where the hold knows nothing of it; apart tells whether the two answer differently.
func Held(actual *Pool, declared *spec.Pool, hold *spec.Override, overrides []*spec.Override, now time.Time) (p *Pool, apart bool) {
	scores, is := hold.Hold[actual.ID.For(actual.Region).Pool]
	if !is {
		scores, is = hold.Hold[actual.ID.Pool]
	}
	if !is {
		return actual, false
	}
	declared = declared.Split()
	v := &health.Verdict{Pool: actual.ID, Endpoints: make(map[string]health.Finding, len(declared.Endpoints))}
	for i := range declared.Endpoints {
		name := declared.Endpoints[i].Name
		f := health.Finding{State: health.Up, Score: 1}
		score, low := scores[name]
		if !low { // its families were not apart then
			score, low = scores[spec.DeclaredName(name)]
		}
		if low {
			f.Score = score
		}
		if f.Score <= 0 {
			f = health.Finding{State: health.Down, Reason: "it was when the service was held"}
		}
		v.Endpoints[name] = f
	}
	p = NewPool(actual.ID, declared, v, overrides, now)
	apart = p.Up != actual.Up
	for i := range p.Candidates {
		c, now := &p.Candidates[i], &actual.Candidates[i]
		if math.Abs(c.Effective-now.Effective) < 1e-6 || !p.Up && !actual.Up {
			continue
		}
		apart = true
		s := *c.Standing
		if s.Note = "held; it is up now"; now.Out != "" {
			s.Note = "held; now " + now.Out
		} else if now.Effective != float64(now.Weight) {
			s.Note = "held; it has another weight now"
		}
		c.Standing = &s
	}
	p.Why = "as held (" + hold.Reason + "): " + p.Why
	if apart {
		p.Why += "; without hold " + map[bool]string{true: "up: ", false: "down: "}[actual.Up] + actual.Why
	}
	return p, apart
}
