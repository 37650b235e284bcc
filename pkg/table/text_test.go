package table

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/policy"
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
	if w.trace(trace); cmp.Diff(want, w.lines) != "" {
		t.Error(cmp.Diff(want, w.lines))
	}
	trace.Fenced = []string{"a", "b", "c"}
	w = writer{most: 2}
	if w.trace(trace); w.lines[2] != "fence EU or NA and EU-DE leaves out a, b and 1 more" || w.lines[6] !=
		"and 2 more pools to choose from: see gtmctl explain" {
		t.Errorf("bounded: %q", w.lines)
	}
}
