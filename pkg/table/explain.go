package table

import (
	"fmt"
	"slices"
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
}

// PoolInTurn is one pool that the rule, or lastResort, names.
type PoolInTurn struct {
	Pool       *steer.Pool
	Step       int // from 1; pools of one step share it
	LastResort bool
	Up         bool
	Chosen     bool      // this client's answer came from it
	AsIfUp     bool      // it answers though it is down, since all are
	Share      float64   // of this client's answers that come from it
	Shares     []float64 // of each of Pool.Candidates: how many of the pool's answers name it
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

// weigh fills in how a pool's answers divide among its endpoints: by the draw that answers come from.
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
	for set, share := range from.shares() {
		for _, c := range from.partsOf(set) {
			p.Shares[c] += share
		}
	}
}

// shares fills in how the client's answers divide among the pools of the chosen step.
func (e *Explanation) shares(v *View, s *Service, f Family) {
	if e.Ref < 0 {
		return
	}
	at := slices.IndexFunc(e.Pools, func(p PoolInTurn) bool { return p.Chosen })
	if s.Pick == Sticky || s.coherent {
		e.give(at, 1) // this very client always gets this one
		return
	}
	first, end := e.Ref, e.Ref+1
	for first > 0 && !s.refs[first-1].last {
		first--
	}
	for !s.refs[end-1].last {
		end++
	}
	total := 0.0
	for i := first; i < end; i++ {
		if v.giving(s, i, f, e.Fallback == AsIfUp) != nil {
			total += float64(s.refs[i].weight)
		}
	}
	for i := first; i < end; i++ {
		if v.giving(s, i, f, e.Fallback == AsIfUp) != nil {
			e.give(at+i-e.Ref, float64(s.refs[i].weight)/total)
		}
	}
}

// give says that a share of the answers comes from a pool.
func (e *Explanation) give(at int, share float64) {
	p := &e.Pools[at]
	p.Share = share
	if e.Fallback == AsIfUp {
		p.AsIfUp = true
		p.Why += "; all pools are down: answering as if up"
	}
}

func (f Family) noun() string {
	return [families]string{"IPv4 addresses", "IPv6 addresses", "host names", "addresses", "addresses", "host names", "host names"}[f]
}

// Example gives the records of the decision, in presentation form.
func (e *Explanation) Example() []string {
	if e.Draw == nil {
		return nil
	}
	var out []string
	for _, i := range e.picks.partsOf(e.Set) {
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
