package guard

import "time"

// stuckTime is how long a connection may be busy with one batch and still count as at work. From then on it is one whose client does not
// take its replies, which is of less use than one that waits for a question.
const stuckTime = time.Second

// greetTime is how long a new connection may take for its first question before it counts as one that never asks.
const greetTime = time.Second

// idle reports whether c may be closed without anybody missing an answer.
func (c *Seat) idle(now time.Time) bool { return c.busy == 0 || now.Sub(c.at) > stuckTime }

// victim gives that connection of a client which gives way to another one of the same: one that has never asked, or else the one idle for
// longest. nil: all are at work.
func (s *share) victim(now time.Time) *Seat {
	var idle *Seat
	for e := s.conns.Front(); e != nil; e = e.Next() {
		c := e.Value.(*Seat)
		switch {
		case !c.idle(now):
		case !c.answered && now.Sub(c.since) > greetTime:
			return c
		case idle == nil:
			idle = c
		}
	}
	return idle
}

// EvictOne makes room, for instance for file descriptors.
func (t *Conns) EvictOne() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.evict()
}

// evict closes a connection of one of the clients that have most of them (at least half as many as the largest): the one that has been
// idle for longest, or stuck; where all are at work, the first. So who takes many places makes room for others. mu is held.
func (t *Conns) evict() {
	now := time.Now()
	var victim *Seat
	for e := t.order.Front(); e != nil; e = e.Next() {
		c := e.Value.(*Seat)
		if 2*c.share.conns.Len() < t.most {
			continue
		}
		if c.idle(now) {
			victim = c
			break
		}
		if victim == nil {
			victim = c
		}
	}
	if victim != nil {
		t.expel(victim)
	}
}

// relieve makes room for messages, of which too many are under way, while newcomer has another one: it closes the connection that has
// most of them, unless newcomer has as many itself. One at a time: what was closed before may
// not have let go of its messages yet. mu is held.
func (t *Conns) relieve(newcomer *Seat) {
	if t.leaving > 0 {
		return
	}
	worst := newcomer
	for e := t.order.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*Seat); c.messages > worst.messages || c.messages == worst.messages && c.share.messages > worst.share.messages {
			worst = c
		}
	}
	if worst != newcomer {
		t.leaving = worst.messages
		t.expel(worst)
	}
}

// expel closes c, to make room. mu is held.
func (t *Conns) expel(c *Seat) {
	t.remove(c)
	t.n[c.Transport].Evicted++
	c.Guest.Abort()
}
