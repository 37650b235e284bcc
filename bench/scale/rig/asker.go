package rig

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Asker asks one question again and again and notes each answer's address and the time at which the kernel had it. It
// runs on a thread of its own that goes before others, and the times are the kernel's, so that neither the load
// beside it nor the runtime's scheduler is in them.
type Asker struct {
	fd    int
	query []byte
	every time.Duration
	asked int // by Run alone

	mu   sync.Mutex
	seen []Seen
	err  error
}

// Seen is one answer.
type Seen struct {
	At   time.Time
	Addr netip.Addr // of the first record; invalid: there was none
}

// NewAsker makes an asker of a port at 127.0.0.1. Run sets it going.
func NewAsker(port int, query []byte, every time.Duration) (*Asker, error) {
	fd, err := stampedSocket(port)
	if err != nil {
		return nil, err
	}
	return &Asker{fd: fd, query: query, every: every}, nil
}

// Run asks until ctx ends, waits for the last answers, and closes the asker.
func (a *Asker) Run(ctx context.Context) {
	runtime.LockOSThread() // and never unlocked: the thread keeps its place before others
	defer unix.Close(a.fd)
	if err := punctual(); err != nil {
		a.fail(fmt.Errorf("the thread that asks: %w (run as root)", err))
		return
	}
	next := time.Now()
	for ctx.Err() == nil {
		a.asked++
		if _, err := unix.Write(a.fd, a.query); err != nil && err != unix.EAGAIN {
			a.fail(err)
			return
		}
		a.hear()
		next = next.Add(a.every)
		if d := time.Until(next); d > 0 {
			nap(d)
		} else {
			next = time.Now() // what could not be asked in time is left out
		}
	}
	time.Sleep(giveUp)
	a.hear()
}

// giveUp is after which time a question counts as lost, as with dnsload.
const giveUp = 250 * time.Millisecond

func (a *Asker) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// hear takes the answers that are there.
func (a *Asker) hear() {
	var buf [512]byte
	var control [64]byte
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		n, cn, _, _, err := unix.Recvmsg(a.fd, buf[:], control[:], unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		if at, ok := stampOf(control[:cn]); ok {
			a.seen = append(a.seen, Seen{at, firstAddress(buf[:n])})
		}
	}
}

// stampOf reads the kernel's time of arrival: a cmsghdr with a timespec, and nothing else was asked for.
func stampOf(control []byte) (time.Time, bool) {
	const head = unix.SizeofCmsghdr
	if len(control) < head+16 || binary.NativeEndian.Uint32(control[12:]) != unix.SO_TIMESTAMPNS {
		return time.Time{}, false
	}
	sec, nsec := binary.NativeEndian.Uint64(control[head:]), binary.NativeEndian.Uint64(control[head+8:])
	return time.Unix(int64(sec), int64(nsec)), true
}

// firstAddress reads the first record of an answer: A, behind a pointer to the question's name.
func firstAddress(msg []byte) netip.Addr {
	at := 12
	for at < len(msg) && msg[at] != 0 {
		at += 1 + int(msg[at])
	}
	at += 5 // root, type, class
	if len(msg) < at+16 || msg[7] == 0 || msg[at] != 0xC0 || msg[at+3] != 1 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(msg[at+12 : at+16]))
}

// Turned tells since when the answers have been good without exception, of those after the time given. It waits until they
// have been for settle.
func (a *Asker) Turned(ctx context.Context, after time.Time, good func(netip.Addr) bool, settle, patience time.Duration) (
	time.Time, error) {
	for deadline := time.Now().Add(patience); ; {
		since, latest, err := a.unbroken(after, good)
		switch {
		case err != nil:
			return since, err
		case !since.IsZero() && latest.Sub(since) >= settle:
			return since, nil
		case time.Now().After(deadline):
			return since, fmt.Errorf("%s after the change the answers do not tell of it yet", patience)
		}
		select {
		case <-ctx.Done():
			return since, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// unbroken gives the first and the last of the answers at the end that all are good; zero times where there are none.
func (a *Asker) unbroken(after time.Time, good func(netip.Addr) bool) (since, latest time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.seen) - 1; i >= 0 && a.seen[i].At.After(after) && good(a.seen[i].Addr); i-- {
		if since = a.seen[i].At; latest.IsZero() {
			latest = since
		}
	}
	return since, latest, a.err
}

// Only is the answer of one address.
func Only(addr netip.Addr) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return a == addr }
}

// Lost tells how many questions got no answer. It may be asked after Run.
func (a *Asker) Lost() int { return a.asked - len(a.seen) }
