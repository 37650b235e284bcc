package health

import (
	"fmt"
	"slices"
	"time"
)

// Case is everything that the verdict on one pool follows from.
type Case struct {
	Pool      PoolID
	Endpoints []string // names of the endpoints that the pool has now
	// Of is what is checked of each of them now. What speaks of something else is neither evidence nor what was known of it.
	Of       map[string]string
	Previous Verdict // zero: none yet
	// Vantages are those configured for the pool's monitor. Empty: every one that is alive or has reported on the pool.
	Vantages []string
	// Quorum is how many vantages must agree. Less than 1: a majority of Vantages.
	Quorum       int
	Observations map[string]Observation // by vantage
	Alive        map[string]bool        // vantages that hold their lease now; the others are silent
	Now          time.Time

	names map[string]map[string]string // by vantage: see sight
}

// Judge gives the verdict on one pool. The rules, in order:
//
//	R1  The verdict has exactly the pool's endpoints. A new one is Unknown, with score 1; so is one that is checked elsewhere now.
//	R2  Quorum counts the vantages of the case, whether they are alive or not. Others have no say.
//	R3  A vantage that is silent, or blind for the endpoint, votes for nothing. Its last evidence stays as an objection.
//	R4  An endpoint turns Down if a quorum votes down and there is no quorum of evidence for up.
//	R5  An endpoint turns Up if a quorum votes up and there is no quorum of evidence for down.
//	R6  Otherwise state and score hold. Since is when the state changed.
//	R7  With R5 the score is the median of the scores of all evidence for up; Down scores 0.
//
// By R3, R6 and R7 a vantage that falls silent changes nothing, not even a reason.
// The brake comes after Judge; Frozen and Judge are left empty.
func Judge(c Case) Verdict {
	voters := c.electorate()
	quorum := c.Quorum
	if quorum < 1 {
		quorum = len(voters)/2 + 1
	}
	v := Verdict{Pool: c.Pool, Endpoints: make(map[string]Finding, len(c.Endpoints))}
	known := c.Previous.For(c.Endpoints, c.Of)
	for _, name := range c.Endpoints {
		previous, known := known.Endpoints[name]
		if !known || previous.State == "" {
			previous = Finding{State: Unknown, Score: 1, Since: c.Now} // R1
		}
		f := c.poll(name, voters).find(previous, quorum, c.Now)
		f.Of = c.Of[name]
		v.Endpoints[name] = f
	}
	return v
}

// electorate gives the vantages that count, sorted. (R2)
func (c *Case) electorate() []string {
	voters := slices.Clone(c.Vantages)
	if len(voters) == 0 {
		for v, alive := range c.Alive {
			if alive {
				voters = append(voters, v)
			}
		}
		for v := range c.Observations {
			voters = append(voters, v)
		}
	}
	slices.Sort(voters)
	return slices.Compact(voters)
}

// poll is what the vantages say of one endpoint.
type poll struct {
	voters             int
	votesUp, votesDown int       // of the vantages that are alive and see
	up                 []float64 // scores of all evidence for up
	down               []string  // reasons of all evidence for down, by vantage
	worst              Sight     // the lowest score of evidence for up
	blind              string    // a reason for not seeing
}

func (c *Case) poll(endpoint string, voters []string) poll {
	p := poll{voters: len(voters), worst: Sight{Score: 1}}
	for _, vantage := range voters {
		sight, ok := c.sight(vantage, endpoint)
		if !ok {
			continue
		}
		votes := c.Alive[vantage] && !sight.Blind // R3
		if sight.Blind && p.blind == "" {
			p.blind = sight.Reason
		}
		switch sight.State {
		case Up:
			p.countUp(sight, votes)
		case Down:
			p.down = append(p.down, sight.Reason)
			if votes {
				p.votesDown++
			}
		}
	}
	return p
}

func (p *poll) countUp(s Sight, votes bool) {
	if !(s.Score > 0 && s.Score <= 1) { // foreign or damaged: up is up
		s.Score = 1
	}
	p.up = append(p.up, s.Score)
	if s.Score < p.worst.Score {
		p.worst = s
	}
	if votes {
		p.votesUp++
	}
}

// find applies R4 to R7.
func (p poll) find(previous Finding, quorum int, now time.Time) Finding {
	f := previous
	switch {
	case p.votesDown >= quorum && len(p.up) < quorum: // R4
		f.State, f.Score = Down, 0
	case p.votesUp >= quorum && len(p.down) < quorum: // R5, R7
		f.State, f.Score = Up, median(p.up)
	}
	if f.State != previous.State {
		f.Since = now
	}
	f.Reason = p.reason(f, quorum)
	return f
}

// reason explains a finding from all evidence, the silent ones' too: silence must not rewrite a verdict.
func (p poll) reason(f Finding, quorum int) string {
	switch {
	case f.State == Down && len(p.down) == 0 && len(p.up) == 0:
		return f.Reason // nobody knows more than was known
	case f.State == Down && len(p.up) > 0 && len(p.down) < quorum:
		return fmt.Sprintf("%d of %d vantages see it up, %d must", len(p.up), p.voters, quorum)
	case f.State == Down:
		return p.objection()
	case len(p.down) > 0:
		return fmt.Sprintf("held: %d must say down, and %s", quorum, p.objection())
	case p.blind != "":
		return p.blind
	case f.Score < 1:
		return p.worst.Reason
	}
	return ""
}

// objection is the commonest reason for down, and how many vantages are of that mind if there are several vantages.
func (p poll) objection() string {
	count := make(map[string]int, 1)
	best := p.down[0]
	for _, r := range p.down {
		count[r]++
	}
	for _, r := range p.down { // in the order of vantages, so that a tie has one outcome
		if count[r] > count[best] {
			best = r
		}
	}
	if p.voters == 1 {
		return best
	}
	return fmt.Sprintf("%d of %d vantages: %s", len(p.down), p.voters, best)
}

// median of at least one score.
func median(scores []float64) float64 {
	s := slices.Sorted(slices.Values(scores))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// Equal tells whether two verdicts say the same. Who judged does not count.
func (v Verdict) Equal(o Verdict) bool {
	if v.Pool != o.Pool || v.Frozen != o.Frozen || !v.FrozenSince.Equal(o.FrozenSince) || len(v.Endpoints) != len(o.Endpoints) {
		return false
	}
	for name, f := range v.Endpoints {
		g, ok := o.Endpoints[name]
		if !ok || f.State != g.State || f.Score != g.Score || f.Reason != g.Reason || f.Of != g.Of || !f.Since.Equal(g.Since) {
			return false
		}
	}
	return true
}
