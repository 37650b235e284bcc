package serve

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// messagesPerConn is how many messages may be under way for each connection that is allowed, in total and of a client.
const messagesPerConn = 4

// guest is what a connection does when it is told to.
type guest interface {
	// abort closes it at once, in anger: what its client has not taken yet is thrown away. It must not block, and
	// may be called more than once.
	abort()
	// hurry tells that Shutdown has begun. It must not block.
	hurry()
}

// seat is the place of a connection, of whatever transport, in the connTable.
type seat struct {
	guest     guest
	transport Transport
	peer      netip.AddrPort // at its beginning

	// owned by connTable
	place    *list.Element
	busy     int       // messages being answered
	messages int       // messages under way: being read, answered or written
	answered bool      // at least one
	since    time.Time // when it came, or when it was last answered
}

func (c *seat) family() uint8 { return familyOf(c.peer.Addr()) }

// connTable bounds the connections of all transports: how many there are, how many of one client, how many messages
// are under way in them, and which gives way when all places are taken. Safe for concurrent use.
type connTable struct {
	max, maxPerClient int

	mu       sync.Mutex
	order    *list.List // of *seat; the one whose last batch of messages is longest ago first
	client   map[netip.Addr]share
	messages int
	closed   bool
	gone     sync.WaitGroup // seats that are to leave
	n        [numTransports]connStats
}

// share is what one client has of the table.
type share struct{ conns, messages int }

type connStats struct{ open, opened, refused, evicted, overload uint64 }

func newConnTable(maxConns, maxPerClient int) *connTable {
	return &connTable{max: maxConns, maxPerClient: maxPerClient, order: list.New(), client: make(map[netip.Addr]share)}
}

// clientKey is whom connections are counted for: an IPv4 address, or an IPv6 /64, since one host has a whole one.
func clientKey(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().Addr()
	}
	return a
}

// admit takes c in, evicting another if need be. False: c must be closed, as its client has too many or the
// server is stopping. After true, leave must be called once.
func (t *connTable) admit(c *seat) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := clientKey(c.peer.Addr())
	if t.closed {
		return false
	}
	if t.client[key].conns >= t.maxPerClient {
		t.n[c.transport].refused++
		return false
	}
	if t.order.Len() >= t.max {
		t.evict()
	}
	c.since = time.Now()
	c.place = t.order.PushBack(c)
	t.change(key, 1, 0)
	t.n[c.transport].opened++
	t.n[c.transport].open++
	t.gone.Add(1)
	return true
}

// change counts a client's connections and messages. mu is held.
func (t *connTable) change(key netip.Addr, conns, messages int) {
	s := t.client[key]
	s.conns += conns
	s.messages += messages
	if s == (share{}) {
		delete(t.client, key)
		return
	}
	t.client[key] = s
}

// evictOne makes room, for instance for file descriptors.
func (t *connTable) evictOne() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.evict()
}

// evict closes the connection that has been idle for longest; where none is idle, the one that has been busy
// for longest (it is a client that does not take its replies). mu is held.
func (t *connTable) evict() {
	victim := t.order.Front()
	for e := victim; e != nil; e = e.Next() {
		if e.Value.(*seat).busy == 0 {
			victim = e
			break
		}
	}
	if victim != nil {
		t.expel(victim.Value.(*seat))
	}
}

// expel closes c, to make room. mu is held.
func (t *connTable) expel(c *seat) {
	t.remove(c)
	t.n[c.transport].evicted++
	c.guest.abort()
}

// remove takes c out, if it still is in. mu is held.
func (t *connTable) remove(c *seat) {
	if c.place == nil {
		return
	}
	t.order.Remove(c.place)
	c.place = nil
	t.n[c.transport].open--
	t.change(clientKey(c.peer.Addr()), -1, 0)
}

// leave forgets c, at its very end.
func (t *connTable) leave(c *seat) {
	t.mu.Lock()
	t.remove(c)
	t.mu.Unlock()
	t.gone.Done()
}

// enter counts one more message of c as under way, before it is read. False: there are too many, and it is to be
// refused. After true, exit must be called once. Transports that take one message at a time need it not.
func (t *connTable) enter(c *seat) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := clientKey(c.peer.Addr())
	if t.client[key].messages >= messagesPerConn*t.maxPerClient {
		t.n[c.transport].overload++
		return false
	}
	if t.messages >= messagesPerConn*t.max {
		t.n[c.transport].overload++
		t.evict() // most likely one of those that let their messages drip in
		return false
	}
	t.messages++
	c.messages++
	t.change(key, 0, 1)
	return true
}

// exit is the end of a message that has entered.
func (t *connTable) exit(c *seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages--
	c.messages--
	t.change(clientKey(c.peer.Addr()), 0, -1)
}

// setBusy notes that one message, or one batch of them, is being answered, or no longer. Each end of it makes c the
// last to be evicted.
func (t *connTable) setBusy(c *seat, busy bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if busy {
		c.busy++
		return
	}
	c.busy--
	c.answered, c.since = true, time.Now()
	if c.place != nil {
		t.order.MoveToBack(c.place)
	}
}

// idleTime is how long a connection may now stay idle: all of d while half of the places are free, from there on
// less, down to a tenth.
func (t *connTable) idleTime(d time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.idle(d)
}

func (t *connTable) idle(d time.Duration) time.Duration {
	load := float64(t.order.Len())/float64(t.max)*2 - 1 // 0 at half, 1 when full
	return time.Duration(float64(d) * (1 - 0.9*min(max(load, 0), 1)))
}

// sweep closes the connections of HTTPS and QUIC that have had no message for too long: their libraries take a
// ping, or a header that never ends, for a sign of life. TCP and TLS have deadlines.
func (t *connTable) sweep(now time.Time, first, idle time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	idle = t.idle(idle)
	for e := t.order.Front(); e != nil; {
		c := e.Value.(*seat)
		e = e.Next() // before c is taken out
		limit := first
		if c.answered {
			limit = idle
		}
		if (c.transport == HTTPS || c.transport == QUIC) && c.messages == 0 && now.Sub(c.since) > limit {
			t.remove(c)
			c.guest.abort()
		}
	}
}

// dismiss calls end once c has had nothing to answer for a while. It is for Shutdown, after the grace: messages that
// are not whole by then are not waited for.
func (t *connTable) dismiss(c *seat, end func()) {
	t.mu.Lock()
	wait := lingerTime
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
	time.AfterFunc(wait, func() { t.dismiss(c, end) })
}

// close lets nobody in any more and calls fn for each open connection. It may be called again.
func (t *connTable) close(fn func(guest)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for e := t.order.Front(); e != nil; e = e.Next() {
		fn(e.Value.(*seat).guest)
	}
}

func (t *connTable) stats() [numTransports]connStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}
