package guard

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
)

// messagesPerConn is how many messages may be under way for each connection that is allowed, in total and of a client.
const messagesPerConn = 4

// LingerTime is for a client to take its last replies, once we have closed our half of the connection.
const LingerTime = 500 * time.Millisecond

// Guest is what a connection does when it is told to.
type Guest interface {
	// Abort closes it at once, in anger: what its client has not taken yet is thrown away. It must not block, and
	// may be called more than once.
	Abort()
	// Hurry tells that Shutdown has begun. It must not block.
	Hurry()
}

// Seat stands for a connection, of whatever transport, in Conns.
type Seat struct {
	Guest     Guest
	Transport seam.Transport
	Peer      netip.AddrPort // at its beginning

	// owned by Conns
	inOrder  *list.Element // in Conns.order
	own      *list.Element // in share.conns
	share    *share        // its client's
	busy     int           // messages being answered
	at       time.Time     // when it became busy
	messages int           // messages under way: being read, answered or written
	answered bool          // at least one
	since    time.Time     // when it came, or when it was last answered
}

// Family gives the index of the client's family in seam.FamilyNames.
func (c *Seat) Family() uint8 { return seam.FamilyOf(c.Peer.Addr()) }

// Conns bounds the connections of all transports: how many there are, how many of one client, how many messages
// are under way in them, and which gives way when all places are taken. Safe for concurrent use.
type Conns struct {
	max, maxPerClient int

	mu       sync.Mutex
	order    *list.List // of *Seat; the one whose last batch of messages is longest ago first
	client   map[netip.Addr]*share
	sizes    []int // how many clients have so many connections
	most     int   // connections of the client that has most of them
	messages int
	leaving  int // messages of connections that were expelled because there were too many
	closed   bool
	gone     sync.WaitGroup // seats that are to leave
	n        [seam.NumTransports]ConnStats
}

// share is what one client has of the table.
type share struct {
	key      netip.Addr
	conns    *list.List // of *Seat, in the same order
	messages int
}

// ConnStats counts the connections of one transport. Overload counts messages that were refused, as too many were under way.
type ConnStats struct{ Open, Opened, Refused, Evicted, Overload uint64 }

// NewConns makes an empty table for so many connections.
func NewConns(maxConns, maxPerClient int) *Conns {
	return &Conns{max: maxConns, maxPerClient: maxPerClient, order: list.New(), client: make(map[netip.Addr]*share),
		sizes: make([]int, maxPerClient+1)}
}

// clientKey is whom connections are counted for: an IPv4 address, or an IPv6 /64, since one host has a whole one.
func clientKey(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().Addr()
	}
	return a
}

// Admit takes c in, evicting another if need be: one of the same client where that has as many as it may. False: c must be closed,
// as its client has too many, all of them at work, or the server is stopping. After true, leave must be called once.
func (t *Conns) Admit(c *Seat) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	c.since = time.Now()
	key := clientKey(c.Peer.Addr())
	if s := t.client[key]; s != nil && s.conns.Len() >= t.maxPerClient {
		idle := s.victim(c.since)
		if idle == nil {
			t.n[c.Transport].Refused++
			return false
		}
		t.expel(idle)
	}
	if t.order.Len() >= t.max {
		t.evict()
	}
	c.share = t.shareOf(key)
	c.inOrder = t.order.PushBack(c)
	c.own = c.share.conns.PushBack(c)
	t.resized(c.share.conns.Len()-1, c.share.conns.Len())
	t.n[c.Transport].Opened++
	t.n[c.Transport].Open++
	t.gone.Add(1)
	return true
}

// shareOf gives what a client has, or begins it. mu is held.
func (t *Conns) shareOf(key netip.Addr) *share {
	s := t.client[key]
	if s == nil {
		s = &share{key: key, conns: list.New()}
		t.client[key] = s
	}
	return s
}

// tidy forgets a client that has nothing any more. mu is held.
func (t *Conns) tidy(s *share) {
	if s.conns.Len() == 0 && s.messages == 0 {
		delete(t.client, s.key)
	}
}

// resized keeps count of how many connections clients have. mu is held.
func (t *Conns) resized(was, is int) {
	t.sizes[was]--
	t.sizes[is]++
	t.most = max(t.most, is)
	for t.most > 0 && t.sizes[t.most] == 0 {
		t.most--
	}
}

