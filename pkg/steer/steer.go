// Package steer turns what a tenant declares and what health says into candidates: which endpoints of a pool
// take part, with which weight, which do not and why; and which sets of endpoints one answer may name.
//
// It is pure and safe for concurrent use: clock and randomness come in as arguments.
package steer

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// Candidate is one endpoint of a pool as steering sees it.
type Candidate struct {
	Endpoint *spec.Endpoint
	*Standing
	Weight  int     // as declared, or as an override says
	Score   float64 // 0 to 1
	Drained bool
	said    bool // State is a person's word
	// Effective is the weight that draws use: Weight times Score, and less in a slow start; 0 for what is left out.
	Effective float64
}

// Standing is what is known of a candidate, in words. Most are alike, and share it: it must not be changed.
type Standing struct {
	State health.State
	// Out says why the endpoint takes no part; empty when it does.
	Out string
	// Held says what was seen of the endpoint and is not followed because the brake holds; empty when it does not.
	Held string
	// Note says why its score is what it is, or why nobody can see it, and what slow start does to its weight, or would; empty: nothing.
	Note string
}

// Pool is what steering makes of a pool. It is immutable.
type Pool struct {
	ID         health.PoolID
	Region     string // for whose clients its verdict is; empty: for all
	Site       string
	Candidates []Candidate // as declared, in order; of spec.Pool.Split
	Up         bool
	Enough     bool      // endpoints of its own are up for it to be up, whatever else takes it down
	Why        string    // why it is up or down, in words
	Frozen     bool      // the verdict is frozen by the brake
	Next       time.Time // when something next changes it by the clock; zero: never
	Notes      *Notes    // nil: there are none
	saidUp     bool      // by an override of all of it
}

// NewPool applies verdict and overrides to a pool. v may be nil: nothing is known, and everything answers.
// Overrides that do not hold at now are passed over. Those for the whole pool come first, whatever their order,
// so that those for one endpoint win; of several of a sort the last has the say on weight and state.
func NewPool(id health.PoolID, p *spec.Pool, v *health.Verdict, overrides []*spec.Override, now time.Time) *Pool {
	p = p.Split()
	out := &Pool{ID: id, Site: p.Site, Candidates: make([]Candidate, len(p.Endpoints))}
	if v != nil {
		_, out.Region = v.Pool.Declared()
	}
	var standing Standing
	last, word := &unknown, wording{region: out.Region}
	known := lookup{verdict: v}
	hands := handsOf(overrides, now)
	out.Next = hands.next
	var ramps []move
	for _, o := range overrides {
		if o.Endpoint == "" && o.State == spec.StateUp && o.At(now).Holds {
			out.saidUp = true
		}
	}
	for i := range p.Endpoints {
		e, c := &p.Endpoints[i], &out.Candidates[i]
		standing = unknown
		*c = Candidate{Endpoint: e, Standing: &standing, Weight: weightOf(e), Score: 1}
		reason := ""
		var f health.Finding
		if v != nil {
			f = known.of(e)
			if f.State != health.Unknown && f.State != "" {
				c.State, c.Score, reason = f.State, clamp(f.Score), f.Reason
				if f.State == health.Down {
					c.Score = 0
				}
			}
			if v.Frozen {
				c.Held = f.Held()
			}
			if f.State != health.Down && c.Held == "" {
				c.Note = f.Reason
			}
		}
		c.leaveOut(&word, reason)
		for _, h := range hands.list {
			if h.Endpoint == "" || h.Endpoint == spec.DeclaredName(e.Name) {
				if c.override(h.Override); h.ramps {
					ramps = append(ramps, moveOf(i, h))
				}
			}
		}
		c.Effective = float64(c.Weight) * c.Score
		if f.Recovered && c.Out == "" && !c.said {
			c.Effective *= out.start(p, &standing, f, now)
		}
		if c.Out != "" {
			c.Effective = 0
		}
		last = standing.keep(last)
		c.Standing = last
	}
	out.ramp(ramps, now)
	out.Frozen = v != nil && v.Frozen
	unseen := neverChecked
	if v == nil && !p.IsMonitored() {
		unseen = notMonitored
	}
	out.judge(p, unseen)
	if v != nil {
		out.keepOut(p, v.Out)
	}
	return out
}

// Known gives what a verdict says of an endpoint, by what is checked of it, whatever it was called: names can be given to other
// addresses before the judge has heard of it, or after. The zero Finding: nothing. v may be nil.
func Known(v *health.Verdict, e *spec.Endpoint) health.Finding {
	known := lookup{verdict: v}
	return known.of(e)
}

// lookup finds the findings of one verdict.
type lookup struct {
	verdict *health.Verdict
	names   map[string]string // by what they speak of; nil until one is not found by its name
}

func (k *lookup) of(e *spec.Endpoint) health.Finding {
	if k.verdict == nil {
		return health.Finding{}
	}
	f, ok := k.verdict.Endpoints[e.Name]
	if ok && (f.Of == "" || e.IsChecked(f.Of)) {
		return f
	}
	if k.names == nil {
		k.names = k.verdict.NamesOf()
	}
	if name, ok := k.names[e.Checked()]; ok {
		return k.verdict.Endpoints[name]
	}
	return health.Finding{}
}

