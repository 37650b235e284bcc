package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
)

// maxNotices bounds the NOTIFY messages that wait for their answers at the same time.
const maxNotices = 64

// notifyAttempts is how often a secondary is told that does not answer; with waits that double that takes some eight minutes.
const notifyAttempts = 8

// notice is what a secondary is to be told of.
type notice struct {
	zone string
	peer spec.Peer
}

// pending is a notice under way. Its fields belong to Server.mu.
type pending struct {
	soa  rr
	more bool // it has changed since it was last sent
}

// Changed tells that there is a new view. It does not block.
func (s *Server) Changed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run keeps the journals of the zones that others copy, and notifies their secondaries, until ctx ends.
func (s *Server) Run(ctx context.Context) {
	slots := make(chan struct{}, maxNotices)
	known := map[string]*table.Zone{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		v := s.cfg.View()
		if v == nil {
			continue
		}
		s.follow(ctx, v, known, slots)
	}
}

// follow looks at the zones that changed since known.
func (s *Server) follow(ctx context.Context, v *table.View, known map[string]*table.Zone, slots chan struct{}) {
	there := map[string]bool{}
	for _, z := range v.Zones() {
		if z.Spec == nil || z.Spec.Transfer == nil || len(z.Spec.Transfer.Allow) == 0 {
			continue
		}
		there[z.Name] = true
		old := known[z.Name]
		if old == z || ctx.Err() != nil {
			continue
		}
		known[z.Name] = z
		now, err := s.journal(z.Name).at(v, z)
		if err != nil {
			s.log.Error("a zone cannot be made ready for transfers", "zone", z.Name, "error", err)
			continue
		}
		if old != nil && old.Serial == z.Serial {
			continue
		}
		for _, p := range z.Spec.Transfer.Notify {
			s.notify(ctx, notice{z.Name, p}, now.soa, slots)
		}
	}
	for name := range known {
		if !there[name] {
			delete(known, name)
			s.mu.Lock()
			delete(s.journals, name)
			s.mu.Unlock()
		}
	}
}

// notify sees to it that a secondary is told.
func (s *Server) notify(ctx context.Context, n notice, soa rr, slots chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.notices[n]; p != nil {
		p.soa, p.more = soa, true
		return
	}
	s.notices[n] = &pending{soa: soa, more: true}
	go s.tell(ctx, n, slots)
}

// tell sends until the secondary has answered to the latest, or is not worth another attempt.
func (s *Server) tell(ctx context.Context, n notice, slots chan struct{}) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-slots }()
	wait := s.cfg.Retry
	for attempt := 0; ; attempt++ {
		s.mu.Lock()
		p := s.notices[n]
		if p.more {
			attempt, wait, p.more = 0, s.cfg.Retry, false
		}
		soa := p.soa
		s.mu.Unlock()
		err := s.sendNotify(ctx, n, soa, wait)
		if err != nil {
			s.metrics.notifies.WithLabelValues("failed").Inc()
			s.log.Warn("a secondary did not take a NOTIFY", "zone", n.zone, "secondary", n.peer.Address, "attempt", attempt+1, "error", err)
		} else {
			s.metrics.notifies.WithLabelValues("answered").Inc()
		}
		var final *refusedError
		s.mu.Lock()
		if done := err == nil || errors.As(err, &final) || attempt+1 >= notifyAttempts; ctx.Err() != nil || done && !p.more {
			delete(s.notices, n)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		wait = min(2*wait, 2*time.Minute)
	}
}

// refusedError is an answer that another attempt would get too.
type refusedError struct{ rcode uint16 }

func (e *refusedError) Error() string { return "it answered " + dnswire.RcodeString(e.rcode) }

