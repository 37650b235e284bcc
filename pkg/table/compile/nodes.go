package compile

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
)

// rowsOf gives the pools of each row of a service: those of its rules, then those of lastResort.
func rowsOf(s *spec.Service) [][]spec.Target {
	rows := make([][]spec.Target, 0, len(s.Rules)+1)
	for i := range s.Rules {
		rows = append(rows, s.Rules[i].Pools)
	}
	return append(rows, s.LastResort)
}

// addRows compiles the rows of a service.
func (c *Compiler) addRows(out *table.Service, s *serviceState, p *plan, form draws.Form) error {
	if poolRefs(out.Spec) > math.MaxUint16 {
		return fmt.Errorf("the rules of one service name at most %d pools", math.MaxUint16)
	}
	rows := rowsOf(out.Spec)
	out.Index = make([]uint32, 0, len(rows)+1)
	s.steps = make([]*nodeState, 0, poolRefs(out.Spec))
	for i, row := range rows {
		out.Index = append(out.Index, uint32(len(s.steps)))
		if err := c.addRow(s, out.Need, p.tenant, form, row); err != nil {
			if i == len(out.Spec.Rules) {
				return fmt.Errorf("lastResort: %w", err)
			}
			return fmt.Errorf("rule %s: %w", table.RuleName(out.Spec, i), err)
		}
	}
	out.Index = append(out.Index, uint32(len(s.steps)))
	s.steps = slices.Clip(s.steps)
	out.Steps = make([]table.Step, len(s.steps))
	for row := range rows {
		ttl := p.atMost(table.RowTTL(out.Spec, row))
		for i := out.Index[row]; i < out.Index[row+1]; i++ {
			out.Steps[i] = table.Step{Node: s.steps[i].slot, TTL: ttl}
		}
	}
	out.InlineIndex()
	return nil
}

// addRow appends the steps of one row: neighbours that carry a weight are one.
func (c *Compiler) addRow(s *serviceState, need rr.FamilySet, tenant string, form draws.Form, pools []spec.Target) error {
	kind := table.WeightedNode
	if need != 0 {
		kind = table.HashedNode
	}
	var arms []share
	for i, p := range pools {
		d, err := c.draw(health.PoolID{Tenant: tenant, Pool: p.Pool}, form)
		if err != nil {
			c.releaseArms(arms)
			return err
		}
		arms = append(arms, share{node: &d.nodeState, weight: uint16(min(max(p.Weight, 1), math.MaxUint16))})
		if p.Weight > 0 && i+1 < len(pools) && pools[i+1].Weight > 0 {
			continue
		}
		step := arms[0].node
		if len(arms) > 1 {
			if step, err = c.mix(&mixState{kind: kind, need: need, arms: arms}); err != nil {
				c.releaseArms(arms)
				return err
			}
		}
		s.steps, arms = append(s.steps, step), nil
	}
	return nil
}

// mix takes a node with arms, compiling it if it is new. What m has taken belongs to it from now on.
func (c *Compiler) mix(m *mixState) (*nodeState, error) {
	key := mixKey(m)
	if n := c.nodes[string(key)]; n != nil {
		n.refs++
		c.releaseArms(m.arms)
		m.near.release()
		return n, nil
	}
	m.key = string(key)
	node := c.mixed(m)
	if node.Depth > table.MaxDepth {
		c.splits -= m.sets
		return nil, fmt.Errorf("choices are nested deeper than %d", table.MaxDepth)
	}
	n := &nodeState{slot: c.nodeSlots.Add(node), refs: 1, mix: m}
	n.attach()
	c.nodes[m.key] = n
	return n, nil
}

// attach tells those that the arms lead to.
func (n *nodeState) attach() {
	for i := range n.mix.arms {
		a := &n.mix.arms[i]
		a.at = uint32(len(a.node.parents))
		a.node.parents = append(a.node.parents, above{n, i})
	}
}

// detach takes back what attach told.
func (n *nodeState) detach() {
	for i := range n.mix.arms {
		a := &n.mix.arms[i]
		list := a.node.parents
		last := list[len(list)-1]
		list[a.at], last.node.mix.arms[last.arm].at = last, a.at
		list[len(list)-1] = above{}
		a.node.parents = list[:len(list)-1]
	}
}

