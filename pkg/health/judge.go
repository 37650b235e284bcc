package health

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	// Agree is how many vantages of a region, as in EU, must be among those who agree, beside the quorum.
	Agree map[string]int
	About map[string]Vantage // what is known of vantages beside this; who is not in it may be anywhere
	Now   time.Time
	// Region is for whose clients it is judged, and All what was found for all, behind the brake, with its Unvoted. See Case.Regions.
	Region string
	All    *Verdict
	// Unsure and Recovery ask for these of findings: what nobody reads is not written.
	Unsure, Recovery bool

	names map[string]map[string]string // by vantage: see sight
}

// Judge gives the verdict on one pool. The rules, in order:
//
//	R1  The verdict has exactly the pool's endpoints. A new one is Unknown, with score 1; so is one that is checked elsewhere now.
//	R2  Quorum counts the vantages of the case, whether they are alive or not. Others have no say.
//	R3  A vantage that is silent, or blind for the endpoint, is unknown: it neither votes nor objects.
//	R4  An endpoint turns Down if a quorum votes down and no quorum votes up.
//	R5  An endpoint turns Up if a quorum votes up and no quorum votes down.
//	R6  Otherwise state and score hold. Since is when the state changed.
//	R7  With R5 the score is the median of the scores of the votes for up; Down scores 0.
//	R8  A finding is Unsure while half a quorum or more doubts it: they vote otherwise, or are unsure themselves.
//	R9  A quorum has, of each region that the case asks for, at least so many vantages. Who is of no known region is of none.
//	R10 A failure is Proven if a quorum votes for it of vantages that see something else up, and not all of these are of one network.
//	    It stays so until the endpoint is up. Of networks that nobody knows, none is another than the next. Who repeats what a signal
//	    says is no witness: all of them hear the same word.
//
//	R11 A pool with regions is judged once more for the clients of each continent where two of its vantages or more stand, as if it were
//	    a pool of its own: only these are of its case, and a majority of them is the quorum. Who is silent stands where it was last heard
//	    of. Where fewer stand, what is found for all holds.
//	R12 In a region, what is found for all of an endpoint holds where fewer vantages live and see than a quorum: as long as nothing else
//	    was found there, and from each change of state for all on. Else their silence holds by R3 and R6 as that of any.
//
// Where the quorum is a majority, a vantage that falls silent changes no state, by R3 and R6: it can only take votes away. With a
// smaller one those that live decide, at once.
//
// The brake comes after Judge; Frozen, Cause, Released and Judge are left empty.
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
		p := c.poll(name, voters, quorum)
		f := p.find(previous, c.Now)
		f.Of = c.Of[name]
		f.Watched = p.watched
		f.Unsure = c.Unsure && p.doubts(f.State) // R8
		if f.Proven = f.State == Down && previous.State == Down && previous.Proven; p.vote == Down && !f.Proven {
			f.Proven = v.proves(name, c.proof(&p))
		}
		f.Recovered = c.Recovery && f.State == Up && (previous.State == Down || previous.State == Up && previous.Recovered)
		follows := c.All != nil && p.goesByAll(&f, previous, c.All.Endpoints[name])
		v.Endpoints[name] = f
		if p.vote == Unknown && !c.votedByAll(name, f, &p) {
			if v.Unvoted == nil {
				v.Unvoted = map[string]bool{}
			}
			v.Unvoted[name] = true
		}
		if f.State == Down && c.neverUp(name, previous, follows) {
			v.NeverUp = append(v.NeverUp, name)
		}
	}
	slices.Sort(v.NeverUp)
	if c.Region != "" {
		v.Vantages = voters
	}
	return v
}

