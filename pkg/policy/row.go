package policy

import (
	"encoding/binary"
	"slices"

	"github.com/gti/gtm/pkg/geo"
)

// NoRule stands for the rule of a client that none matches.
const NoRule = -1

// Where is all that a Policy asks of a client's place. Where two are equal (==), so are the rows.
type Where struct {
	met     string // bit n: its condition n
	point   geo.Point
	latency *geo.Latency
	region  string // the continent, where a pool is judged for each
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
	if p.regional != nil {
		w.region = place.Continent
	}
	return w
}

// Row gives the row of clients of whom w is known, and the service's rule that matches. What the row is made of is told to trace, which may
// be nil.
func (p *Policy) Row(w Where, trace *Trace) (row Row, rule int) {
	e := &expander{policy: p, trace: trace}
	rule = e.row(&w, none)
	return Row(e.code), rule
}

// Rows are the rows of a policy, each once, made of steps, each once.
type Rows struct {
	Steps  []Node
	Orders []Order
	Of     []uint16 // of Orders, for each Where; with Groups, for each group
	Groups []uint16 // the group of each Where; nil: each stands for itself
}

// At gives which of Orders a Where has.
func (r *Rows) At(where int) uint16 {
	if r.Groups != nil {
		where = int(r.Groups[where])
	}
	return r.Of[where]
}

// Order is a row as it is made of steps, by their index in Rows.Steps.
type Order struct {
	TTL    int64  // seconds, of the rules that led to it; -1: none has one
	Region string // the continent whose clients it is for; empty: no pool in it is judged for each, or theirs is not known
	Steps  []uint16
	Last   []uint16 // lastResort's, as far as fences allow
}

// LastAs reports whether lastResort's row is the same as in another one.
func (o *Order) LastAs(p *Order) bool { return o.Region == p.Region && slices.Equal(o.Last, p.Last) }

