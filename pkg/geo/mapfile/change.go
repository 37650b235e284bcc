package mapfile

import (
	"fmt"
	"iter"
)

// Change is how files differ from those before them.
type Change struct {
	Added, Removed int
	Renamed        int // networks that are in both, and belong to another map now, or to none, or to one at last

	old  *Files
	lost []int // of the old networks, those that are removed, by name
}

// String tells it for people.
func (c Change) String() string {
	return fmt.Sprintf("%d networks added, %d removed, %d renamed", c.Added, c.Removed, c.Renamed)
}

// Since compares files with those before them.
func (f *Files) Since(old *Files) Change {
	c := Change{old: old, lost: make([]int, len(old.names))}
	for _, v4 := range []bool{true, false} {
		c.compare(f, old.of(v4), f.of(v4))
	}
	return c
}

// compare goes through two lists in step.
func (c *Change) compare(f *Files, a, b *list) {
	before, stopBefore := iter.Pull(a.all())
	defer stopBefore()
	after, stopAfter := iter.Pull(b.all())
	defer stopAfter()
	x, hasX := before()
	y, hasY := after()
	for hasX || hasY {
		order := 0
		switch {
		case !hasY:
			order = -1
		case !hasX:
			order = 1
		default:
			order = compareNetworks(&x, &y)
		}
		switch {
		case order < 0:
			c.Removed++
			c.lost[x.name]++
		case order > 0:
			c.Added++
		case c.old.names[x.name] != f.names[y.name]:
			c.Renamed++
		}
		if order <= 0 {
			x, hasX = before()
		}
		if order >= 0 {
			y, hasY = after()
		}
	}
}

// fewNetworks is below how many networks files, and maps, may lose as many as they like.
const fewNetworks = 1000

// Shrinks tells, as an error, that the files together, or one of their maps, lose more than half of a thousand networks or more. That is
// what a file looks like of which a part is missing.
func (c *Change) Shrinks() error {
	if n := c.old.Len(); n >= fewNetworks && c.Removed > n/2 {
		return fmt.Errorf("%d of %d networks are missing", c.Removed, n)
	}
	for id, lost := range c.lost {
		if n := c.old.counts[id]; n >= fewNetworks && lost > n/2 {
			return fmt.Errorf("%d of the %d networks of %s are missing", lost, n, c.old.names[id])
		}
	}
	return nil
}

// mostGrowth is how many times more networks files may come to have at once, of those above growsFreely.
const (
	mostGrowth  = 4
	growsFreely = 10_000
)

// Grows tells, as an error, that the files come to have so many more networks that something must have written them twice, or without end.
func (c *Change) Grows() error {
	was := c.old.Len()
	if is := was + c.Added - c.Removed; was > 0 && is/mostGrowth > max(was, growsFreely) {
		return fmt.Errorf("it has %d networks, and had %d: more than %d times as many", is, was, mostGrowth)
	}
	return nil
}
