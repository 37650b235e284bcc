package rate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestATenantGetsItsRateAndNoMore: whatever comes when, each gets all that it asks for within its rate, over any time at most what it may
// have at once and what came since, and what others ask changes nothing.
func TestATenantGetsItsRateAndNoMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	for range 200 {
		var l, alone Limits
		each := 1 + rng.IntN(20)
		now := time.Unix(1_000_000, 0)
		began, got := now, 0
		for range 500 {
			now = now.Add(time.Duration(rng.ExpFloat64() * float64(time.Second) / float64(each) / 2))
			for other := range rng.IntN(3) {
				l.Take(fmt.Sprint("other", other), each, now)
			}
			is, twin := l.Take("shop", each, now), alone.Take("shop", each, now)
			if is != twin {
				t.Fatalf("others change it: %+v, alone %+v", is, twin)
			}
			if is.Wait == 0 {
				got++
			} else if again := alone.Take("shop", each, now.Add(is.Wait+time.Microsecond)); again.Wait != 0 {
				t.Fatalf("after %s it waits on: %+v", is.Wait, again)
			} else {
				got++
				l.Take("shop", each, now.Add(is.Wait+time.Microsecond))
				now = now.Add(is.Wait + time.Microsecond)
			}
			may := float64(each)*Window.Seconds() + now.Sub(began).Seconds()*float64(each)
			if float64(got) > may+1e-6 {
				t.Fatalf("%d of at most %.1f, %d a second", got, may, each)
			}
			if is.Most != each*10 || is.Requests < 0 || is.Requests > is.Most || is.Reset > Window {
				t.Fatalf("%+v", is)
			}
		}
		if got != 500 {
			t.Fatalf("got %d of 500", got)
		}
	}
}

// TestWhoAsksNoMoreIsForgotten, so that names cost nothing for ever.
func TestWhoAsksNoMoreIsForgotten(t *testing.T) {
	var l Limits
	now := time.Unix(1_000_000, 0)
	for i := range 1000 {
		l.Take(fmt.Sprint(i), 5, now)
	}
	l.Take("shop", 5, now.Add(2*tidyEvery))
	if len(l.buckets) != 1 {
		t.Errorf("%d are remembered", len(l.buckets))
	}
	back := l.Take("shop", 5, now) // a clock that goes back gives nothing
	if back.Requests != 48 {
		t.Errorf("%+v", back)
	}
}
