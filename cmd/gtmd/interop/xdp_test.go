//go:build interop

package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

const xdpNames = 200

// xdpZone is a zone of static names, one of them with records that do not fit into a packet of 1,000 bytes.
func xdpZone() string {
	more := []string{"www A 192.0.2.1", "www AAAA 2001:db8::1", "long TXT" + strings.Repeat(` "`+strings.Repeat("x", 200)+`"`, 5)}
	for i := range xdpNames {
		more = append(more, fmt.Sprintf("n%d A 192.0.2.%d", i, i))
	}
	return primaryZone(nil, more...)
}

// wayOf tells by which way the edge answered while do ran: "xdp", "udp" or "".
func (e *xdpEdge) wayOf(do func()) string {
	e.pair.t.Helper()
	xdp, udp := e.replies("xdp"), e.replies("udp")
	do()
	xdp, udp = e.replies("xdp")-xdp, e.replies("udp")-udp
	switch {
	case xdp > 0 && udp == 0:
		return "xdp"
	case udp > 0 && xdp == 0:
		return "udp"
	case udp+xdp == 0:
		return ""
	}
	return fmt.Sprintf("%v by xdp, %v by udp", xdp, udp)
}

// tryExchange asks through an open connection and reads one message.
func tryExchange(conn net.Conn, query []byte, patience time.Duration) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	return buf[:n], err
}

// exchange is tryExchange that must go well.
func exchange(t *testing.T, conn net.Conn, query []byte) []byte {
	t.Helper()
	reply, err := tryExchange(conn, query, 5*time.Second)
	if err != nil {
		t.Fatalf("no reply to %x from %s: %v", query, conn.RemoteAddr(), err)
	}
	return reply
}

