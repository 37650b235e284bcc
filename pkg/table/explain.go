package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/steer"
)

// Explanation is a Decision in words. The code that chooses made it: Explain calls Decide.
type Explanation struct {
	Decision
	Service    *Service
	Generation uint64
	Family     Family
	Asker      Net       // whose address decided: the client's subnet or the resolver
	Place      geo.Place // of Asker
	PlaceBits  uint8     // the length of the network over which Place is the same
	Rule       string    // its name or number; empty when none matches
	Matched    string    // the condition that matched, as in "geo EU"; empty in a rule for everyone
	Pools      []PoolInTurn
	// Hashed: the client's network decides instead of chance. Shares are those of all networks that the rule is for, while this client
	// always gets from the pool that is chosen, and with Fixed, this answer.
	Hashed, Fixed bool
}

// PoolInTurn is one pool that the rule, or lastResort, names.
type PoolInTurn struct {
	Pool       *steer.Pool
	Step       int // from 1; pools of one step share it
	LastResort bool
	Up         bool
	Chosen     bool      // the answer of this Decision came from it
	AsIfUp     bool      // it answers though it is down, since all are
	Share      float64   // of the answers that come from it, 0 to 1; see Hashed
	Shares     []float64 // of each of Pool.Candidates: of the same answers, those in which it comes first; their sum is Share
	Weights    []float64 // of each of Pool.Candidates: with which it is drawn
	Why        string
}

// Explain decides as Decide does, and tells why.
func (v *View) Explain(s *Service, f Family, c *Client, r uint64) *Explanation {
	e := &Explanation{Service: s, Family: f, Generation: v.Heads[s.Tenant], Asker: c.Subnet}
	v.Decide(&e.Decision, s, f, c, v.Classify(s, c), r)
	if e.Resolver {
		e.Asker = c.Resolver
	}
	e.Place, e.PlaceBits = v.Place(e.Asker)
	rule := int(s.rules)
	if e.Index != NoRule {
		rule = int(e.Index)
		e.Rule = ruleName(s.Spec, rule)
		e.Matched = v.matched(s, rule, e)
	}
	e.pools(v, s, rule, false)
	if last := int(s.rules); rule != last {
		e.pools(v, s, last, true)
	}
	e.shares(v, s, f)
	return e
}

// matched tells which condition of a rule the asker meets.
func (v *View) matched(s *Service, rule int, e *Explanation) string {
	w := s.Spec.Rules[rule].When
	if w == nil {
		return ""
	}
	var parts []string
	for _, g := range w.Geo {
		if p, err := geo.ParsePlace(g); err == nil && e.Place.In(p) {
			parts = append(parts, "geo "+g)
			break
		}
	}
	for _, a := range w.ASN {
		if a == e.Place.ASN {
			parts = append(parts, fmt.Sprintf("asn %d", a))
			break
		}
	}
	for _, name := range w.Map {
		for _, m := range v.Maps {
			if m.Name == name && mapHas(m, e.Asker) {
				parts = append(parts, "map "+name)
			}
		}
	}
	return strings.Join(parts, ", ")
}

func mapHas(m geo.Map, n Net) bool {
	for _, p := range m.Networks {
		if p.Contains(n.Addr()) {
			return true
		}
	}
	return false
}

// pools lists the pools of a rule in their turn.
func (e *Explanation) pools(v *View, s *Service, rule int, last bool) {
	step := 1
	for i, end := s.rule(rule); i < end; i++ {
		d := v.draws.at(s.refs[i].draw)
		p := PoolInTurn{Pool: d.Pool, Step: step, LastResort: last || e.Index == NoRule, Chosen: i == e.Ref, Why: d.Pool.Why}
		lacks, lacking := d.lacks(s, e.Family)
		if p.Up = !lacking; d.Pool.Up && lacking {
			p.Why += fmt.Sprintf(", but none with %s", lacks.noun())
		}
		p.weigh(d, e.Family, e.Fallback == AsIfUp)
		e.Pools = append(e.Pools, p)
		if s.refs[i].last {
			step++
		}
	}
}

// lacks gives the family for want of which a draw is passed over while anything is up.
func (d *Draw) lacks(s *Service, asked Family) (Family, bool) {
	if d.fams[asked].live == nil {
		return asked, true
	}
	for f := range families {
		if s.coherent && s.Serves(f) && d.fams[f].live == nil {
			return f, true
		}
	}
	return 0, false
}

