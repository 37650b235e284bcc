package serve

import (
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTurnsOfHandshakes holds all turns: no handshake gets anywhere then, and they do again afterwards.
func TestTurnsOfHandshakes(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	for range cap(s.streams.turns) {
		s.streams.turns <- struct{}{}
	}
	for _, transport := range []Transport{TLS, HTTPS} {
		conn := tls.Client(dial(t, "tcp", s.AddrsOf(transport)[0]), clientTLS(t, s))
		if err := conn.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if conn.Handshake() == nil {
			t.Errorf("%v: a handshake without a turn", transport)
		}
	}
	for range cap(s.streams.turns) {
		<-s.streams.turns
	}
	if err := dialTLS(t, s).Handshake(); err != nil {
		t.Error(err)
	}
}

// TestNoTurnIsHeldWhileWaiting has more clients than there are turns stop in the midst of a handshake: with nothing, a piece of what
// they say first, or without an end. They are in nobody's way, and when they go, no turn goes with them.
func TestNoTurnIsHeldWhileWaiting(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	hello := clientHello(t, s)
	for round := range 2 {
		var stopped []net.Conn
		for i := range 3 * (cap(s.streams.turns) + 1) {
			conn := dial(t, "tcp", s.AddrsOf(TLS)[0])
			write(t, conn, hello[:len(hello)*(i%3)/2])
			if i%3 == 2 {
				if n, err := conn.Read(make([]byte, 16)); n == 0 {
					t.Fatalf("round %d: no answer to a hello: %v", round, err)
				}
			}
			stopped = append(stopped, conn)
		}
		if err := dialTLS(t, s).Handshake(); err != nil {
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
	files := writeCertificate(t, t.TempDir(), time.Now().Add(time.Hour), append(names, "ns.example")...)
	s := startSecure(t, Config{Certificates: []CertificateFiles{files}}, echo)
	hello := clientHello(t, s)
	for _, transport := range []Transport{TLS, HTTPS} {
		for range cap(s.streams.turns) + 1 {
			conn := dialNarrow(t, s, transport)
			write(t, conn, hello)
			if n, err := conn.Read(make([]byte, 1)); n == 0 {
				t.Fatalf("%v: no answer to a hello: %v", transport, err)
			}
		}
		if err := dialTLS(t, s).Handshake(); err != nil {
			t.Errorf("%v: %v", transport, err)
		}
	}
}

// dialNarrow connects as a client with room for next to nothing.
func dialNarrow(t *testing.T, s *Server, transport Transport) net.Conn {
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
	conn, err := dialer.Dial("tcp", target(s, transport).String())
	if err != nil || failure != nil {
		t.Fatal(err, failure)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestNoHandshakeInVain: who had to make room, or whose time passed, while waiting for a turn costs nothing when it comes.
func TestNoHandshakeInVain(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	hello := clientHello(t, s)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, test := range map[string]struct {
		closed bool
		left   time.Duration
		begun  bool
	}{"open": {false, patience, true}, "closed": {true, patience, false}, "late": {false, -time.Second, false}} {
		client := dial(t, "tcp", listener.Addr().(*net.TCPAddr).AddrPort())
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		begun := false
		p := newPipe(s.streams, conn.(*net.TCPConn), &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			begun = true
			return nil, net.ErrClosed
		}})
		write(t, client, hello)
		if err := p.tap.wait(); err != nil {
			t.Fatal(err)
		}
		if test.closed {
			p.abort()
		}
		if p.handshake(p.conn.(*tls.Conn), time.Now().Add(test.left)) || begun != test.begun || len(s.streams.turns) != 0 {
			t.Errorf("%s: begun %v, %d turns held", name, begun, len(s.streams.turns))
		}
		p.end()
	}
}