func pack(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// TestXDPServes has real clients ask by all ways, and looks which way the replies went.
func TestXDPServes(t *testing.T) {
	p := newPair(t)
	apply := writeFile(t, t.TempDir(), "zone.yaml", xdpZone())
	e := p.startEdge(53, nil, "--apply", apply, "--xdp", "srv")
	if e.queues("native") != 1 {
		t.Fatalf("the queue is not served:\n%s", e.log)
	}
	for _, server := range []netip.Addr{xdpServer4, xdpServer6} {
		for _, client := range [][]string{{"dig", "+nocookie"}, {"dig", "+notcp", "+bufsize=512"}, {"kdig"}} {
			var output string
			way := e.wayOf(func() {
				output = p.ask(client[0], append([]string{"@" + server.String(), "www.gtm.test", "AAAA"}, client[1:]...)...)
			})
			if !strings.Contains(output, "2001:db8::1") || way != "xdp" {
				t.Errorf("%v at %s went by %q:\n%s", client, server, way, output)
			}
		}
		tcp := e.wayOf(func() {
			if output := p.ask("dig", "@"+server.String(), "+tcp", "+short", "www.gtm.test"); !strings.Contains(output, "192.0.2.1") {
				t.Errorf("by TCP at %s: %s", server, output)
			}
		})
		if tcp != "" {
			t.Errorf("TCP was counted as %s", tcp)
		}
	}
	t.Run("passes on", func(t *testing.T) { passesOn(t, p, e) })
	t.Run("many", func(t *testing.T) { many(t, p, e) })
	t.Run("as sockets", func(t *testing.T) { asSockets(t, p, apply) })
	t.Run("MTU", func(t *testing.T) { smallerMTU(t, p, e) })
	t.Run("generic", func(t *testing.T) { genericMode(t, p, e) })
	t.Run("cable", func(t *testing.T) { cableCut(t, p, e) })
	if err := e.stop(); err != nil {
		t.Errorf("after SIGINT: %v", err)
	}
	if p.attached() {
		t.Error("a program is attached after the end")
	}
}

// passesOn sends what the program must leave to the kernel.
func passesOn(t *testing.T, p *pair, e *xdpEdge) {
	query := new(dns.Msg).SetQuestion("www.gtm.test.", dns.TypeA)
	plain := pack(t, query)
	query.SetEdns0(1232, false)
	query.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, 2000)}}
	padded := pack(t, query)
	for _, c := range []struct {
		name, network string
		server        netip.Addr
		query         []byte
		level, option int
		value         string
		way           string
	}{
		{"plain", "udp4", xdpServer4, plain, 0, 0, "", "xdp"},
		{"plain, IPv6", "udp6", xdpServer6, plain, 0, 0, "", "xdp"},
		{"fragments", "udp4", xdpServer4, padded, 0, 0, "", "udp"},
		{"fragments, IPv6", "udp6", xdpServer6, padded, 0, 0, "", "udp"},
		{"options", "udp4", xdpServer4, plain, unix.IPPROTO_IP, unix.IP_OPTIONS, "\x01\x01\x01\x01", "udp"},
		{"extension header", "udp6", xdpServer6, plain, unix.IPPROTO_IPV6, unix.IPV6_DSTOPTS, "\x00\x00\x01\x04\x00\x00\x00\x00", "udp"},
	} {
		conn := p.dial(c.network, net.JoinHostPort(c.server.String(), "53"))
		if c.value != "" {
			raw, err := conn.(*net.UDPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), c.level, c.option, c.value) }),
				err); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		way := e.wayOf(func() {
			reply := new(dns.Msg)
			if err := reply.Unpack(exchange(t, conn, c.query)); err != nil || len(reply.Answer) != 1 {
				t.Errorf("%s: %v, %v", c.name, reply, err)
			}
		})
		if way != c.way {
			t.Errorf("%s went by %q, want %s", c.name, way, c.way)
		}
	}
	echo := []byte{8, 0, 0, 0, 0, 7, 0, 1, 'g', 't'}
	sum := uint32(0)
	for i := 0; i < len(echo); i += 2 {
		sum += uint32(echo[i])<<8 | uint32(echo[i+1])
	}
	binary.BigEndian.PutUint16(echo[2:], ^uint16(sum))
	if reply := exchange(t, p.dial("ip4:icmp", xdpServer4.String()), echo); !bytes.HasSuffix(reply, echo[4:]) {
		t.Errorf("ping: %x", reply)
	}
}