// weigh fills in how a pool's answers divide among its endpoints: by the draw that answers come from. An answer of several counts for the
// one that comes first; where clients do not go by the order, for each in proportion to its record's weight (SRV), or alike (MX).
func (p *PoolInTurn) weigh(d *Draw, f Family, asIfUp bool) {
	n := len(d.Pool.Candidates)
	p.Shares, p.Weights = make([]float64, n), make([]float64, n)
	if asIfUp {
		for _, it := range allItems(d.Pool, f) {
			p.Weights[it.Index] = it.Weight
		}
	} else {
		for i := range d.Pool.Candidates {
			p.Weights[i] = d.Pool.Candidates[i].Effective
		}
	}
	from := d.fams[f].pick(asIfUp)
	if from == nil {
		return
	}
	if f == SRV || f == MX {
		p.weighRecords(f, from.partsOf(0))
		return
	}
	for set, share := range from.shares() {
		p.Shares[from.partsOf(set)[0]] += share
	}
}

func (p *PoolInTurn) weighRecords(f Family, named []uint16) {
	total := 0.0
	for _, c := range named {
		if p.Shares[c] = 1; f == SRV {
			p.Shares[c] = recordWeight(p.Weights[c])
		}
		total += p.Shares[c]
	}
	for _, c := range named {
		p.Shares[c] /= total
	}
}

// shares fills in how answers divide among the pools of the chosen step, and so among their endpoints.
func (e *Explanation) shares(v *View, s *Service, f Family) {
	if e.Ref < 0 {
		for i := range e.Pools {
			e.Pools[i].give(0, false)
		}
		return
	}
	e.Hashed, e.Fixed = s.Pick == Sticky || s.coherent, e.picks.table != nil
	first, end, asIfUp := e.Ref, e.Ref+1, e.Fallback == AsIfUp
	for first > 0 && !s.refs[first-1].last {
		first--
	}
	for !s.refs[end-1].last {
		end++
	}
	total := 0.0
	for i := first; i < end; i++ {
		if v.giving(s, i, f, asIfUp) != nil {
			total += float64(s.refs[i].weight)
		}
	}
	at := slices.IndexFunc(e.Pools, func(p PoolInTurn) bool { return p.Chosen }) - e.Ref
	for i := range e.Pools {
		share := 0.0
		if ref := i - at; first <= ref && ref < end && v.giving(s, ref, f, asIfUp) != nil {
			share = float64(s.refs[ref].weight) / total
		}
		e.Pools[i].give(share, asIfUp)
	}
}

// give says that a share of the answers comes from the pool.
func (p *PoolInTurn) give(share float64, asIfUp bool) {
	p.Share = share
	for i := range p.Shares {
		p.Shares[i] *= share
	}
	if p.AsIfUp = asIfUp && share > 0; p.AsIfUp {
		p.Why += "; all pools are down: answering as if up"
	}
}

// Turns says how often answers come from the pool, for people: "chosen in 10% of the answers". Of a split by chance, each pool that has
// a share may be the one that is Chosen the next time.
func (e *Explanation) Turns(p *PoolInTurn) string {
	switch {
	case !e.Hashed || p.Share == 0 || p.Share == 1:
		return "chosen in " + Percent(p.Share) + " of the answers"
	case p.Chosen:
		return "chosen for " + Percent(p.Share) + " of the client networks, this one among them"
	}
	return "chosen for " + Percent(p.Share) + " of the client networks, not for this one"
}

// FixedNote is what people are told of a Fixed explanation.
const FixedNote = "shares are of client networks: this one always gets the same answer"

// Percent writes a share with three digits, so that a small one does not look like none.
func Percent(share float64) string { return strconv.FormatFloat(100*share, 'g', 3, 64) + "%" }

func (f Family) noun() string {
	return [families]string{"IPv4 addresses", "IPv6 addresses", "host names", "addresses", "addresses", "host names", "host names"}[f]
}

// Example gives the records of the decision, in presentation form.
func (e *Explanation) Example() []string {
	if e.Draw == nil {
		return nil
	}
	var out []string
	for _, i := range e.picks.named(e.Set) {
		end := e.Draw.Pool.Candidates[i].Endpoint
		if end.Host != "" {
			out = append(out, end.Host)
			continue
		}
		for _, a := range end.Addresses {
			if e.Family == HTTPS || e.Family == SVCB || a.Is4() == (e.Family == IPv4) {
				out = append(out, a.String())
			}
		}
	}
	return out
}
