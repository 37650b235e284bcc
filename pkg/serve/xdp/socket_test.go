package xdp

import "testing"

// TestPending has the kernel receive into frames, and give them back after they were sent only much later: as long as
// it has few to receive into, somebody must come back for those.
func TestPending(t *testing.T) {
	const size = 8
	fill, kernelFill := newRing[uint64](size)
	done, kernelDone := newRing[uint64](size)
	tx, kernelTX := newRing[Frame](size)
	s := Socket{fill: *fill, done: *done, tx: *tx, frameSize: smallFrame}
	for i := range uint64(size) {
		s.fill.put(i * smallFrame)
	}
	if s.Pending() {
		t.Error("pending at rest")
	}
	var sent []uint64
	for range 5 {
		at := kernelFill.take()
		kernelFill.release()
		s.Send(Frame{Addr: at + headroom, Len: 100})
		sent = append(sent, at+headroom)
	}
	s.tx.publish()
	if !s.Pending() {
		t.Error("not pending, though nothing was sent")
	}
	for range sent {
		kernelTX.take()
	}
	kernelTX.release()
	if !s.Pending() {
		t.Error("not pending, though 3 of 8 frames are left to receive into")
	}
	for _, at := range sent {
		kernelDone.put(at)
	}
	kernelDone.publish()
	if s.Pending() {
		t.Error("pending, though all frames are back")
	}
	seen := map[uint64]bool{}
	for kernelFill.ready() > 0 {
		seen[kernelFill.take()&^(smallFrame-1)] = true
	}
	if len(seen) != size {
		t.Errorf("the kernel has %d of %d frames: %v", len(seen), size, seen)
	}
}

// TestNothingPendingAtRest has a card take nearly all frames into a ring of its own, as those without copies do: nobody comes back every
// millisecond for that.
func TestNothingPendingAtRest(t *testing.T) {
	const size = 8
	fill, kernelFill := newRing[uint64](size)
	done, _ := newRing[uint64](size)
	tx, _ := newRing[Frame](size)
	s := Socket{fill: *fill, done: *done, tx: *tx, frameSize: smallFrame}
	for i := range uint64(size) {
		s.fill.put(i * smallFrame)
	}
	s.fill.publish()
	for range size - 1 {
		kernelFill.take()
	}
	kernelFill.release()
	if s.Pending() {
		t.Error("pending, though nothing was sent")
	}
}
