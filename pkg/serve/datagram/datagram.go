package datagram

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/guard"
)

// datagrams is the memory of a batch and the way by which it comes and goes: a socket's (batch), or frames past the
// kernel's stack (xdpBatch). See batch for what its methods do.
type datagrams interface {
	receive(flags int) (int, unix.Errno)
	take(i int, d *datagram)
	queue(i, n int)
	send() (sent, failed, busy int)
	putOff(i int, j *slowJob)
}

// datagram is one that was received.
type datagram struct {
	slot   []byte         // its room; slot[:size] is what was received
	source netip.AddrPort // not valid if nobody sent it
	size   int
	cut    bool          // it was longer than its room
	held   guard.Measure // by the quarantine
}

// plain reports whether a Handler will get it.
func (d *datagram) plain() bool { return !d.cut && d.held == guard.Passed && d.source.Port() != 0 }
