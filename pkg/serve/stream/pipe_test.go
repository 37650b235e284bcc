package stream

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// TestIdleConnectionsHoldNoRoom asks once by each kind of connection, and looks at what stays in it.
func TestIdleConnectionsHoldNoRoom(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	msg := servetest.Query(1, "a.", 1)
	servetest.Ask(t, servetest.Dial(t, "tcp", s.AddrsOf(seam.TCP)[0]), msg)
	secure := servetest.DialTLS(t, s)
	servetest.Write(t, secure, servetest.Frame(msg))
	if _, err := servetest.ReadFrame(secure); err != nil {
		t.Fatal(err)
	}
	c := dialWeb2(t, s)
	c.get(1, msg)
	c.send()
	if _, ended := c.until(map[uint32]*web2Answer{}, 1); ended {
		t.Fatal("ended")
	}
	type connection struct {
		*guard.Seat
		*pipe
	}
	var all []connection
	s.Conns.Close(func(g guard.Guest) {
		switch g := g.(type) {
		case *stream:
			all = append(all, connection{&g.Seat, &g.pipe})
		case *webConn:
			all = append(all, connection{&g.Seat, &g.pipe})
		}
	})
	if len(all) != 3 {
		t.Fatalf("%d connections", len(all))
	}
	var group sync.WaitGroup
	for _, c := range all {
		group.Add(1)
		s.Conns.Dismiss(c.Seat, func() { // it has answered, and waits in a read now, or is on its way there
			defer group.Done()
			if c.in != nil || c.out != nil || c.inBuf != nil || c.outBuf != nil {
				t.Errorf("%T holds room", c.conn)
			}
		})
	}
	group.Wait()
}

// TestATapThatWaitsHoldsNoRoom has a tap read where nothing has come.
func TestATapThatWaitsHoldsNoRoom(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	tap := newTap(servetest.Dial(t, "tcp", s.AddrsOf(seam.TCP)[0]).(*net.TCPConn))
	err := tap.raw.Read(func(fd uintptr) bool {
		if tap.try(fd) || tap.buf != nil {
			t.Errorf("%d bytes have come (%v), room %v", tap.n, tap.err, tap.buf != nil)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
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