// mixKey is the same for nodes that are the same.
func mixKey(m *mixState) []byte {
	b := append(make([]byte, 0, 128), byte(m.kind), byte(m.need))
	for _, a := range m.arms {
		b = binary.BigEndian.AppendUint32(b, a.node.slot)
		b = binary.BigEndian.AppendUint16(b, a.weight)
	}
	if m.near != nil {
		b = m.near.appendKey(b)
	}
	return b
}

// mixed makes a node of what its arms are at present.
func (c *Compiler) mixed(m *mixState) table.Node {
	arms := make([]table.Arm, len(m.arms))
	n := table.Node{Kind: m.kind, Arms: &arms, TTL: table.AnyTTL, Hashing: m.arms[0].node.hashing()}
	if m.near != nil {
		n.Near = m.near.table
	}
	for i, a := range m.arms {
		below := c.nodeSlots.Ref(a.node.slot)
		arms[i] = table.Arm{ID: a.node.id(), Node: a.node.slot, Weight: a.weight, Live: below.Live, All: below.All}
		for a.node.mix != nil && slices.ContainsFunc(arms[:i], func(b table.Arm) bool { return b.ID == arms[i].ID }) {
			// the same pools in another order: else the first would get all
			arms[i].ID = steer.Hash(arms[i].ID, 1)
		}
		n.Depth, n.All = max(n.Depth, below.Depth+1), n.All|below.All
		if below.Live.Holds(m.need) {
			n.Live |= below.Live
		}
	}
	n.Split = c.split(m)
	return n
}

// hashing is what all leaves below a node go by: a service has one way.
func (n *nodeState) hashing() draws.Hashing {
	for n.mix != nil {
		n = n.mix.arms[0].node
	}
	return n.leaf.form.Hashing
}

// id tells a node from others in a rendezvous. It depends on the pools below alone: weights change without moving more clients than they
// must, and it makes no difference whether nearness was compiled into rows or is left to a node, which one edge may do and another not.
func (n *nodeState) id() uint64 {
	if n.mix == nil {
		return steer.NameID(n.leaf.pool.id.String())
	}
	var ids []uint64
	for d := range n.leaves(0) {
		ids = append(ids, steer.NameID(d.pool.id.String()))
	}
	slices.Sort(ids)
	id := uint64(0)
	for _, pool := range slices.Compact(ids) {
		id = steer.Hash(id, pool)
	}
	return id
}

// setDraw replaces the draw of a leaf.
func (c *Compiler) setDraw(d *drawState, draw *draws.Draw) {
	d.draw = draw
	c.setNode(&d.nodeState, d.leafOf(draw))
}

// setNode replaces a node, and those above it: as a whole where what they lead to gives other families now, else what is drawn from them at
// once. However many ways lead up to a node, it is made anew once, after all that lie below it.
func (c *Compiler) setNode(n *nodeState, fresh table.Node) {
	var above [table.MaxDepth + 1]map[*nodeState]bool // by Depth; true: what it leads to gives other families
	tell := func(n *nodeState, gives bool) {
		for _, p := range n.parents {
			at := &above[c.nodeSlots.Ref(p.node.slot).Depth]
			if *at == nil {
				*at = map[*nodeState]bool{}
			}
			(*at)[p.node] = (*at)[p.node] || gives
		}
	}
	tell(n, c.replace(n, fresh))
	for depth := range above {
		for n, gives := range above[depth] {
			switch {
			case gives:
				tell(n, c.replace(n, c.mixed(n.mix)))
			case n.mix.spreads():
				c.splitAnew(n)
				tell(n, false)
			}
		}
	}
}

// replace replaces a node, and reports whether it gives other families now.
func (c *Compiler) replace(n *nodeState, fresh table.Node) (gives bool) {
	was := c.nodeSlots.Ref(n.slot)
	gives = was.Live != fresh.Live || was.All != fresh.All
	c.nodeSlots.Set(n.slot, fresh)
	return gives
}

// maxSplits bounds how many sets there are in the Splits of all nodes: each takes some 50 bytes, and where all of these nodes have the same
// pool, its verdict makes all of them anew. Nodes beyond are drawn from in steps, with the same shares.
const maxSplits = 1 << 17

