package steer

import (
	"math"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// Rule gives the pools of a rule as overrides of its weights have them at a time, and when that changes; zero: never. overrides are of
// that rule alone, at most one for each pool. Without one that holds, it is what is declared itself.
//
// Neighbours that have a weight, declared or by an override, share a step, and so do the entries of a split. One with weight 0 takes
// clients when all others of its step are down: it stands behind them. So no rule loses a pool, whatever the weights are.
func Rule(pools []spec.Target, overrides []*spec.Override, now time.Time) (out []spec.Target, next time.Time) {
	r, next := ruleAt(overrides, now)
	if len(r.by) == 0 {
		return pools, next
	}
	for list := range r.steps(pools) {
		if !r.shifts(list) {
			out = append(out, list.as...)
			continue
		}
		weights, moves, change := r.weights(list.of)
		if soonerThan(change, next) {
			next = change
		}
		out = append(out, list.shared(whole(weights, moves))...)
	}
	return out, next
}

// RuleWeights gives the weights that Rule makes whole, by pool. Pools that share with none are left out.
func RuleWeights(pools []spec.Target, overrides []*spec.Override, now time.Time) map[string]float64 {
	r, _ := ruleAt(overrides, now)
	out := map[string]float64{}
	for list := range r.steps(pools) {
		if len(list.of) == 1 && list.of[0].Weight == 0 && !r.shifts(list) {
			continue
		}
		weights, _, _ := r.weights(list.of)
		for i := range list.of {
			if list.of[i].Pool != "" {
				out[list.of[i].Pool] = weights[i]
			}
		}
	}
	return out
}

// rule is what overrides make of a rule at a time.
type rule struct {
	by  map[string]*hand // the overrides that hold, by pool
	now time.Time
}

// ruleAt takes overrides; next is when others hold.
func ruleAt(overrides []*spec.Override, now time.Time) (r rule, next time.Time) {
	r = rule{now: now, by: make(map[string]*hand, len(overrides))}
	for _, o := range overrides {
		term := o.At(now)
		if soonerThan(term.Next, next) {
			next = term.Next
		}
		if term.Holds && o.Weight != nil {
			r.by[o.Pool] = &hand{Override: o, since: term.From, ramps: onItsWay(o, term.From, now)}
		}
	}
	return r, next
}

// sharing are the targets that share a step: of are they, and as is how they are declared.
type sharing struct {
	of, as []spec.Target
	split  bool // of are the entries of one split
}

// steps gives the targets that share, in the order of failover. One that shares with none is by itself.
func (r *rule) steps(pools []spec.Target) func(yield func(sharing) bool) {
	return func(yield func(sharing) bool) {
		for i := 0; i < len(pools); {
			end := i
			for end < len(pools) && r.weighted(&pools[end]) {
				end++
			}
			end = max(end, i+1)
			list := sharing{of: pools[i:end], as: pools[i:end]}
			if split := pools[i].More().Split; split != nil && pools[i].Weight == 0 {
				list.of, list.split = split, true
			}
			if !yield(list) {
				return
			}
			i = end
		}
	}
}

func (r *rule) weighted(t *spec.Target) bool { return t.Weight > 0 || r.by[t.Pool] != nil }

// shifts reports whether an override is of one of these.
func (r *rule) shifts(list sharing) bool {
	return slices.ContainsFunc(list.of, func(t spec.Target) bool { return r.by[t.Pool] != nil })
}

// weights gives those of targets that share, and when they change; moves reports whether they are on their way.
func (r *rule) weights(of []spec.Target) (weights []float64, moves bool, next time.Time) {
	weights = declaredWeights(of)
	var ramps []move
	var leader *hand // of those that are on their way
	for i := range of {
		switch h := r.by[of[i].Pool]; {
		case h == nil:
		case h.ramps:
			ramps, leader = append(ramps, moveOf(i, *h)), h
		default:
			weights[i] = float64(h.Weight.To)
		}
	}
	for i := range of {
		switch declared := float64(of[i].Weight); {
		case r.by[of[i].Pool] != nil || weights[i] == declared:
		case leader == nil:
			weights[i] = declared
		default: // it comes into the step beside those that are on their way
			ramps = append(ramps, move{at: i, to: declared, from: leader.since, over: time.Duration(leader.Weight.Over)})
		}
	}
	weights, next = moved(weights, ramps, r.now)
	return weights, leader != nil, next
}

// declaredWeights gives the weights that targets are declared with, as far as clients go: their first step has them all.
func declaredWeights(of []spec.Target) []float64 {
	weights := make([]float64, len(of))
	weights[0] = float64(max(1, of[0].Weight))
	for i := 1; i < len(of) && of[i-1].Weight > 0 && of[i].Weight > 0; i++ {
		weights[i] = float64(of[i].Weight)
	}
	return weights
}

// fine is the sum of weights that are on their way: in parts of it no step is coarse.
const fine = 50_000

// whole makes weights whole numbers. What has a weight keeps one.
func whole(weights []float64, finely bool) []int {
	scale := 1.0
	if total := sum(weights); finely && total > 0 {
		scale = fine / total
	}
	out := make([]int, len(weights))
	for i, w := range weights {
		if out[i] = int(math.Round(w * scale)); w > 0 {
			out[i] = max(1, out[i])
		}
	}
	return out
}

// shared gives the targets with these weights, and behind them those that have none.
func (s *sharing) shared(weights []int) (out []spec.Target) {
	var behind []spec.Target
	for i, w := range weights {
		t := s.of[i]
		if t.Weight = w; w == 0 {
			behind = append(behind, t)
		} else {
			out = append(out, t)
		}
	}
	switch {
	case s.split && len(out) > 1:
		more := *s.as[0].More()
		more.Split = out
		out = []spec.Target{{Pool: s.as[0].Pool, Steering: &more}}
	case s.split && len(out) == 1: // it shares with none any more
		out[0].Weight = 0
	}
	return append(out, behind...)
}
