package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/xdp"
)

const (
	ids       = 1 << 16 // queries that are made beforehand; each is told by its ID
	ports     = 16      // that the load asks from; answers to the first are samples
	firstPort = 20000
	burst     = 64                    // frames that are taken, or sent, at once
	rateStep  = 50 * time.Microsecond // between bursts, where there is a rate
	patience  = 50 * time.Millisecond // without an answer: what is under way is lost
)

// A target says what is asked, from where.
type target struct {
	nic      string
	from, to netip.AddrPort // from's port does not matter
	mac      net.HardwareAddr
	queries  string // file, each query behind its length in two bytes
	seconds  float64
	window   int     // queries that may be open at once
	rate     float64 // queries a second; 0: as many as the window allows
}

// A load asks through AF_XDP.
type load struct {
	target
	sock   *xdp.Socket
	sink   *sink
	frames [][]byte   // by ID: whole frames, checksums included
	asked  [ids]int64 // of samples: when, in ns since the start; 0: not open

	started         time.Time
	next            int       // the ID
	sent, lost      int       // lost: what was open when patience ended
	last            time.Time // when an answer came
	seen            int       // answers, at last
	got, bad, bytes int       // of samples
	took            []uint32
}

// runLoad asks for so long, and prints figures: name=number.
func runLoad(t target, out io.Writer) error {
	queries, err := readQueries(t.queries)
	if err != nil {
		return err
	}
	port, err := xdp.Open(t.nic, xdp.Frames)
	if err != nil {
		return err
	}
	defer port.Close()
	l := &load{target: t, sock: port.Sockets[0], took: make([]uint32, 0, 1<<20)}
	if l.sink, err = newSink(port); err != nil {
		return err
	}
	for id := range ids {
		from := netip.AddrPortFrom(t.from.Addr(), uint16(firstPort+id%ports))
		l.frames = append(l.frames, frameOf(port.MAC, t.mac, from, t.to, uint16(id), queries[id%len(queries)]))
	}
	time.Sleep(50 * time.Millisecond) // an interface that was just given a program may lose what comes at once
	runtime.GC()
	before, err := readStat()
	if err != nil {
		return err
	}
	worked, err := worktime(os.Getpid(), "napi/"+t.nic+"-")
	if err != nil {
		return err
	}
	l.run(time.Duration(t.seconds * float64(time.Second)))
	took := time.Since(l.started)
	after, err := readStat()
	if err != nil {
		return err
	}
	workedAfter, err := worktime(os.Getpid(), "napi/"+t.nic+"-")
	if err != nil {
		return err
	}
	l.print(out, took, before, after)
	_, err = fmt.Fprintf(out, "loadcpu=%.3f\n", (workedAfter-worked).Seconds()*1e6/float64(max(1, l.seen)))
	return err
}

// readQueries reads queries, each behind its length in two bytes.
func readQueries(file string) (queries [][]byte, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for len(text) > 2 {
		size := int(binary.BigEndian.Uint16(text)) + 2
		if size > len(text) {
			return nil, fmt.Errorf("%s ends within a query", file)
		}
		queries = append(queries, text[2:size])
		text = text[size:]
	}
	if len(queries) == 0 {
		return nil, errors.New(file + " holds no query")
	}
	return queries, nil
}

// frameOf makes the frame of one query over IPv4. The codec only knows how to answer, so it is made as the reply to one
// that goes the other way.
func frameOf(fromMAC, toMAC net.HardwareAddr, from, to netip.AddrPort, id uint16, query []byte) []byte {
	frame := slices.Concat(fromMAC, toMAC, []byte{8, 0}, make([]byte, 12), to.Addr().AsSlice(), from.Addr().AsSlice())
	frame = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(frame, to.Port()), from.Port())
	frame = append(append(frame, 0, 0, 0, 0), query...)
	binary.BigEndian.PutUint16(frame[xdp.Overhead4:], id)
	d := xdp.Datagram{Payload: xdp.Overhead4}
	return frame[:d.Reply(frame, len(query), id)]
}

func (l *load) run(d time.Duration) {
	runtime.LockOSThread()
	var frames [burst]xdp.Frame
	poll := []unix.PollFd{{Fd: int32(l.sock.FD()), Events: unix.POLLIN}}
	l.started = time.Now()
	l.last = l.started
	for passed := time.Duration(0); passed < d; passed = time.Since(l.started) {
		n := l.sock.Receive(frames[:])
		for _, f := range frames[:n] {
			l.take(f, int64(passed))
		}
		good, bad := l.sink.read()
		if answered := good + bad + l.got; answered > l.seen {
			l.seen, l.last = answered, l.started.Add(passed)
		}
		sent := l.send(passed)
		if n+sent > 0 {
			l.sock.Flush()
			continue
		}
		// It sleeps, so that the interface's thread has the core: until a sample comes (there are several under way
		// at any time), or until queries are due.
		wait := unix.Timespec{Nsec: int64(time.Millisecond)}
		if l.rate > 0 {
			wait.Nsec = int64(rateStep)
		}
		_, _ = unix.Ppoll(poll, &wait, nil)
		if time.Since(l.last) > patience {
			l.lost, l.last = l.sent-l.seen, time.Now()
		}
	}
}

// take takes in a sample.
func (l *load) take(f xdp.Frame, now int64) {
	if frame := l.sock.Bytes(f); len(frame) >= xdp.Overhead4+12 {
		msg := frame[xdp.Overhead4:]
		id := binary.BigEndian.Uint16(msg)
		if asked := l.asked[id]; asked != 0 {
			l.asked[id] = 0
			l.got++
			l.bytes += len(msg)
			if msg[2]&0x80 == 0 || msg[3]&15 != 0 || binary.BigEndian.Uint16(msg[6:]) == 0 {
				l.bad++
			}
			if len(l.took) < cap(l.took) {
				l.took = append(l.took, uint32(now-asked))
			}
		}
	}
	l.sock.Release(f)
}

// send asks as many as the window and the rate allow, and tells how many.
func (l *load) send(now time.Duration) int {
	n := min(burst, l.window-(l.sent-l.lost-l.seen))
	if l.rate > 0 {
		n = min(n, int(l.rate*now.Seconds())-l.sent)
	}
	for i := range n {
		f, ok := l.sock.Spare()
		if !ok {
			return i
		}
		room := l.sock.Bytes(f)
		f.Len = uint32(copy(room[:cap(room)], l.frames[l.next]))
		l.sock.Send(f)
		if l.next%ports == 0 {
			l.asked[l.next] = int64(now) + 1
		}
		l.next = (l.next + 1) % ids
		l.sent++
	}
	return max(0, n)
}

func (l *load) print(out io.Writer, took time.Duration, before, after stat) {
	slices.Sort(l.took)
	at := func(share float64) float64 {
		if len(l.took) == 0 {
			return 0
		}
		return float64(l.took[int(share*float64(len(l.took)-1))]) / 1e3
	}
	good, bad := l.sink.read()
	answers := good + bad + l.got
	fmt.Fprintf(out, "qps=%.0f got=%d lost=%d bad=%d bytes=%.1f p50us=%.0f p99us=%.0f server=%.3f load=%.3f cpu=%.3f\n",
		float64(answers)/took.Seconds(), answers, l.sent-answers, bad+l.bad, float64(l.bytes)/float64(max(1, l.got)), at(0.5), at(0.99),
		after.busy(before, serverCore), after.busy(before, loadCore), after.worked(before).Seconds()*1e6/float64(max(1, answers)))
}
