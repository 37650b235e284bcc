// Package servetest is what the tests of pkg/serve and of its parts share: handlers, messages, clients of every transport.
package servetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
)

// HandlerFunc is a Handler of one function.
type HandlerFunc func(r *seam.Request) (int, seam.Action)

func (f HandlerFunc) Handle(r *seam.Request) (int, seam.Action) { return f(r) }

func (f HandlerFunc) Flush() {}

// Echo answers with the query, as a reply.
func Echo(r *seam.Request) (int, seam.Action) {
	r.Buf[2] |= 0x80
	return r.N, seam.Send
}

// Query makes a message that asks for name, without EDNS.
func Query(id uint16, name string, qtype uint16) []byte {
	msg := binary.BigEndian.AppendUint16(nil, id)
	msg = append(msg, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		msg = append(msg, byte(len(label)))
		msg = append(msg, label...)
	}
	msg = append(msg, 0)
	msg = binary.BigEndian.AppendUint16(msg, qtype)
	return append(msg, 0, 1)
}

// Reply is what echo makes of msg.
func Reply(msg []byte) []byte {
	r := bytes.Clone(msg)
	r[2] |= 0x80
	return r
}

// Dial connects to a server until the end of the test; reads and writes end with Patience.
func Dial(t testing.TB, network string, to netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Frame puts the length in front of each message, as streams have it.
func Frame(msgs ...[]byte) (out []byte) {
	for _, m := range msgs {
		out = binary.BigEndian.AppendUint16(out, uint16(len(m)))
		out = append(out, m...)
	}
	return out
}

// Write writes all of data.
func Write(t testing.TB, w io.Writer, data []byte) {
	t.Helper()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
}

// ReadFrame reads the next message of a stream.
func ReadFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

// Ask sends one message over conn and gives the reply to it.
func Ask(t testing.TB, conn net.Conn, msg []byte) []byte {
	t.Helper()
	if _, ok := conn.(*net.TCPConn); ok {
		Write(t, conn, Frame(msg))
		got, err := ReadFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	Write(t, conn, msg)
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// Rcode gives the code of a reply.
func Rcode(msg []byte) int { return int(msg[3] & 15) }

// Ended reads until the server ends the connection, and reports whether it did.
func Ended(conn net.Conn) bool {
	_, err := io.Copy(io.Discard, conn)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// Brittle is echo, but panics when asked for a name that begins with "boom", after having spoilt the query.
func Brittle(r *seam.Request) (int, seam.Action) {
	if bytes.HasPrefix(bytes.ToLower(r.Buf[seam.HeaderSize+1:r.N]), []byte("boom")) {
		clear(r.Buf)
		var none []byte
		return int(none[r.N]), seam.Send
	}
	return Echo(r)
}

// Variant is one of many messages for a name that have one length.
func Variant(i int) []byte {
	return append(Query(1, "www.example.", 1), byte(i>>8), byte(i), 41)
}

// Deferring puts off every message whose name begins with "s", and echoes it when it is slow; "sagain" is put off for
// ever, "sstream" wants what can't be done, "sdrop" and "sempty" get nothing, and "sboom" panics. A slow message that does not
// resume where it was put off gets nothing either.
func Deferring(r *seam.Request) (int, seam.Action) {
	name := string(r.Buf[seam.HeaderSize+1 : seam.HeaderSize+1+int(r.Buf[seam.HeaderSize])])
	resume := uint64(crc32.ChecksumIEEE(r.Buf[:r.N]))
	switch {
	case name[0] == 's' && !r.Slow:
		r.Resume = resume
		clear(r.Buf[:r.N]) // as a Handler may
		return 0, seam.Defer
	case r.Slow && r.Resume != resume:
		return 0, seam.Drop
	case name == "sagain":
		return 0, seam.Defer
	case name == "sstream":
		return 0, seam.Stream
	case name == "sdrop":
		return 0, seam.Drop
	case name == "sempty":
		return 0, seam.Send
	case name == "sboom":
		panic("boom")
	case name == "struncate":
		Echo(r)
		return r.N, seam.Truncate
	}
	return Echo(r)
}

// Drip gives one byte, and then no more until it is released.
type Drip struct {
	given   bool
	Release <-chan struct{}
}

func (d *Drip) Read(p []byte) (int, error) {
	if d.given {
		<-d.Release
		return 0, context.Canceled
	}
	d.given = true
	p[0] = 0
	return 1, nil
}
