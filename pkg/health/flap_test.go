package health

import (
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
)

// TestFlappingIsDamped: an endpoint that came and went every 2 s made 30 verdicts a minute, for ever.
func TestFlappingIsDamped(t *testing.T) {
	var th Threshold
	perMinute := make([]int, 30)
	for second := range 30 * 60 {
		if th.Add(second/2%2 == 0, "status 503", at(second), Limits{Rise: 1, Fall: 1}) {
			perMinute[second/60]++
		}
	}
	t.Logf("changes of its sight a minute: %v", perMinute)
	total := 0
	for minute, n := range perMinute {
		if total += n; n > 12 {
			t.Errorf("%d changes in minute %d", n, minute)
		}
	}
	if total > 40 {
		t.Errorf("%d changes in half an hour", total)
	}
}

// TestTheFirstFailuresAreNotDamped: three of them in ten minutes are an accident, and each recovery is as fast as the first.
func TestTheFirstFailuresAreNotDamped(t *testing.T) {
	var th Threshold
	l := Limits{Rise: 2, Fall: 3}
	if told := strings.Join(feed(&th, "..xxx..xxx..xxx..", l), " "); told != "up down up down up down up" {
		t.Errorf("told %q", told)
	}
	feed(&th, "xxx", l)
	if s := th.Sight(); s.State != Down || s.Reason != "refused; unstable: down 4 times in 10m, 4 good checks in a row needed" {
		t.Errorf("the fourth time: %+v", s)
	}
	if told := strings.Join(feed(&th, "...", l), " "); told != "" {
		t.Errorf("after three good checks: told %q", told)
	}
	if told := strings.Join(feed(&th, ".", l), " "); told != "up" {
		t.Errorf("after the fourth: told %q", told)
	}
	for i := range 50 {
		th.Add(i%10 > 4, "refused", at(100+i), l)
	}
	if th.Sight().State != Down || th.rise(at(150), l) < 8 {
		t.Errorf("it goes on: %+v", th)
	}
	th.Add(true, "", at(1000), l) // long after the last turn
	if th.Add(true, "", at(1010), l); th.Sight().State != Up {
		t.Errorf("what is forgotten still counts: %+v", th.Sight())
	}
}

// TestTurningDownIsNeverDelayed, however often it was down, and Up never takes more than 32 times as many checks.
func TestTurningDownIsNeverDelayed(t *testing.T) {
	rng := gtmtest.Random(t)
	for range 500 {
		l := Limits{Rise: 1 + rng.IntN(3), Fall: 1 + rng.IntN(3)}
		var th Threshold
		now, passed, run := epoch, false, 0
		for range 600 {
			if rng.IntN(4) == 0 {
				passed, run = !passed, 0
			}
			run++
			now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
			th.Add(passed, "r", now, l)
			if s := th.Sight().State; !passed && run >= l.Fall && s != Down || passed && run >= 32*l.Rise && s != Up {
				t.Fatalf("after %d of %v in a row it is %s", run, passed, s)
			}
		}
	}
}
