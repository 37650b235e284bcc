package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
)

// Explanation is a Decision in words. The code that chooses made it: Explain calls Decide.
type Explanation struct {
	Decision
	Service    *Service
	Generation uint64
	Family     rr.Family
	Asker      Net           // whose address decided: the client's subnet or the resolver
	Place      geo.Place     // of Asker
	PlaceBits  uint8         // the length of the network over which Place is the same
	RuleIndex  int           // of the service's rule that matches; policy.NoRule: none does
	Rule       string        // its name or number; empty when none matches
	Matched    string        // the condition that matched, as in "geo EU"; empty in a rule for everyone
	Trace      *policy.Trace // how the policy came to its row; nil: the service's rules name nothing but pools
	ScopeFrom  string        // what made Scope as long as it is, as in "place", for people
	TTLFrom    string        // what set TTL, as in "rule europe", for people; empty where nothing is answered
	Pools      []PoolInTurn
	Drawn      int // how often View.Draw drew
	// Hashed: the client's network decides instead of chance, or the label. Shares are those of all networks that the rule is for, or of
	// all labels, while this one always gets from the pool that is chosen, and with Fixed, this answer.
	Hashed, Fixed bool
	last          bool // it comes from lastResort's row
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
	Drawn      int       // how many of Explanation.Drawn answers came from it
	DrawnFirst []int     // of each of Pool.Candidates: how many of these it came first in; nil: see View.Draw
	Why        string
	at         branch
}

// Explain decides as Decide does, and tells why.
func (v *View) Explain(s *Service, f rr.Family, c *Client, r uint64) *Explanation {
	e := &Explanation{Service: s, Family: f, Generation: v.Heads[s.Tenant], Asker: c.Subnet}
	class := v.Classify(s, c)
	v.Decide(&e.Decision, s, f, c, class, r)
	e.ScopeFrom = e.scopeFrom(c, class)
	if e.Resolver {
		e.Asker = c.Resolver
	}
	e.Place, e.PlaceBits = v.Place(e.Asker)
	row := s.rowFor(e.Class)
	last := s.lastFor(row)
	if e.RuleIndex = v.rule(e, row); e.RuleIndex != policy.NoRule {
		e.Rule = RuleName(s.Spec, e.RuleIndex)
		e.Matched = v.matched(s, e.RuleIndex, e)
	}
	from := row
	if e.last = v.fromLast(e, row); e.last {
		from = last
	}
	e.TTLFrom = e.ttlFrom(from)
	e.Hashed, e.Fixed = e.hashed, e.picks.Sticky()
	e.row(v, row, row == last)
	if row != last {
		e.row(v, last, true)
	}
	return e
}

// rule gives the rule of the service that matches a client of a row, policy.NoRule where none does. Of a policy it asks again, for the
// asker's place.
func (v *View) rule(e *Explanation, row int) int {
	s := e.Service
	switch {
	case s.Steering != nil:
		p := s.Steering.Policy
		e.Trace = &policy.Trace{}
		_, rule := p.Row(p.Where(e.Place, geo.HitsAt(v.Maps, p.Maps(), e.Asker.Addr())), e.Trace)
		return rule
	case row == s.lastFor(row):
		return policy.NoRule
	}
	return row
}

// fromLast reports whether lastResort's row answers a client of a row.
func (v *View) fromLast(e *Explanation, row int) bool {
	s := e.Service
	switch e.Fallback {
	case LastResort:
		return true
	case AsIfUp: // lastResort's comes first
		need, asIfUp := s.needs(e.Family, AsIfUp)
		n, _ := v.firstOf(s, s.lastFor(row), need, asIfUp)
		return n != nil
	}
	return false
}

// scopeFrom tells what made the scope as long as it is, of a client of a class.
func (e *Explanation) scopeFrom(c *Client, class Class) string {
	switch {
	case e.NoSubnets():
		return "resolver (ecs is off)"
	case !c.Has:
		return "resolver (no client subnet was told)"
	case e.Resolver:
		return fmt.Sprintf("resolver (the subnet is in a special-purpose /%d, which tells nothing)", e.Scope)
	case e.Scope > class.Scope:
		return fmt.Sprintf("network hashed (sticky /%d; the place alone: /%d)", e.Scope, class.Scope)
	case e.Scope == 0:
		return "nothing (the same for everyone)"
	}
	return "place"
}

// RowTTL gives the TTL, in seconds, that is declared for a row.
func RowTTL(s *spec.Service, row int) uint32 {
	if row == len(s.Rules) { // lastResort's
		return s.TTLSeconds()
	}
	return s.RuleTTLSeconds(row)
}

