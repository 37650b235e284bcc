package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
	"github.com/gti/gtm/pkg/serve/xdp"
)

const (
	burst    = 64                    // frames that are taken, or sent, at once
	least    = 32                    // as many are sent at once, where there is no rate
	together = 8                     // queries that come at once, where there is a rate
	rateStep = 20 * time.Microsecond // between looks for answers, where there is a rate
	patience = 50 * time.Millisecond // without an answer: what is under way is lost
)

// A trial is one measurement by a load.
type trial struct {
	*load
	rate            float64 // queries a second; 0: as many as the window allows
	good, bad       int     // what the sink had counted before
	started         time.Time
	sent, lost      int           // lost: what was open when patience ended
	last            time.Duration // when an answer came
	seen            int           // answers, at last
	waited          time.Duration // for there was nothing to take in, and no room to ask more
	got, ill, bytes int           // of samples
}

// try makes a trial, and prints its figures. They can be added to those of other trials. Times are in seconds.
func (l *load) try(d time.Duration, rate float64, out io.Writer) error {
	t := &trial{load: l, rate: rate}
	t.good, t.bad = l.sink.read()
	l.took = l.took[:0]
	clear(l.asked[:])
	worked, err := cpuOf(l.nic, os.Getpid())
	if err != nil {
		return err
	}
	before, err := process.ReadStat() // last, since cpuOf takes its time, and the server's core has nothing to do meanwhile
	if err != nil {
		return err
	}
	t.run(d)
	intime := t.seen
	after, err := process.ReadStat()
	if err != nil {
		return err
	}
	workedAfter, err := cpuOf(l.nic, os.Getpid())
	if err != nil {
		return err
	}
	t.drain()
	_, bad := l.sink.read()
	slices.Sort(l.took)
	_, err = fmt.Fprintf(out, "seconds=%f intime=%d got=%d lost=%d bad=%d bytes=%d samples=%d p50=%g p99=%g server=%f waited=%f "+
		"worked=%f loaded=%f\n",
		d.Seconds(), intime, t.seen, t.sent-t.seen, bad-t.bad+t.ill, t.bytes, t.got, t.at(0.5), t.at(0.99),
		after.Busy(before, serverCore)*d.Seconds(), t.waited.Seconds(), after.Worked(before).Seconds(),
		(workedAfter - worked).Seconds())
	return err
}

// at is what that share of the samples do not exceed, in seconds.
func (t *trial) at(share float64) float64 {
	if len(t.took) == 0 {
		return 0
	}
	return float64(t.took[int(share*float64(len(t.took)-1))]) / 1e9
}

// run asks for so long. Without a rate it never sleeps.
func (t *trial) run(d time.Duration) {
	t.started = time.Now()
	before, busy := time.Duration(0), true
	for passed := time.Duration(0); passed < d; passed = time.Since(t.started) {
		if !busy {
			t.waited += passed - before
		}
		before, busy = passed, t.receive(passed)
		if t.send(passed) {
			t.sock.Flush()
			busy = true
		} else if t.rate > 0 {
			pause := unix.NsecToTimespec(int64(rateStep))
			_ = unix.Nanosleep(&pause, nil) // if a signal cuts it short, so be it
		}
		t.look()
		if passed-t.last > patience {
			t.lost, t.last = t.sent-t.seen, passed
		}
	}
}

// drain waits for what is under way.
func (t *trial) drain() {
	for passed := time.Since(t.started); t.seen < t.sent && passed-t.last < patience; passed = time.Since(t.started) {
		t.look()
		t.receive(passed)
	}
}

// receive takes in answers, and reports whether there were any.
func (t *trial) receive(passed time.Duration) bool {
	var frames [burst]xdp.Frame
	n := t.sock.Receive(frames[:])
	for _, f := range frames[:n] {
		t.take(f, int64(passed))
	}
	if n > 0 {
		t.sock.Flush()
	}
	good, bad := t.sink.read()
	answered := good - t.good + bad - t.bad + t.got
	if answered <= t.seen {
		return false
	}
	t.seen, t.last = answered, passed
	return true
}

// take takes in a sample.
func (t *trial) take(f xdp.Frame, now int64) {
	if frame := t.sock.Bytes(f); len(frame) >= xdp.Overhead4+12 {
		msg := frame[xdp.Overhead4:]
		id := binary.BigEndian.Uint16(msg)
		if asked := t.asked[id]; asked != 0 {
			t.asked[id] = 0
			t.got++
			t.bytes += len(msg)
			if msg[2]&0x80 == 0 || msg[3]&15 != 0 || binary.BigEndian.Uint16(msg[6:]) == 0 {
				t.ill++
			}
			if len(t.load.took) < cap(t.load.took) {
				t.load.took = append(t.load.took, uint32(now-asked))
			}
		}
	}
	t.sock.Release(f)
}

// due is how many queries the window and the rate allow, so many seconds after the start; none, if they are too few.
func (t *trial) due(passed float64) int {
	n := min(burst, t.window-(t.sent-t.lost-t.seen))
	few := min(least, t.window)
	if t.rate > 0 {
		n = min(n, int(t.rate*passed)-t.sent)
		few = together
	}
	if n < few {
		return 0
	}
	return n
}

// send asks as many as are due, and reports whether there were any.
func (t *trial) send(passed time.Duration) bool {
	n := t.due(passed.Seconds())
	for i := range n {
		f, ok := t.sock.Spare()
		if !ok {
			return i > 0
		}
		room := t.sock.Bytes(f)
		f.Len = uint32(copy(room[:cap(room)], t.frames[t.next]))
		t.sock.Send(f)
		if t.next%ports == 0 {
			t.asked[t.next] = int64(passed) + 1
		}
		t.next = (t.next + 1) % ids
		t.sent++
	}
	return n > 0
}
