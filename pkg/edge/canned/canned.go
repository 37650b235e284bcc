// Package canned asks two views the same queries, and tells which names got answers from the old one and get none from the new one. An
// edge asks so before it publishes what a generation made.
package canned

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/gti/gtm/pkg/answer"
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
)

// Fault is a name that would answer no more.
type Fault struct {
	Key  spec.Key // whose name it is
	Text string
}

// clients are who asks: one of no place, and root name servers and registries of five continents, whose addresses stay where they are.
var clients = []netip.AddrPort{
	netip.MustParseAddrPort("192.0.2.1:53"),        // documentation
	netip.MustParseAddrPort("193.0.0.1:53"),        // RIPE NCC, Amsterdam
	netip.MustParseAddrPort("199.212.0.1:53"),      // ARIN, Virginia
	netip.MustParseAddrPort("202.12.27.33:53"),     // WIDE, Tokyo
	netip.MustParseAddrPort("200.3.14.10:53"),      // LACNIC, Montevideo
	netip.MustParseAddrPort("196.216.2.1:53"),      // AFRINIC, Johannesburg
	netip.MustParseAddrPort("202.12.29.205:53"),    // APNIC, Brisbane
	netip.MustParseAddrPort("[2001:67c:2e8::]:53"), // RIPE NCC
}

// How much is asked at most: a generation that touches more names has fewer of them asked, by fewer clients.
const (
	mostNames   = 50_000
	mostAround  = 1_000 // names that all clients ask for
	mostFaults  = 10
	bufferBytes = 64 << 10
)

// Compare gives the faults of the new view among names, the first few.
func Compare(was, is *table.View, touched []compile.Name) (faults []Fault) {
	old, fresh := newAsker(was), newAsker(is)
	asked, step := clients, 1+len(touched)/mostNames
	if len(touched) > mostAround {
		asked = clients[:1]
	}
	for i := 0; i < len(touched) && len(faults) < mostFaults; i += step {
		if text := compare(old, fresh, &touched[i], asked); text != "" {
			faults = append(faults, Fault{touched[i].Key, text})
		}
	}
	return faults
}

// compare tells what becomes of one name; empty: nothing that must not.
func compare(old, fresh *asker, n *compile.Name, asked []netip.AddrPort) string {
	types, host := old.typesAt(n)
	wire, err := names.Wire(host)
	if err != nil || len(types) == 0 {
		return "" // it is new
	}
	more, _ := fresh.typesAt(n) // it may come to have others
	types = append(types, slices.DeleteFunc(more, func(t uint16) bool { return slices.Contains(types, t) })...)
	gave, gives := false, false
	for _, from := range asked {
		for _, qtype := range types {
			before, now := old.ask(wire, qtype, from), fresh.ask(wire, qtype, from)
			gave, gives = gave || before.records > 0, gives || now.records > 0 || n.MayFail && now.rcode == dnswire.RcodeServFail
			if before.rcode == dnswire.RcodeSuccess && now.fails(n.MayFail) {
				return fmt.Sprintf("%s of %s, asked from %s: %s, and %s before", dnswire.TypeString(qtype), host, from.Addr(), now, before)
			}
		}
	}
	if gave && !gives {
		return fmt.Sprintf("%s would be empty: none of its types has a record any more", host)
	}
	return ""
}

// asker asks one view.
type asker struct {
	view     *table.View
	lent     atomic.Pointer[table.View]
	answerer *answer.Answerer
	buf      []byte
}

func newAsker(v *table.View) *asker {
	a := &asker{view: v, buf: make([]byte, bufferBytes)}
	a.lent.Store(v)
	a.answerer = answer.New(answer.Config{View: &a.lent, Row: -1, Seed: 1, Clock: func() uint32 { return uint32(v.Published.Unix()) }})
	return a
}

// typesAt gives the types that a name has records of, and the name to ask for; none: it is not there, or somebody else's.
func (a *asker) typesAt(n *compile.Name) (types []uint16, host string) {
	if n.Apex {
		return []uint16{dnswire.TypeSOA, dnswire.TypeNS}, n.Host
	}
	host = n.Host
	if len(host) > 2 && host[:2] == "*." {
		host = "canned" + host[1:]
	}
	s := a.view.FindService(host)
	if s == nil || s.Tenant != n.Key.Tenant || s.Name != n.Key.Name {
		return nil, host
	}
	for _, f := range s.Families() {
		types = append(types, typeOf[f])
	}
	return types, host
}

// typeOf is what is asked for of each family.
var typeOf = [rr.Families]uint16{rr.IPv4: dnswire.TypeA, rr.IPv6: dnswire.TypeAAAA, rr.CNAME: dnswire.TypeA, rr.HTTPS: dnswire.TypeHTTPS,
	rr.SVCB: dnswire.TypeSVCB, rr.SRV: dnswire.TypeSRV, rr.MX: dnswire.TypeMX}

// reply is what came of a question.
type reply struct {
	rcode    uint16
	records  int
	declared bool // it fails since a fence or the rules leave nothing for the client
	panicked any
}

func (r reply) String() string {
	if r.panicked != nil {
		return fmt.Sprintf("a panic (%.100v)", r.panicked)
	}
	return dnswire.RcodeString(r.rcode)
}

// fails reports whether it is none that a name which has answered may come to give.
func (r reply) fails(may bool) bool {
	switch {
	case r.panicked != nil:
		return true
	case r.rcode == dnswire.RcodeServFail:
		return !may && !r.declared
	}
	return r.rcode != dnswire.RcodeSuccess
}

// ask asks one question, with EDNS, over a stream, which has no limits of size.
func (a *asker) ask(wire string, qtype uint16, from netip.AddrPort) (r reply) {
	defer func() {
		if fault := recover(); fault != nil {
			*a = *newAsker(a.view)
			r = reply{panicked: fault}
		}
	}()
	b := append(a.buf[:0], 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)
	b = append(b, wire...)
	b = binary.BigEndian.AppendUint16(b, qtype)
	b = append(b, 0, 1)
	end := len(b)
	b = append(b, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0)
	o := a.answerer.Answer(a.buf, len(b), &answer.Meta{Source: from, Stream: true})
	if o.Kind != answer.Send || o.Size < end {
		return reply{rcode: dnswire.RcodeServFail}
	}
	r.rcode, r.records = uint16(a.buf[3]&15), int(binary.BigEndian.Uint16(a.buf[6:]))
	r.declared = r.rcode == dnswire.RcodeServFail && extendedError(a.buf[end:o.Size]) == dnswire.EDEProhibited
	return r
}

// extendedError reads the extended error of a reply that has nothing behind its question but an OPT record; 0: none.
func extendedError(b []byte) uint16 {
	const fixed = 11
	if len(b) < fixed || binary.BigEndian.Uint16(b[1:]) != 41 {
		return 0
	}
	for b = b[fixed:]; len(b) >= 6; {
		code, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if code == 15 {
			return binary.BigEndian.Uint16(b[4:])
		}
		if len(b) < 4+size {
			return 0
		}
		b = b[4+size:]
	}
	return 0
}
