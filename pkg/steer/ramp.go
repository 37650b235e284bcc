package steer

import (
	"math"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// A weight that goes somewhere over a time moves as a share of all: in equal steps, none of which takes more than one of a hundred answers
// from anybody. Which step it is, the time tells; so all edges agree, and nothing is written meanwhile.

// step is the largest part of all answers that one step of a ramp moves.
const step = 0.01

// move is one weight that goes somewhere.
type move struct {
	at   int       // of the weights
	to   float64   // where it is at the end
	from time.Time // when it begins to
	over time.Duration
	base *float64 // where it begins; nil: at what is declared
}

// moved gives the weights at a time, and when they change; zero: no more. Moves of the same time are one. Weights that do not move stay
// as they are, as long as one of them is above 0: their shares are what the others leave.
func moved(weights []float64, moves []move, now time.Time) (out []float64, next time.Time) {
	out = slices.Clone(weights)
	slices.SortStableFunc(moves, func(a, b move) int { return a.from.Compare(b.from) })
	for len(moves) > 0 {
		group, rest := moves[:0:0], moves[:0:0]
		for _, m := range moves {
			if m.from.Equal(moves[0].from) && m.over == moves[0].over {
				group = append(group, m)
			} else {
				rest = append(rest, m)
			}
		}
		var change time.Time
		if out, change = movedTogether(out, group, now); soonerThan(change, next) {
			next = change
		}
		moves = rest
	}
	return out, next
}

func movedTogether(weights []float64, group []move, now time.Time) (out []float64, next time.Time) {
	begin, end := slices.Clone(weights), slices.Clone(weights)
	for _, m := range group {
		if m.base != nil {
			begin[m.at] = *m.base
		}
		end[m.at] = m.to
	}
	at, of, next := stepAt(group[0].from, group[0].over, steps(begin, end), now)
	b, e := sum(begin), sum(end)
	switch {
	case at >= of, b <= 0: // where nobody is, nobody moves
		return end, next
	case at <= 0:
		return begin, next
	}
	part := float64(at) / float64(of)
	scale := b + (e-b)*part
	out = make([]float64, len(weights))
	for i := range out {
		out[i] = begin[i]/b + (end[i]/e-begin[i]/b)*part
	}
	for i := range out {
		if still := !slices.ContainsFunc(group, func(m move) bool { return m.at == i }); still && out[i] > 0 {
			scale = weights[i] / out[i]
			break
		}
	}
	for i := range out {
		out[i] *= scale
	}
	return out, next
}

// steps is how many it takes from one set of weights to another. Where one of them has nothing to share out, it is one.
func steps(begin, end []float64) int {
	b, e := sum(begin), sum(end)
	if b <= 0 || e <= 0 {
		return 1
	}
	furthest := 0.0
	for i := range begin {
		furthest = max(furthest, math.Abs(end[i]/e-begin[i]/b))
	}
	return max(1, int(math.Ceil(furthest/step-1e-9)))
}

// stepAt tells how many steps of so many are done at now, and when the next one is due; zero: all are done.
func stepAt(from time.Time, over time.Duration, of int, now time.Time) (done, all int, next time.Time) {
	elapsed := now.Sub(from)
	switch {
	case from.IsZero() || elapsed >= over:
		return of, of, time.Time{}
	case elapsed > 0:
		done = int(elapsed * time.Duration(of) / over)
	}
	due := (over*time.Duration(done+1) + time.Duration(of) - 1) / time.Duration(of)
	return done, of, from.Add(due)
}

func sum(weights []float64) (s float64) {
	for _, w := range weights {
		s += w
	}
	return s
}

// soonerThan compares moments of which the zero one never comes.
func soonerThan(a, b time.Time) bool { return !a.IsZero() && (b.IsZero() || a.Before(b)) }

// hands are the overrides of a pool that hold at a time, those for all of it first.
type hands struct {
	list []hand
	next time.Time // when that changes; zero: never
}

// hand is an override that holds.
type hand struct {
	*spec.Override
	since time.Time
	ramps bool // its weight is on its way
}

// handsOf takes the overrides of a pool. A drain at the end of a ramp holds when that is done.
func handsOf(overrides []*spec.Override, now time.Time) (out hands) {
	for _, whole := range []bool{true, false} {
		for _, o := range overrides {
			if whole != (o.Endpoint == "") || o.Service != "" {
				continue
			}
			term := o.At(now)
			if soonerThan(term.Next, out.next) {
				out.next = term.Next
			}
			if !term.Holds {
				continue
			}
			h := hand{Override: o, since: term.From}
			if h.ramps = onItsWay(o, term.From, now); !h.ramps && o.Ramps() {
				there := *o
				there.Weight = &spec.Ramp{To: o.Weight.To}
				h.Override = &there
			} else if h.ramps && o.State != "" {
				moving := *o
				moving.State = ""
				h.Override = &moving
			}
			out.list = append(out.list, h)
		}
	}
	return out
}

// onItsWay reports whether the weight of an override, which holds since a moment, has not come to its end yet.
func onItsWay(o *spec.Override, since, now time.Time) bool {
	return o.Ramps() && !since.IsZero() && now.Before(since.Add(time.Duration(o.Weight.Over)))
}

func moveOf(at int, h hand) move {
	return move{at: at, to: float64(h.Weight.To), from: h.since, over: time.Duration(h.Weight.Over), base: h.Weight.From}
}

// ramp moves the weights of candidates: those that draws use, which health has a part in, and those that are declared.
func (p *Pool) ramp(ramps []move, now time.Time) {
	if len(ramps) == 0 {
		return
	}
	declared, effective := make([]float64, len(p.Candidates)), make([]float64, len(p.Candidates))
	for i := range p.Candidates {
		c := &p.Candidates[i]
		declared[i], effective[i] = float64(c.Weight), c.Effective
	}
	scored := slices.Clone(ramps)
	for i := range scored {
		m := &scored[i]
		score := p.Candidates[m.at].Score
		if p.Candidates[m.at].Drained {
			score = 0
		}
		m.to *= score
		if m.base != nil {
			base := *m.base * score
			m.base = &base
		}
	}
	declared, next := moved(declared, ramps, now)
	effective, sooner := moved(effective, scored, now)
	for _, at := range []time.Time{next, sooner} {
		if soonerThan(at, p.Next) {
			p.Next = at
		}
	}
	for i := range p.Candidates {
		c := &p.Candidates[i]
		if c.Effective = effective[i]; !slices.ContainsFunc(ramps, func(m move) bool { return m.at == i }) {
			continue
		}
		if c.Weight = int(math.Round(declared[i])); declared[i] > 0 {
			c.Weight = max(1, c.Weight)
		}
		if c.Out == "" || c.Out == weightZero {
			standing := *c.Standing
			c.Standing = &standing
			c.leaveOut(&wording{}, "")
			c.Standing = standing.keep(&unknown)
		}
	}
}
