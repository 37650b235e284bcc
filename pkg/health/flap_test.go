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

// B8: one that flaps in a held pool began the window anew each time, so that what had died was answered until a person came.
func TestWhatFlapsHoldsNoOthers(t *testing.T) {
	dead := endpointsOf("p0", 5)
	x := newTenant(8)
	x.set(at(10), Down, dead...)
	x.want(t, "five of eight", true)
	for second := 20; second < 100; second += 5 {
		x.set(at(second), []State{Down, Up}[second/20%2^1], "p0/e5") // it fails at 20, 60, and is back at 40, 80
		x.verdicts = viaJSON(t, x.verdicts)
		x.want(t, "until two have stood for the window since it came back first", true)
	}
	x.set(at(100), Down, "p0/e5")
	x.want(t, "then what is held is down, and so is the one that flaps", false, append(dead, "p0/e5")...)
	x.set(at(120), Up, "p0/e5")
	x.want(t, "which comes back as it does anywhere", false, dead...)
	if f := x.verdicts[PoolID{"shop", "p0"}].Endpoints["e5"]; !f.Back.IsZero() {
		t.Errorf("nothing is held, and it is %+v", f)
	}
}

// B8: one that flaps does not stand by itself, but when it has been back for the window.
func TestWhatFlapsProvesNothing(t *testing.T) {
	dead := endpointsOf("p0", 5)
	x := newTenant(6)
	x.set(at(10), Down, dead...)
	for second := 20; second < 400; second += 5 {
		x.set(at(second), []State{Down, Up}[second/20%2^1], "p0/e5")
		x.want(t, "nothing else is up", true)
	}
	x.set(at(400), Up, "p0/e5") // and stays, from 400 on
	x.set(at(459), Up, "p0/e5")
	x.want(t, "not yet for the window", true)
	x.judge(at(460))
	x.want(t, "it has stood", false, dead...)
}

// B8: a first failure, and a first return, of each endpoint begin the window anew: so a broken observer loses, and finds, one by one.
func TestFirstFailuresBeginTheWindowAnew(t *testing.T) {
	x := newTenant(8)
	x.set(at(10), Down, endpointsOf("p0", 5)...)
	x.set(at(50), Down, "p0/e5")
	x.judge(at(109))
	x.want(t, "a failure at 50", true)
	x.set(at(109), Up, "p0/e5")
	x.judge(at(168))
	x.want(t, "a return at 109", true)
	x.judge(at(169))
	x.want(t, "and nothing since", false, endpointsOf("p0", 5)...)
}
