package gtmtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
)

// Ports that tests choose from. They lie outside of the range that systems give to sockets without a port of their own.
const (
	lowestPort  = 20000
	highestPort = 29999
)

// FreePort gives an address of 127.0.0.1 whose port was free a moment ago for UDP and TCP alike. The system gives that port to
// nobody who asks for any, so that a server that is away for a while finds it free again, and a client that asks the
// server meanwhile never gets the server's own port, with which it would hear its own question as the answer.
func FreePort(t testing.TB) netip.AddrPort {
	t.Helper()
	if low, high := anyPorts(t); low <= highestPort && high >= lowestPort {
		t.Fatalf("the system gives ports %d to %d to whoever asks for any: tests need %d to %d for servers (sysctl "+
			"net.ipv4.ip_local_port_range)",
			low, high, lowestPort, highestPort)
	}
	for range 50 {
		port := uint16(lowestPort + rand.IntN(highestPort-lowestPort+1))
		if at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port); free(at) {
			return at
		}
	}
	t.Fatal("no port was free for UDP and TCP alike")
	return netip.AddrPort{}
}

func free(at netip.AddrPort) bool {
	stream, err := net.Listen("tcp4", at.String())
	if err != nil {
		return false
	}
	defer stream.Close()
	packet, err := net.ListenPacket("udp4", at.String())
	if err != nil {
		return false
	}
	packet.Close()
	return true
}

// anyPorts gives the range of ports of sockets that do not ask for one: Linux', or IANA's elsewhere (RFC 6335, section 6).
func anyPorts(t testing.TB) (low, high int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if os.IsNotExist(err) {
		return 49152, 65535
	}
	if err == nil {
		_, err = fmt.Sscan(string(text), &low, &high)
	}
	if err != nil {
		t.Fatal(err)
	}
	return low, high
}