// sendNotify sends one NOTIFY (RFC 1996, 3.6 and 3.7) and waits for the answer. It takes the whole wait where none comes.
func (s *Server) sendNotify(ctx context.Context, n notice, soa rr, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := s.tryNotify(ctx, n, soa)
	if err != nil && !errors.As(err, new(*refusedError)) {
		<-ctx.Done() // an error may come at once (nobody listens there, a key is missing): another attempt has a chance only later
	}
	return err
}

func (s *Server) tryNotify(ctx context.Context, n notice, soa rr) error {
	to, err := n.peer.AddrPort()
	if err != nil {
		return err
	}
	msg, sess, err := s.notifyMessage(n, soa)
	if err != nil {
		return err
	}
	conn, err := s.dial(to)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	return exchangeNotify(conn, msg, sess, uint64(s.cfg.Now().Unix()))
}

func (s *Server) notifyMessage(n notice, soa rr) (msg []byte, sess *session, err error) {
	msg = make([]byte, header, 512)
	dnswire.SetHeader(msg, uint16(rand.Uint32()), opcodeNotify<<11|dnswire.FlagAA, 1, 1, 0, 0)
	msg = append(msg, soa.owner...)
	msg = append(msg, 0, byte(dnswire.TypeSOA), 0, byte(dnswire.ClassIN))
	msg = append(msg, 0xC0, header, 0, byte(dnswire.TypeSOA), 0, byte(dnswire.ClassIN))
	msg = binary.BigEndian.AppendUint32(msg, soa.ttl)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(soa.data)))
	msg = append(msg, soa.data...)
	if n.peer.Key == "" {
		return msg, nil, nil
	}
	k := s.cfg.Keys.named(n.peer.Key)
	if k == nil {
		return nil, nil, fmt.Errorf("this server has no TSIG key %s: add it to the file of --tsig-keys", n.peer.Key)
	}
	sess = &session{key: k}
	return sess.sign(msg, uint64(s.cfg.Now().Unix()), 0, 0), sess, nil
}

// dial opens a socket from an address that the peer knows us by, where there is one.
func (s *Server) dial(to netip.AddrPort) (net.Conn, error) {
	for _, from := range s.cfg.From {
		if from.IsUnspecified() || from.Is4() != to.Addr().Is4() {
			continue
		}
		conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
		if err == nil {
			return conn, nil
		}
	}
	return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
}

// exchangeNotify sends the message and reads until the answer to it comes.
func exchangeNotify(conn net.Conn, msg []byte, sess *session, now uint64) error {
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		reply := buf[:n]
		if n < header || reply[0] != msg[0] || reply[1] != msg[1] || reply[2]>>3 != 0x10|opcodeNotify {
			continue
		}
		if sess != nil {
			check := *sess
			t, err := findTSIG(reply)
			if err != nil || t == nil {
				continue // forged, or from someone who does not know the key
			}
			if _, code, err := check.verify(reply, t, now); err != nil || code != 0 {
				if t.err != 0 {
					return &refusedError{uint16(reply[3] & 0xF)}
				}
				continue
			}
		}
		if rcode := uint16(reply[3] & 0xF); rcode != 0 {
			return &refusedError{rcode}
		}
		return nil
	}
}

// notified answers a NOTIFY, or passes it on to control, which copies the zone.
func (x *exchange) notified() Reply {
	v := x.s.cfg.View()
	if v == nil || v.Zone(x.name) == nil {
		return x.fail(rcodeNotAuth)
	}
	if z := v.Zone(x.name); z.Spec == nil || !x.fromPrimary(z.Spec) {
		return x.fail(dnswire.RcodeRefused)
	}
	return x.passOn()
}

// fromPrimary reports whether a message comes from one of a zone's primaries, signed as agreed (RFC 1996, 3.10).
func (x *exchange) fromPrimary(z *spec.Zone) bool {
	for _, p := range z.Primaries {
		addr, err := p.AddrPort()
		if err == nil && addr.Addr() == x.m.Source.Addr() && (p.Key == "" || x.keyed(p.Key)) {
			return true
		}
	}
	return false
}
