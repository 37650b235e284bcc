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
// Neighbours that have a weight, declared or by an override, share a step. One with weight 0 takes clients when all others of its step
// are down: it stands behind them. So no rule loses a pool, whatever the weights are.
func Rule(pools []spec.PoolRef, overrides []*spec.Override, now time.Time) (out []spec.PoolRef, next time.Time) {
	r, next := ruleAt(pools, overrides, now)
	if !slices.ContainsFunc(r.by, func(h *hand) bool { return h != nil }) {
		return pools, next
	}
	r.eachStep(func(i, end int) {
		if end == i {
			out = append(out, pools[i])
			return
		}
		weights, moves, change := r.weights(i, end)
		if soonerThan(change, next) {
			next = change
		}
		out = appendShared(out, pools[i:end], whole(weights, moves))
	})
	return out, next
}

// RuleWeights gives the weights that Rule makes whole, of each pool of the rule; of one that is a step by itself 1.
func RuleWeights(pools []spec.PoolRef, overrides []*spec.Override, now time.Time) []float64 {
	r, _ := ruleAt(pools, overrides, now)
	out := make([]float64, 0, len(pools))
	r.eachStep(func(i, end int) {
		if end == i {
			out = append(out, 1)
			return
		}
		weights, _, _ := r.weights(i, end)
		out = append(out, weights...)
	})
	return out
}

// rule is a rule at a time.
type rule struct {
	pools []spec.PoolRef
	by    []*hand // the override of each pool; nil: none holds
	now   time.Time
}

// ruleAt takes overrides; next is when others hold.
func ruleAt(pools []spec.PoolRef, overrides []*spec.Override, now time.Time) (r rule, next time.Time) {
	r = rule{pools: pools, now: now, by: make([]*hand, len(pools))}
	for _, o := range overrides {
		term := o.At(now)
		if soonerThan(term.Next, next) {
			next = term.Next
		}
		for i := range pools {
			if term.Holds && o.Weight != nil && pools[i].Pool == o.Pool {
				r.by[i] = &hand{Override: o, since: term.From, ramps: onItsWay(o, term.From, now)}
			}
		}
	}
	return r, next
}

// eachStep calls f for each pool that has no weight, as from i to i, and for neighbours that have some, as from i to end.
func (r *rule) eachStep(f func(i, end int)) {
	for i := 0; i < len(r.pools); {
		end := i
		for end < len(r.pools) && r.weighted(end) {
			end++
		}
		f(i, end)
		i = max(end, i+1)
	}
}

func (r *rule) weighted(i int) bool { return r.pools[i].Weight > 0 || r.by[i] != nil }

// weights gives those of the pools from i to end, all of which have one, and when they change; moves reports whether they are on their way.
func (r *rule) weights(i, end int) (weights []float64, moves bool, next time.Time) {
	weights = r.declared(i, end)
	var ramps []move
	var leader *hand // of those that are on their way
	for j := i; j < end; j++ {
		switch h := r.by[j]; {
		case h == nil:
		case h.ramps:
			ramps, leader = append(ramps, moveOf(j-i, *h)), h
		default:
			weights[j-i] = float64(h.Weight.To)
		}
	}
	for j := i; j < end; j++ {
		switch declared := float64(r.pools[j].Weight); {
		case r.by[j] != nil || weights[j-i] == declared:
		case leader == nil:
			weights[j-i] = declared
		default: // it comes into the step beside those that are on their way
			ramps = append(ramps, move{at: j - i, to: declared, from: leader.since, over: time.Duration(leader.Weight.Over)})
		}
	}
	weights, next = moved(weights, ramps, r.now)
	return weights, leader != nil, next
}

// declared gives the weights that those from i to end are declared with, as far as clients go: the first step has them all.
func (r *rule) declared(i, end int) []float64 {
	weights := make([]float64, end-i)
	weights[0] = float64(max(1, r.pools[i].Weight))
	for j := i + 1; j < end && r.pools[j-1].Weight > 0 && r.pools[j].Weight > 0; j++ {
		weights[j-i] = float64(r.pools[j].Weight)
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

// appendShared appends pools with their weights, and behind them those that have none.
func appendShared(out, pools []spec.PoolRef, weights []int) []spec.PoolRef {
	for i, w := range weights {
		if w > 0 {
			p := pools[i]
			p.Weight = w
			out = append(out, p)
		}
	}
	for i, w := range weights {
		if w == 0 {
			p := pools[i]
			p.Weight = 0
			out = append(out, p)
		}
	}
	return out
}
