package alias

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/table/compile"
)

// TestLaggardsLeaveRoom: hosts whose servers do not answer take a part of the workers, however many they are.
func TestLaggardsLeaveRoom(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	now := time.Now()
	k, err := New(Config{Resolvers: []netip.AddrPort{netip.MustParseAddrPort(silent.LocalAddr().String())}, Timeout: time.Minute,
		Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	var dead []compile.Target
	for i := range 10 * workers {
		dead = append(dead, compile.Target{Host: fmt.Sprintf("h%d.dead.example.", i)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := newScheduler(k)
	drain := func(took time.Duration, n int) {
		cancel()
		for range n {
			o := <-s.done
			o.took = took
			s.take(o)
		}
		ctx, cancel = context.WithCancel(t.Context())
	}
	k.Want(dead, nil)
	for range 10 { // nothing is known of them yet
		if s.start(ctx); s.busy != workers {
			t.Fatalf("%d are asked, want %d", s.busy, workers)
		}
		drain(2*lagTime, s.busy)
	}
	now = now.Add(time.Hour)
	s.start(ctx)
	if s.busy != laggards || s.late != laggards {
		t.Errorf("%d laggards are asked, %d in all; want %d", s.late, s.busy, laggards)
	}
	k.Want(append(dead, compile.Target{Host: "alive.example."}), nil)
	s.start(ctx)
	if e := k.targets[compile.Target{Host: "alive.example."}].entries[everywhere]; e.at != -1 || s.busy != laggards+1 {
		t.Errorf("the host that is alive waits for the dead: %d are asked", s.busy)
	}
	drain(0, s.busy)
	if s.busy != 0 || s.late != 0 || s.queues[lagging].Len() != len(dead)-laggards || s.queues[quick].Len() != laggards+1 {
		t.Errorf("afterwards %d are asked (%d laggards), %d wait as laggards, %d others", s.busy, s.late, s.queues[lagging].Len(),
			s.queues[quick].Len())
	}
	cancel()
}
