package checks

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// TestChecksLeaveNothing: whatever type hangs until its time is over, or is answered with something else, no goroutine stays.
func TestChecksLeaveNothing(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	streams := []netip.AddrPort{mute(t), raw(t, "SSH-2.0-secret\r\n"), raw(t, ""), closed(t)}
	datagrams := []netip.AddrPort{netip.MustParseAddrPort(silent.LocalAddr().String()), closed(t)}
	k := Checker{Guard: loopback}
	one := func(c probe.Check, to netip.AddrPort) {
		c.Addrs, c.Timeout, c.Insecure, c.Path, c.Method, c.Body = []netip.AddrPort{to}, 50*time.Millisecond, true, "/", "GET", "x"
		if r := k.Check(context.Background(), c); r.Outcome == probe.Passed && c.Type != "tcp" && c.Type != "icmp" {
			t.Errorf("%s to %s passed", c.Type, to)
		}
	}
	all := func() {
		for _, kind := range spec.MonitorTypes() {
			for _, to := range streams {
				one(probe.Check{Type: kind, DNS: &probe.Query{Name: "a.example", Type: "A", Transport: "tcp"}}, to)
				one(probe.Check{Type: kind, TLS: true, Protocol: "h2",
					DNS: &probe.Query{Name: "a.example", Type: "A", Transport: "tls"}}, to)
			}
		}
		for _, to := range datagrams {
			one(probe.Check{Type: "https", Protocol: "h3"}, to)
			one(probe.Check{Type: "dns", DNS: &probe.Query{Name: "a.example", Type: "A", Transport: "udp"}}, to)
		}
	}
	all() // what libraries start once
	before := settled(0)
	all()
	if after := settled(before); after > before {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after:\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
}

// settled waits until there are at most so many goroutines, or no fewer come about any more, and gives how many there are.
func settled(want int) (n int) {
	for quiet := 0; quiet < 100; quiet++ {
		if now := runtime.NumGoroutine(); now != n {
			n, quiet = now, 0
		}
		if want > 0 && n <= want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return n
}
