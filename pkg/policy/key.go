package policy

import (
	"encoding/binary"
	"math"
	"strings"
	"sync"

	"github.com/gti/gtm/pkg/geo"
)

// AppendKey appends what is the same for policies that divide the world alike, and whose rows are the same but for the names of pools:
// services that have such share partitions and rows.
func (p *Policy) AppendKey(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p.Pools)))
	for _, pool := range p.Pools {
		b = p.appendPool(b, pool)
	}
	if p.key != "" {
		return append(b, p.key...)
	}
	return p.appendShape(b, false)
}

// appendShape appends what is the same for shapes that make the same rows; with names, for those that are the same.
func (s *shape) appendShape(b []byte, names bool) []byte {
	b = s.AppendConditions(b)
	if s.timed || names {
		b = binary.AppendVarint(b, s.today)
	}
	b = binary.AppendUvarint(b, uint64(len(s.regional)))
	for _, regional := range s.regional {
		b = appendBool(b, regional)
	}
	b = appendFence(b, s.fence, names)
	b = appendRules(b, s.rules, names)
	return appendTargets(b, s.last, names)
}

// AppendConditions appends what is the same for policies that ask the same of a place: their Wheres mean the same.
func (s *shape) AppendConditions(b []byte) []byte {
	for _, asks := range []bool{s.located, s.timed, s.regional != nil} {
		b = appendBool(b, asks)
	}
	b = binary.AppendUvarint(b, uint64(len(s.matchers)))
	for i := range s.matchers {
		b = appendMatcher(b, &s.matchers[i])
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
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(pool.At.Lat()))
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(pool.At.Lon()))
		b = appendBool(b, pool.At.Known())
	}
	if p.timed {
		b = appendText(b, pool.Site)
	}
	return b
}

// appendFence appends which pools a fence leaves out.
func appendFence(b []byte, f *fence, names bool) []byte {
	if f == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	for _, out := range f.outside {
		b = appendBool(b, out)
	}
	if names {
		b = appendText(b, strings.Join(f.places, " "))
	}
	return b
}

func appendRules(b []byte, rules []rule, names bool) []byte {
	b = binary.AppendUvarint(b, uint64(len(rules)))
	for i := range rules {
		r := &rules[i]
		b = binary.AppendVarint(binary.AppendVarint(b, int64(r.condition)), r.ttl)
		if names {
			b = appendText(appendText(b, r.name), r.title)
		}
		b = appendTargets(appendFence(b, r.fence, names), r.targets, names)
	}
	return b
}

func appendTargets(b []byte, targets []target, names bool) []byte {
	b = binary.AppendUvarint(b, uint64(len(targets)))
	for i := range targets {
		t := &targets[i]
		b = binary.AppendUvarint(append(b, byte(t.kind)), uint64(t.pool))
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(t.weight)), uint64(t.trickle))
		if t.kind == nearestTarget || t.kind == fastestTarget {
			b = t.appendKey(b)
		}
		if names {
			b = appendText(b, t.name)
		}
		b = appendTargets(b, t.arms, names)
		b = appendRules(appendFence(b, t.fence, names), t.rules, names)
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
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, math.Float64bits(c.Share)), math.Float64bits(c.Kilometres))
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

// Shapes keeps what is the same of policies once, so that many that are alike take little. The zero value is ready. It is safe for
// concurrent use.
type Shapes struct {
	mu    sync.Mutex
	known map[string]*shape
}

// maxShapes bounds Shapes, in which those stay that no policy has any more.
const maxShapes = 4096

// Share gives a policy that is the same as p, and shares what it can with others.
func (s *Shapes) Share(p *Policy) *Policy {
	key := p.appendShape(make([]byte, 0, 512), true)
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[string(key)]
	if known == nil {
		if known = p.shape; s.known == nil || len(s.known) == maxShapes {
			s.known = map[string]*shape{}
		}
		known.key = string(known.appendShape(nil, false))
		s.known[string(key)] = known
	}
	return &Policy{p.Pools, known}
}
