package policy

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/geo"
)

// Row is what clients of a place draw from.
type Row struct {
	Rule  int    // the service's rule that matches; NoRule: none does
	TTL   int64  // seconds: the least of the rules that led here; -1: none has one
	Steps []Node // in the order of failover
	Last  []Node // lastResort's, as far as the fences of the rules allow
}

// NoRule stands for the rule of a client that none matches.
const NoRule = -1

// Node is a choice among arms, or a pool.
type Node struct {
	Kind Kind
	Pool int // of Policy.Pools, of a Leaf
	Arms []Arm
}

// Kind is how a Node chooses.
type Kind uint8

// The kinds of a Node.
const (
	Leaf  Kind = iota
	First      // the first arm that gives an answer
	Split      // by the weights of the arms that do
)

// Arm is a node below another.
type Arm struct {
	Node   Node
	Weight int // 1 to 65,535, of a Split
}

// Where is all that a Policy asks of a client's place. Where two are equal (==), so are the rows.
type Where struct {
	met     string // bit n: its condition n
	point   geo.Point
	latency *geo.Latency
}

// Where gives what the policy asks of a place; in tells of Maps.
func (p *Policy) Where(place geo.Place, in geo.Hits) Where {
	var w Where
	if n := len(p.matchers); n > 0 {
		met := make([]byte, (n+7)/8)
		for i := range n {
			if p.conditions.Met(i, place, in) {
				met[i/8] |= 1 << (i % 8)
			}
		}
		w.met = string(met)
	}
	if p.located {
		w.point = place.Point()
	}
	if p.timed {
		w.latency = place.Latency
	}
	return w
}

// Row gives the row of clients of whom w is known. What it is made of is told to trace, which may be nil.
func (p *Policy) Row(w Where, trace *Trace) Row {
	e := &expander{policy: p, where: &w, trace: trace}
	row := Row{Rule: e.match(p.rules), TTL: -1}
	e.fenced(p.fence)
	var targets []target
	if row.Rule != NoRule {
		r := &p.rules[row.Rule]
		targets = r.targets
		e.enter(r)
		e.gather(targets)
	}
	e.gather(p.last)
	if e.trace != nil {
		e.trace.begin(p, e)
	}
	row.Steps, row.TTL = e.list(targets), e.ttl()
	e.trace.lastResort()
	row.Last = e.list(p.last)
	return row
}

// expander makes one row.
type expander struct {
	policy   *Policy
	where    *Where
	trace    *Trace
	outside  []bool // of Policy.Pools: a fence leaves it out; nil: there is none
	fences   [][]string
	least    int64  // TTL; 0: none yet, else one more
	shortest string // the rule that has it
}

// match gives the first rule whose condition is met.
func (e *expander) match(rules []rule) int {
	for i := range rules {
		if c := rules[i].condition; c == everyone || e.where.met[c/8]>>(c%8)&1 != 0 {
			return i
		}
	}
	return NoRule
}

// fenced leaves out the pools outside of a fence, for all of the row: whatever else the row holds, the fence is never left.
func (e *expander) fenced(fence []string) {
	if len(fence) == 0 {
		return
	}
	if e.outside == nil {
		e.outside = make([]bool, len(e.policy.Pools))
	}
	e.fences = append(e.fences, fence)
	for i := range e.policy.Pools {
		e.outside[i] = e.outside[i] || !e.policy.Pools[i].inside(fence)
	}
}

func (e *expander) admits(pool int) bool { return e.outside == nil || !e.outside[pool] }

// enter takes the fence and the TTL of a rule.
func (e *expander) enter(r *rule) {
	e.fenced(r.fence)
	if r.ttl >= 0 && (e.least == 0 || r.ttl < e.least-1) {
		e.least, e.shortest = r.ttl+1, r.title
	}
}

func (e *expander) ttl() int64 { return e.least - 1 }

// gather goes ahead through the policies that targets use, for their fences and TTLs.
func (e *expander) gather(targets []target) {
	for i := range targets {
		t := &targets[i]
		if t.kind == policyTarget {
			e.fenced(t.fence)
			if at := e.match(t.rules); at != NoRule {
				e.enter(&t.rules[at])
				e.gather(t.rules[at].targets)
			}
		}
		e.gather(t.arms)
	}
}

