package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestClockKeepsOrder has things happen, and things that those ask for, by time and then by turn, and the first thing of a moment first.
func TestClockKeepsOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	type happening struct {
		at   time.Duration
		turn int
	}
	var c clock
	var got []happening
	asked := 0
	var ask func(at time.Duration)
	ask = func(at time.Duration) {
		asked++
		turn := asked
		c.at(at, func() {
			got = append(got, happening{c.now, turn})
			if asked < 2000 {
				ask(c.now + time.Duration(random.IntN(5)))
				ask(c.now - 3) // which is over
			}
		})
	}
	for range 50 {
		ask(time.Duration(random.IntN(100)))
	}
	c.first(50, func() { got = append(got, happening{c.now, 0}) })
	for c.next() != never {
		c.step()
	}
	if len(got) != asked+1 {
		t.Fatalf("%d of %d things happened", len(got), asked+1)
	}
	if !slices.IsSortedFunc(got, func(a, b happening) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.turn - b.turn
	}) {
		t.Errorf("things did not happen in order")
	}
}