// split gives what is drawn from at once at a node below which the client has no say; nil: it has one, or there is no room.
func (c *Compiler) split(m *mixState) *draws.Split {
	c.splits -= m.sets
	if m.sets = 0; m.kind != table.WeightedNode || m.need != 0 || c.splits >= maxSplits {
		return nil
	}
	s := new(draws.Split)
	for f := range rr.Families {
		if list, ttl, ok := c.below(m, f, 1, nil, nil, 0); ok && len(list) > 0 {
			s.Put(f, ttl, list)
		}
	}
	if m.sets = s.Sets(); m.sets == 0 {
		return nil
	}
	c.splits += m.sets
	return s
}

// below appends the pools that clients of a family get from a node, of which share is drawn; path is of the arms that lead to it. ttl is
// that of those in list. Not ok: clients have a say in which, the TTL is not the same for all, or they are more than can be drawn from.
func (c *Compiler) below(m *mixState, f rr.Family, share float64, path []uint16, list []draws.Part, ttl uint32) (
	[]draws.Part, uint32, bool) {
	total, ok := 0.0, m.spreads()
	for _, a := range m.arms {
		if c.nodeSlots.Ref(a.node.slot).Live.Has(f) {
			total += float64(a.weight)
		}
	}
	for i, a := range m.arms {
		n := c.nodeSlots.Ref(a.node.slot)
		if ok = ok && len(list) <= draws.MaxSplit; !ok {
			break
		}
		if !n.Live.Has(f) {
			continue
		}
		of, arms := share, append(slices.Clip(path), uint16(i))
		if m.kind == table.WeightedNode {
			of *= float64(a.weight) / total
		}
		if a.node.mix != nil {
			list, ttl, ok = c.below(a.node.mix, f, of, arms, list, ttl)
		} else {
			ok = len(list) == 0 || ttl == n.TTL
			list, ttl = append(list, draws.Part{Draw: n.Draw, Share: of, Path: arms}), n.TTL
		}
		if m.kind == table.FirstNode {
			break
		}
	}
	return list, ttl, ok
}

// splitAnew makes the Split of a node anew, below which something changed.
func (c *Compiler) splitAnew(n *nodeState) {
	now := *c.nodeSlots.Ref(n.slot)
	had := now.Split != nil
	if now.Split = c.split(n.mix); had || now.Split != nil {
		c.nodeSlots.Set(n.slot, now)
	}
}

// spreads reports whether the client has no say in where a node leads to.
func (m *mixState) spreads() bool { return m.kind == table.FirstNode || m.kind == table.WeightedNode }

// releaseNodes gives back nodes that were taken.
func (c *Compiler) releaseNodes(nodes []*nodeState) {
	for _, n := range nodes {
		c.releaseNode(n)
	}
}

func (c *Compiler) releaseArms(arms []share) {
	for _, a := range arms {
		c.releaseNode(a.node)
	}
}

func (c *Compiler) releaseNode(n *nodeState) {
	if n.refs--; n.refs > 0 {
		return
	}
	c.nodeSlots.Remove(n.slot)
	if n.mix == nil {
		delete(n.leaf.pool.draws, n.leaf.form)
		return
	}
	delete(c.nodes, n.mix.key)
	c.splits -= n.mix.sets
	n.detach()
	c.releaseArms(n.mix.arms)
	n.mix.near.release()
}

// leaves gives the draws below a node, in order, and the TTL of what comes from each, if that of what comes to the node is ttl.
func (n *nodeState) leaves(ttl uint32) iter.Seq2[*drawState, uint32] {
	return func(yield func(*drawState, uint32) bool) { n.eachLeaf(ttl, yield) }
}

func (n *nodeState) eachLeaf(ttl uint32, yield func(*drawState, uint32) bool) bool {
	if n.mix == nil {
		return yield(n.leaf, min(ttl, n.leaf.pool.ttl))
	}
	for _, a := range n.mix.arms {
		if !a.node.eachLeaf(ttl, yield) {
			return false
		}
	}
	return true
}

// poolRefs is how often a service names a pool.
func poolRefs(eff *spec.Service) int {
	n := len(eff.LastResort)
	for i := range eff.Rules {
		n += len(eff.Rules[i].Pools)
	}
	return n
}