// list gives the steps that targets come to, one after the other. Neighbours that carry a weight share a step.
func (e *expander) list(targets []target) (steps []Node) {
	for i := 0; i < len(targets); i++ {
		t := &targets[i]
		switch {
		case t.weight > 0:
			end := i + 1
			for end < len(targets) && targets[end].weight > 0 {
				end++
			}
			steps = append(steps, e.shared(targets[i:end])...)
			i = end - 1
		case t.trickle > 0:
			steps = trickled(steps, e.steps(t), t.trickle)
		default:
			steps = append(steps, e.steps(t)...)
		}
	}
	return steps
}

// shared gives the step that shares answers among targets. One that comes to nothing has no share.
func (e *expander) shared(targets []target) []Node {
	var arms []Arm
	var last []Node
	for i := range targets {
		if steps := e.steps(&targets[i]); len(steps) > 0 {
			arms = append(arms, Arm{whole(steps), max(targets[i].weight, 1)})
			last = steps
		}
	}
	if len(arms) == 1 {
		return last
	}
	return split(arms)
}

// split gives a step of arms, if there are any.
func split(arms []Arm) []Node {
	if len(arms) == 0 {
		return nil
	}
	return []Node{{Kind: Split, Arms: arms}}
}

// trickled gives a share, in parts of ten thousand, to what would only come behind steps.
func trickled(steps, behind []Node, share int) []Node {
	switch {
	case len(steps) == 0:
		return behind
	case len(behind) == 0:
		return steps
	}
	return split([]Arm{{whole(steps), 10000 - share}, {whole(behind), share}})
}

// whole makes one node of steps.
func whole(steps []Node) Node {
	if len(steps) == 1 {
		return steps[0]
	}
	n := Node{Kind: First}
	for _, s := range steps {
		n.Arms = append(n.Arms, Arm{s, 1})
	}
	return n
}

// steps gives what a target comes to.
func (e *expander) steps(t *target) []Node {
	switch t.kind {
	case poolTarget:
		if !e.admits(t.pool) {
			return nil
		}
		return []Node{{Pool: t.pool}}
	case listTarget:
		return e.list(t.arms)
	case splitTarget:
		return e.shared(t.arms)
	case nearestTarget:
		return e.groups(t, e.nearestOf(t))
	case fastestTarget:
		return e.groups(t, e.fastestOf(t))
	}
	at := e.match(t.rules)
	e.trace.policy(t, at)
	if at == NoRule {
		return nil
	}
	return e.list(t.rules[at].targets)
}

// groups gives a step for each group of pools, up to some cut; behind it all of them, as listed.
func (e *expander) groups(t *target, groups [][]ranked) (steps []Node) {
	total, shown := 0, 0
	for _, g := range groups {
		total += len(g)
	}
	for i, g := range groups {
		if shown >= cut && i < len(groups)-1 {
			return append(steps, e.rest(t, groups))
		}
		var arms []Arm
		for _, r := range g {
			arms = append(arms, Arm{Node{Pool: r.pool}, r.weight})
		}
		if shown += len(g); len(g) == 1 {
			steps = append(steps, arms[0].Node)
		} else {
			steps = append(steps, split(arms)...)
		}
	}
	return steps
}

// rest gives all pools of some groups, as listed.
func (e *expander) rest(t *target, groups [][]ranked) Node {
	in := make([]bool, len(t.among))
	for _, g := range groups {
		for _, r := range g {
			in[r.at] = true
		}
	}
	n := Node{Kind: First}
	for i, c := range t.among {
		if in[i] {
			n.Arms = append(n.Arms, Arm{Node{Pool: c.pool}, 1})
		}
	}
	return n
}

// AppendKey appends what is the same for equal nodes.
func (n *Node) AppendKey(b []byte) []byte {
	if n.Kind == Leaf {
		return binary.AppendUvarint(append(b, byte(Leaf)), uint64(n.Pool))
	}
	b = binary.AppendUvarint(append(b, byte(n.Kind)), uint64(len(n.Arms)))
	for i := range n.Arms {
		b = n.Arms[i].Node.AppendKey(binary.AppendUvarint(b, uint64(n.Arms[i].Weight)))
	}
	return b
}

// AppendKey appends what is the same for rows from which clients get the same: steps, last resort and TTL. Which rule led there makes no
// difference.
func (r *Row) AppendKey(b []byte) []byte {
	b = binary.AppendVarint(b, r.TTL)
	for _, list := range [][]Node{r.Steps, r.Last} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for i := range list {
			b = list[i].AppendKey(b)
		}
	}
	return b
}
