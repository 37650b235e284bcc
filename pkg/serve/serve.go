// Package serve owns the sockets on which DNS is spoken: it takes messages in by UDP (in batches) and TCP
// (RFC 7766), hands each to a Handler, and sends what the Handler wrote. It knows nothing of DNS beyond the
// header and where the question ends, which it needs to answer for a Handler that panicked.
//
// It runs on Linux only.
package serve

import "net/netip"

// Transport is how a message came.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
	numTransports
)

var transportNames = [numTransports]string{"udp", "tcp"}

// String gives the name used as metric label: "udp", "tcp".
func (t Transport) String() string {
	if t < numTransports {
		return transportNames[t]
	}
	return "unknown"
}

// Request is one message on its way through a Handler. It is valid only during the call of Handle, and Buf's
// bytes belong to the socket afterwards: a Handler that wants to keep something copies it.
type Request struct {
	// Buf[:N] is the query. The reply is written from Buf[0] on, over the query; len(Buf) is all the room
	// there is: 4096 bytes with UDP, 65535 with TCP.
	Buf []byte
	N   int
	// Source is the client's address and port; an IPv4 address is never in its IPv6-mapped form, and an IPv6
	// address has no zone.
	Source    netip.AddrPort
	Transport Transport
}

// Action says what becomes of a Request.
type Action uint8

// The actions.
const (
	// Send sends the reply, Buf[:n].
	Send Action = iota
	// Drop sends nothing.
	Drop
	// Truncate is Send of a reply with the TC bit set; it is counted apart.
	Truncate
	// Close sends what there is (n may be 0) and then closes the stream. With UDP it is Send.
	Close
)

// Handler answers one message at a time. Each worker has a Handler of its own, made by Config.NewHandler, so it
// may keep scratch; its methods are never called concurrently, though not always from the same goroutine.
//
// A Handler must not block. When it panics, the client gets SERVFAIL and the Handler is thrown away.
type Handler interface {
	// Handle reads r.Buf[:r.N] and writes a reply of n bytes to r.Buf[:n].
	Handle(r *Request) (n int, a Action)
	// Flush is called after the last message of each batch: of UDP, or of what one stream had ready. It is
	// the place to publish counters.
	Flush()
}
