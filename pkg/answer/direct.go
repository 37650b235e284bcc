package answer

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
)

// directRoom is what every client takes, so that a reply within it needs no look at limits (RFC 1035, 4.2.1).
const directRoom = 512

// direct answers what nearly everybody asks: an address of a steered name, where the query's path led to its records and the
// query has no option but a client subnet. It writes what the long way would, which a test compares. Where that is not
// certain, ok is false, and nothing has happened.
func (a *Answerer) direct(buf []byte, m *Meta) (o Outcome, ok bool) {
	q, p := &a.q, &a.path
	s, d, ok := p.Direct()
	if !ok || q.DO || q.CO || q.NSID || q.Cookie.Present || q.TCPKeepalive || q.HasTSIG || m.Encrypted {
		return Outcome{}, false
	}
	before := a.rng
	records, count := p.Draw(a.rng.next())
	pos := q.End + len(records)
	if pos+dnswire.MaxSubnetOPT > directRoom {
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
		binary.BigEndian.PutUint32(b[6:], s.TTL)
		b, records = b[n:], records[n:]
	}
	additional := uint16(0)
	if q.EDNS {
		additional = 1
		pos = len(dnswire.AppendSubnetOPT(buf[:pos:directRoom], uint16(a.cfg.MaxUDP), &q.Subnet, p.Class.Scope))
	}
	dnswire.SetHeader(buf, q.ID, dnswire.FlagQR|dnswire.FlagAA|q.Flags&(dnswire.FlagRD|dnswire.FlagCD), 1, count, 0, additional)
	if c := s.Counts(); c != nil {
		c.Add(d.Pool.ID.Pool)
	}
	if counts := p.Zone.Counts; counts != nil {
		a.counts.add(counts, dnswire.RcodeSuccess, a.cfg.Row)
	}
	return Outcome{Size: pos}, true
}