// ttlFrom tells what set the TTL of an answer from a row.
func (e *Explanation) ttlFrom(row int) string {
	if e.Draw == nil {
		return ""
	}
	s := e.Service
	if e.hashed && e.left < s.Steps[e.step].TTL {
		return "the end of the period"
	}
	ttl, unsure := s.Steps[e.step].TTL, e.Draw.Pool.Unsure()
	if e.TTL < ttl && unsure != "" && s.Spec.TTLUnsure != nil && e.TTL == s.Spec.TTLUnsure.WholeSeconds() {
		return "ttlUnsure: " + unsure
	}
	switch {
	case s.Steering != nil:
		return e.policyTTLFrom()
	case e.TTL < ttl:
		return "what the alias leads to"
	case ttl < RowTTL(s.Spec, row):
		return "alias"
	case row < int(s.rules) && s.Spec.Rules[row].TTL != nil:
		return "rule " + RuleName(s.Spec, row)
	}
	return "service"
}

// policyTTLFrom is ttlFrom for a service that goes by a policy.
func (e *Explanation) policyTTLFrom() string {
	ttl, from := e.Service.Spec.TTLSeconds(), "service"
	if !e.last && e.Trace.TTLFrom != "" {
		from = e.Trace.TTLFrom
	}
	if step := e.Service.Steps[e.step].TTL; e.TTL < step {
		return "what the alias leads to"
	} else if from == "service" && step < ttl {
		return "alias"
	}
	return from
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
	parts = append(parts, v.inMaps("map ", w.Map, e.Asker)...)
	parts = append(parts, v.inMaps("resolver ", w.Resolver, e.Asker)...)
	return strings.Join(parts, ", ")
}

// inMaps names those of some maps that hold a network's address, with a word before each.
func (v *View) inMaps(word string, maps []string, n Net) (in []string) {
	for _, name := range maps {
		for _, m := range v.Maps {
			if m.Name == name && m.Has(n.Addr()) {
				in = append(in, word+name)
			}
		}
	}
	return in
}

// row lists the pools of a row in their turn.
func (e *Explanation) row(v *View, row int, last bool) {
	need, asIfUp := e.Service.needs(e.Family, e.Fallback)
	number, before := 0, false
	for _, steps := range e.Service.turnsOf(row) {
		chosen := last == e.last && !before && slices.Contains(steps, e.step)
		before = before || chosen // a step that stands in several turns is chosen in the first
		number++
		shares := []float64{1}
		if len(steps) > 1 {
			shares = e.Service.Steering.groupShares(v, e.Service.Steps, steps, need, asIfUp)
		}
		for i, step := range steps {
			t := turn{step: number, last: last, chosen: chosen && step == e.step, at: branch{step: step}}
			if chosen {
				t.share = shares[i]
			}
			number = e.below(v, e.Service.Steps[step].Node, t)
		}
	}
}

// turn is what is known of a node on the way to the pools below it.
type turn struct {
	step   int
	last   bool
	chosen bool    // the decision came through here
	share  float64 // of the answers that come through here
	at     branch
}

// branch is the way that a decision takes to a leaf.
type branch struct {
	step  int // of Service.Steps
	path  [MaxDepth]uint16
	depth int // so much of path is taken
}

// leadsTo reports whether the decision came this way.
func (b *branch) leadsTo(d *Decision) bool {
	return b.step == d.step && slices.Equal(b.path[:b.depth], d.path[:b.depth])
}

// below lists the pools below a node, with what its choice gives each, and gives the last step that it counted: the nearest of some pools
// are steps of their own, where they stand in a row.
func (e *Explanation) below(v *View, node uint32, t turn) (step int) {
	n := v.Nodes.Ref(node)
	if n.Kind == LeafNode {
		e.pool(n, t)
		return t.step
	}
	need, asIfUp := e.Service.needs(e.Family, e.Fallback)
	km := v.distances(e.Service, e.Class)
	shares := n.shares(km, need, asIfUp)
	for turns, group := range n.inTurn(km) {
		if turns > 0 && n.Kind == NearestNode && t.at.depth == 0 {
			t.step++
		}
		for _, i := range group {
			down := turn{t.step, t.last, t.chosen && int(e.path[t.at.depth]) == i, 0, t.at}
			down.at.path[t.at.depth] = uint16(i)
			down.at.depth++
			if t.share > 0 {
				down.share = t.share * shares[i]
			}
			e.below(v, (*n.Arms)[i].Node, down)
		}
	}
	return t.step
}

