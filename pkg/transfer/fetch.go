package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/dnswire"
)

// Bounds of a zone that comes in.
const (
	maxFetch     = 64 << 20         // bytes of messages; taken apart they need some ten times as much
	fetchTimeout = 10 * time.Second // for each message
	fetchTotal   = 10 * time.Minute // for all of them: a primary that lets its zone drip in must not keep us from the next one
)

// fetcher speaks with one primary.
type fetcher struct {
	addr netip.AddrPort
	key  *key // nil: nothing is signed
	now  func() time.Time
	zone string
	most int // bytes of messages
}

// fetch asks for what is newer than have (nil: for everything) and changes it into that. fresh is nil where there is nothing newer.
func (f *fetcher) fetch(ctx context.Context, have *content) (fresh *content, err error) {
	m := new(dns.Msg)
	var soa *dns.SOA
	if have != nil {
		soa = have.soa()
	}
	if soa == nil {
		m.SetAxfr(f.zone)
	} else {
		m.SetIxfr(f.zone, soa.Serial, soa.Ns, soa.Mbox)
	}
	m.Id = uint16(rand.Uint32())
	ctx, cancel := context.WithTimeout(ctx, fetchTotal)
	defer cancel()
	conn, err := (&net.Dialer{Timeout: fetchTimeout}).DialContext(ctx, "tcp", f.addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	s, err := f.ask(conn, m)
	if err != nil {
		return nil, err
	}
	in := &incoming{zone: f.zone, have: have}
	if soa != nil {
		in.serial = soa.Serial
	}
	for total := 0; !in.done; {
		_ = conn.SetReadDeadline(time.Now().Add(fetchTimeout)) // an error shows in the read
		if err := ctx.Err(); err != nil {                      // the deadline that it set may just have been replaced
			return nil, err
		}
		r, n, err := s.read(conn, m.Id, f.now())
		if err != nil {
			return nil, err
		}
		if total += n; total > f.most {
			return nil, fmt.Errorf("the zone takes more than %d MiB to copy, the most that gtm takes of a zone from elsewhere: "+
				"delegate a part of it, or declare it with file", f.most>>20)
		}
		if err := in.message(r); err != nil {
			return nil, err
		}
	}
	if s.session != nil && s.unsigned > 0 {
		return nil, errors.New("the last message is not signed")
	}
	return in.result, nil
}

// signedStream reads messages of one answer, the signed ones checked (RFC 8945, 5.3.1).
type signedStream struct {
	*session
	unsigned int
}

func (f *fetcher) ask(conn net.Conn, m *dns.Msg) (*signedStream, error) {
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	s := &signedStream{}
	if f.key != nil {
		s.session = &session{key: f.key}
		wire = s.sign(wire, uint64(f.now().Unix()), 0, 0)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(fetchTimeout)) // an error shows in the write
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
	return s, err
}

// maxUnsigned is how many messages may come between two signed ones.
const maxUnsigned = 99

func (s *signedStream) read(conn net.Conn, id uint16, now time.Time) (*dns.Msg, int, error) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, 0, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, msg); err != nil {
		return nil, 0, err
	}
	if err := s.check(msg, uint64(now.Unix())); err != nil {
		return nil, 0, err
	}
	r := new(dns.Msg)
	if err := r.Unpack(msg); err != nil {
		return nil, 0, err
	}
	switch {
	case r.Id != id || !r.Response:
		return nil, 0, errors.New("what came is not the answer")
	case r.Rcode != dns.RcodeSuccess:
		return nil, 0, fmt.Errorf("it answered %s", dnswire.RcodeString(uint16(r.Rcode)))
	}
	return r, len(msg), nil
}

