package serve

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// TestIdleConnectionsHoldNoRoom asks once by each kind of connection, and looks at what stays in it.
func TestIdleConnectionsHoldNoRoom(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	msg := query(1, "a.", 1)
	ask(t, dial(t, "tcp", s.Addrs()[0]), msg)
	secure := dialTLS(t, s)
	write(t, secure, frame(msg))
	if _, err := readFrame(secure); err != nil {
		t.Fatal(err)
	}
	c := dialWeb2(t, s)
	c.get(1, msg)
	c.send()
	if _, ended := c.until(map[uint32]*web2Answer{}, 1); ended {
		t.Fatal("ended")
	}
	idle := func() bool {
		s.streams.conns.mu.Lock()
		defer s.streams.conns.mu.Unlock()
		for e := s.streams.conns.order.Front(); e != nil; e = e.Next() {
			if e.Value.(*seat).busy > 0 || !e.Value.(*seat).answered {
				return false
			}
		}
		return s.streams.conns.order.Len() == 3
	}
	eventually(t, "all are idle", idle)
	// Each goroutine waits in a read now, or is on its way there; Shutdown ends them, so that they can be looked at.
	var pipes []*pipe
	s.streams.conns.close(func(g guest) {
		switch g := g.(type) {
		case *stream:
			pipes = append(pipes, &g.pipe)
		case *webConn:
			pipes = append(pipes, &g.pipe)
		}
	})
	stop(t, s)
	for _, p := range pipes {
		if p.in != nil || p.out != nil || p.inRoom != nil || p.outRoom != nil || p.tap.room != nil {
			t.Errorf("%T holds room", p.conn)
		}
	}
	if len(pipes) != 3 {
		t.Errorf("%d connections", len(pipes))
	}
}

func TestMoved(t *testing.T) {
	begin := time.Unix(1000, 0)
	const slack = time.Second
	var at time.Time
	for _, tc := range []struct {
		until time.Duration
		slack time.Duration
		moves bool
	}{{0, slack, true}, {0, slack, false}, {500 * time.Millisecond, slack, false}, {slack, slack, false}, {slack + 1, slack, true},
		{0, slack, true}, {10 * slack, 0, true}, {10 * slack, 0, false}, {9 * slack, 0, true}} {
		until := begin.Add(tc.until)
		if got := moved(&at, until, tc.slack); got != tc.moves {
			t.Errorf("until %v: moved %v", tc.until, got)
		}
		if late := at.Sub(until); late < 0 || late > tc.slack {
			t.Errorf("until %v: %v late", tc.until, late)
		}
	}
}

// TestMessagesInTwoPieces sends messages in two pieces each, as clients with Nagle's algorithm do.
func TestMessagesInTwoPieces(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	conn := dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
	if err := conn.SetNoDelay(false); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		msg := frame(query(uint16(i), "a.", 1))
		write(t, conn, msg[:2])
		write(t, conn, msg[2:])
		if got, err := readFrame(conn); err != nil || !bytes.Equal(got, reply(msg[2:])) {
			t.Fatalf("%x, %v", got, err)
		}
	}
}
