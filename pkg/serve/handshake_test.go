package serve

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// TestTurnsOfHandshakes holds all turns: no handshake gets anywhere then, and they do again afterwards.
func TestTurnsOfHandshakes(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	for range cap(s.turns) {
		s.turns <- struct{}{}
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
	for range cap(s.turns) {
		<-s.turns
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
		for i := range 3 * (cap(s.turns) + 1) {
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
