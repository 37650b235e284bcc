//go:build interop

package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// hostileClients is how many connections are held at the same time, from hostileSources addresses.
const (
	hostileClients = 300
	hostileSources = 3
)

// hostile are ways to sit in a connection. Each ends when the connection does.
var hostile = []struct {
	name string
	do   func(net.Conn, []byte)
}{
	{"says nothing", func(c net.Conn, _ []byte) { wait(c) }},
	{"says half a length", func(c net.Conn, _ []byte) { _, _ = c.Write([]byte{0}); wait(c) }},
	{"drips a query", func(c net.Conn, framed []byte) {
		for i := range framed {
			if _, err := c.Write(framed[i : i+1]); err != nil {
				return
			}
			time.Sleep(300 * time.Millisecond)
		}
		wait(c)
	}},
	{"asks and never reads", func(c net.Conn, framed []byte) {
		many := slices.Repeat(framed, 50)
		for {
			if c.SetWriteDeadline(time.Now().Add(time.Second)) != nil {
				return
			}
			if _, err := c.Write(many); err != nil {
				wait(c)
				return
			}
			time.Sleep(20 * time.Millisecond) // the two cores are for the server too
		}
	}},
	{"sends rubbish", func(c net.Conn, _ []byte) { _, _ = c.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n", 20))); wait(c) }},
	{"announces the longest message", func(c net.Conn, _ []byte) { _, _ = c.Write([]byte{255, 255, 0, 0}); wait(c) }},
}

// wait holds a connection, as long as the server does, without reading what it sends: only its end is looked for.
func wait(c net.Conn) {
	_ = c.SetWriteDeadline(time.Time{})
	for {
		time.Sleep(500 * time.Millisecond)
		if _, err := c.Write(nil); err != nil {
			return
		}
		if gone(c) {
			return
		}
	}
}

// gone reports whether the other side has closed or reset the connection.
func gone(c net.Conn) bool {
	if c.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return true
	}
	_, err := c.Read(make([]byte, 1))
	timeout, ok := err.(net.Error)
	return err != nil && (!ok || !timeout.Timeout())
}

// besiege keeps hostile clients at a port until the test has ended: who is thrown out comes again. held tells how many there are.
func besiege(t *testing.T, at netip.AddrPort, n int) (held *atomic.Int64) {
	m := new(dns.Msg).SetQuestion("www.gtm.test.", dns.TypeA)
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	ctx, cancel := context.WithCancel(context.Background())
	held = new(atomic.Int64)
	var group sync.WaitGroup
	for i := range n {
		local := &net.TCPAddr{IP: net.IPv4(127, 0, 9, byte(1+i%hostileSources))}
		dialer := &net.Dialer{LocalAddr: local, Timeout: 5 * time.Second}
		group.Go(func() {
			for ctx.Err() == nil {
				conn, err := dialer.DialContext(ctx, "tcp4", at.String())
				if err != nil {
					time.Sleep(50 * time.Millisecond)
					continue
				}
				held.Add(1)
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				hostile[i%len(hostile)].do(conn, framed)
				stop()
				conn.Close()
				held.Add(-1)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	return held
}

// While hostile clients sit in hundreds of connections of TCP, TLS and HTTPS, honest ones are answered by each.
func TestHonestBesideHostile(t *testing.T) {
	g := startGuarded(t)
	trust := []string{"+tls-ca=" + g.file, "+tls-hostname=" + serverName}
	honest := []struct {
		name, client string
		at           netip.AddrPort
		args         []string
	}{
		{"TCP", "dig", g.dns, []string{"+tcp"}},
		{"TLS", "kdig", g.tls, append([]string{"+tls"}, trust...)},
		{"HTTPS", "kdig", g.https, append([]string{"+https"}, trust...)},
	}
	var held []*atomic.Int64
	for i, n := range []int{hostileClients / 2, hostileClients / 4, hostileClients / 4} {
		held = append(held, besiege(t, honest[i].at, n))
	}
	eventually(t, 30*time.Second, "the hostile clients are there", func() error {
		sum := 0.0
		for _, transport := range []string{"tcp", "tls", "https"} {
			sum += series(t, g.daemon, fmt.Sprintf("gtm_serve_connections_open{transport=%q}", transport))
		}
		if sum < hostileClients*3/4 {
			return fmt.Errorf("%v connections", sum)
		}
		return nil
	})
	for _, h := range honest {
		var slowest time.Duration
		for range 20 {
			start := time.Now()
			output := run(t, h.client, append([]string{"-p", port(h.at), "@127.0.0.1", "www.gtm.test", "+retry=0", "+time=10"},
				h.args...)...)
			slowest = max(slowest, time.Since(start))
			if !strings.Contains(output, "192.0.2.1") {
				t.Fatalf("by %s:\n%s", h.name, output)
			}
		}
		t.Logf("by %s: 20 of 20 answered, the slowest in %v, beside %d, %d and %d hostile clients", h.name, slowest, held[0].Load(),
			held[1].Load(), held[2].Load())
	}
}