// neverUp reports whether an endpoint that is down never was up. follows: what is found for all holds.
func (c *Case) neverUp(name string, previous Finding, follows bool) bool {
	if follows {
		return slices.Contains(c.All.NeverUp, name)
	}
	return previous.State == Unknown || slices.Contains(c.Previous.NeverUp, name)
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

// poll is what the vantages say of one endpoint: the votes of those that are alive and see.
type poll struct {
	voters, quorum int
	region         string
	watched        string    // what one says of checks that are only watched
	up             []float64 // scores of the votes for up
	down           []string  // reasons of the votes for down, by vantage
	downBy         []string  // who votes so
	sawDown        []bool    // likewise: it saw that itself
	vote           State     // what a quorum says and no other quorum denies; Unknown: nothing
	enoughDown     bool
	agree          map[string]int
	unsureUp       int      // of the votes for up, those that are unsure
	unsureDown     int      // likewise
	worst          Sight    // the lowest score of a vote for up
	blind          string   // a reason for not seeing
	silent         []string // vantages that are not alive
}

func (c *Case) poll(endpoint string, voters []string, quorum int) poll {
	p := poll{voters: len(voters), quorum: quorum, region: c.Region, vote: Unknown, agree: c.Agree, worst: Sight{Score: 1}}
	var upBy []string
	for _, vantage := range voters {
		sight, ok := c.sight(vantage, endpoint)
		if c.Alive[vantage] {
			p.watched = cmp.Or(p.watched, sight.Watched)
		}
		switch {
		case !c.Alive[vantage]: // R3
			p.silent = append(p.silent, vantage)
		case !ok:
		case sight.Blind: // R3
			p.blind = cmp.Or(p.blind, sight.Reason)
		case sight.State == Up:
			p.countUp(sight)
			if len(c.Agree) > 0 {
				upBy = append(upBy, vantage)
			}
		case sight.State == Down:
			p.down = append(p.down, sight.Reason)
			p.downBy, p.sawDown = append(p.downBy, vantage), append(p.sawDown, !sight.Said)
			if sight.Unsure {
				p.unsureDown++
			}
		}
	}
	p.enoughDown = len(p.down) >= quorum && c.agreed(p.downBy)
	switch up := len(p.up) >= quorum && c.agreed(upBy); {
	case p.enoughDown && !up:
		p.vote = Down // R4
	case up && !p.enoughDown:
		p.vote = Up // R5
	}
	return p
}

// doubts applies R8.
func (p *poll) doubts(state State) bool {
	n := 0
	switch state {
	case Up:
		n = len(p.down) + p.unsureUp
	case Down:
		n = len(p.up) + p.unsureDown
	}
	return n > 0 && 2*n >= p.quorum
}

func (p *poll) countUp(s Sight) {
	if !(s.Score > 0 && s.Score <= 1) { // foreign or damaged: up is up
		s.Score = 1
	}
	p.up = append(p.up, s.Score)
	if s.Unsure {
		p.unsureUp++
	}
	if s.Score < p.worst.Score {
		p.worst = s
	}
}

// find applies R4 to R7.
func (p *poll) find(previous Finding, now time.Time) Finding {
	f := previous
	switch p.vote {
	case Down:
		f.State, f.Score = Down, 0
	case Up:
		f.State, f.Score = Up, median(p.up) // R7
	}
	if f.State != previous.State {
		f.Since = now
	}
	f.Reason = p.reason(f)
	return f
}

// reason explains a finding. Where nobody votes, and somebody is silent, it stays what it was: silence must not rewrite every verdict.
func (p *poll) reason(f Finding) string {
	switch {
	case len(p.down) == 0 && p.vote == Unknown && p.blind != "" && f.State != Down:
		return p.blind
	case len(p.down)+len(p.up) == 0 && len(p.silent) == 0 && strings.Contains(p.blind, notChecked): // it is Down
		return before(f.Reason) + nowText + p.blind
	case len(p.down)+len(p.up) == 0 && (f.State == Down || len(p.silent) > 0):
		return f.Reason // nobody knows more than was known
	case f.State == Down && len(p.up) > 0 && !p.enoughDown:
		return fmt.Sprintf("%d of %s see it up, %s must%s", len(p.up), p.vantages(), p.must(), p.missing())
	case f.State == Down && !p.enoughDown && len(p.silent) > 0:
		return f.Reason
	case f.State == Down:
		return p.objection()
	case len(p.down) > 0 && p.vote == Unknown:
		return fmt.Sprintf("held: %s must say down, and %s%s", p.must(), p.objection(), p.missing())
	case len(p.down) > 0:
		return fmt.Sprintf("held: %s must say down, and %s", p.must(), p.objection())
	case f.Score < 1:
		return cmp.Or(p.worst.Reason, f.Reason)
	}
	return ""
}

// nowText stands between why it was found down and why nobody can see whether it still is.
const nowText = "; now "

// before gives why it was found down.
func before(reason string) string {
	if was, now, ok := strings.Cut(reason, nowText); ok && strings.Contains(now, notChecked) {
		return was
	}
	return reason
}

// must tells how many must agree, as in: 2 (1 of AS).
func (p *poll) must() string {
	text := fmt.Sprint(p.quorum)
	for i, place := range slices.Sorted(maps.Keys(p.agree)) {
		text += fmt.Sprintf("%s%d of %s", []string{" (", ", "}[min(i, 1)], p.agree[place], place)
	}
	if len(p.agree) > 0 {
		text += ")"
	}
	return text
}

// missing names the silent vantages, whose votes may be what a quorum lacks.
func (p *poll) missing() string {
	switch len(p.silent) {
	case 0:
		return ""
	case 1:
		return "; " + p.silent[0] + " is silent"
	}
	return "; " + strings.Join(p.silent, ", ") + " are silent"
}

// objection is the commonest reason for down, and how many vantages are of that mind if there are several vantages.
func (p *poll) objection() string {
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
	return fmt.Sprintf("%d of %s: %s", len(p.down), p.vantages(), best)
}

// vantages is as in: 5 vantages, or: 2 vantages of EU.
func (p *poll) vantages() string {
	if p.region != "" {
		return fmt.Sprintf("%d vantages of %s", p.voters, p.region)
	}
	return fmt.Sprintf("%d vantages", p.voters)
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

// Equal reports whether two verdicts say the same. Who judged does not count.
func (v Verdict) Equal(o Verdict) bool {
	if v.Pool != o.Pool || v.Frozen != o.Frozen || !v.FrozenSince.Equal(o.FrozenSince) || v.Cause != o.Cause ||
		!v.HeldSince.Equal(o.HeldSince) ||
		!v.Out.equal(o.Out) || !slices.Equal(v.NeverUp, o.NeverUp) || !slices.Equal(v.Released, o.Released) ||
		!slices.Equal(v.Vantages, o.Vantages) || len(v.Endpoints) != len(o.Endpoints) {
		return false
	}
	for name, f := range v.Endpoints {
		if g, ok := o.Endpoints[name]; !ok || !f.Equal(g) {
			return false
		}
	}
	return true
}
