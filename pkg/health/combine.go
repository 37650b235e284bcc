package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Role is what a check of several means to the endpoint.
type Role uint8

// The roles.
const (
	Counted  Role = iota // so many of these must pass
	Critical             // each of these alone takes the endpoint down
	Watched              // of these is told
)

// Part is one check of several.
type Part struct {
	Name   string
	Role   Role
	Limits Limits
	// Said: it repeats what a signal says, and has seen nothing itself.
	Said bool
}

// Rule says how a vantage combines what it sees of an endpoint by several checks:
//
//	C1  Down, if a critical part is down, or so many counted ones that Need of them cannot be up.
//	C2  Up, if all critical parts and Need of the counted ones are up.
//	C3  Otherwise it is as it was, Unknown at first: parts that nothing is known of yet decide nothing.
//	C4  It is blind where C1 and C2 would not say what they do, if nothing were known of the parts that are blind.
//	C5  Up, its score is the least of those of the critical parts, and of the best Need counted ones.
//	C6  Watched parts have no say in any of this.
//
// A Rule of one counted part that is needed is that part, as if there was no Rule. It is immutable once shared.
type Rule struct {
	Parts []Part
	Need  int // of the counted ones
}

func (r *Rule) isPlain() bool { return len(r.Parts) == 1 && r.Parts[0].Role == Counted && r.Need == 1 }

// Combined is what one vantage knows of one endpoint by all of its checks. Make one with Combine. It is not safe for concurrent use.
type Combined struct {
	rule  *Rule
	parts []Threshold // as those of the rule
	sight Sight       // by the rule; of a plain one it is not used
	stale bool        // sight follows from another rule
}

// Combine goes on from what was known of an endpoint under another rule: parts go on by their names, and what followed from them holds
// until the next result. before may be nil: nothing is known.
func Combine(rule *Rule, before *Combined) Combined {
	c := Combined{rule: rule, parts: make([]Threshold, len(rule.Parts))}
	if before == nil {
		return c
	}
	c.sight = before.Sight()
	c.stale = before.stale || before.rule.Need != rule.Need || !slices.Equal(before.rule.Parts, rule.Parts)
	for i, p := range rule.Parts {
		switch j := slices.IndexFunc(before.rule.Parts, func(old Part) bool { return old.Name == p.Name }); {
		case j >= 0:
			c.parts[i] = before.parts[j]
		case rule.isPlain():
			c.parts[i] = Resume(c.sight)
		}
	}
	return c
}

// CombineFrom goes on from a sight that was stored.
func CombineFrom(rule *Rule, stored Sight) Combined {
	c := Combine(rule, nil)
	if c.sight = stored; rule.isPlain() {
		c.parts[0] = Resume(stored)
	}
	return c
}

// Sight tells what the vantage knows.
func (c *Combined) Sight() Sight {
	if c.rule.isPlain() {
		s := c.parts[0].Sight()
		s.Said = c.rule.Parts[0].Said && s.State != Unknown
		return s
	}
	s := c.sight
	if s.State == "" {
		s.State, s.Score = Unknown, 1
	}
	return s
}

// Add takes one result of a part, and reports whether the sight changed.
func (c *Combined) Add(part int, passed bool, reason string, at time.Time) bool {
	return c.AddTimed(part, passed, 0, reason, at)
}

// AddTimed is Add for a result of a check that took so long.
func (c *Combined) AddTimed(part int, passed bool, took time.Duration, reason string, at time.Time) bool {
	changed := c.parts[part].AddTimed(passed, took, reason, at, c.rule.Parts[part].Limits)
	return c.follow(changed, at)
}

// AddWord takes one look of a part at what is said.
func (c *Combined) AddWord(part int, w Word, at time.Time) bool {
	changed := c.parts[part].AddWord(w, at, c.rule.Parts[part].Limits)
	return c.follow(changed, at)
}

// Recheck reports whether the next check of a part should come sooner than usual. See Threshold.Recheck.
func (c *Combined) Recheck(part int, at time.Time) bool { return c.parts[part].Recheck(at) }

// Miss takes one check of a part that could not be made, and reports whether the sight changed.
func (c *Combined) Miss(part int, reason string, at time.Time) bool {
	changed := c.parts[part].Miss(reason, at, c.rule.Parts[part].Limits)
	return c.follow(changed, at)
}

