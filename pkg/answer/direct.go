package answer

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// directMax is what every client takes, so that a reply within it needs no check of limits (RFC 1035, 4.2.1).
const directMax = 512

// direct answers what nearly everybody asks: an address of a steered name, where the query's path led to its records, or to a choice
// (without DO), and the query has no options but a client subnet and a cookie, and DO where the signatures are there. It writes what the
// long way would, which a test compares. Where that is not certain, ok is false, and nothing has happened.
func (a *Answerer) direct(buf []byte, m *Meta) (o Outcome, ok bool) {
	q, p := &a.q, &a.path
	s, ok := p.Direct()
	if !ok && (!p.Chooses() || q.DO) || q.CO || q.NSID || q.TCPKeepalive || q.HasTSIG || m.Encrypted {
		return Outcome{}, false
	}
	if q.Cookie.Present && !a.directCookie(m) {
		return Outcome{}, false
	}
	before := a.rng
	ttl, scope, leaf := p.TTL, p.Class.Scope, (*table.Draw)(nil)
	var records []byte
	var count uint16
	var sig table.Sig
	if ok {
		set := p.Draw(a.rng.next())
		if records, count = p.Records(set); s.Counts() != nil {
			leaf = p.Leaf(set)
		}
		if q.DO {
			a.meta = m
			sig, ok = a.signatureOf(set)
		}
	} else if s, ok = p.Chosen(a.view, &a.choice, &a.client, a.rng.next()); ok {
		records, count = a.choice.Records(&a.joined)
		ttl, scope, leaf = a.choice.TTL, a.choice.Scope, a.choice.Draw
	}
	pos := q.End + len(records)
	end := pos + len(sig.Wire)
	if !ok || end+dnswire.MaxUsualOPT > directMax {
		a.rng = before
		return Outcome{}, false
	}
	for b := buf[q.End:pos]; len(b) > 0; { // each as words, quicker than a call for so few bytes
		n := min(12+int(binary.BigEndian.Uint16(records[10:])), len(records))
		if n == 16 {
			*(*[16]byte)(b) = [16]byte(records)
		} else {
			copy(b, records[:n])
		}
		binary.BigEndian.PutUint32(b[6:], ttl)
		b, records = b[n:], records[n:]
	}
	copy(buf[pos:end], sig.Wire)
	additional := uint16(0)
	if q.EDNS {
		additional = 1
		var cookie []byte
		if q.Cookie.Present {
			cookie = a.opt.Cookie
		}
		end = len(dnswire.AppendUsualOPT(buf[:end:directMax], uint16(a.cfg.MaxUDP), q.DO, &q.Subnet, scope, cookie))
	}
	dnswire.SetHeader(buf, q.ID, dnswire.FlagQR|dnswire.FlagAA|q.Flags&(dnswire.FlagRD|dnswire.FlagCD), 1, count+sig.Count, 0, additional)
	if c := s.Counts(); c != nil {
		c.Add(leaf.Pool.ID.Pool)
	}
	if counts := p.Zone.Counts; counts != nil {
		a.counts.add(counts, dnswire.RcodeSuccess, a.cfg.Row)
	}
	return Outcome{Kind: Send, Size: end, Exempt: q.Cookie.Present && a.exempt}, true
}

// directCookie checks the query's cookies, and makes those of the reply. It tells false where the reply is BADCOOKIE.
func (a *Answerer) directCookie(m *Meta) bool {
	a.meta, a.opt.Cookie, a.exempt, a.badCookie = m, nil, false, false
	a.takeCookie(&a.q)
	return !a.badCookie
}

// signatureOf gives the signatures that go with a set of the path, none where the zone is not signed. ok is false if the long
// way must see to them.
func (a *Answerer) signatureOf(set int) (sig table.Sig, ok bool) {
	z := a.path.Zone
	if a.brought(z) {
		return table.Sig{}, false
	}
	if !z.Signed() {
		return table.Sig{}, true
	}
	return a.path.Signature(set, a.when())
}