// The standings of nearly all candidates.
var (
	unknown = Standing{State: health.Unknown}
	up      = Standing{State: health.Up}
)

// keep gives the standing to keep. last is one that is kept already, and often the same.
func (s Standing) keep(last *Standing) *Standing {
	switch s {
	case unknown:
		return &unknown
	case up:
		return &up
	case *last:
		return last
	}
	own := s // so that s is not allocated for the others
	return &own
}

// wording is a reason and how it is told: those of many endpoints are often the same, and then stand in memory once.
type wording struct{ region, reason, out string }

func (w *wording) of(reason string) string {
	down := "down"
	if w.region != "" {
		down += " for " + w.region
	}
	if reason == "" {
		return down
	}
	if w.reason != reason {
		w.reason, w.out = reason, down+": "+reason
	}
	return w.out
}

// weightZero is why an endpoint without a weight takes no part.
const weightZero = "weight 0"

// leaveOut sets Out from weight and score.
func (c *Candidate) leaveOut(w *wording, reason string) {
	switch {
	case c.Weight <= 0:
		c.Out = weightZero
	case c.Score <= 0:
		c.Out = w.of(reason)
	default:
		c.Out = ""
	}
}

// override applies o, which holds and is of the candidate. A weight that is on its way comes later.
func (c *Candidate) override(o *spec.Override) {
	if o.Weight != nil && !o.Ramps() {
		c.Weight = o.Weight.To
	}
	why := "override: " + o.Reason
	switch o.State {
	case "up":
		c.State, c.Score = health.Up, 1
	case "down":
		c.State, c.Score = health.Down, 0
	case "drain":
		c.Drained = true
	}
	if o.State != "" {
		c.Held, c.Note, c.said = "", "", true // it is in an operator's hands now, also where the brake holds
	}
	switch {
	case o.State == "drain":
		c.Out = "drained: " + o.Reason
	case c.Drained: // by the pool's override, which holds beside the endpoint's
	case o.State != "" || o.Weight != nil:
		c.leaveOut(&wording{}, why)
	}
}

// judge decides whether the pool is up: enough of the endpoints that have a weight and are not drained answer. Unknown ones
// and held ones do, but nobody has seen that they are well, so that words tell them apart. unseen says what unknown ones are.
func (p *Pool) judge(declared *spec.Pool, unseen string) {
	counted, healthy, unknown, held := 0, 0, 0, 0
	for i := range p.Candidates {
		c := &p.Candidates[i]
		if c.Drained || c.Weight <= 0 {
			continue
		}
		counted++
		switch {
		case c.Score <= 0:
		case c.Held != "":
			held++
		case c.State == health.Up:
			healthy++
		default:
			unknown++
		}
	}
	need := max(1, need(declared.MinHealthy, counted))
	p.Enough = healthy+unknown+held >= need
	p.Up = p.Enough
	switch {
	case len(p.Candidates) == 0:
		p.Why = noneFound(declared)
		return
	case counted == 0:
		p.Why = "no endpoint takes clients: all are drained or have weight 0"
		return
	case unseen == notMonitored && unknown == counted:
		p.Why = endpoints(counted) + ", " + unseen
	default:
		p.Why = fmt.Sprintf("%d of %d endpoints healthy", healthy, counted)
		if unknown > 0 {
			p.Why += fmt.Sprintf(", %d %s", unknown, unseen)
		}
		if held > 0 {
			p.Why += fmt.Sprintf(", %d held by the brake", held)
		}
	}
	if !p.Up {
		p.Why += fmt.Sprintf(", %d needed", need)
	}
	if p.Region != "" {
		p.Why = "for " + p.Region + " " + p.Why
	}
}

// noneFound says why a pool has no endpoints.
func noneFound(declared *spec.Pool) string {
	switch declared.DiscoverMode() {
	case spec.ModeObserve:
		return "its sources are only observed, and it declares no endpoint"
	case spec.ModeOff:
		return "its sources are off, and it declares no endpoint"
	}
	return "none of its sources has an endpoint"
}

// What endpoints are of whose health nothing is known: nobody has looked yet, or nobody is asked to.
const (
	neverChecked = "never checked"
	notMonitored = "not monitored"
)

func endpoints(n int) string {
	if n == 1 {
		return "1 endpoint"
	}
	return fmt.Sprintf("%d endpoints", n)
}

// need gives how many of n endpoints minHealthy asks for, rounded up.
func need(minHealthy string, n int) int {
	if share, ok := strings.CutSuffix(minHealthy, "%"); ok {
		f, err := strconv.ParseFloat(share, 64)
		if err != nil {
			return 0
		}
		k := int(f * float64(n) / 100)
		if float64(k)*100 < f*float64(n) {
			k++
		}
		return k
	}
	k, _ := strconv.Atoi(minHealthy)
	return k
}

func weightOf(e *spec.Endpoint) int {
	if e.Weight == nil {
		return 1
	}
	return *e.Weight
}

func clamp(f float64) float64 { return max(0, min(1, f)) }
