package table

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/steer"
)

// TestTextOfChoices: the numbers of fastest, what is not known, and what comes as listed.
func TestTextOfChoices(t *testing.T) {
	far := math.Inf(1)
	trace := &policy.Trace{
		Path:  []policy.Passed{{Rule: "1"}, {Policy: "quick", Rule: "all"}, {Policy: "none"}},
		Fence: []string{"EU or NA", "EU-DE"},
		Choices: []policy.Choosing{
			{What: "fastest", Candidates: []policy.Candidate{
				{Pool: "a", Site: "fra", Turn: 1, Weight: 1, Kilometres: 300, Counts: 300, Milliseconds: 12.5},
				{Pool: "b", Site: "ams", Turn: 2, Weight: 1, Kilometres: 100, Counts: 100, Milliseconds: far},
				{Pool: "c", Turn: 3, Weight: 1, AsListed: true, Kilometres: far, Counts: far, Milliseconds: far},
				{Pool: "d", Turn: 3, Weight: 1, AsListed: true, Kilometres: far, Counts: far, Milliseconds: far}}},
			{What: "nearest", LastResort: true, Note: "the client's place is not known: as listed", Candidates: []policy.Candidate{
				{Pool: "a", Site: "fra", Turn: 1, Weight: 3, Kilometres: far, Counts: far, Milliseconds: far},
				{Pool: "b", Site: "ams", Out: "farther than 90 km", Kilometres: 100, Counts: 100, Milliseconds: far}}},
		}}
	want := []string{
		"policy quick, rule all",
		"policy none, no rule matches",
		"fence EU or NA and EU-DE leaves out nothing",
		"fastest of 4 pools, 4 left",
		"fastest 1. a at fra, 12.5 ms, 300 km",
		"fastest 2. b at ams, 100 km",
		"fastest 3. c, as listed",
		"fastest 3. d, as listed",
		"lastResort nearest of 2 pools, 1 left; the client's place is not known: as listed",
		"nearest 1. a at fra",
		"nearest out: b at ams, 100 km, farther than 90 km",
	}
	var w writer
	if w.trace(trace, false); cmp.Diff(want, w.lines) != "" {
		t.Error(cmp.Diff(want, w.lines))
	}
	trace.Fenced = []string{"a", "b", "c"}
	w = writer{most: 2}
	if w.trace(trace, false); w.lines[2] != "fence EU or NA and EU-DE leaves out a, b and 1 more" || w.lines[6] !=
		"and 2 more pools to choose from: see gtmctl explain" {
		t.Errorf("bounded: %q", w.lines)
	}
}

// TestTextOfNoAnswer: a service that answers in any case is not said to ask for SERVFAIL.
func TestTextOfNoAnswer(t *testing.T) {
	for tiers, want := range map[uint8]string{
		AllTiers: "no endpoint to answer with: SERVFAIL", HealthTiers: "all down: SERVFAIL, as the service asks",
	} {
		e := &Explanation{Service: &Service{Tiers: tiers}}
		if e.FallbackText() != "" {
			t.Errorf("answered: %q", e.FallbackText())
		}
		if e.Fallback = Refuse; e.FallbackText() != want {
			t.Errorf("%d: %q, want %q", tiers, e.FallbackText(), want)
		}
	}
}

// TestTextOfRegions: what is judged for a region is told from what holds for all.
func TestTextOfRegions(t *testing.T) {
	trace := &policy.Trace{Path: []policy.Passed{{Rule: "1"}}, Region: "NA"}
	for region, want := range map[string]string{
		"NA": "pools with regions: as judged for clients of NA",
		"":   "pools with regions: nothing else is known for clients of NA than for all",
	} {
		e := &Explanation{Trace: trace, Pools: []PoolInTurn{{Pool: &steer.Pool{}}, {Pool: &steer.Pool{Region: region}}}}
		var w writer
		if w.trace(trace, e.isOfRegion()); w.lines[0] != want {
			t.Errorf("%q: %q", region, w.lines)
		}
	}
}
