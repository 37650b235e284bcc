package checks

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/probe"
)

// BenchmarkCheck makes checks one after the other, each over a connection of its own, to a server in this process.
func BenchmarkCheck(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var buf [512]byte
			if n, _ := conn.Read(buf[:]); n > 0 {
				_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
			}
			conn.Close()
		}
	}()
	k := &Checker{Guard: Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Local: Machine()}}
	for _, kind := range []string{"tcp", "http"} {
		b.Run(kind, func(b *testing.B) {
			c := probe.Check{Type: kind, Addrs: []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}, Timeout: time.Second,
				Path: "/", Method: "GET", Status: statuses(200, 299)}
			b.ReportAllocs()
			for b.Loop() {
				if r := k.Check(b.Context(), c); r.Outcome != probe.Passed {
					b.Fatal(r)
				}
			}
		})
	}
}
