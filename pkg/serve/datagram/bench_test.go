package datagram

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/servetest"
)

// BenchmarkEcho tells how many queries per second go through one worker, client and all, over loopback: the cost of
// sockets without DNS.
func BenchmarkEcho(b *testing.B) {
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0"} {
		b.Run(addr, func(b *testing.B) { benchmarkEcho(b, addr) })
	}
}

func benchmarkEcho(b *testing.B, addr string) {
	s := newTestShared(b, servetest.Echo)
	served, to := openTestSocket(b, addr)
	var running sync.WaitGroup
	running.Go(func() { s.Serve(served) })
	defer func() {
		s.Stopping.Store(true)
		_ = unix.Shutdown(served.FD, unix.SHUT_RD)
		running.Wait()
	}()
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
	}
	sock, err := OpenSocket(netip.AddrPortFrom(to.Addr(), 0), false)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(sock.FD)
	out, in := newBatch(sock.FD, false), newBatch(sock.FD, false)
	msg := servetest.Query(1, "www.example.", 1)
	for i := range batchSize {
		out.in[i].Hdr.Namelen = putName(&out.names[i], to)
		copy(out.slot(i), msg)
	}
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		n := min(batchSize, b.N-sent)
		out.queued = 0
		for i := range n {
			out.queue(i, len(msg))
		}
		if ok, _, _ := out.send(); ok != n {
			b.Fatal("sent", ok)
		}
		sent += n
		for n > 0 {
			got, errno := in.receive(0)
			if errno != 0 {
				b.Fatal(errno)
			}
			n -= got
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
}

// putName writes the socket address that the kernel would.
func putName(name *[nameSize]byte, to netip.AddrPort) uint32 {
	binary.BigEndian.PutUint16(name[2:], to.Port())
	if to.Addr().Is4() {
		binary.NativeEndian.PutUint16(name[:], unix.AF_INET)
		copy(name[4:], to.Addr().AsSlice())
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(name[:], unix.AF_INET6)
	copy(name[8:], to.Addr().AsSlice())
	return unix.SizeofSockaddrInet6
}
