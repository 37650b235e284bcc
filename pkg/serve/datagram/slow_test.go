package datagram

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestDeferAllocatesNothing(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		w, client := newTestWorker(t, addr, servetest.Deferring)
		msg, buf := servetest.Query(7, "slow.example.", 1), make([]byte, slotSize)
		fd := fdOf(t, client)
		slow := newSlowWorker(w.shared)
		slow.h = servetest.HandlerFunc(servetest.Deferring)
		if allocs := testing.AllocsPerRun(500, func() {
			if _, err := unix.Write(fd, msg); err != nil {
				t.Fatal(err)
			}
			mustStep(t, w)
			j := <-w.shared.slow.others.waiting
			slow.work(j)
			w.shared.slow.others.giveBack(j)
			if _, err := unix.Read(fd, buf); err != nil {
				t.Fatal(err)
			}
		}); allocs > 0 {
			t.Errorf("%s: %v allocations", addr, allocs)
		}
	}
}

// TestSlowSend sends where it can't succeed, and, by a pair of Unix sockets, where the buffer is full.
func TestSlowSend(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", servetest.Deferring)
	slow := newSlowWorker(w.shared)
	servetest.Write(t, client, servetest.Query(0, "slow.", 1))
	mustStep(t, w)
	j := <-w.shared.slow.others.waiting
	j.nameLen = 1 // EINVAL
	if got := slow.send(j, 20); got != guard.CountDropFailed {
		t.Errorf("counted as %d", got)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	j.fd, j.nameLen = pair[0], 0 // to the peer
	sent := 0
	for slow.send(j, 20) == guard.CountReplies {
		sent++
	}
	if got := slow.send(j, 20); got != guard.CountDropBusy || sent == 0 {
		t.Errorf("counted as %d, after %d", got, sent)
	}
}

// TestPreferredSlowWorkComesFirst fills the other queue and sees that what is preferred still gets in, and is done next.
func TestPreferredSlowWorkComesFirst(t *testing.T) {
	preferred, share := false, uint8(0)
	w, client := newTestWorker(t, "127.0.0.1:0", func(r *seam.Request) (int, seam.Action) {
		r.Preferred, r.Share = preferred, share
		return 0, seam.Defer
	})
	buf := cap(w.shared.slow.others.free)
	for i := range buf + 3 {
		share = uint8(i % 2)
		servetest.Write(t, client, servetest.Query(uint16(i), "flood.", 1))
		mustStep(t, w)
	}
	if n := len(w.shared.slow.others.waiting); n != buf {
		t.Fatalf("%d wait, room is for %d", n, buf)
	}
	preferred = true
	servetest.Write(t, client, servetest.Query(7, "known.", 1))
	mustStep(t, w)
	j, queue := w.shared.slow.take()
	if queue != w.shared.slow.preferred || !bytes.Contains(j.query[:j.n], []byte("known")) {
		t.Errorf("took %x", j.query[:j.n])
	}
	if _, queue := w.shared.slow.take(); queue != w.shared.slow.others {
		t.Error("the flood is not worked off")
	}
}

// TestAStormOfOneShareLeavesHalfToOthers: whose signatures a storm asks for has half of the queue, and another's first query is taken, and
// answered after no more than that. What was worked off makes room again.
func TestAStormOfOneShareLeavesHalfToOthers(t *testing.T) {
	share := uint8(1)
	w, client := newTestWorker(t, "127.0.0.1:0", func(r *seam.Request) (int, seam.Action) {
		r.Preferred, r.Share = true, share
		return 0, seam.Defer
	})
	q := w.shared.slow.preferred
	send := func(name string, n int) {
		for i := range n {
			servetest.Write(t, client, servetest.Query(uint16(i), name, 1))
			mustStep(t, w)
		}
	}
	half := cap(q.free) / 2
	if send("storm.", 3*half); len(q.waiting) != half {
		t.Fatalf("of a storm %d wait, of %d that can", len(q.waiting), 2*half)
	}
	share = 2
	if send("calm.", 1); len(q.waiting) != half+1 {
		t.Fatal("another's is not taken")
	}
	for range half {
		j, _ := w.shared.slow.take()
		q.giveBack(j)
	}
	if j, _ := w.shared.slow.take(); !bytes.Contains(j.query[:j.n], []byte("calm")) {
		t.Errorf("took %x", j.query[:j.n])
	}
	share = 1
	if send("storm.", 1); len(q.waiting) != 1 {
		t.Error("what was worked off made no room")
	}
	for share = 1; share < 3; share++ {
		send("full.", half)
	}
	send("none.", 3*half) // of the third share: there is no room, and none is taken
	for len(q.waiting) > 0 {
		j, _ := w.shared.slow.take()
		q.giveBack(j)
	}
	if send("third.", 3*half); len(q.waiting) != half {
		t.Errorf("%d of a share wait that was refused before, of %d", len(q.waiting), half)
	}
}

func TestSlowQueuesEndWhenEmpty(t *testing.T) {
	q := newSlowQueues(2)
	q.others.waiting <- <-q.others.free
	q.preferred.waiting <- <-q.preferred.free
	q.close()
	for i := range 2 {
		if j, _ := q.take(); j == nil {
			t.Fatalf("job %d is lost", i)
		}
	}
	if j, _ := q.take(); j != nil {
		t.Error("a job that never was")
	}
}
