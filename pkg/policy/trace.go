package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Trace tells how a Row came about. A nil Trace hears nothing.
type Trace struct {
	Path    []Passed // the rules that led here, the service's first; NoRule: none matched
	Fence   []string // each fence that holds, as in "EU or NA"; a pool must lie inside of all
	Fenced  []string // the pools that the fences leave out
	Choices []Choosing
	TTLFrom string // the rule whose TTL counts, as in "rule eu of policy near"; empty: none has one
	// Region is the continent for which pools of the row are judged; empty: none is, or it is not known where the client is.
	Region string
	last   bool
}

// Passed is a rule on the way.
type Passed struct {
	Policy string // empty: the service's own
	Rule   string // empty: none of its rules matched
}

// Choosing is what nearest or fastest made of its pools.
type Choosing struct {
	What       string // nearest or fastest
	LastResort bool   // it stands there
	Note       string // why it went otherwise than usual; empty: it did not
	Candidates []Candidate
}

// Candidate is a pool among others, in the order in which they are tried.
type Candidate struct {
	Pool         string
	Site         string
	Turn         int     // from 1; pools of one turn share the answers by Weight, but for those AsListed. 0: it is left out
	Weight       int     // in its turn
	AsListed     bool    // its turn is the last one, in which pools are tried as they were declared
	Kilometres   float64 // +Inf: unknown
	Counts       float64 // kilometres, with its bias
	Milliseconds float64 // +Inf: unknown
	Out          string  // why it is left out; empty: it is not
}

func (t *Trace) begin(e *expander, rule int) {
	if t == nil {
		return
	}
	t.TTLFrom = e.shortest
	if rule == NoRule {
		t.Path = append(t.Path, Passed{})
	} else {
		t.Path = append(t.Path, Passed{"", e.policy.rules[rule].name})
	}
	for _, fence := range e.fences {
		t.Fence = append(t.Fence, strings.Join(fence, " or "))
	}
	for i := range e.policy.Pools {
		if !e.admits(i) {
			t.Fenced = append(t.Fenced, e.policy.Pools[i].Name)
		}
	}
}

func (t *Trace) regional(region string) {
	if t != nil {
		t.Region = region
	}
}

func (t *Trace) lastResort() {
	if t != nil {
		t.last = true
	}
}

func (t *Trace) policy(of *target, at int) {
	if t == nil {
		return
	}
	passed := Passed{Policy: of.name}
	if at != NoRule {
		passed.Rule = of.rules[at].name
	}
	t.Path = append(t.Path, passed)
}

// chose tells of an order; the first kept of list are in it.
func (t *Trace) chose(e *expander, of *target, list []ranked, kept int) {
	if t == nil {
		return
	}
	c := Choosing{What: "nearest", LastResort: t.last}
	times := func(int) float64 { return math.Inf(1) }
	if of.kind == fastestTarget {
		c.What = "fastest"
		times = func(pool int) float64 { return e.time(of, pool) }
	}
	turn, rest := 0, false
	for i := range list[:kept] { // as ordered goes through them
		if !rest && (i == 0 || list[i].group != list[i-1].group) {
			turn, rest = turn+1, i >= cut && kept > cut+1
		}
		added := c.add(e, &of.among[list[i].at], times, "")
		added.Turn, added.AsListed = turn, rest
	}
	for i := kept; i < len(list); i++ {
		c.add(e, &of.among[list[i].at], times, fmt.Sprintf("farther than %.0f km", of.farthest))
	}
	for i := range of.among {
		if left := &of.among[i]; !e.admits(left.pool) {
			c.add(e, left, times, "outside of the fence "+strings.Join(t.Fence, " + "))
		}
	}
	switch {
	case of.kind == fastestTarget && !slices.ContainsFunc(c.Candidates, func(c Candidate) bool { return !math.IsInf(c.Milliseconds, 1) }):
		c.Note = "no time is known of any"
	case !e.where.point.Known():
		c.Note = "the client's place is not known: as listed"
	}
	t.Choices = append(t.Choices, c)
}

func (c *Choosing) add(e *expander, of *choice, times func(pool int) float64, out string) *Candidate {
	pool := e.policy.Pools[of.pool]
	c.Candidates = append(c.Candidates, Candidate{Pool: pool.Name, Site: pool.Site, Weight: of.weight,
		Kilometres: e.where.point.Kilometres(pool.At), Counts: e.distance(of), Milliseconds: times(of.pool), Out: out})
	return &c.Candidates[len(c.Candidates)-1]
}