// many asks 100,000 queries, at most 64 of them open at once, and checks each answer.
func many(t *testing.T, p *pair, e *xdpEdge) {
	const total, window = 100_000, 64
	conn := p.dial("udp", net.JoinHostPort(xdpServer4.String(), "53"))
	var queries [xdpNames][]byte
	for i := range queries {
		queries[i] = pack(t, new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.gtm.test.", i), dns.TypeA))
	}
	send := func(id int) {
		query := queries[id%xdpNames]
		binary.BigEndian.PutUint16(query, uint16(id))
		if _, err := conn.Write(query); err != nil {
			t.Fatal(err)
		}
	}
	before := e.replies("xdp")
	buf := make([]byte, 4096)
	again, open, next := 0, map[int]bool{}, 0
	for done := 0; done < total; {
		for len(open) < window && next < total {
			open[next] = true
			send(next)
			next++
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil { // the cable's queue of 256 has overflowed
			for id := range open {
				send(id)
				again++
			}
			if again > total/100 {
				t.Fatalf("%d of %d answers are missing", again, done)
			}
			continue
		}
		id := done/(1<<16)<<16 | int(binary.BigEndian.Uint16(buf))
		for !open[id] && id < next { // it is of this round of IDs or the next
			id += 1 << 16
		}
		for id -= 1 << 16; id >= 0 && open[id]; id -= 1 << 16 {
		}
		id += 1 << 16
		if !open[id] {
			continue // it was asked again
		}
		last := byte(id % xdpNames)
		if want := []byte{192, 0, 2, last}; buf[2]&0x80 == 0 || buf[3]&15 != 0 || buf[7] != 1 || !bytes.HasSuffix(buf[:n], want) {
			t.Fatalf("query %d of n%d is answered by %x", id, last, buf[:n])
		}
		delete(open, id)
		done++
	}
	if got := e.replies("xdp") - before; got < total || got > total+float64(again) {
		t.Errorf("%v replies past the kernel, want %d and %d asked again", got, total, again)
	}
}

// asSockets compares replies with those of a gtmd that knows nothing of XDP.
func asSockets(t *testing.T, p *pair, apply string) {
	other := p.startEdge(5353, nil, "--apply", apply)
	for _, server := range []netip.Addr{xdpServer4, xdpServer6} {
		past, sockets := p.dial("udp", net.JoinHostPort(server.String(), "53")), p.dial("udp", net.JoinHostPort(server.String(), "5353"))
		for _, name := range []string{"www", "n7", "nothing", "x.w", "sub", "x.sub", "", "long", "WwW"} {
			for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeNS, dns.TypeSOA, dns.TypeANY, dns.TypeDS} {
				for _, size := range []uint16{0, 512, 1232, 4096} {
					m := new(dns.Msg).SetQuestion(dns.Fqdn(strings.TrimPrefix(name+".gtm.test.", ".")), kind)
					m.Id = kind<<4 | size>>9
					if size > 0 {
						m.SetEdns0(size, size > 512)
					}
					query := pack(t, m)
					if one, two := exchange(t, past, query), exchange(t, sockets, query); !bytes.Equal(one, two) {
						t.Errorf("%s %s, %d bytes, at %s:\n%x past the kernel\n%x by sockets", name, dns.TypeToString[kind], size,
							server, one, two)
					}
				}
			}
		}
		for _, odd := range []string{"\x00\x07\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00",
			"\x00\x08\x10\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"} {
			if one, two := exchange(t, past, []byte(odd)), exchange(t, sockets, []byte(odd)); !bytes.Equal(one, two) {
				t.Errorf("%x at %s: %x past the kernel, %x by sockets", odd, server, one, two)
			}
		}
	}
	other.kill()
}

// smallerMTU makes the packets smaller than some answers: those must come truncated, and none in a larger frame.
func smallerMTU(t *testing.T, p *pair, e *xdpEdge) {
	m := new(dns.Msg).SetQuestion("long.gtm.test.", dns.TypeTXT)
	m.SetEdns0(1232, false)
	conn := p.dial("udp", net.JoinHostPort(xdpServer4.String(), "53"))
	whole := exchange(t, conn, pack(t, m))
	if len(whole) < 1000 || whole[2]&2 != 0 {
		t.Fatalf("the answer is to be large: %x", whole)
	}
	run(t, "ip", "-n", p.server, "link", "set", "srv", "mtu", "1000")
	eventually(t, 20*time.Second, "a truncated reply past the kernel", func() error {
		var cut []byte
		way := e.wayOf(func() { cut = exchange(t, conn, pack(t, m)) })
		if way != "xdp" || cut[2]&2 == 0 {
			return fmt.Errorf("%d bytes by %s", len(cut), way)
		}
		return nil
	})
}

// genericMode makes packets so large that veth does not take the program: the kernel runs it then.
func genericMode(t *testing.T, p *pair, e *xdpEdge) {
	p.cut()
	p.connect(9000)
	eventually(t, 20*time.Second, "the mode is generic", func() error {
		if e.queues("generic") != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	for _, server := range []netip.Addr{xdpServer4, xdpServer6} {
		way := e.wayOf(func() {
			if output := p.ask("dig", "@"+server.String(), "+short", "long.gtm.test", "TXT"); !strings.Contains(output, "xxx") {
				t.Errorf("at %s: %s", server, output)
			}
		})
		if way != "xdp" {
			t.Errorf("at %s it went by %q", server, way)
		}
	}
}

// cableCut removes the interface, and makes it again.
func cableCut(t *testing.T, p *pair, e *xdpEdge) {
	p.cut()
	eventually(t, 20*time.Second, "the sockets serve", func() error {
		if e.queues("none") != 0 || !strings.Contains(metricsOf(e), `mode="none"`) {
			return errors.New("a queue is still served")
		}
		return nil
	})
	p.connect(1500)
	eventually(t, 20*time.Second, "the new interface is served", func() error {
		if e.queues("native") != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	way := e.wayOf(func() {
		if output := p.ask("dig", "@"+xdpServer4.String(), "+short", "www.gtm.test"); !strings.Contains(output, "192.0.2.1") {
			t.Errorf("the new interface: %s", output)
		}
	})
	if way != "xdp" {
		t.Errorf("the new interface went by %q", way)
	}
}

func metricsOf(e *xdpEdge) string {
	page, err := e.page("metrics")
	if err != nil {
		return err.Error()
	}
	return page
}

// TestXDPKilled kills gtmd: nothing of it may stay at the interface.
func TestXDPKilled(t *testing.T) {
	p := newPair(t)
	e := p.startEdge(53, nil, "--apply", writeFile(t, t.TempDir(), "zone.yaml", xdpZone()), "--xdp", "srv")
	if !p.attached() {
		t.Fatalf("no program is attached:\n%s", e.log)
	}
	if err := syscall.Kill(e.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-e.done
	eventually(t, 10*time.Second, "the program is gone", func() error {
		if p.attached() {
			return errors.New("it is still there")
		}
		return nil
	})
}

// TestXDPRefused has something stand in the way: the sockets serve, and a warning says what.
func TestXDPRefused(t *testing.T) {
	p := newPair(t)
	dir := t.TempDir()
	for _, open := range []string{bin, filepath.Dir(dir), dir} { // to another user
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	apply := writeFile(t, dir, "zone.yaml", xdpZone())
	caps := func(granted string) []string {
		return []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=" + granted, "--ambient-caps=" + granted,
			"--bounding-set=" + granted}
	}
	for i, c := range []struct {
		name   string
		before []string
		nic    string
		want   string // in the log; empty: it works
	}{
		{"no such interface", nil, "nosuch", "there is none of that name"},
		{"loopback", nil, "lo", "it is not an Ethernet"},
		{"no capabilities", caps("-all"), "srv", "CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"},
		{"one is missing", caps("-all,+net_admin,+bpf"), "srv", "CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"},
		{"these suffice", caps("-all,+net_admin,+net_raw,+bpf"), "srv", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &pair{t: t, server: p.server, client: p.client}
			e := p.startEdge(5300+i, c.before, "--apply", apply, "--xdp", c.nic)
			want := "xdp"
			if c.want != "" {
				want = "udp"
				if !strings.Contains(e.log.String(), c.want) || e.queues("native") != 0 {
					t.Errorf("no %q in\n%s", c.want, e.log)
				}
			}
			way := e.wayOf(func() {
				if output := p.ask("dig", "@"+xdpServer4.String(), "-p", fmt.Sprint(5300+i), "+short", "www.gtm.test"); !strings.Contains(
					output, "192.0.2.1") {
					t.Error(output)
				}
			})
			if way != want {
				t.Errorf("went by %q, want %s:\n%s", way, want, e.log)
			}
			e.kill()
		})
	}
	first := p.startEdge(53, nil, "--apply", apply, "--xdp", "srv")
	second := p.startEdge(5353, nil, "--apply", apply, "--xdp", "srv")
	if first.queues("native") != 1 || second.queues("none") != 0 ||
		!strings.Contains(second.log.String(), "another XDP program or socket has it") {
		t.Errorf("two at one interface:\n%s", second.log)
	}
	if err := first.stop(); err != nil {
		t.Errorf("the first: %v", err)
	}
	eventually(t, 20*time.Second, "the second has the interface", func() error {
		if second.queues("native") != 1 {
			return errors.New("not yet")
		}
		return nil
	})
}
