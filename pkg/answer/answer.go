// Package answer turns a query into a reply: bytes in, bytes out, over one View.
//
// An answer is a straight line: parse, find the zone, find the name, append sections, finish. Nothing on it takes a
// lock, allocates, logs or reads a clock; only the debugging names (whoami, _explain, CH TXT) make strings.
package answer

import (
	"net/netip"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// Config is what an Answerer needs.
type Config struct {
	View *atomic.Pointer[table.View] // nil inside until the first view: SERVFAIL then
	ID   string                      // of this server: id.server, NSID, explanations
	// Elsewhere counts what belongs to no zone: what is refused or malformed, class CH. Nil: not counted.
	Elsewhere *table.ZoneCounts
	// Row is that of the zones' counters; each Answerer that runs at the same time has its own. Negative: nothing is counted.
	Row  int
	Seed uint64
	// ExplainFrom lists the networks whose clients may ask _explain names.
	ExplainFrom []netip.Prefix
	// MaxUDP is the largest reply over UDP, and what is advertised: 512 to 4096 bytes. 0: 1232.
	MaxUDP int
	// Cookies are the secrets of DNS cookies (RFC 7873); nil, itself or inside: there are none.
	Cookies *atomic.Pointer[dnswire.CookieSecrets]
	// Clock gives Unix seconds, for cookies and signatures. It may be late by some hundred milliseconds, but must be quick.
	Clock func() uint32
	// RequireCookies answers BADCOOKIE to clients that know cookies and come over UDP without a valid server cookie.
	// The others, and those that have none at all, are answered as ever.
	RequireCookies bool
	// Foreign leaves to the caller what pkg/transfer answers: queries with a TSIG record, AXFR, IXFR, NOTIFY and UPDATE. Without it
	// TSIG is ignored, and the rest is refused.
	Foreign bool
	// Evidence adds to the lines of an explanation how old is what they say of health, where that stands still, and what else is out of
	// the ordinary here. It is asked for explanations only. Nil: nothing ever is.
	Evidence func(lines []string) []string
	// Samples gets samples of the queries that are counted. Nil: none are taken.
	Samples *Samples
}

// Meta is what is known of a query beside its bytes.
type Meta struct {
	Source     netip.AddrPort // an IPv4 address is never in its IPv6-mapped form
	Stream     bool           // it came over a stream, which lifts the limits of UDP
	Encrypted  bool           // over TLS, HTTPS or QUIC
	QUIC       bool           // over QUIC, which has rules of its own (RFC 9250)
	Slow       bool           // it has been deferred once: what it needs is now done, however long it takes
	Resume     uint64         // with Slow: what Answerer.Resume gave then; 0: not told
	KeepAlive  uint16         // how long the stream may be idle, in units of 100 ms; 0: not told
	Prefetched int            // 1 + the query's number in the window (see Parse); 0: it is in none
}

// Outcome says what became of a query. It has four fields at most, so that it goes through registers.
type Outcome struct {
	Kind      Kind
	Size      int  // of the reply in bytes; 0 unless Kind is Send
	Truncated bool // the reply carries TC
	Exempt    bool // the client has shown that it gets what is sent to it: no rate limit for the reply
}

// Deferred reports whether there is no reply yet: Defer or DeferKnown.
func (o Outcome) Deferred() bool { return o.Kind >= Defer }

// Kind says what is to be done about a query.
type Kind uint8

const (
	Drop    Kind = iota // send nothing
	Send                // the reply
	Close               // the connection: the client broke a rule
	Foreign             // hand the query, which is as it came, to pkg/transfer; see Config.Foreign
	Defer               // ask again with Meta.Slow, where slowness is allowed; the query is as it came
	// DeferKnown is Defer for a name that exists. Clients cannot make up more of those, so it may go before others.
	DeferKnown
)

// Answerer answers one query at a time, and keeps scratch: each worker has its own.
type Answerer struct {
	cfg  Config // 8 bytes more of it put what follows into other cache lines, and cost 5% of a query: measure where it grows
	nsid []byte
	rng  generator
	then generator // what rng was when the query came

	*parsedQuery                         // of the query
	queries      [Window + 1]parsedQuery // the last is for queries in no window
	window       *table.View             // of those in the window
	choice       table.Decision
	joined       []byte // records of it that stand nowhere else
	meta         *Meta  // of the query being answered
	now          table.When
	view         *table.View

	proofs  table.Proofs
	waiting []table.Sig // proofs for the authority section

	reply
	cookie  [cookieLen]byte // of the reply
	tail    []byte          // of the query, behind what the reply repeats
	chain   dnswire.Query   // the name that a CNAME or DNAME led to
	labelAt [128]uint16     // where in the reply its labels are, the root with them
	trail   trail
	counts  tally
	counted *table.ZoneCounts // whose this query is; nil: nobody's

	led      *table.Service // that a query on the long way was answered from; nil: none
	lots     generator      // of when samples are taken
	sampleAt uint64         // after how many queries the next one is
}

// New makes an Answerer.
func New(cfg Config) *Answerer {
	if cfg.MaxUDP == 0 {
		cfg.MaxUDP = MaxUDP
	}
	cfg.MaxUDP = max(512, min(cfg.MaxUDP, 4096))
	a := &Answerer{cfg: cfg, nsid: []byte(cfg.ID)}
	a.rng.seed(cfg.Seed, uint64(cfg.Row))
	a.lots.seed(^cfg.Seed, uint64(cfg.Row))
	if a.sampleAt = 1; cfg.Samples == nil {
		a.sampleAt = never
	}
	return a
}

// Answer reads the query buf[:n] and writes the reply over it. m is not to change meanwhile, and not read afterwards. len(buf) is at
// least 512.
func (a *Answerer) Answer(buf []byte, n int, m *Meta) Outcome {
	if m.Prefetched > 0 {
		a.parsedQuery, a.view = &a.queries[m.Prefetched-1], a.window
		if o, ok := a.direct(buf, m); ok {
			return o
		}
	} else {
		a.parsedQuery, a.view = &a.queries[Window], a.cfg.View.Load()
		a.read(buf[:n], m.Source)
	}
	result := a.parsed
	if result == dnswire.Silent {
		return Outcome{}
	}
	a.client.Resolver = table.HostNet(m.Source.Addr())
	if a.cfg.Foreign && a.foreign() {
		return Outcome{Kind: Foreign}
	}
	if m.QUIC && a.q.TCPKeepalive { // RFC 9250, 4.3.3
		return Outcome{Kind: Close}
	}
	a.meta = m                                   // as it is: what was just written in pieces is slow to read as a whole
	if a.q.DO || a.q.QType == dnswire.TypeNSEC { // it may be deferred
		a.tail = append(a.tail[:0], buf[a.q.End:n]...)
		if a.then = a.rng; m.Slow && m.Resume != 0 {
			a.rng = generator(m.Resume)
		}
	}
	a.begin(buf, &a.q)
	a.counted, a.led = a.cfg.Elsewhere, nil
	switch {
	case result == dnswire.Reject:
		a.opt.Subnet = nil
		a.rcode = a.fault
	case a.badCookie:
		a.rcode = dnswire.RcodeBadCook
	case result == dnswire.CookieOnly:
		if a.opt.Cookie == nil { // without cookies a question is missing
			a.rcode = dnswire.RcodeFormErr
		}
	case a.q.QClass == dnswire.ClassCH:
		a.chaos()
	case a.view == nil:
		a.fail(dnswire.RcodeServFail, dnswire.EDENotReady, "no configuration yet")
	case a.q.QClass != dnswire.ClassIN && a.q.QClass != dnswire.ClassANY:
		a.fail(dnswire.RcodeRefused, dnswire.EDENotSupported, "")
	case a.q.QType == dnswire.TypeAXFR || a.q.QType == dnswire.TypeIXFR:
		a.fail(dnswire.RcodeRefused, dnswire.EDEProhibited, "")
	case a.q.QType == dnswire.TypeNXNAME: // nobody may ask for it (RFC 9824, 3.5)
		a.fail(dnswire.RcodeFormErr, dnswire.EDEInvalidQueryType, "")
	default:
		a.internet()
	}
	o := a.finish(&a.q)
	if counts := a.counted; !o.Deferred() && counts != nil && a.cfg.Row >= 0 {
		a.counts.add(counts, a.rcode, a.cfg.Row)
	}
	return o
}

// Resume gives where the random numbers of the query began that was deferred just now. The second try draws the same: if it drew anew,
// answers whose signatures stand already would come too often.
func (a *Answerer) Resume() uint64 { return uint64(a.then) }

// Share tells, as a hash, of which zone the query is that was deferred just now.
func (a *Answerer) Share() uint8 {
	if a.parsedQuery == nil || a.view == nil {
		return 0
	}
	z := a.path.Zone
	if z == nil {
		z = a.find(&a.q)
	}
	if z == nil {
		return 0
	}
	sum := uint32(2166136261) // FNV-1a
	for i := range len(z.Name) {
		sum = (sum ^ uint32(z.Name[i])) * 16777619
	}
	return uint8(sum ^ sum>>8 ^ sum>>16 ^ sum>>24)
}

// foreign reports whether the message is for another to answer; see Config.Foreign.
func (a *Answerer) foreign() bool {
	if a.parsed == dnswire.Reject && a.fault == dnswire.RcodeNotImp {
		op := a.q.Flags & opcode >> 11
		return op == opNotify || op == opUpdate
	}
	return a.q.HasTSIG || a.parsed == dnswire.Answer && a.q.QClass == dnswire.ClassIN &&
		(a.q.QType == dnswire.TypeAXFR || a.q.QType == dnswire.TypeIXFR)
}

const (
	opNotify = 4
	opUpdate = 5
)

// internet answers a query of class IN.
func (a *Answerer) internet() {
	z := a.path.Zone
	if z == nil {
		z = a.find(&a.q)
	}
	if z == nil {
		a.fail(dnswire.RcodeRefused, dnswire.EDENotAuthoritative, "")
		return
	}
	if z.Void {
		if z.Counts != nil {
			a.counted = z.Counts
		}
		a.fail(dnswire.RcodeServFail, dnswire.EDEInvalidData,
			"the zone has no content that may be served: not copied yet, expired, or broken")
		return
	}
	a.flags |= dnswire.FlagAA
	a.counted = z.Counts
	a.waiting = a.waiting[:0]
	a.name(z, &a.q, 12)
	a.prove()
	if a.q.QClass == dnswire.ClassANY {
		a.flags &^= dnswire.FlagAA // nobody here speaks for all classes (RFC 1034, 4.3.1)
	}
}

// find gives the zone that answers q. A DS record stands in the zone above (RFC 4035, 3.1.4.1).
func (a *Answerer) find(q *dnswire.Query) *table.Zone {
	z := a.view.Find(q, &a.hashes)
	if z != nil && q.QType == dnswire.TypeDS && q.Labels == z.Labels() {
		if above := a.view.FindAbove(z, q, &a.hashes); above != nil && !above.Void {
			return above
		}
	}
	return z
}

// name answers for q's name, which stands at offset at of the message: RFC 1034, 4.3.2, from step 3 on.
func (a *Answerer) name(z *table.Zone, q *dnswire.Query, at int) {
	for hops := 0; ; hops++ {
		m := a.path.Match
		if hops > 0 || !a.path.Found {
			m = z.Lookup(q, &a.hashes)
		}
		a.trail[hops].name, a.trail[hops].zone = at, nil
		if q.QType == dnswire.TypeNSEC && a.secure(z) && m.Kind != table.Referral && m.Kind != table.Rename {
			a.nsec(z, q, m, at)
			return
		}
		var next int
		switch m.Kind {
		case table.Exact, table.Wildcard:
			next = a.node(z, q, m, at, hops)
		case table.Rename:
			next = a.rename(z, q, m, at, hops)
		case table.Referral:
			a.referral(z, q, m, at)
		case table.Whoami:
			a.whoami(z, q, m, at)
		case table.Explain:
			a.explain(z, q, m, at)
		default:
			a.rcode = dnswire.RcodeNXDomain
			a.negative(z, q, m, at)
		}
		if next == 0 || hops == maxChain || a.truncated || a.deferred {
			return
		}
		// a CNAME led to the name at offset next; go on with it if we hold it and have not been there
		if !a.takeChain(next, q.QType) || a.visited(hops) {
			return
		}
		q, at = &a.chain, next
		if z = a.find(q); z == nil || z.Void {
			return // who asked goes on by itself
		}
	}
}

// maxChain bounds the CNAME records of one answer; a loop ends there too.
const maxChain = 8

// node answers from a node that exists or that a wildcard stands for. next is the offset of the name to go on with, 0: done.
func (a *Answerer) node(z *table.Zone, q *dnswire.Query, m table.Match, at, hops int) (next int) {
	if s := a.view.Service(m); s != nil {
		if f, ok := s.FamilyOf(q.QType); ok {
			// RFC 7871, 7.2.1: a tailored answer does not share a message with the CNAME that led to it
			if hops == 0 || !a.q.Subnet.Present {
				a.steered(z, q, m, s, f, at)
			}
			return 0
		}
	}
	start := a.pos
	if q.QType == dnswire.TypeANY && !z.Empty(m.Node) {
		if set, ok := z.Set(m.Node, dnswire.TypeCNAME); ok { // it is all that there is
			a.appendHeld(z, set, q, at, 0, &a.an)
			a.signSet(z, q, m, set, at)
			return 0
		}
		if set := z.AnySet(m.Node); set.Count > 0 && a.brought(z) { // nothing that is made here could be signed
			a.appendHeld(z, set, q, at, 0, &a.an)
			a.signSet(z, q, m, set, at)
			return 0
		}
		a.any(at)
		a.signMade(z, q, dnswire.TypeHINFO, at, start, false)
		return 0
	}
	if set, ok := z.Set(m.Node, q.QType); ok {
		if q.QType == dnswire.TypeDNAME && m.Kind == table.Exact && a.renamed(z, m.Node, hops) {
			return 0 // it has led to itself
		}
		if set.Shortens() {
			a.appendHeld(z, set, q, at, 0, &a.an)
		} else {
			a.appendSet(set, at, &a.an)
		}
		a.signSet(z, q, m, set, at)
		a.prove()
		a.appendAdditional(z.Additional(m.Node, q.QType), start)
		return 0
	}
	if z.Signed() && q.QType == dnswire.TypeNSEC { // before CNAME, beside which it stands (RFC 4035, 2.5)
		a.nsec(z, q, m, at)
		return 0
	}
	if set, ok := z.Set(m.Node, dnswire.TypeCNAME); ok {
		a.appendHeld(z, set, q, at, 0, &a.an)
		next = start + 12
		a.signSet(z, q, m, set, at)
		return next
	}
	if z.Signed() && q.QType == dnswire.TypeRRSIG { // signatures come with what they sign
		a.flags &^= dnswire.FlagAA
		a.fail(dnswire.RcodeRefused, dnswire.EDENotSupported, "")
		return 0
	}
	a.negative(z, q, m, at)
	return 0
}

// steered answers from a service.
func (a *Answerer) steered(z *table.Zone, q *dnswire.Query, m table.Match, s *table.Service, f table.Family, at int) {
	d := &a.choice
	a.led = s
	if s.Is.Has(table.Keyed) {
		a.client.Label, a.client.Now = table.Label(q, m), a.cfg.Clock()
	}
	class, ok := a.path.ClassFor(s)
	if !ok {
		class = a.view.Classify(s, &a.client)
	}
	a.view.Decide(d, s, f, &a.client, class, a.rng.next())
	if a.client.Has {
		a.opt.Scope = d.Scope
	}
	if d.Fallback == table.Refuse {
		a.refuse(s, d)
		return
	}
	records, count := d.Records(&a.joined)
	a.appendSteered(records, count, at, d.TTL)
	a.signSteered(z, q, m, s, f, at)
	if c := s.Counts(); c != nil && a.cfg.Row >= 0 {
		c.Add(d.Draw.Pool.ID.Pool)
	}
}

// refuse answers where a service has nothing to give.
func (a *Answerer) refuse(s *table.Service, d *table.Decision) {
	a.flags &^= dnswire.FlagAA
	switch {
	case s.Is.Has(table.Pending):
		a.fail(dnswire.RcodeServFail, dnswire.EDENotReady, "the alias has not been resolved yet")
		return
	case s.LeavesOut(d.Class):
		a.fail(dnswire.RcodeServFail, dnswire.EDEProhibited, "no pool may answer this client: its rules, or a fence, leave none")
		return
	}
	a.fail(dnswire.RcodeServFail, dnswire.EDENetworkError, "no endpoint is up")
}

// any answers QTYPE ANY with the synthesized HINFO of RFC 8482, 4.2.
func (a *Answerer) any(at int) {
	a.appendRecord(at, dnswire.TypeHINFO, anyTTL, []byte("\x07RFC8482\x00"), &a.an)
}

const anyTTL = 3600

// negative adds the SOA record that lets resolvers remember that a name or type does not exist (RFC 2308).
func (a *Answerer) negative(z *table.Zone, q *dnswire.Query, m table.Match, at int) {
	a.opt.Scope = 0
	if a.q.QClass == dnswire.ClassANY {
		return // other classes may know better
	}
	soa, start := z.SOA(), a.pos
	a.appendHeld(z, soa, q, at, q.Labels-z.Labels(), &a.ns)
	if !a.truncated {
		copy(a.buf[start+6:start+10], soa.Wire[6:10]) // its short form has the TTL of the zone
	}
	a.deny(z, q, m, at)
}

// referral answers with a delegation.
func (a *Answerer) referral(z *table.Zone, q *dnswire.Query, m table.Match, at int) {
	if a.an == 0 {
		a.flags &^= dnswire.FlagAA
	}
	set, _ := z.Set(m.Node, dnswire.TypeNS)
	start := a.pos
	a.appendHeld(z, set, q, at, m.Label, &a.ns)
	a.signReferral(z, q, m, at)
	a.appendGlue(z.Glue(m.Node), start)
	a.appendAdditional(z.Additional(m.Node, dnswire.TypeNS), start)
}

// rename answers a name below a DNAME: the DNAME, and a CNAME made from it (RFC 6672, 3.1).
func (a *Answerer) rename(z *table.Zone, q *dnswire.Query, m table.Match, at, hops int) (next int) {
	set, _ := z.Set(m.Node, dnswire.TypeDNAME)
	prefix, target := q.Name[:q.LabelOff[m.Label]], set.Wire[12:]
	before := a.renamed(z, m.Node, hops)
	a.trail[hops].zone, a.trail[hops].node = z, m.Node
	if before {
		if isAtOrBelow(target, q.Name[len(prefix):q.NameLen]) {
			return 0 // each step makes a longer name, and leads nowhere
		}
	} else {
		a.appendSet(set, a.owner(q, at, m.Label), &a.an)
		if a.brought(z) {
			a.addSig(z.Presignature(set), true, a.owner(q, at, m.Label), &a.an)
		}
		if a.secure(z) {
			s, ok := z.Signature(set, suffix(q, m.Label), a.when())
			a.addSig(s, ok, a.owner(q, at, m.Label), &a.an)
		}
	}
	if len(prefix)+len(target) > 255 {
		a.rcode = dnswire.RcodeYXDomain
		return 0
	}
	var name [256]byte
	n := copy(name[:], prefix)
	n += copy(name[n:], target)
	a.appendRecord(at, dnswire.TypeCNAME, be32(set.Wire[6:]), name[:n], &a.an)
	if q.QType == dnswire.TypeCNAME {
		return 0 // which was asked for
	}
	return a.pos - n
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