// pool lists one pool.
func (e *Explanation) pool(n *Node, t turn) {
	d, asIfUp := n.Draw, e.Fallback == AsIfUp
	p := PoolInTurn{Pool: d.Pool, Step: t.step, LastResort: t.last, Chosen: t.chosen, Why: d.Pool.Why, at: t.at}
	if would := d.Pool.Would(); would != "" {
		p.Why += "; " + would
	}
	lacks, lacking := n.lacks(e.Service, e.Family)
	if p.Up = !lacking; d.Pool.Up && lacking {
		p.Why += fmt.Sprintf(", but none with %s", lacks.Noun())
	}
	p.weigh(d, e.Family, asIfUp)
	p.give(t.share, asIfUp)
	e.Pools = append(e.Pools, p)
}

// lacks gives the family for want of which a leaf is passed over while anything is up.
func (n *Node) lacks(s *Service, asked rr.Family) (rr.Family, bool) {
	if !n.Live.Has(asked) {
		return asked, true
	}
	for f := range rr.Families {
		if s.Need.Has(f) && !n.Live.Has(f) {
			return f, true
		}
	}
	return 0, false
}

// weigh fills in how a pool's answers divide among its endpoints: by the draw that answers come from. An answer of several counts for the
// one that comes first; where clients do not go by the order, for each in proportion to its record's weight (SRV), or alike (MX).
func (p *PoolInTurn) weigh(d *draws.Draw, f rr.Family, asIfUp bool) {
	n := len(d.Pool.Candidates)
	p.Shares, p.Weights = make([]float64, n), make([]float64, n)
	if asIfUp {
		for candidate, weight := range draws.DeclaredWeights(d.Pool, f) {
			p.Weights[candidate] = weight
		}
	} else {
		for i := range d.Pool.Candidates {
			p.Weights[i] = d.Pool.Candidates[i].Effective
		}
	}
	from := d.From(f, asIfUp)
	if from == nil {
		return
	}
	if f == rr.SRV || f == rr.MX {
		p.weighRecords(f, from.PartsOf(0))
		return
	}
	for set, share := range from.Shares() {
		p.Shares[from.PartsOf(set)[0]] += share
	}
}

func (p *PoolInTurn) weighRecords(f rr.Family, named []uint16) {
	total := 0.0
	for _, c := range named {
		if p.Shares[c] = 1; f == rr.SRV {
			p.Shares[c] = draws.RecordWeight(p.Weights[c])
		}
		total += p.Shares[c]
	}
	for _, c := range named {
		p.Shares[c] /= total
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
		return "chosen for " + Percent(p.Share) + " of the " + e.hashes() + ", this one among them"
	}
	return "chosen for " + Percent(p.Share) + " of the " + e.hashes() + ", not for this one"
}

// hashes names what is hashed.
func (e *Explanation) hashes() string {
	if e.byLabel() {
		return "labels"
	}
	return "client networks"
}

func (e *Explanation) byLabel() bool {
	sticky := e.Service.Spec.Sticky
	return sticky != nil && sticky.By == spec.ByLabel
}

// FixedNote is what people are told of a Fixed explanation.
func (e *Explanation) FixedNote() string {
	note := "shares are of " + e.hashes()
	switch {
	case e.byLabel() && !e.Service.Spec.ByPlace():
		return note + ": this label always gets the same answer, whoever asks"
	case e.byLabel():
		return note + ": this label always gets the same answer here"
	case e.left != AnyTTL:
		return fmt.Sprintf("%s: this one gets the same answer until its period of %s ends, in %s", note, e.Service.Spec.Sticky.Period,
			time.Duration(e.left)*time.Second)
	}
	return note + ": this one always gets the same answer"
}

// NoSubnets reports whether the service looks at no client subnet.
func (e *Explanation) NoSubnets() bool { return e.Service.Spec.ECS == spec.ECSOff }

// NoSubnetsNote is what people are told of a service that looks at no client subnet.
const NoSubnetsNote = "ecs is off: the resolver's address decides, whatever client subnet is told"

// Percent writes a share with three digits, so that a small one does not look like none.
func Percent(share float64) string { return strconv.FormatFloat(100*share, 'g', 3, 64) + "%" }

// Example gives the records of the decision, in presentation form.
func (e *Explanation) Example() []string {
	if e.Draw == nil {
		return nil
	}
	var out []string
	for _, i := range e.picks.Named(e.Set) {
		end := e.Draw.Pool.Candidates[i].Endpoint
		if end.Host != "" {
			out = append(out, end.Host)
			continue
		}
		for _, a := range end.Addresses {
			if e.Family == rr.HTTPS || e.Family == rr.SVCB || a.Is4() == (e.Family == rr.IPv4) {
				out = append(out, a.String())
			}
		}
	}
	return out
}

// RuleName names a rule for people.
func RuleName(s *spec.Service, i int) string {
	if s.Rules[i].Name != "" {
		return s.Rules[i].Name
	}
	return fmt.Sprintf("%d", i+1)
}
