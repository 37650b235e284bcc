package serve

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// connTable bounds the streams: how many there are, how many of one client, and which gives way when all places
// are taken. Safe for concurrent use.
type connTable struct {
	max, maxPerClient int

	mu     sync.Mutex
	order  *list.List // of *stream; the one whose last batch of messages is longest ago first
	client map[netip.Addr]int
	closed bool
	gone   sync.WaitGroup // streams whose goroutine runs
	n      connStats
}

type connStats struct{ open, opened, refused, evicted uint64 }

func newConnTable(maxConns, maxPerClient int) *connTable {
	return &connTable{max: maxConns, maxPerClient: maxPerClient, order: list.New(), client: make(map[netip.Addr]int)}
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
func (t *connTable) admit(c *stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := clientKey(c.peer.Addr())
	if t.closed {
		return false
	}
	if t.client[key] >= t.maxPerClient {
		t.n.refused++
		return false
	}
	if t.order.Len() >= t.max {
		t.evict()
	}
	c.place = t.order.PushBack(c)
	t.client[key]++
	t.n.opened++
	t.gone.Add(1)
	return true
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
		if !e.Value.(*stream).busy {
			victim = e
			break
		}
	}
	if victim == nil {
		return
	}
	c := victim.Value.(*stream)
	t.remove(c)
	t.n.evicted++
	c.abort()
}

// remove takes c out, if it still is in. mu is held.
func (t *connTable) remove(c *stream) {
	if c.place == nil {
		return
	}
	t.order.Remove(c.place)
	c.place = nil
	key := clientKey(c.peer.Addr())
	if t.client[key]--; t.client[key] == 0 {
		delete(t.client, key)
	}
}

// leave forgets c, at the end of its goroutine.
func (t *connTable) leave(c *stream) {
	t.mu.Lock()
	t.remove(c)
	t.mu.Unlock()
	t.gone.Done()
}

// setBusy notes whether c is being answered. Each end of it makes c the last to be evicted.
func (t *connTable) setBusy(c *stream, busy bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.busy = busy
	if !busy && c.place != nil {
		t.order.MoveToBack(c.place)
	}
}

// idleTime is how long a connection may now stay idle: all of d while half of the places are free, from there on
// less, down to a tenth.
func (t *connTable) idleTime(d time.Duration) time.Duration {
	t.mu.Lock()
	open := t.order.Len()
	t.mu.Unlock()
	load := float64(open)/float64(t.max)*2 - 1 // 0 at half, 1 when full
	return time.Duration(float64(d) * (1 - 0.9*min(max(load, 0), 1)))
}

// close lets nobody in any more and calls fn for each open connection. It may be called again.
func (t *connTable) close(fn func(*stream)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for e := t.order.Front(); e != nil; e = e.Next() {
		fn(e.Value.(*stream))
	}
}

func (t *connTable) stats() connStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.n
	s.open = uint64(t.order.Len())
	return s
}
