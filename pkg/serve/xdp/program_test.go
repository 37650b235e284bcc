//go:build interop

package xdp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

// TestProgram has the kernel run the program on frames. It needs root.
func TestProgram(t *testing.T) {
	const passed, picked = 2, 1 // XDP_PASS, and XDP_DROP for want of a socket
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	p, err := loadProgram(mac)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.set([]netip.AddrPort{server4, server6}); err != nil {
		t.Fatal(err)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "gtm_test", Type: ebpf.XDP, License: "GPL",
		Instructions: instructions(mac, p.addrs.FD(), p.sockets.FD(), picked)})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	four, six := plainFrame(client4, server4, []byte("a query"), 0), plainFrame(client6, server6, []byte("a query"), 0)
	change := func(frame []byte, at int, to ...byte) []byte {
		frame = slices.Clone(frame)
		copy(frame[at:], to)
		return frame
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  uint32
	}{
		{"IPv4", four, picked},
		{"IPv6", six, picked},
		{"IPv4, don't fragment", change(four, 20, 0x40, 0), picked},
		{"IPv4, not to us", change(four, 0, 4), passed},
		{"IPv4, broadcast", change(four, 0, 255, 255, 255, 255, 255, 255), passed},
		{"IPv4, last byte of the hardware address", change(four, 5, 9), passed},
		{"IPv4 with options", change(four, 14, 0x46), passed},
		{"IPv4, first fragment", change(four, 20, 0x20), passed},
		{"IPv4, last fragment", change(four, 21, 1), passed},
		{"IPv4, TCP", change(four, 23, 6), passed},
		{"IPv4, another address", change(four, 33, 54), passed},
		{"IPv4, another port", change(four, 37, 54), passed},
		{"IPv6, TCP", change(six, 20, 6), passed},
		{"IPv6, fragment", change(six, 20, 44), passed},
		{"IPv6, hop-by-hop", change(six, 20, 0), passed},
		{"IPv6, first byte of the address", change(six, 38, 0x30), passed},
		{"IPv6, last byte of the address", change(six, 53, 54), passed},
		{"IPv6, another port", change(six, 57, 54), passed},
		{"VLAN", slices.Concat(four[:12], []byte{0x81, 0, 0, 7}, four[12:]), passed},
		{"ARP", change(four, 12, 8, 6), passed},
		{"too short", four[:Overhead4-1], passed},
		{"IPv6, too short", six[:Overhead6-1], passed},
		{"as large as can be", plainFrame(client4, server4, make([]byte, maxFrame-Overhead4), 0), picked},
		{"larger", plainFrame(client4, server4, make([]byte, maxFrame-Overhead4+1), 0), passed},
	} {
		got, _, err := prog.Test(c.frame)
		if err != nil || got != c.want {
			t.Errorf("%s: %d, %v; want %d", c.name, got, err, c.want)
		}
	}
	if err := p.set([]netip.AddrPort{server6}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := prog.Test(four); err != nil || got != passed {
		t.Errorf("an address that is no longer served: %d, %v", got, err)
	}
	if got, _, err := prog.Test(six); err != nil || got != picked {
		t.Errorf("one that still is: %d, %v", got, err)
	}
	if binary.BigEndian.Uint16(four[36:]) != server4.Port() {
		t.Error("the port is elsewhere")
	}
}
