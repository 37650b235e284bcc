package health

import (
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
)

// TestASightIsUnsureAmidItsThresholds: from the first result against its state until that changes, or a minute passes without another.
func TestASightIsUnsureAmidItsThresholds(t *testing.T) {
	for _, tc := range []struct {
		rule, results string // one in ten seconds
		unsure        string // after each
	}{
		{"what agrees is sure", "......", "______"},
		{"a failure makes it unsure for a minute", "..x......", "__?????" + "?_"},
		{"another one begins anew", "..x..x......", "__?????????_"},
		{"it is sure once it is down", "..xxx", "__??_"},
		{"and unsure when it comes back, until it is up", "..xxx..", "__??_?_"},
		{"unknown is not unsure", "x.x.", "____"},
	} {
		var th Threshold
		told := ""
		for i, r := range tc.results {
			th.Add(r == '.', "refused", at(10*i), Limits{Rise: 2, Fall: 3, Unsure: true})
			told += map[bool]string{true: "?", false: "_"}[th.Sight().Unsure]
		}
		if told != tc.unsure {
			t.Errorf("%s: %q told %q, want %q", tc.rule, tc.results, told, tc.unsure)
		}
	}
	var th Threshold
	for i, r := range "..x" {
		if th.Add(r == '.', "refused", at(i), Limits{Rise: 2, Fall: 3}); th.Sight().Unsure {
			t.Error("nobody asks")
		}
	}
}

// TestDoubtIsToldTwiceAMinuteAtMost: however an endpoint flaps between its thresholds, it changes its sight for that so often at most.
func TestDoubtIsToldTwiceAMinuteAtMost(t *testing.T) {
	random := gtmtest.Random(t)
	for range 50 {
		var th Threshold
		loss, changes, last := random.Float64(), 0, false
		const minutes = 600
		for second := range minutes * 60 {
			th.Add(random.Float64() >= loss, "refused", at(second), Limits{Rise: 1 << 20, Fall: 1 << 20, Unsure: true})
			if second == 0 {
				th.sight.State = Up // it stays so
			}
			if now := th.Sight().Unsure; now != last {
				changes, last = changes+1, now
			}
		}
		if changes > 2*minutes {
			t.Errorf("loss %.3f: %d changes in %d minutes", loss, changes, minutes)
		}
	}
}

// TestDoubtSurvivesARestart: it ends with the first result that agrees, and not with the restart.
func TestDoubtSurvivesARestart(t *testing.T) {
	th := Resume(Sight{State: Up, Score: 1, Since: at(0), Unsure: true})
	l := Limits{Rise: 2, Fall: 3, Unsure: true}
	if !th.Sight().Unsure || !th.Add(true, "", at(0).Add(time.Hour), l) || th.Sight().Unsure {
		t.Errorf("%+v", th.Sight())
	}
	th = Resume(Sight{State: Up, Score: 1, Unsure: true})
	if l.Unsure = false; !th.Add(true, "", at(1), l) || th.Sight().Unsure {
		t.Error("nobody asks any more, and it is told still")
	}
	if strings.TrimSpace(th.Sight().Reason) != "" {
		t.Error(th.Sight().Reason)
	}
}
