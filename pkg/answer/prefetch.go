package answer

import (
	"encoding/binary"
	"net/netip"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/prefetch"
	"github.com/gti/gtm/pkg/table"
)

// Window is how many queries can be prefetched together. It is small enough for all that is known of them to stay in the CPU's first
// cache.
const Window = 16

// parsedQuery is what is known of a query before anything is written.
type parsedQuery struct {
	q      dnswire.Query
	hashes table.Hashes
	client table.Client
	path   table.Path
	parsed dnswire.Result
	fault  uint16 // the RCODE with Reject
}

// Parse makes the query msg number i of the window that comes next. A worker that has several queries at hand calls, in this order,
//
//	Parse for each of them, i = 0, 1, … count-1, with count at most Window
//	Prefetch(count)
//	Answer for each of them, in any order, with Meta.Prefetched = i+1
//
// so that what they read comes from memory at the same time, and their replies sooner. The replies are the same as without. The next
// Parse ends the window. Parse keeps no reference to msg. An empty msg stands for a query that will not come.
func (a *Answerer) Parse(i int, msg []byte, source netip.AddrPort) {
	a.queries[i].read(msg, source)
}

// Prefetch follows the window's queries, 0 to count-1, through the tables of one view, which is the one that they are answered from.
// All of them take a step of table.Path, and what the next step reads is prefetched for all of them, before any takes that step.
func (a *Answerer) Prefetch(count int) {
	v, queries := a.cfg.View.Load(), a.queries[:count]
	if a.window = v; v == nil {
		return
	}
	var lines [3 * Window]prefetch.Line // what the next step reads
	for i := range queries {            // not at once, since the CPU is slow to read in other pieces what it has just written
		l := &queries[i]
		if lines[i] = prefetch.At(l); l.follows() {
			lines[i] = l.path.Begin(v, &l.q, &l.hashes)
		}
	}
	prefetch.Lines(lines[:count])
	for i := range queries {
		l := &queries[i]
		lines[i] = l.path.Name(v, &l.q, &l.hashes)
	}
	prefetch.Lines(lines[:count])
	for i := range queries {
		l := &queries[i]
		lines[3*i], lines[3*i+1], lines[3*i+2] = l.path.Near(v, &l.q, &l.client)
	}
	prefetch.Lines(lines[:3*count])
	a.locate(queries, &lines)
	for i := range queries {
		l := &queries[i]
		lines[i] = l.path.Classify(v, &l.client)
	}
	prefetch.Lines(lines[:count])
	var some [Window]uint8
	signed, n := 0, 0
	for i := range queries {
		l := &queries[i]
		some[n&(Window-1)] = uint8(i)
		lines[2*i], lines[2*i+1], signed = l.path.Pool()
		n += signed
	}
	prefetch.Lines(lines[:2*count])
	for _, i := range some[:n] {
		queries[i].path.Signatures()
	}
	for _, i := range some[:n] {
		queries[i].path.Signed()
	}
}

// locate takes the steps that find where clients are, and those to the records of names that are not steered.
func (a *Answerer) locate(queries []parsedQuery, lines *[3 * Window]prefetch.Line) {
	var some [Window]uint8 // those for which a step is, found without a branch that nobody can predict
	open, n := 0, 0
	for i := range queries {
		l := &queries[i]
		some[n&(Window-1)] = uint8(i)
		lines[i], open = l.path.Set(&l.client)
		n += open
	}
	prefetch.Lines(lines[:len(queries)])
	for at, i := range some[:n] {
		l := &queries[i]
		lines[2*at], lines[2*at+1] = l.path.Cell(&l.client)
	}
	prefetch.Lines(lines[:2*n])
	for at, i := range some[:n] {
		l := &queries[i]
		lines[2*at], lines[2*at+1] = l.path.Deep(&l.client)
	}
	prefetch.Lines(lines[:2*n])
	for _, i := range some[:n] {
		l := &queries[i]
		l.path.Run(&l.client)
	}
}

// read parses a query, and takes its client from it, but for the resolver where the client's subnet is known: few answers ask for it.
func (l *parsedQuery) read(msg []byte, source netip.AddrPort) {
	l.path = table.Path{}
	if l.parsed, l.fault = l.q.Parse(msg); l.parsed == dnswire.Silent {
		return
	}
	s := &l.q.Subnet
	if l.client.Has = s.Present && s.Source > 0; l.client.Has {
		l.client.Subnet = netOf(s)
	} else {
		l.client.Resolver = table.HostNet(source.Addr())
	}
}

// follows reports whether the query is of the kind whose answer begins at its name in the closest zone.
func (l *parsedQuery) follows() bool {
	if l.parsed != dnswire.Answer || l.q.QClass != dnswire.ClassIN {
		return false
	}
	switch l.q.QType {
	case dnswire.TypeDS, dnswire.TypeAXFR, dnswire.TypeIXFR, dnswire.TypeNXNAME:
		return false
	}
	return true
}

func netOf(s *dnswire.Subnet) table.Net {
	hi := binary.BigEndian.Uint64(s.Addr[:])
	if s.Family == 1 {
		return table.Net{Hi: hi, Bits: s.Source, V4: true}
	}
	return table.Net{Hi: hi, Lo: binary.BigEndian.Uint64(s.Addr[8:]), Bits: s.Source}
}
