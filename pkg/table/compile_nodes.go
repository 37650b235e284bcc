package table

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
)

// nodeState is what the Compiler knows of a node of View.nodes.
type nodeState struct {
	slot    uint32 // its place there
	refs    int32  // how many steps of services, and arms, lead to it
	leaf    *drawState
	mix     *mixState // nil: it is a leaf
	parents []above   // the arms that lead to it, in any order
}

// mixState is a node that has arms.
type mixState struct {
	key  string // of Compiler.nodes
	kind decisionKind
	need famset // an arm counts by health only if it gives all of these
	arms []share
}

// share is one arm.
type share struct {
	node   *nodeState
	weight uint16
	at     uint32 // in node.parents
}

// above is an arm of a node, seen from what it leads to.
type above struct {
	node *nodeState
	arm  int
}

// rowsOf gives the pools of each row of a service: those of its rules, then those of lastResort.
func rowsOf(s *spec.Service) [][]spec.PoolRef {
	rows := make([][]spec.PoolRef, 0, len(s.Rules)+1)
	for i := range s.Rules {
		rows = append(rows, s.Rules[i].Pools)
	}
	return append(rows, s.LastResort)
}

// rowTTL gives the TTL, in seconds, that is declared for a row.
func rowTTL(s *spec.Service, row int) uint32 {
	if row == len(s.Rules) { // lastResort's
		return s.TTLSeconds()
	}
	return s.RuleTTLSeconds(row)
}

// addRows compiles the rows of a service.
func (c *Compiler) addRows(out *Service, s *serviceState, p *plan, form drawForm) error {
	if poolRefs(out.Spec) > math.MaxUint16 {
		return fmt.Errorf("the rules of one service name at most %d pools", math.MaxUint16)
	}
	rows := rowsOf(out.Spec)
	out.index = make([]uint16, 0, len(rows)+1)
	s.steps = make([]*nodeState, 0, poolRefs(out.Spec))
	for i, row := range rows {
		out.index = append(out.index, uint16(len(s.steps)))
		if err := c.addRow(s, out.need, p.tenant, form, row); err != nil {
			if i == len(out.Spec.Rules) {
				return fmt.Errorf("lastResort: %w", err)
			}
			return fmt.Errorf("rule %s: %w", ruleName(out.Spec, i), err)
		}
	}
	out.index = append(out.index, uint16(len(s.steps)))
	s.steps = slices.Clip(s.steps)
	out.steps = make([]step, len(s.steps))
	for row := range rows {
		ttl := p.atMost(rowTTL(out.Spec, row))
		for i := out.index[row]; i < out.index[row+1]; i++ {
			out.steps[i] = step{s.steps[i].slot, ttl}
		}
	}
	out.settle()
	return nil
}

// addRow appends the steps of one row: neighbours that carry a weight are one.
func (c *Compiler) addRow(s *serviceState, need famset, tenant string, form drawForm, pools []spec.PoolRef) error {
	kind := weightedNode
	if need != 0 {
		kind = hashedNode
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
			if step, err = c.mix(kind, need, arms); err != nil {
				c.releaseArms(arms)
				return err
			}
		}
		s.steps, arms = append(s.steps, step), nil
	}
	return nil
}

// mix takes a node with arms, compiling it if it is new. The arms, which were taken, belong to it from now on.
func (c *Compiler) mix(kind decisionKind, need famset, arms []share) (*nodeState, error) {
	key := mixKey(kind, need, arms)
	if n := c.nodes[string(key)]; n != nil {
		n.refs++
		c.releaseArms(arms)
		return n, nil
	}
	m := &mixState{key: string(key), kind: kind, need: need, arms: arms}
	node := c.mixed(m)
	if node.depth > maxDepth {
		return nil, fmt.Errorf("choices are nested deeper than %d", maxDepth)
	}
	n := &nodeState{slot: c.nodeSlots.add(node), refs: 1, mix: m}
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
func mixKey(kind decisionKind, need famset, arms []share) []byte {
	b := append(make([]byte, 0, 2+6*len(arms)), byte(kind), byte(need))
	for _, a := range arms {
		b = binary.BigEndian.AppendUint32(b, a.node.slot)
		b = binary.BigEndian.AppendUint16(b, a.weight)
	}
	return b
}

// mixed makes a node of what its arms are at present.
func (c *Compiler) mixed(m *mixState) decisionNode {
	arms := make([]arm, len(m.arms))
	n := decisionNode{kind: m.kind, arms: &arms, ttl: anyTTL, bits4: stickyBits4, bits6: stickyBits6}
	for i, a := range m.arms {
		below := c.nodeSlots.list.ref(a.node.slot)
		arms[i] = arm{id: a.node.id(), node: a.node.slot, weight: a.weight, live: below.live, all: below.all}
		n.depth, n.all = max(n.depth, below.depth+1), n.all|below.all
		if below.live.holds(m.need) {
			n.live |= below.live
		}
	}
	return n
}

// id tells a node from others in a rendezvous. It does not depend on weights, which change without moving more clients than they must.
func (n *nodeState) id() uint64 {
	if n.mix == nil {
		return steer.NameID(n.leaf.pool.id.String())
	}
	id := uint64(n.mix.kind)
	for _, a := range n.mix.arms {
		id = steer.Hash(id, a.node.id())
	}
	return id
}

// setDraw replaces the draw of a leaf.
func (c *Compiler) setDraw(d *drawState, draw *Draw) {
	d.draw = draw
	c.setNode(&d.nodeState, draw.node(d.pool.ttl))
}

// setNode replaces a node, and those above it if it gives other families now.
func (c *Compiler) setNode(n *nodeState, fresh decisionNode) {
	was := *c.nodeSlots.list.ref(n.slot)
	c.nodeSlots.set(n.slot, fresh)
	if was.live == fresh.live && was.all == fresh.all {
		return
	}
	for _, p := range n.parents {
		c.setNode(p.node, c.mixed(p.node.mix))
	}
}

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
	c.nodeSlots.remove(n.slot)
	if n.mix == nil {
		delete(n.leaf.pool.draws, n.leaf.form)
		return
	}
	delete(c.nodes, n.mix.key)
	n.detach()
	c.releaseArms(n.mix.arms)
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