func (s *signedStream) check(msg []byte, now uint64) error {
	if s.session == nil {
		return nil
	}
	t, err := findTSIG(msg)
	if err != nil {
		return err
	}
	if t == nil {
		if s.unsigned++; !s.later || s.unsigned > maxUnsigned {
			return errors.New("the answer is not signed")
		}
		s.pending = append(s.pending, msg...)
		return nil
	}
	if string(t.owner) != string(s.key.wire) || string(t.alg) != string(s.key.alg.wire) {
		return errors.New("the answer is signed with another key")
	}
	if t.err != 0 {
		return fmt.Errorf("it does not take our signature: TSIG error %d", t.err)
	}
	_, code, err := s.verify(msg, t, now)
	if err == nil && code != 0 {
		err = fmt.Errorf("the answer's signature is not good: TSIG error %d", code)
	}
	s.later, s.unsigned, s.pending = true, 0, nil
	return err
}

// incoming puts records together as they come (RFC 5936, 2.2; RFC 1995, 4).
type incoming struct {
	zone   string
	have   *content
	serial uint32 // of have

	state  int
	target uint32 // the serial that we come to
	result *content
	done   bool
}

// The states of an incoming zone.
const (
	atStart    = iota // the first SOA record is to come
	afterFirst        // the second record tells of which kind the answer is
	whole             // records of a whole zone
	removing          // of a difference: what goes
	adding            // and what comes
)

func (in *incoming) message(r *dns.Msg) error {
	for i, rr := range r.Answer {
		if in.done {
			return errors.New("records follow the end of the zone")
		}
		if !dns.IsSubDomain(in.zone, rr.Header().Name) || rr.Header().Class != dns.ClassINET {
			return fmt.Errorf("%s does not belong to the zone", rr.Header().Name)
		}
		if _, is := rr.(*dns.SOA); is && dns.CanonicalName(rr.Header().Name) != in.zone { // all that follows goes by the zone's own
			return fmt.Errorf("%s has an SOA record, and is not the zone's name", rr.Header().Name)
		}
		if err := in.record(rr); err != nil {
			return err
		}
		if in.state == afterFirst && i == len(r.Answer)-1 && in.have != nil && !newer(in.target, in.serial) {
			in.done, in.result = true, nil // the SOA record alone: there is nothing newer
		}
	}
	return nil
}

func (in *incoming) record(rr dns.RR) error {
	soa, is := rr.(*dns.SOA)
	switch in.state {
	case atStart:
		if !is {
			return errors.New("the zone does not begin with its SOA record")
		}
		in.target, in.state = soa.Serial, afterFirst
		in.result = &content{origin: in.zone, sets: map[rrKey][]dns.RR{keyOf(rr): {rr}}}
		return nil
	case afterFirst:
		if is && in.have != nil && soa.Serial == in.serial && in.serial != in.target {
			in.result, in.state = in.have.clone(), removing
			return nil
		}
		in.state = whole
		fallthrough
	case whole:
		if is {
			in.done = true
			if soa.Serial != in.target {
				return errors.New("the zone ends with another SOA record than it began with")
			}
			return nil
		}
		k := keyOf(rr)
		in.result.sets[k] = append(in.result.sets[k], rr)
		return nil
	}
	return in.difference(rr, soa)
}

// difference takes a record of an incremental answer.
func (in *incoming) difference(rr dns.RR, soa *dns.SOA) error {
	k := keyOf(rr)
	switch {
	case soa != nil && in.state == removing:
		in.result.sets[k], in.state = []dns.RR{rr}, adding
	case soa != nil && soa.Serial == in.target && in.result.soa().Serial == in.target:
		in.done = true
	case soa != nil && soa.Serial != in.result.soa().Serial:
		return errors.New("a difference does not go on where the one before ended")
	case soa != nil:
		in.state = removing
	case in.state == removing:
		before := len(in.result.sets[k])
		if in.result.removeOne(k, rr); len(in.result.sets[k]) == before {
			return fmt.Errorf("a difference takes %s %s away, which is not there", k.name, dns.Type(k.typ))
		}
	default:
		in.result.add(k, rr)
	}
	return nil
}

func (c *content) clone() *content {
	n := &content{origin: c.origin, sets: make(map[rrKey][]dns.RR, len(c.sets))}
	for k, set := range c.sets {
		n.sets[k] = set
	}
	return n
}
