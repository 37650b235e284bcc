package stream

import (
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// TestTurnsOfHandshakes holds all turns: no handshake gets anywhere then, and they do again afterwards.
func TestTurnsOfHandshakes(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	for range cap(s.slots) {
		s.slots <- struct{}{}
	}
	for _, transport := range []seam.Transport{seam.TLS, seam.HTTPS} {
		conn := tls.Client(servetest.Dial(t, "tcp", s.AddrsOf(transport)[0]), servetest.ClientTLS(t, s))
		if err := conn.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if conn.Handshake() == nil {
			t.Errorf("%v: a handshake without a turn", transport)
		}
	}
	for range cap(s.slots) {
		<-s.slots
	}
	if err := servetest.DialTLS(t, s).Handshake(); err != nil {
		t.Error(err)
	}
}

// TestNoTurnIsHeldWhileWaiting has more clients than there are turns stop in the midst of a handshake: with nothing, a piece of what
// they say first, or without an end. They are in nobody's way, and when they go, no turn goes with them.
func TestNoTurnIsHeldWhileWaiting(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	hello := servetest.ClientHello(t, s)
	for round := range 2 {
		var stopped []net.Conn
		for i := range 3 * (cap(s.slots) + 1) {
			conn := servetest.Dial(t, "tcp", s.AddrsOf(seam.TLS)[0])
			servetest.Write(t, conn, hello[:len(hello)*(i%3)/2])
			if i%3 == 2 {
				if n, err := conn.Read(make([]byte, 16)); n == 0 {
					t.Fatalf("round %d: no answer to a hello: %v", round, err)
				}
			}
			stopped = append(stopped, conn)
		}
		if err := servetest.DialTLS(t, s).Handshake(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		for _, conn := range stopped {
			conn.Close()
		}
	}
}

// TestNoTurnIsHeldWhileWriting has more clients than there are turns say hello and take no reply: they take segments so small, and so few,
// that the kernel does not take a certificate off the server's hands.
func TestNoTurnIsHeldWhileWriting(t *testing.T) {
	var names []string
	for i := range 4000 {
		names = append(names, fmt.Sprintf("server-%d.example", i))
	}
	files := servetest.WriteCertificate(t, t.TempDir(), time.Now().Add(time.Hour), append(names, "ns.example")...)
	s := startRigWith(t, Limits{}, servetest.Echo, files)
	hello := servetest.ClientHello(t, s)
	for _, transport := range []seam.Transport{seam.TLS, seam.HTTPS} {
		for range cap(s.slots) + 1 {
			conn := dialNarrow(t, s, transport)
			servetest.Write(t, conn, hello)
			if n, err := conn.Read(make([]byte, 1)); n == 0 {
				t.Fatalf("%v: no answer to a hello: %v", transport, err)
			}
		}
		if err := servetest.DialTLS(t, s).Handshake(); err != nil {
			t.Errorf("%v: %v", transport, err)
		}
	}
}

// dialNarrow connects as a client with room for next to nothing.
func dialNarrow(t *testing.T, s servetest.Served, transport seam.Transport) net.Conn {
	t.Helper()
	var failure error
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		err := raw.Control(func(fd uintptr) {
			for _, o := range [][3]int{{unix.SOL_SOCKET, unix.SO_RCVBUF, 1}, {unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536}} {
				if err := unix.SetsockoptInt(int(fd), o[0], o[1], o[2]); err != nil {
					failure = err
				}
			}
		})
		return err
	}}
	conn, err := dialer.Dial("tcp", servetest.Target(s, transport).String())
	if err != nil || failure != nil {
		t.Fatal(err, failure)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(servetest.Patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestNoHandshakeInVain: who had to make room, or whose time passed, while waiting for a turn costs nothing when it comes.
func TestNoHandshakeInVain(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	hello := servetest.ClientHello(t, s)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, test := range map[string]struct {
		closed bool
		left   time.Duration
		begun  bool
	}{"open": {false, servetest.Patience, true}, "closed": {true, servetest.Patience, false}, "late": {false, -time.Second, false}} {
		client := servetest.Dial(t, "tcp", listener.Addr().(*net.TCPAddr).AddrPort())
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		begun := false
		p := newPipe(s.Shared, conn.(*net.TCPConn), &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			begun = true
			return nil, net.ErrClosed
		}})
		servetest.Write(t, client, hello)
		if err := p.tap.wait(); err != nil {
			t.Fatal(err)
		}
		if test.closed {
			p.Abort()
		}
		if p.handshake(p.conn.(*tls.Conn), time.Now().Add(test.left)) || begun != test.begun || len(s.slots) != 0 {
			t.Errorf("%s: begun %v, %d turns held", name, begun, len(s.slots))
		}
		p.end()
	}
}
