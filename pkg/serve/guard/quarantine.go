package guard

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
)

const (
	quarantineSize = 256 // marks of each kind
	quarantineTime = time.Hour
	// maxStrikes is how many different messages that are alike may panic for one client network.
	maxStrikes = 4
	// maxNetworks is for how many client networks a message may panic.
	maxNetworks = 16
)

// Quarantine remembers the messages that made a Handler panic, for an hour each, so that they are stopped before they reach one. Safe for
// concurrent use; while it is empty, asking it costs one atomic load.
//
// A message is refused that equals one that panicked for the same client network, but for its ID and the case of its name; after
// maxNetworks of them, whoever sends it: until then the fault may lie in who asked, and others who ask the same get their answer.
//
// Near variants are counted for each client network: after maxStrikes of them, that network's messages with the same name, type, class,
// header flags and length are stopped, too. By UDP, where the network may be forged, they get a truncated reply: who is honest comes
// again by TCP, where nobody can strike in the name of others.
type Quarantine struct {
	now             func() time.Time
	seed            maphash.Seed
	mu              sync.Mutex   // held by writers
	last            atomic.Int64 // when the last mark ends, as Unix time in nanoseconds; 0: there is none
	messages, likes shelf
}

// shelf keeps marks, each in a place that its key leads to. Writers take turns; a reader may find a mark half changed, which then stops
// one message more or less.
type shelf [quarantineSize / shelfWidth][shelfWidth]mark

const shelfWidth = 8 // marks that a key may be among

// mark says until when something is remembered, and how many panics it has caused.
type mark struct {
	key     atomic.Uint64
	until   atomic.Int64 // as Quarantine.last
	strikes atomic.Int64
}

// find gives the mark of a key, nil where there is none.
func (s *shelf) find(key uint64, now int64) *mark {
	set := &s[key%uint64(len(s))]
	for i := range set {
		if m := &set[i]; m.key.Load() == key && m.until.Load() > now {
			return m
		}
	}
	return nil
}

// strike marks a key, in the place of the mark that ends first where there is none.
func (s *shelf) strike(key uint64, now, until int64) {
	m := s.find(key, now)
	if m == nil {
		set := &s[key%uint64(len(s))]
		m = &set[0]
		for i := range set {
			if set[i].until.Load() < m.until.Load() {
				m = &set[i]
			}
		}
		m.strikes.Store(0)
		m.key.Store(key)
	}
	m.until.Store(until)
	m.strikes.Add(1)
}

// count tells how many marks have not ended.
func (s *shelf) count(now int64) (n int) {
	for i := range s {
		for j := range s[i] {
			if s[i][j].until.Load() > now {
				n++
			}
		}
	}
	return n
}

// Measure is what the quarantine wants done with a message.
type Measure uint8

const (
	Passed    Measure = iota
	Refused           // with REFUSED
	SentToTCP         // a truncated reply, so that the client comes by TCP
)

func newQuarantine(now func() time.Time) *Quarantine {
	return &Quarantine{now: now, seed: maphash.MakeSeed()}
}

// Judge tells what is to be done with a message.
func (q *Quarantine) Judge(msg []byte, t seam.Transport, source netip.Addr) Measure {
	last := q.last.Load()
	if last == 0 {
		return Passed
	}
	now := q.now().UnixNano()
	if now >= last {
		q.last.CompareAndSwap(last, 0)
		return Passed
	}
	key := q.like(msg, t, source)
	message, like := q.messages.find(q.message(msg), now), q.likes.find(key, now)
	switch {
	case message != nil && (like != nil || key == 0 || message.strikes.Load() >= maxNetworks):
		return Refused
	case like == nil || like.strikes.Load() < maxStrikes:
		return Passed
	}
	if t == seam.UDP {
		return SentToTCP
	}
	return Refused
}

// add marks a message that has made a Handler panic, and gives its hash.
func (q *Quarantine) add(msg []byte, t seam.Transport, source netip.Addr) uint64 {
	message, like := q.message(msg), q.like(msg, t, source)
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.now()
	now, until := at.UnixNano(), at.Add(quarantineTime).UnixNano()
	q.messages.strike(message, now, until)
	if like != 0 {
		q.likes.strike(like, now, until)
	}
	q.last.Store(until)
	return message
}

// Size tells how many messages are refused now.
func (q *Quarantine) Size() int { return q.messages.count(q.now().UnixNano()) }

// message hashes all of a message but its ID and the case of its name. The seed is secret, so nobody can make up a message that has the
// hash of someone else's.
func (q *Quarantine) message(msg []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(q.seed)
	end := seam.QuestionEnd(msg)
	if end == 0 {
		_, _ = h.Write(msg[min(2, len(msg)):])
		return h.Sum64()
	}
	var question [255 + 4]byte
	_, _ = h.Write(msg[2:seam.HeaderSize])
	_, _ = h.Write(folded(&question, msg[seam.HeaderSize:end]))
	_, _ = h.Write(msg[end:])
	return h.Sum64()
}

// like hashes what the near variants of a message have in common, and which network sent it by which kind of transport. 0: there is no
// question by which it could be told.
func (q *Quarantine) like(msg []byte, t seam.Transport, source netip.Addr) uint64 {
	end := seam.QuestionEnd(msg)
	if end == 0 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(q.seed)
	bits := 24
	if source.Is6() {
		bits = 56
	}
	network := source.As16()
	if p, err := source.Prefix(bits); err == nil {
		network = p.Addr().As16()
	}
	var question [255 + 4]byte
	var rest [5]byte
	if t != seam.UDP {
		rest[0] = 1
	}
	binary.BigEndian.PutUint16(rest[1:], uint16(len(msg)))
	copy(rest[3:], msg[2:4])
	_, _ = h.Write(network[:])
	_, _ = h.Write(rest[:])
	_, _ = h.Write(folded(&question, msg[seam.HeaderSize:end]))
	return max(1, h.Sum64())
}

// folded copies a question into buf, its name in lower case. The class and type are not folded; the lengths of labels are below 'A'.
func folded(buf *[255 + 4]byte, question []byte) []byte {
	n := copy(buf[:], question)
	for i := range n - 4 {
		if c := buf[i]; 'A' <= c && c <= 'Z' {
			buf[i] = c + 'a' - 'A'
		}
	}
	return buf[:n]
}
