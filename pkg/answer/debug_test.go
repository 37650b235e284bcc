package answer

import (
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/table/compile"
)

// TestExplainShowsTheBrake: an endpoint that was seen to fail and is held must not look like one that is well.
func TestExplainShowsTheBrake(t *testing.T) {
	s := newServer(t)
	s.Change(compile.Change{Verdicts: []health.Verdict{{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Frozen: true,
		Endpoints: map[string]health.Finding{"a": {State: health.Up, Score: 1, Reason: "held by the brake: status 503"},
			"b": {State: health.Up, Score: 1}}}}})
	got := text(s.ask(query(t, "web.shop.gtm.example._explain.gtm.example.", "TXT", "ecs=91.198.174.0/24"), true).Answer)
	for _, want := range []string{"pool eu up: 1 of 2 endpoints healthy, 1 held by the brake, frozen by the brake",
		"score 1 up, held by the brake: status 503, share 75%", "score 1 up, share 25%"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %q", got, want)
		}
	}
}

// TestExplainShowsTheSharesOfWhatIsAllDown: the chosen pool was told to be down, and its endpoints had no shares.
func TestExplainShowsTheSharesOfWhatIsAllDown(t *testing.T) {
	s := newServer(t)
	for _, pool := range []string{"eu", "us"} {
		s.Change(compile.Change{Verdicts: []health.Verdict{
			{Pool: health.PoolID{Tenant: "shop", Pool: pool}, Endpoints: map[string]health.Finding{
				"a": {State: health.Down, Reason: "status 503"}, "b": {State: health.Down, Reason: "status 503"}}}}})
	}
	got := text(s.ask(query(t, "web.shop.gtm.example._explain.gtm.example.", "TXT", "ecs=91.198.174.0/24"), true).Answer)
	for _, want := range []string{"pool eu down: 0 of 2 endpoints healthy, 1 needed; all pools are down: answering as if up, chosen in " +
		"100% of the answers",
		"weight 3 score 0 down, as if up, though down: status 503, share 75%", "as if up, though down: status 503, share 25%"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %q", got, want)
		}
	}
}

// TestExplainTellsThatHealthStandsStill, and says nothing of it while it does not.
func TestExplainTellsThatHealthStandsStill(t *testing.T) {
	s := newServer(t)
	still := ""
	s.a.cfg.Evidence = func(lines []string) []string {
		if still == "" {
			return lines
		}
		return append(lines, still)
	}
	ask := func() string {
		return text(s.ask(query(t, "web.shop.gtm.example._explain.gtm.example.", "TXT", "ecs=91.198.174.0/24"), true).Answer)
	}
	if got := ask(); strings.Contains(got, "stands still") || !strings.Contains(got, "pool eu up") {
		t.Error(got)
	}
	still = "health stands still since 12:03:10Z (3m12s): the store is not heard"
	if got := ask(); !strings.Contains(got, ": "+still) {
		t.Errorf("%s\nlacks %q", got, still)
	}
}

// TestExplainShowsThatAnswersAreFixed: where the client's network decides, shares are not those of its own answers.
func TestExplainShowsThatAnswersAreFixed(t *testing.T) {
	s := newServer(t)
	for host, fixed := range map[string]bool{"web": false, "sticky": true, "stickytwo": true, "all": false} {
		got := text(s.ask(query(t, host+".shop.gtm.example._explain.gtm.example.", "TXT", "ecs=91.198.174.0/24"), true).Answer)
		if strings.Contains(got, "this one always gets the same answer") != fixed ||
			!strings.Contains(got, "chosen in 100% of the answers") {
			t.Errorf("%s: %s", host, got)
		}
	}
}
