package health

import (
	"strings"
	"testing"
)

// TestRecheckAmidTheThresholds: results that speak against the state, and those before it is known, call for another one soon.
func TestRecheckAmidTheThresholds(t *testing.T) {
	for _, tc := range []struct{ rule, results, soon string }{
		{"until it is known, and not once it is up", "...", "!__"},
		{"nor once it is down", "xxxx", "!!__"},
		{"a failure while it is up, until it is down", "..xxxx", "!_!!__"},
		{"a pass ends it", "..x.x.", "!_!_!_"},
		{"a pass while it is down, until it is up", "xxx..", "!!_!_"},
		{"a failure while it is down is no news", "xxx.x.", "!!_!_!"},
		{"what could not be made says nothing, either way", "..x-x", "!_!_!"},
		{"one that is unstable is not hurried on its way up, and is on its way down", "xxx..xxx..xxx..xxx......xxx",
			"!!_!_!!_!_!!_!_!!____" + "___!!_"},
	} {
		var th Threshold
		var soon strings.Builder
		for i := range tc.results {
			feed1(&th, tc.results[i], i)
			soon.WriteString(map[bool]string{true: "!", false: "_"}[th.Recheck(at(i))])
		}
		if soon.String() != tc.soon {
			t.Errorf("%s: %q wants %q, want %q", tc.rule, tc.results, soon.String(), tc.soon)
		}
	}
	if (&Threshold{}).Recheck(at(0)) {
		t.Error("nothing was seen yet")
	}
}

// feed1 plays one result, as feed does.
func feed1(t *Threshold, result byte, second int) {
	l := Limits{Rise: 2, Fall: 3}
	if result == '-' {
		t.Miss("no route", at(second), l)
		return
	}
	t.Add(result == '.', "refused", at(second), l)
}