// Rows gives the rows at all points of a grid. Where nothing but distance tells places apart for which the same rules match, they have one
// row, with a Nearest: what is nearest is left to who asks, since of many policies over many places the rows could not be kept. What comes
// is not to be changed.
func (p *Policy) Rows(g *Grid) *Rows {
	if p.timed || p.ranked {
		return p.rowsOf(g, len(g.wheres), func(group int) int { return group })
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	rows := g.rows[p.shape]
	if rows == nil {
		alike := g.alike()
		rows = p.rowsOf(g, len(alike.first), func(group int) int { return alike.first[group] })
		if rows.Groups = alike.groups; g.rows == nil || len(g.rows) == maxShapes {
			g.rows = map[*shape]*Rows{}
		}
		g.rows[p.shape] = rows
	}
	return rows
}

// rowsOf gives the rows of n groups of a grid's points, of which at gives one of each.
func (p *Policy) rowsOf(g *Grid, n int, at func(group int) int) *Rows {
	e := &expander{policy: p}
	if e.nodes = !p.timed && !p.ranked; !e.nodes {
		e.km = g.distances(p)
	}
	var list []Row
	of := make([]uint16, n)
	known := make(map[Row]uint16, min(n, 64))
	for group := range of {
		where := at(group)
		e.row(&g.wheres[where], where)
		number, ok := known[Row(e.code)]
		if !ok {
			number = uint16(len(list))
			row := Row(e.code)
			known[row], list = number, append(list, row)
		}
		of[group] = number
	}
	rows := RowsOf(list)
	rows.Of = of
	return rows
}

// Index numbers the rows of a policy as it meets them. It is for one goroutine.
type Index struct {
	Rows  []Row
	known map[Row]int
	e     expander
}

// NewIndex makes an Index that has met no row.
func (p *Policy) NewIndex() *Index { return &Index{known: map[Row]int{}, e: expander{policy: p}} }

// Of gives the number of the row of clients of whom w is known.
func (x *Index) Of(w Where) int {
	x.e.row(&w, none)
	at, ok := x.known[Row(x.e.code)]
	if !ok {
		row := Row(x.e.code)
		at = len(x.Rows)
		x.known[row], x.Rows = at, append(x.Rows, row)
	}
	return at
}

// RowsOf takes rows apart.
func RowsOf(list []Row) *Rows {
	rows := &Rows{Orders: make([]Order, len(list)), Of: make([]uint16, len(list))}
	known, flat := make(map[string]uint16, 32), make([]uint16, 0, 8*len(list))
	for i, row := range list {
		o, from, last := &rows.Orders[i], len(flat), 0
		o.Region = row.region()
		o.TTL = row.each(func(step string, behind bool) {
			at, ok := known[step]
			if !ok {
				at = uint16(len(rows.Steps))
				n, _ := readStep([]byte(step))
				known[step], rows.Steps = at, append(rows.Steps, n)
			}
			if flat = append(flat, at); behind {
				last++
			}
		})
		o.Steps, o.Last = flat[from:len(flat)-last:len(flat)-last], flat[len(flat)-last:len(flat):len(flat)]
		rows.Of[i] = uint16(i)
	}
	return rows
}

// expander makes rows, one after the other, and keeps its memory for the next one.
type expander struct {
	policy *Policy
	trace  *Trace
	code   []byte // of the row

	where    *Where
	at       int         // of the Grid; or none
	km       [][]float32 // by pool, then by at; nil: they are computed
	nodes    bool        // nearest is written as a Nearest
	fences   [][]string  // that hold
	outside  []bool      // of Policy.Pools: a fence leaves it out; empty: there is none
	least    int64       // TTL; 0: none yet, else one more
	shortest string      // the rule that has it
	regional bool        // the row has a pool that is judged for each continent
	ranked   []ranked    // memory for an order
	ms       []float64   // the same, of fastest
}

// none stands for the place in a Grid of a Where that is in none.
const none = -1

// row writes the row into code.
func (e *expander) row(w *Where, at int) (rule int) {
	p := e.policy
	e.where, e.at, e.fences, e.outside, e.least, e.shortest = w, at, e.fences[:0], e.outside[:0], 0, ""
	e.regional = false
	rule = e.match(p.rules)
	e.fenced(p.fence)
	var targets []target
	if rule != NoRule {
		r := &p.rules[rule]
		targets = r.targets
		e.enter(r)
		e.gather(targets)
	}
	e.gather(p.last)
	e.trace.begin(e, rule)
	e.code = binary.AppendUvarint(append(e.code[:0], 0), uint64(e.least))
	e.list(targets)
	e.code = append(e.code, codeEnd)
	e.trace.lastResort()
	e.list(p.last)
	e.code = append(e.code, codeEnd)
	if e.regional { // else clients of all continents have the same row
		e.code[0] = byte(1 + slices.Index(geo.Continents[:], w.region))
		e.trace.regional(w.region)
	}
	return rule
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
func (e *expander) fenced(f *fence) {
	if f == nil {
		return
	}
	if len(e.outside) == 0 {
		e.outside = slices.Grow(e.outside, len(f.outside))[:len(f.outside)]
		clear(e.outside)
	}
	e.fences = append(e.fences, f.places)
	for i, out := range f.outside {
		e.outside[i] = e.outside[i] || out
	}
}

func (e *expander) admits(pool int) bool { return len(e.outside) == 0 || !e.outside[pool] }

// enter takes the fence and the TTL of a rule.
func (e *expander) enter(r *rule) {
	e.fenced(r.fence)
	if r.ttl >= 0 && (e.least == 0 || r.ttl < e.least-1) {
		e.least, e.shortest = r.ttl+1, r.title
	}
}

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

// list writes the steps that targets come to, one after the other. Neighbours that carry a weight share a step.
func (e *expander) list(targets []target) {
	from := len(e.code)
	for i := 0; i < len(targets); i++ {
		t := &targets[i]
		switch {
		case t.weight > 0:
			end := i + 1
			for end < len(targets) && targets[end].weight > 0 {
				end++
			}
			e.shared(targets[i:end])
			i = end - 1
		case t.trickle > 0:
			e.trickled(from, t)
		default:
			e.steps(t)
		}
	}
}

// shared writes the step that shares answers among targets. One that comes to nothing has no share; one that is alone needs no step.
func (e *expander) shared(targets []target) {
	from, arms, body := len(e.code), 0, 0
	e.code = append(e.code, codeSplit)
	for i := range targets {
		head := len(e.code)
		e.code = binary.AppendUvarint(e.code, uint64(max(targets[i].weight, 1)))
		begin := len(e.code)
		if e.steps(&targets[i]); len(e.code) == begin {
			e.code = e.code[:head]
			continue
		}
		arms, body = arms+1, begin
		e.code = append(e.code, codeEnd)
	}
	switch arms {
	case 0:
		e.code = e.code[:from]
	case 1:
		e.code = append(e.code[:from], e.code[body:len(e.code)-1]...)
	default:
		e.code = append(e.code, codeEnd)
	}
}

// trickled gives a share to what would only come behind the steps since from.
func (e *expander) trickled(from int, t *target) {
	behind := len(e.code)
	if e.steps(t); behind == from || len(e.code) == behind {
		return
	}
	before, after := slices.Clone(e.code[from:behind]), slices.Clone(e.code[behind:])
	e.code = binary.AppendUvarint(append(e.code[:from], codeSplit), uint64(whole10000-t.trickle))
	e.code = binary.AppendUvarint(append(append(e.code, before...), codeEnd), uint64(t.trickle))
	e.code = append(append(e.code, after...), codeEnd, codeEnd)
}

// whole10000 is all of the answers, in the parts of target.trickle.
const whole10000 = 10000

// steps writes what a target comes to.
func (e *expander) steps(t *target) {
	switch t.kind {
	case poolTarget:
		if e.admits(t.pool) {
			e.pool(t.pool)
		}
	case listTarget:
		e.list(t.arms)
	case splitTarget:
		e.shared(t.arms)
	case nearestTarget, fastestTarget:
		e.ordered(t)
	case policyTarget:
		at := e.match(t.rules)
		if e.trace.policy(t, at); at != NoRule {
			e.list(t.rules[at].targets)
		}
	}
}

func (e *expander) pool(pool int) {
	e.regional = e.regional || e.policy.regional != nil && e.policy.regional[pool]
	if code := codePool + pool; code < 0x80 {
		e.code = append(e.code, byte(code))
		return
	}
	e.code = binary.AppendUvarint(e.code, uint64(codePool+pool))
}

// ordered writes a step for each group of pools that nearest or fastest make, up to some cut; behind it all of them, as listed.
func (e *expander) ordered(t *target) {
	list := e.allowed(t.among)
	if e.nodes && len(list) > 1 {
		e.unranked(t, list)
		return
	}
	if t.kind == nearestTarget {
		list = e.nearest(t, list)
	} else {
		e.fastest(t, list)
	}
	for from := 0; from < len(list); {
		if from >= cut && len(list) > cut+1 {
			e.rest(t, list)
			return
		}
		end := from + 1
		for end < len(list) && list[end].group == list[from].group {
			end++
		}
		e.group(t, list[from:end])
		from = end
	}
}

// group writes pools that share the answers.
func (e *expander) group(t *target, list []ranked) {
	if len(list) == 1 {
		e.pool(t.among[list[0].at].pool)
		return
	}
	e.code = append(e.code, codeSplit)
	for i := range list {
		c := &t.among[list[i].at]
		e.code = binary.AppendUvarint(e.code, uint64(c.weight))
		e.pool(c.pool)
		e.code = append(e.code, codeEnd)
	}
	e.code = append(e.code, codeEnd)
}

// unranked writes pools of which the nearest is to be chosen, as listed.
func (e *expander) unranked(t *target, list []ranked) {
	e.code = appendFloats(append(e.code, codeNearest), t.band)
	for i := range list {
		c := &t.among[list[i].at]
		e.code = binary.AppendUvarint(e.code, uint64(c.weight))
		e.pool(c.pool)
		e.code = appendFloats(e.code, c.Share, c.Kilometres)
	}
	e.code = append(e.code, codeEnd)
}

// rest writes all pools of a list, as they were declared, as one step.
func (e *expander) rest(t *target, list []ranked) {
	e.code = append(e.code, codeFirst)
	for i, c := range t.among {
		if slices.ContainsFunc(list, func(r ranked) bool { return int(r.at) == i }) {
			e.pool(c.pool)
		}
	}
	e.code = append(e.code, codeEnd)
}
