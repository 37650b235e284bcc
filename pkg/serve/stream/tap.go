package stream

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const tapBuf = 16 << 10 // for one read of what a client has sent

// tapBufs lends memory to taps, for as long as they hold something.
var tapBufs = sync.Pool{New: func() any { return new([tapBuf]byte) }}

// tap is a TCP connection of which as much as there is is read at once, whatever size the reader asks for, and which
// holds memory only from then until all of that has been taken. TLS, above it, gives one record for each Read, which
// mostly is one message; an impatient tap tells when the next one would have to wait for the client. It has one reader.
type tap struct {
	*net.TCPConn
	raw     syscall.RawConn
	patient bool           // Read waits for the client, rather than give errDry
	slots   handshakeSlots // of which one is held; nil: none is
	buf     *[tapBuf]byte
	left    []byte // of buf; empty where it is nil

	attempt func(fd uintptr) bool // t.try, made once
	n       int                   // what it read
	err     error
}

// errDry tells that everything that has come was read. It is an error after which TLS goes on, like that of a deadline.
var errDry net.Error = dryError{}

type dryError struct{}

func (dryError) Error() string   { return "serve: nothing more has come yet" }
func (dryError) Timeout() bool   { return true }
func (dryError) Temporary() bool { return true }

// newTap makes a patient tap.
func newTap(conn *net.TCPConn) *tap {
	t := &tap{TCPConn: conn, patient: true}
	t.attempt = t.try
	t.raw, t.err = conn.SyscallConn() // fails where conn is closed
	return t
}

// Read gives what has been read of the connection, or else errDry or more of it.
func (t *tap) Read(p []byte) (int, error) {
	if len(t.left) == 0 {
		if !t.patient {
			return 0, errDry
		}
		if err := t.waitReleased(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.left)
	if t.left = t.left[n:]; len(t.left) == 0 {
		t.release()
	}
	return n, nil
}

// waitReleased waits without a slot: others compute their handshakes meanwhile. After an error no slot is held.
func (t *tap) waitReleased() error {
	slots := t.slots
	t.releaseSlot()
	err := t.wait()
	if err == nil {
		t.acquireSlot(slots)
	}
	return err
}

// Write writes all of data. Where the client has to be waited for, others compute their handshakes meanwhile; after an error no slot is
// held.
func (t *tap) Write(data []byte) (int, error) {
	slots := t.slots
	if slots == nil {
		return t.TCPConn.Write(data)
	}
	n := t.writeSome(data)
	if n == len(data) {
		return n, nil
	}
	t.releaseSlot()
	more, err := t.TCPConn.Write(data[n:])
	if err == nil {
		t.acquireSlot(slots)
	}
	return n + more, err
}

// writeSome writes what the kernel takes at once. What fails leaves it at nothing.
func (t *tap) writeSome(data []byte) (n int) {
	_ = t.raw.Write(func(fd uintptr) bool {
		n, _ = unix.Write(int(fd), data)
		return true
	})
	return max(n, 0)
}

// acquireSlot waits for a slot; nil needs none.
func (t *tap) acquireSlot(of handshakeSlots) {
	if of != nil { // else slots stays untouched, since HTTP/1 reads and writes at the same time
		of <- struct{}{}
		t.slots = of
	}
}

// releaseSlot gives the slot back, if one is held.
func (t *tap) releaseSlot() {
	if t.slots != nil {
		<-t.slots
		t.slots = nil
	}
}

// wait waits until there is something to Read.
func (t *tap) wait() error {
	if len(t.left) > 0 {
		return nil
	}
	if t.raw == nil {
		return t.err
	}
	if err := t.raw.Read(t.attempt); err != nil {
		return err
	}
	if t.err != nil {
		t.release()
		return t.err
	}
	t.left = t.buf[:t.n]
	return nil
}

// try reads once, and reports whether that came to something; if not, it is called again when there is something to read.
func (t *tap) try(fd uintptr) bool {
	if t.buf == nil {
		t.buf = tapBufs.Get().(*[tapBuf]byte)
	}
	for {
		t.n, t.err = unix.Read(int(fd), t.buf[:])
		if t.err != unix.EINTR {
			break
		}
	}
	switch {
	case t.err == unix.EAGAIN:
		t.release()
		return false
	case t.err != nil:
		t.err = os.NewSyscallError("read", t.err)
	case t.n == 0:
		t.err = io.EOF
	}
	return true
}

// hasten tells the client that what it sent has come. Else the kernel would wait with that for a reply to send it along,
// for 40 ms; and a client that sends a message in two pieces, without TCP_NODELAY, would wait for that word with the
// second one.
func (t *tap) hasten() {
	if t.raw != nil {
		_ = t.raw.Control(acknowledge) // fails where the connection is closed
	}
}

func acknowledge(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) // at worst, the client waits
}

func (t *tap) release() {
	if t.buf != nil {
		tapBufs.Put(t.buf)
		t.buf, t.left = nil, nil
	}
}
