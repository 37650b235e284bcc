package sim

import "time"

// clock is virtual time, as time since the start of a run, and what is to happen at which moment. What is to happen at one moment
// happens in the order in which it was asked for.
type clock struct {
	now    time.Duration
	events []event // a heap, the earliest first
	asked  uint64
}

type event struct {
	at   time.Duration
	turn uint64
	do   func()
}

// at has something happen at a moment, or at once where that is over.
func (c *clock) at(moment time.Duration, do func()) {
	c.asked++
	c.add(event{max(moment, c.now), c.asked, do})
}

// first is at, before all else that happens at the moment. Only one thing may ask for that.
func (c *clock) first(moment time.Duration, do func()) { c.add(event{moment, 0, do}) }

func (c *clock) add(e event) {
	c.events = append(c.events, e)
	for i := len(c.events) - 1; i > 0; {
		above := (i - 1) / 2
		if !c.before(i, above) {
			return
		}
		c.events[i], c.events[above] = c.events[above], c.events[i]
		i = above
	}
}

// after is at, so long from now.
func (c *clock) after(d time.Duration, do func()) { c.at(c.now+d, do) }

// next is when something happens next, or else never.
func (c *clock) next() time.Duration {
	if len(c.events) == 0 {
		return never
	}
	return c.events[0].at
}

// never is later than any moment of a run.
const never = time.Duration(1<<63 - 1)

// step has the next thing happen.
func (c *clock) step() {
	first, last := c.events[0], len(c.events)-1
	c.events[0] = c.events[last]
	c.events[last] = event{}
	c.events = c.events[:last]
	for i := 0; ; {
		least := i
		for below := 2*i + 1; below <= 2*i+2 && below < last; below++ {
			if c.before(below, least) {
				least = below
			}
		}
		if least == i {
			break
		}
		c.events[i], c.events[least] = c.events[least], c.events[i]
		i = least
	}
	c.now = first.at
	first.do()
}

func (c *clock) before(i, j int) bool {
	a, b := &c.events[i], &c.events[j]
	return a.at < b.at || a.at == b.at && a.turn < b.turn
}
