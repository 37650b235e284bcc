package datagram

import (
	"bytes"
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// askMany sends queries of several lengths from two clients, has them answered in one batch, and checks that each client gets a
// reply to each of its queries; those to queries of one length in turn.
func askMany(t *testing.T, w *udpWorker, clients [2]*net.UDPConn) {
	t.Helper()
	asked := [2]map[string][][]byte{{}, {}} // by length
	for i := range batchSize {
		name := []string{"a.", "www.example.", "bb."}[i%3]
		msg := servetest.Query(uint16(i), name, 1)
		asked[i/2%2][fmt.Sprint(len(msg))] = append(asked[i/2%2][fmt.Sprint(len(msg))], msg)
		servetest.Write(t, clients[i/2%2], msg)
	}
	mustStep(t, w)
	buf := make([]byte, slotSize)
	for c, client := range clients {
		for range batchSize / 2 {
			n, err := client.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			of := asked[c][fmt.Sprint(n)]
			if len(of) == 0 || !bytes.Equal(buf[:n], servetest.Reply(of[0])) {
				t.Fatalf("client %d got %x; of that length it still waits for %x", c, buf[:n], of)
			}
			asked[c][fmt.Sprint(n)] = of[1:]
		}
	}
	if got := totals(w); got[guard.CountReplies]%batchSize != 0 || got[guard.CountDropFailed]+got[guard.CountDropBusy] != 0 {
		t.Errorf("counts %v", got)
	}
}

func TestRepliesToOneClientTravelBundled(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		w, client := newTestWorker(t, addr, servetest.Echo)
		other, err := net.DialUDP("udp", nil, client.RemoteAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		for range 3 {
			askMany(t, w, [2]*net.UDPConn{client, other})
			if b := socketBatch(w).bundles; b == nil || b.gather(socketBatch(w)) != 2*3 {
				t.Errorf("%s: bundles of %v replies", addr, b.count)
			}
		}
	}
}

// TestBundlesAreGivenUpWhereTheyDoNotWork: the kernel divides nothing for a socket that sends without checksums.
func TestBundlesAreGivenUpWhereTheyDoNotWork(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", servetest.Echo)
	if err := unix.SetsockoptInt(socketBatch(w).fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		t.Fatal(err)
	}
	other, err := net.DialUDP("udp", nil, client.RemoteAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	askMany(t, w, [2]*net.UDPConn{client, other})
	if socketBatch(w).bundles != nil {
		t.Error("bundles go on being tried")
	}
	askMany(t, w, [2]*net.UDPConn{client, other})
}

// TestBundlesHaveBounds: neither replies that are long, nor more bytes than a packet takes, go into one.
func TestBundlesHaveBounds(t *testing.T) {
	for _, test := range []struct{ size, want int }{{100, 1}, {bundleReply, 2}, {bundleReply + 1, batchSize}} {
		b := newBatch(-1, false)
		for i := range batchSize {
			b.in[i].Hdr.Namelen = unix.SizeofSockaddrInet6
			b.queue(i, test.size)
		}
		if n := b.bundles.gather(b); n != test.want {
			t.Errorf("%d replies of %d bytes to one client: %d bundles, want %d", batchSize, test.size, n, test.want)
		}
	}
}
