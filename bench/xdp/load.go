package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/pkg/serve/xdp"
)

const (
	ids       = 1 << 16 // queries that are made beforehand; each is told by its ID
	ports     = 16      // that the load asks from; answers to the first are samples
	firstPort = 20000
	sendRoom  = 8 << 20 // bytes of packets that may be on their way: all that the window allows, and more
)

// A target says what is asked, from where.
type target struct {
	nic      string
	from, to netip.AddrPort // from's port does not matter
	mac      net.HardwareAddr
	queries  string // file, each query behind its length in two bytes
	window   int    // queries that may be open at once
}

// A load asks through AF_XDP, in one trial after the other.
type load struct {
	target
	sock *xdp.Socket
	sink *sink
	looker
	frames [][]byte   // by ID: whole frames, checksums included
	asked  [ids]int64 // of samples: when, in ns since the trial's start; 0: not open
	next   int        // the ID
	took   []uint32   // ns, of the trial's samples
}

// runLoad makes a trial for each line of in, "SECONDS RATE", and prints a line of figures, name=number. Before, it says that
// it is ready.
func runLoad(t target, in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	port, err := xdp.Open(t.nic, xdp.Frames)
	if err != nil {
		return err
	}
	defer port.Close()
	l, err := newLoad(t, port)
	if err != nil {
		return err
	}
	time.Sleep(50 * time.Millisecond) // an interface that was just given a program may lose what comes at once
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var seconds, rate float64
		if _, err := fmt.Sscan(lines.Text(), &seconds, &rate); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		runtime.GC() // so that none comes in between
		if err := l.try(time.Duration(seconds*float64(time.Second)), rate, out); err != nil {
			return err
		}
	}
	return nil
}

func newLoad(t target, port *xdp.Port) (*load, error) {
	queries, err := peers.ReadQueries(t.queries, ids)
	if err != nil {
		return nil, err
	}
	l := &load{target: t, sock: port.Sockets[0], took: make([]uint32, 0, 1<<20)}
	if l.sink, err = newSink(port); err != nil {
		return nil, err
	}
	for id := range ids {
		from := netip.AddrPortFrom(t.from.Addr(), uint16(firstPort+id%ports))
		l.frames = append(l.frames, frameOf(port.MAC, t.mac, from, t.to, uint16(id), queries[id%len(queries)]))
	}
	// The load's own thread receives answers, whenever it looks, so that no server pays for waking one that does.
	// See newPair for what the interface adds to it.
	if l.looker, err = newLooker(t.to, queries[0]); err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(l.sock.FD(), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendRoom); err != nil {
		return nil, fmt.Errorf("asking for room to send: %w", err)
	}
	// Its sleeps end when they are to.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("setting the slack of timers: %w", err)
	}
	return l, nil
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
