package stream

import (
	"crypto/tls"
	"runtime"
	"time"
)

// handshakeSlots bound how many handshakes of TLS are computed at once. One takes some 200 us, a hundred times what a query does, and a
// flood of them would take all of Go's processors, so that UDP workers wait for one, for milliseconds. A slot is held while something is
// computed, not while the client is waited for.
type handshakeSlots chan struct{}

// newHandshakeSlots has half of the CPUs compute handshakes at most.
func newHandshakeSlots() handshakeSlots { return make(handshakeSlots, max(1, runtime.GOMAXPROCS(0)/2)) }

// shakeHands does what TLS needs before the first message, and gives its state; nil without TLS.
func (p *pipe) shakeHands(until time.Time) (state *tls.ConnectionState, ok bool) {
	if secure, is := p.conn.(*tls.Conn); is {
		if p.tap.SetWriteDeadline(until) != nil || p.readUntil(until, 0) != nil || !p.handshake(secure, until) {
			return nil, false
		}
		state = new(tls.ConnectionState)
		*state = secure.ConnectionState()
	}
	p.tap.patient = false
	return state, true
}

// handshake takes slots for the handshake, from when the client has said something.
func (p *pipe) handshake(secure *tls.Conn, until time.Time) bool {
	if p.tap.wait() != nil {
		return false
	}
	deepen(1)
	p.tap.acquireSlot(p.shared.slots)
	defer p.tap.releaseSlot()
	return !p.late(until) && secure.Handshake() == nil
}

// late reports whether a handshake would be in vain: in a flood, connections wait so long that many had to make room for others meanwhile.
func (p *pipe) late(until time.Time) bool {
	return time.Now().After(until) || p.tap.raw.Control(func(uintptr) {}) != nil // which fails where the connection is closed
}

// handshakeStack is more than the calls of a TLS handshake need at once, and with what else is on the stack it still is
// less than what Go's runtime has at hand for each CPU (16 KB).
const handshakeStack = 10 << 10

// deepen has the calling goroutine's stack grow by what a handshake needs, all at once and while there is little on it. Else it
// would grow in steps, each of which copies the stack and looks up every call on it: 3 % of what a new connection costs.
//
//go:noinline
func deepen(i int) byte {
	var buf [handshakeStack]byte
	buf[i] = 1 // or else the compiler would do without buf
	return buf[2*i]
}
