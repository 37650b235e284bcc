package xdp

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// newRing makes a ring in this process's memory, with its indices shortly before they wrap around.
func newRing[T any](size int) (ours, theirs *ring[T]) {
	const start = 1<<32 - 5
	r := &ring[T]{producer: new(atomic.Uint32), consumer: new(atomic.Uint32), flags: new(atomic.Uint32),
		entries: make([]T, size), mask: uint32(size - 1), own: start}
	r.producer.Store(start)
	r.consumer.Store(start)
	other := *r
	return r, &other
}

// TestRing has one side produce and the other consume at random, and compares with a queue.
func TestRing(t *testing.T) {
	const size = 8
	random := rand.New(rand.NewPCG(3, 4))
	from, to := newRing[uint64](size)
	var queue []uint64
	published, taken := 0, 0 // of the queue; taken and not released
	for next := uint64(0); next < 10_000; {
		switch random.IntN(4) {
		case 0:
			if len(queue) < size {
				from.put(next)
				queue = append(queue, next)
				next++
			}
		case 1:
			from.publish()
			published = len(queue)
		case 2:
			if got := to.ready(); got != published-taken {
				t.Fatalf("%d ready, want %d", got, published-taken)
			}
			if published > taken {
				if got := to.take(); got != queue[taken] {
					t.Fatalf("took %d, want %d", got, queue[taken])
				}
				taken++
			}
		case 3:
			to.release()
			queue, published, taken = queue[taken:], published-taken, 0
		}
		if got := from.waiting(); got != len(queue) {
			t.Fatalf("%d wait, want %d", got, len(queue))
		}
	}
}

func TestRingAsleep(t *testing.T) {
	r, _ := newRing[uint64](2)
	if r.asleep() {
		t.Error("asleep")
	}
	r.flags.Store(unix.XDP_RING_NEED_WAKEUP)
	if !r.asleep() {
		t.Error("awake")
	}
}
