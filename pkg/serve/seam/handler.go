// Package seam is the seam between sockets and DNS: what a Handler gets and gives, and the little that serving itself knows of
// messages: where the question ends, how one fails, and for how long a reply is fresh. See pkg/serve.
package seam

import (
	"crypto/tls"
	"net/netip"
)

// Transport is how a message came.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
	TLS
	HTTPS
	QUIC
	NumTransports
)

// PastKernel is UDP past the kernel's stack: for Handlers it is UDP, but it is counted apart.
const PastKernel = NumTransports

var transportNames = [NumTransports + 1]string{"udp", "tcp", "tls", "https", "quic", "xdp"}

// String gives the name used as metric label: "udp", "tcp", "tls", "https", "quic".
func (t Transport) String() string {
	if int(t) < len(transportNames) {
		return transportNames[t]
	}
	return "unknown"
}

// FamilyOf gives the index of an address in FamilyNames.
func FamilyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return 0
	}
	return 1
}

// FamilyNames are the families of addresses, as metrics name them.
var FamilyNames = [2]string{"ipv4", "ipv6"}

// Request is one message on its way through a Handler. It is valid only during the call of Handle, and Buf's
// bytes belong to the socket afterwards: a Handler that wants to keep something copies it.
type Request struct {
	// Buf[:N] is the query. The reply is written from Buf[0] on, over the query; len(Buf) is all the space
	// there is: 4096 bytes with UDP (past the kernel's stack, what a frame holds: 512 at least), 65535 with every other transport.
	Buf []byte
	N   int
	// Source is the client's address and port; an IPv4 address is never in its IPv6-mapped form, and an IPv6
	// address has no zone.
	Source    netip.AddrPort
	Transport Transport
	// Peer is the state of the client's TLS, the same for all messages of a connection; nil with UDP and TCP. It
	// is not to be changed.
	Peer *tls.ConnectionState
	// KeepAlive is for how long the connection may stay idle from now on, in units of 100 ms (RFC 7828); 0 where
	// such news has no place: with UDP, HTTPS and QUIC.
	KeepAlive uint16
	// Prefetched is 1 + the number under which a Prefetcher was shown the message; 0: it was not.
	Prefetched int
	// Slow tells that this is the second call for this message, after Defer: slow work may be done, and the
	// Handler may block for a while.
	Slow bool

	// Exempt is set by the Handler: the reply is not subject to the rate limit, for instance since the client
	// showed by a cookie that its address is its own.
	Exempt bool
	// Preferred is set by the Handler together with the action Defer: the work is of a kind that clients cannot make up at
	// will, so it has a queue of its own, which is worked off before the other.
	Preferred bool
	// Share is set by the Handler together with the action Defer: whose work it is, as a hash. The work of one share takes no more than
	// half of a queue.
	Share uint8
	// Resume is set by the Handler together with the action Defer: the second call has it again. It is of the Handler's own making,
	// such as where its random numbers were.
	Resume uint64
	// Produce is set by the Handler together with the action Stream, and is called after Handle has returned, in a
	// goroutine of the connection: it makes several messages, and gives each to send, which returns when it is on
	// its way (msg may be used again then), or an error when the client is gone or too slow. It may block, and must
	// not use what belongs to the Handler. After an error the connection is closed.
	Produce func(send func(msg []byte) error) error
}

// Action says what becomes of a Request.
type Action uint8

// The actions.
const (
	// Send sends the reply, Buf[:n].
	Send Action = iota
	// Drop sends nothing. With HTTPS that is status 400; with QUIC the stream is reset.
	Drop
	// Truncate is Send of a reply with the TC bit set; it is counted apart.
	Truncate
	// Close sends what there is (n may be 0) and then closes the connection: with QUIC and n = 0, as a protocol
	// error. With UDP and HTTPS it is Send.
	Close
	// Stream sends what Request.Produce makes; n does not matter. With UDP and HTTPS, where a query has one reply,
	// it is SERVFAIL.
	Stream
	// Defer sends nothing yet: the message needs slow work, and is handed, as it came, to a slow Handler, with
	// Request.Slow set. With UDP it waits in a bounded queue for one, and is dropped where that is full. From a
	// slow Handler it is SERVFAIL.
	Defer
)

// Handler answers one message at a time. Each worker has a Handler of its own, made by Config.NewHandler, so it
// may keep scratch; its methods are never called concurrently, though not always from the same goroutine.
//
// A Handler must not block, except for a Request that is Slow. When it panics, the client gets SERVFAIL and the
// Handler is thrown away.
type Handler interface {
	// Handle reads r.Buf[:r.N] and writes a reply of n bytes to r.Buf[:n].
	Handle(r *Request) (n int, a Action)
	// Flush is called after the last message of each batch: of UDP, or of what one stream had ready. It is
	// the place to publish counters.
	Flush()
}

// Window is how many messages a Prefetcher is shown at once, at most.
const Window = 16

// Prefetcher is a Handler that gains from seeing several messages before it answers the first of them: what they read from memory
// comes at the same time then. For a window of n messages it is called in this order:
//
//	Parse for each message, i = 0, 1, … n-1; msg is empty where Handle will not get it
//	Prefetch(n)
//	Handle for each message but those, with i + 1 in Request.Prefetched
//
// Parse keeps no reference to msg. When Parse or Prefetch panics, no message is to blame yet: all are handled as if they had not been
// shown, with 0 in Request.Prefetched.
type Prefetcher interface {
	Handler
	Parse(i int, msg []byte, source netip.AddrPort)
	Prefetch(n int)
}