// remove takes c out, if it still is in. mu is held.
func (t *Conns) remove(c *Seat) {
	if c.inOrder == nil {
		return
	}
	t.order.Remove(c.inOrder)
	c.share.conns.Remove(c.own)
	c.inOrder, c.own = nil, nil
	t.resized(c.share.conns.Len()+1, c.share.conns.Len())
	t.n[c.Transport].Open--
	t.tidy(c.share)
}

// Leave forgets c, at its very end.
func (t *Conns) Leave(c *Seat) {
	t.mu.Lock()
	t.remove(c)
	t.mu.Unlock()
	t.gone.Done()
}

// Enter counts one more message of c as under way, before it is read. False: there are too many, or c was told to end, and it is to be
// refused. After true, exit must be called once. Transports that take one message at a time need it not.
func (t *Conns) Enter(c *Seat) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case c.inOrder == nil:
		return false // it is cut off: what still stands in its batch costs nobody anything
	case c.share.messages >= messagesPerConn*t.maxPerClient:
		t.n[c.Transport].Overload++
		return false
	case t.messages >= messagesPerConn*t.max:
		t.n[c.Transport].Overload++
		t.relieve(c)
		return false
	}
	t.messages++
	c.messages++
	c.share.messages++
	return true
}

// Exit is the end of a message that has entered.
func (t *Conns) Exit(c *Seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages--
	c.messages--
	c.share.messages--
	if c.inOrder == nil {
		t.leaving = max(0, t.leaving-1)
	}
	t.tidy(c.share)
}

// SetBusy notes that one message, or one batch of them, is being answered, or no longer. Each end of it makes c the
// last to be evicted.
func (t *Conns) SetBusy(c *Seat, busy bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if busy {
		if c.busy++; c.busy == 1 {
			c.at = now
		}
		return
	}
	c.busy--
	c.answered, c.since = true, now
	if c.inOrder != nil {
		t.order.MoveToBack(c.inOrder)
		c.share.conns.MoveToBack(c.own)
	}
}

// IdleTime is how long a connection may now stay idle: all of d while half of the places are free, from there on
// less, down to a tenth.
func (t *Conns) IdleTime(d time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.idle(d)
}

func (t *Conns) idle(d time.Duration) time.Duration {
	load := float64(t.order.Len())/float64(t.max)*2 - 1 // 0 at half, 1 when full
	return time.Duration(float64(d) * (1 - 0.9*min(max(load, 0), 1)))
}

// Sweep closes the connections of HTTPS and QUIC that have had no message for too long: their libraries take a
// ping, or a header that never ends, for a sign of life. TCP and TLS have deadlines.
func (t *Conns) Sweep(now time.Time, first, idle time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	idle = t.idle(idle)
	for e := t.order.Front(); e != nil; {
		c := e.Value.(*Seat)
		e = e.Next() // before c is taken out
		limit := first
		if c.answered {
			limit = idle
		}
		if (c.Transport == seam.HTTPS || c.Transport == seam.QUIC) && c.messages == 0 && now.Sub(c.since) > limit {
			t.remove(c)
			c.Guest.Abort()
		}
	}
}

// Dismiss calls end once c has had nothing to answer for a while. It is for Shutdown, after the grace: messages that
// are not whole by then are not waited for.
func (t *Conns) Dismiss(c *Seat, end func()) {
	t.mu.Lock()
	wait := LingerTime
	if c.busy == 0 {
		wait -= time.Since(c.since) // the client may not have taken its last reply yet
		if !c.answered {
			wait = 0
		}
	}
	t.mu.Unlock()
	if wait <= 0 {
		end()
		return
	}
	time.AfterFunc(wait, func() { t.Dismiss(c, end) })
}

// Close lets nobody in any more and calls fn for each open connection. It may be called again.
func (t *Conns) Close(fn func(Guest)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for e := t.order.Front(); e != nil; e = e.Next() {
		fn(e.Value.(*Seat).Guest)
	}
}

// UnderWay tells how many messages are under way.
func (t *Conns) UnderWay() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.messages
}

// Wait returns when everybody who was admitted has left.
func (t *Conns) Wait() { t.gone.Wait() }

// Stats gives the counts of each transport.
func (t *Conns) Stats() [seam.NumTransports]ConnStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}
