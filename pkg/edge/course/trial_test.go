package course_test

import (
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/edge/course"
	"github.com/gti/gtm/pkg/store/state"
)

func open(t *testing.T, dir string, crashed bool) *course.Trial {
	t.Helper()
	trial, err := course.OpenTrial(dir, crashed)
	if err != nil {
		t.Fatal(err)
	}
	return trial
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestACrashOnTrialIsPoison(t *testing.T) {
	bad := map[string]state.Mark{"shop": {Generation: 42, ID: "x"}}
	for _, c := range []struct {
		name   string
		ends   []bool // whether each end was a crash that the runtime wrote down
		poison bool
	}{
		{"it crashed", []bool{true}, true},
		{"it was killed once", []bool{false}, false},
		{"it was killed twice", []bool{false, false}, true},
		{"it was killed, and crashed", []bool{false, true}, true},
	} {
		dir, trial := t.TempDir(), (*course.Trial)(nil)
		trial = open(t, dir, false)
		for _, crashed := range c.ends {
			must(t, trial.Begin(bad))
			trial = open(t, dir, crashed)
		}
		if got := slices.Equal(trial.Poisonous(), []string{"shop@42"}); got != c.poison {
			t.Errorf("%s: poison is %v", c.name, trial.Poisonous())
		}
		if again := open(t, dir, false); len(again.Poison) != len(trial.Poison) {
			t.Errorf("%s: the next start knows of %v", c.name, again.Poison)
		}
		must(t, trial.Pass(map[string]state.Mark{"shop": {Generation: 43}}))
		if again := open(t, dir, false); len(again.Poison)+len(again.Ended) > 0 {
			t.Errorf("%s: after a newer one was good, it holds %+v", c.name, again)
		}
	}
}

// TestTwoGenerationsAreKilledOnceEach: neither is to blame.
func TestTwoGenerationsAreKilledOnceEach(t *testing.T) {
	dir := t.TempDir()
	for g := range state.Generation(3) {
		must(t, open(t, dir, false).Begin(map[string]state.Mark{"shop": {Generation: 42 + g}}))
	}
	if trial := open(t, dir, false); len(trial.Poison) > 0 {
		t.Errorf("poison: %v", trial.Poison)
	}
}

func TestWhatPassedIsNoPoison(t *testing.T) {
	dir := t.TempDir()
	trial := open(t, dir, false)
	must(t, trial.Begin(map[string]state.Mark{"shop": {Generation: 42}, "other": {Generation: 7}}))
	must(t, trial.Pass(map[string]state.Mark{"shop": {Generation: 42}}))
	must(t, trial.End(map[string]state.Mark{"other": {Generation: 7}}))
	if trial = open(t, dir, true); len(trial.Poison) > 0 {
		t.Errorf("poison: %v", trial.Poison)
	}
	must(t, trial.Begin(map[string]state.Mark{"shop": {Generation: 43}}))
	must(t, trial.Pass(map[string]state.Mark{"shop": {Generation: 42}})) // late: another one is on trial already
	if trial = open(t, dir, true); trial.Poison["shop"].Generation != 43 {
		t.Errorf("poison: %v", trial.Poison)
	}
}

// TestWhatWasAcceptedIsNoPoisonAnyMore: somebody had an edge take a generation on which it had crashed, and it is served.
func TestWhatWasAcceptedIsNoPoisonAnyMore(t *testing.T) {
	dir, bad := t.TempDir(), map[string]state.Mark{"shop": {Generation: 42, ID: "x"}}
	trial := open(t, dir, false)
	must(t, trial.Begin(bad))
	trial = open(t, dir, true)
	must(t, trial.Begin(bad))
	must(t, trial.Pass(bad))
	if again := open(t, dir, false); len(again.Poison) > 0 {
		t.Errorf("poison: %v", again.Poison)
	}
}