// follow has the sight follow from a part that changed.
func (c *Combined) follow(changed bool, at time.Time) bool {
	if c.rule.isPlain() || !changed && !c.stale {
		return changed
	}
	c.stale = false
	before := c.sight
	sights := make([]Sight, len(c.parts))
	for i := range c.parts {
		sights[i] = c.parts[i].Sight()
	}
	c.sight = c.rule.apply(before, sights, at)
	return c.sight != before
}

// apply gives what follows from the parts.
func (r *Rule) apply(before Sight, parts []Sight, at time.Time) Sight {
	s := before
	s.Blind, s.Unsure = false, false
	if s.State == "" {
		s.State, s.Score, s.Since = Unknown, 1, at
	}
	switch state := r.decide(parts, false); state {
	case Unknown: // C3
		if before.Blind {
			s.Reason = ""
		}
	default:
		if state != s.State {
			s.State, s.Since = state, at
		}
		s.Score, s.Reason = r.score(parts, state)
	}
	undecided := r.decide(parts, true) == Unknown
	var watched []string
	for i, p := range parts {
		switch {
		case r.Parts[i].Role != Watched:
			s.Unsure = s.Unsure || p.Unsure
			if undecided && p.Blind && !s.Blind {
				s.Blind, s.Reason = true, r.named(i, p.Reason) // C4
			}
		case p.State == Down || p.Blind:
			watched = append(watched, r.named(i, p.Reason))
		}
	}
	s.Watched = strings.Join(watched, "; ")
	s.Said = r.said(parts, s.State)
	return s
}

// said reports whether a state follows from what signals say: it would not be Down by what was seen alone, or nothing was seen up.
func (r *Rule) said(parts []Sight, state State) bool {
	if state == Unknown || !slices.ContainsFunc(r.Parts, func(p Part) bool { return p.Said }) {
		return false
	}
	seen, up := slices.Clone(parts), false
	for i, p := range r.Parts {
		if p.Said {
			seen[i].State = Unknown
		}
		up = up || p.Role != Watched && seen[i].State == Up
	}
	if state == Up {
		return !up
	}
	return r.decide(seen, false) != Down
}

// decide applies C1 to C3. blind: what is known of parts that are blind does not count.
func (r *Rule) decide(parts []Sight, blind bool) State {
	counted, up, down, waits := 0, 0, 0, false
	for i, p := range parts {
		state := p.State
		if blind && p.Blind {
			state = Unknown
		}
		switch role := r.Parts[i].Role; {
		case role == Watched:
		case role == Critical && state == Down:
			return Down
		case role == Critical:
			waits = waits || state != Up
		default:
			counted++
			if state == Up {
				up++
			} else if state == Down {
				down++
			}
		}
	}
	switch {
	case down > counted-r.Need:
		return Down
	case waits, up < r.Need, counted+r.criticals() == 0:
		return Unknown
	}
	return Up
}

func (r *Rule) criticals() (n int) {
	for _, p := range r.Parts {
		if p.Role == Critical {
			n++
		}
	}
	return n
}

// score applies C5, and gives the reason for what is not as it should be.
func (r *Rule) score(parts []Sight, state State) (score float64, reason string) {
	var failed, deciding []int
	var counted []int
	for i, p := range parts {
		switch role := r.Parts[i].Role; {
		case role == Watched:
		case p.State == Down:
			failed = append(failed, i)
		case role == Critical:
			deciding = append(deciding, i)
		case p.State == Up:
			counted = append(counted, i)
		}
	}
	if state == Down {
		slices.SortStableFunc(failed, func(a, b int) int { return cmp.Compare(r.Parts[b].Role, r.Parts[a].Role) }) // critical ones first
		reason = r.named(failed[0], parts[failed[0]].Reason)
		if n := len(failed); n > 1 {
			reason = fmt.Sprintf("%s; and %d more of %d checks", reason, n-1, len(r.Parts))
		}
		return 0, reason
	}
	slices.SortStableFunc(counted, func(a, b int) int { return cmp.Compare(parts[b].Score, parts[a].Score) })
	score = 1
	for _, i := range append(deciding, counted[:min(r.Need, len(counted))]...) {
		if parts[i].Score < score {
			score, reason = parts[i].Score, r.named(i, parts[i].Reason)
		}
	}
	return score, reason
}

// named says which part a reason is of.
func (r *Rule) named(part int, reason string) string {
	p := r.Parts[part]
	if p.Role == Critical {
		return p.Name + " (critical): " + reason
	}
	return p.Name + ": " + reason
}
