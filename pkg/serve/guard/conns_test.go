package guard

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
)

// TestTotalOfMessagesIsBounded has many clients with a few messages each, as many as may be; one more costs the connection that has
// most of them its place, and nobody else, however many more there are.
func TestTotalOfMessagesIsBounded(t *testing.T) {
	table := NewConns(10, 10)
	var seats []*Seat
	aborted := map[int]int{}
	for i := range 10 {
		c := &Seat{Transport: seam.QUIC, Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1)}
		c.Guest = guestFunc(func() { aborted[i]++ })
		if !table.Admit(c) {
			t.Fatal("not admitted")
		}
		seats = append(seats, c)
	}
	for i := range 10 * messagesPerConn {
		if i == 10*messagesPerConn-1 {
			i = 1 // which has one more than all others, and the last one less
		}
		if !table.Enter(seats[i%10]) {
			t.Fatalf("message %d was refused", i)
		}
	}
	if table.Enter(seats[1]) || len(aborted) != 0 {
		t.Errorf("who has most of them is refused, and nobody pays for it: %v", aborted)
	}
	for range 5 {
		if table.Enter(seats[5]) {
			t.Error("one more was let in")
		}
	}
	if len(aborted) != 1 || aborted[1] != 1 {
		t.Errorf("aborted: %v", aborted)
	}
	if n := table.Stats()[seam.QUIC]; n.Overload != 6 || n.Evicted != 1 || n.Open != 9 {
		t.Errorf("%+v", n)
	}
	if table.Enter(seats[1]) || table.Stats()[seam.QUIC].Overload != 6 {
		t.Error("what was cut off goes on with its batch")
	}
	for range messagesPerConn + 1 {
		table.Exit(seats[1])
	}
	table.Leave(seats[1])
	if !table.Enter(seats[5]) {
		t.Error("refused, though there is room")
	}
	if len(table.client) != 9 {
		t.Errorf("%d clients are remembered", len(table.client))
	}
}

// guestFunc is a guest that only counts what is done to it.
type guestFunc func()

func (f guestFunc) Abort() { f() }

func (f guestFunc) Hurry() {}

// Where all places were taken by clients that never read, those that blocked in a write counted as busy, and the few honest ones between
// two questions gave way: 30 to 54 % of new connections were reset.
func TestClientsThatNeverReadGiveWay(t *testing.T) {
	table := NewConns(100, 20)
	aborted := map[string]int{}
	join := func(who string, host byte) *Seat {
		c := &Seat{Transport: seam.TCP, Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, host}), 1)}
		c.Guest = guestFunc(func() { aborted[who]++ })
		if !table.Admit(c) {
			t.Fatalf("%s is not admitted", who)
		}
		return c
	}
	for i := range 95 {
		c := join("hostile", byte(i/19))
		table.SetBusy(c, true)
		c.at = c.at.Add(-time.Minute) // since when it has not taken its replies
	}
	for round := range 200 {
		c := join("honest", byte(100+round%100))
		table.SetBusy(c, true)
		table.SetBusy(c, false) // it has its answer, and waits before it asks again
		if round%3 == 0 {
			table.Leave(c)
		}
		hostile := join("hostile", byte(round%5))
		table.SetBusy(hostile, true)
		hostile.at = hostile.at.Add(-time.Minute)
		if aborted["honest"] > 0 {
			t.Fatalf("round %d: an honest client gave way", round)
		}
		if round%3 != 0 {
			table.Leave(c)
		}
	}
	if aborted["hostile"] < 100 {
		t.Errorf("%d hostile ones gave way", aborted["hostile"])
	}
}

// Who connects and never asks gives way to others behind the same address before one that has asked, however long ago.
func TestConnectionsThatNeverAskGiveWayFirst(t *testing.T) {
	table := NewConns(100, 3)
	var gone []int
	for i := range 4 {
		c := &Seat{Transport: seam.TCP, Peer: netip.MustParseAddrPort("192.0.2.1:1")}
		c.Guest = guestFunc(func() { gone = append(gone, i) })
		if !table.Admit(c) {
			t.Fatalf("%d is not admitted", i)
		}
		if i == 0 {
			table.SetBusy(c, true)
			table.SetBusy(c, false)
		}
		c.since = c.since.Add(-time.Minute)
	}
	if len(gone) != 1 || gone[0] != 1 {
		t.Errorf("%v gave way, and not the first that never asked", gone)
	}
}

// Where all of a client's connections are at work, a further one is refused.
func TestConnectionsAtWorkStay(t *testing.T) {
	table := NewConns(100, 3)
	for i := range 4 {
		c := &Seat{Transport: seam.TCP, Peer: netip.MustParseAddrPort("192.0.2.1:1"),
			Guest: guestFunc(func() { t.Error("one at work was closed") })}
		if ok := table.Admit(c); ok != (i < 3) {
			t.Fatalf("connection %d: %v", i, ok)
		} else if ok {
			table.SetBusy(c, true)
		}
	}
	if n := table.Stats()[seam.TCP]; n.Refused != 1 || n.Open != 3 {
		t.Errorf("%+v", n)
	}
}

func TestClientKey(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1", true}, {"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		if got := clientKey(netip.MustParseAddr(tc.a)) == clientKey(netip.MustParseAddr(tc.b)); got != tc.same {
			t.Errorf("%s and %s: %v", tc.a, tc.b, got)
		}
	}
}

func TestIdleTimeShrinks(t *testing.T) {
	table := NewConns(100, 100)
	for _, tc := range []struct {
		open int
		want time.Duration
	}{{0, 20 * time.Second}, {50, 20 * time.Second}, {75, 11 * time.Second}, {100, 2 * time.Second}} {
		for table.order.Len() < tc.open {
			if !table.Admit(&Seat{Peer: netip.MustParseAddrPort("127.0.0.1:1")}) {
				t.Fatal("not admitted")
			}
		}
		if got := table.IdleTime(20 * time.Second); got.Round(time.Millisecond) != tc.want {
			t.Errorf("%d open: %v, want %v", tc.open, got, tc.want)
		}
	}
}

func TestEvictOneTakesTheOneIdleForLongest(t *testing.T) {
	table := NewConns(100, 100)
	table.EvictOne() // nobody is there
	var gone []string
	join := func(who string) *Seat {
		c := &Seat{Transport: seam.TCP, Peer: netip.MustParseAddrPort("192.0.2.1:1"), Guest: guestFunc(func() { gone = append(gone, who) })}
		if !table.Admit(c) {
			t.Fatalf("%s is not admitted", who)
		}
		return c
	}
	a, b := join("a"), join("b")
	for _, c := range []*Seat{b, a} { // b is idle for longer, though a came first
		table.SetBusy(c, true)
		table.SetBusy(c, false)
	}
	table.EvictOne()
	if n := table.Stats()[seam.TCP]; len(gone) != 1 || gone[0] != "b" || n.Evicted != 1 || n.Open != 1 {
		t.Errorf("%v gave way: %+v", gone, n)
	}
}
