package policy

import (
	"encoding/binary"
	"math"

	"github.com/gti/gtm/pkg/geo"
)

// AppendKey appends what is the same for policies that divide the world alike, and whose rows are the same but for the names of pools:
// services that have such share partitions and rows.
func (p *Policy) AppendKey(b []byte) []byte {
	b = p.AppendConditions(b)
	if p.timed {
		b = binary.AppendVarint(b, p.today)
	}
	b = binary.AppendUvarint(b, uint64(len(p.Pools)))
	for i := range p.Pools {
		b = p.appendPool(b, &p.Pools[i])
	}
	b = appendFence(b, p.fence)
	b = p.appendRules(b, p.rules)
	return p.appendTargets(b, p.last)
}

// AppendConditions appends what is the same for policies that ask the same of a place: their Wheres mean the same.
func (p *Policy) AppendConditions(b []byte) []byte {
	for _, asks := range []bool{p.located, p.timed} {
		b = appendBool(b, asks)
	}
	b = binary.AppendUvarint(b, uint64(len(p.matchers)))
	for i := range p.matchers {
		b = appendMatcher(b, &p.matchers[i])
	}
	return b
}

func appendMatcher(b []byte, m *geo.Matcher) []byte {
	b = binary.AppendUvarint(b, uint64(len(m.Geo)))
	for _, g := range m.Geo {
		b = appendText(b, g.String())
	}
	b = binary.AppendUvarint(b, uint64(len(m.ASN)))
	for _, n := range m.ASN {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, names := range [][]string{m.Maps, m.Resolver} {
		b = binary.AppendUvarint(b, uint64(len(names)))
		for _, name := range names {
			b = appendText(b, name)
		}
	}
	return b
}

// appendPool appends what of a pool makes a difference.
func (p *Policy) appendPool(b []byte, pool *Pool) []byte {
	if p.located {
		b = appendText(b, pool.At.String())
	}
	if p.timed {
		b = appendText(b, pool.Site)
	}
	return b
}

// appendFence appends which pools a fence leaves out.
func appendFence(b []byte, f *fence) []byte {
	if f == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	for _, out := range f.outside {
		b = appendBool(b, out)
	}
	return b
}

func (p *Policy) appendRules(b []byte, rules []rule) []byte {
	b = binary.AppendUvarint(b, uint64(len(rules)))
	for i := range rules {
		r := &rules[i]
		b = binary.AppendVarint(binary.AppendVarint(b, int64(r.condition)), r.ttl)
		b = p.appendTargets(appendFence(b, r.fence), r.targets)
	}
	return b
}

func (p *Policy) appendTargets(b []byte, targets []target) []byte {
	b = binary.AppendUvarint(b, uint64(len(targets)))
	for i := range targets {
		t := &targets[i]
		b = binary.AppendUvarint(append(b, byte(t.kind)), uint64(t.pool))
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(t.weight)), uint64(t.trickle))
		if t.kind == nearestTarget || t.kind == fastestTarget {
			b = t.appendKey(b)
		}
		b = p.appendTargets(b, t.arms)
		b = p.appendRules(appendFence(b, t.fence), t.rules)
	}
	return b
}

func (o *order) appendKey(b []byte) []byte {
	for _, f := range []float64{o.band, o.farthest, o.margin} {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(f))
	}
	b = binary.AppendVarint(binary.AppendVarint(b, int64(o.samples)), o.maxAge)
	b = binary.AppendUvarint(appendBool(b, o.listed), uint64(len(o.among)))
	for _, c := range o.among {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.pool)), uint64(c.weight))
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, math.Float64bits(c.share)), math.Float64bits(c.km))
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}
