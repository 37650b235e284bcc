//go:build interop

package xdp

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newPorts opens both ends of a veth pair in a network namespace of this test's own thread. It needs root.
func newPorts(t *testing.T) (server, client *Port) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and so does the namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ip(t, "link add gs type veth peer name gc")
	for _, name := range []string{"gs", "gc"} {
		if err := exec.Command("sysctl", "-qw", "net.ipv6.conf."+name+".disable_ipv6=1").Run(); err != nil {
			t.Fatal(err) // its own packets would be in the way
		}
		ip(t, "link set "+name+" up")
	}
	var err error
	if server, err = Open("gs", 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	if client, err = Open("gc", Frames); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for _, p := range []*Port{server, client} {
		if err := p.Serve([]netip.AddrPort{server4, client4}); err != nil {
			t.Fatal(err)
		}
	}
	return server, client
}

func ip(t *testing.T, args string) {
	t.Helper()
	if output, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, output)
	}
}

// ask sends frames from a port, and gives how many went out.
func ask(t *testing.T, p *Port, frames ...[]byte) int {
	t.Helper()
	sock := p.Sockets[0]
	for i, frame := range frames {
		f, ok := sock.Spare()
		if !ok {
			return i
		}
		room := sock.Bytes(f)
		f.Len = uint32(copy(room[:cap(room)], frame))
		sock.Send(f)
	}
	if errno := sock.Flush(); errno != 0 {
		t.Fatal(errno)
	}
	return len(frames)
}

// serve answers what has come with the same payload.
func serve(p *Port) (answered, refused int, errno unix.Errno) {
	var frames [64]Frame
	var d Datagram
	sock := p.Sockets[0]
	for _, f := range frames[:sock.Receive(frames[:])] {
		if frame := sock.Bytes(f); d.Parse(frame) {
			f.Len = uint32(d.Reply(frame, d.Size, 1))
			sock.Send(f)
			answered++
		} else {
			sock.Release(f)
			refused++
		}
	}
	return answered, refused, sock.Flush()
}

// take gives what has come to a port, and gives the frames back.
func take(p *Port, each func([]byte)) {
	var frames [64]Frame
	sock := p.Sockets[0]
	for _, f := range frames[:sock.Receive(frames[:])] {
		each(sock.Bytes(f))
		sock.Release(f)
	}
	sock.Flush()
}

// atRest reports whether all frames of a port, which has no reserve, are there to be received into.
func atRest(p *Port) bool {
	sock := p.Sockets[0]
	return !sock.Pending() && sock.fill.waiting() == Frames
}

// query makes a frame from one port to the other.
func query(server, client *Port) []byte {
	frame := plainFrame(client4, server4, []byte("a query"), 0)
	copy(frame, server.MAC)
	copy(frame[6:], client.MAC)
	return frame
}

// await waits for what must come true within seconds.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 5 s: %s", what)
		}
	}
}

// TestPortLosesNoFrames sends datagrams, among them many that are not sound, in bursts over a real pair of interfaces: sound ones are
// answered, and no frame is lost, however many rounds each has made.
func TestPortLosesNoFrames(t *testing.T) {
	server, client := newPorts(t)
	random := rand.New(rand.NewPCG(5, 6))
	sound, unsound, refused, answers := 0, 0, 0, 0
	pump := func() bool {
		_, bad, errno := serve(server)
		if errno != 0 {
			t.Fatal(errno)
		}
		refused += bad
		take(client, func(frame []byte) {
			var d Datagram
			if !d.Parse(frame) || d.Source != server4 || !bytes.Equal(frame[d.Payload:d.Payload+d.Size], []byte("a query")) {
				t.Fatalf("got %x", frame)
			}
			answers++
		})
		return answers == sound && refused == unsound
	}
	for range 10 * Frames / 100 { // a veth holds 256
		var frames [][]byte
		for range 100 {
			frame := query(server, client)
			if random.IntN(2) == 0 {
				// From behind what the program looks at: the IPv4 header's checksum and sender, UDP's length and checksum, the payload.
				at := []int{24, 26, 38, 40, 45}[random.IntN(5)]
				frame[at] ^= byte(1 + random.IntN(255))
			}
			var d Datagram
			if d.Parse(frame) {
				sound++
			} else {
				unsound++
			}
			frames = append(frames, frame)
		}
		if ask(t, client, frames...) != len(frames) {
			t.Fatal("the client has no frames left")
		}
		await(t, "not all datagrams are answered or refused", pump)
	}
	await(t, "the server has lost frames", func() bool { pump(); return atRest(server) })
}

// TestPortDownAndUp has an interface go down when there is something to be sent: the socket says so, keeps it, and goes on once
// the interface is up again.
func TestPortDownAndUp(t *testing.T) {
	server, client := newPorts(t)
	const n = 50
	var queries [][]byte
	for range n {
		queries = append(queries, query(server, client))
	}
	ask(t, client, queries...)
	sock := server.Sockets[0]
	await(t, "the queries did not come", func() bool { return sock.rx.ready() == n })
	ip(t, "link set gs down")
	if answered, _, errno := serve(server); answered != n || errno != unix.ENETDOWN || sock.Unsent() != n || !sock.Pending() {
		t.Fatalf("down: %d answered, %v, %d unsent", answered, errno, sock.Unsent())
	}
	ip(t, "link set gs up")
	answers := 0
	pump := func() bool {
		if _, _, errno := serve(server); errno != 0 && errno != unix.ENETDOWN {
			t.Fatal(errno)
		}
		take(client, func(frame []byte) {
			if bytes.Contains(frame, []byte("a later")) { // one of before may still come
				answers++
			}
		})
		return atRest(server)
	}
	await(t, "the server does not go on", pump)
	for _, q := range queries {
		copy(q[Overhead4:], "a later")
		clear(q[40:42]) // the UDP checksum
	}
	ask(t, client, queries...)
	await(t, "no answers after the interface came back", func() bool { return pump() && answers == n })
}
