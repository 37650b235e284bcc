package datagram

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestZones(t *testing.T) {
	for zone, want := range map[string]uint32{"7": 7, "lo": 1} {
		sa, err := sockaddr(netip.AddrPortFrom(netip.MustParseAddr("fe80::1%"+zone), 53))
		if six, ok := sa.(*unix.SockaddrInet6); err != nil || !ok || six.ZoneId != want {
			t.Errorf("%s: %+v, %v", zone, sa, err)
		}
	}
	if _, err := sockaddr(netip.MustParseAddrPort("[fe80::1%nosuch0]:53")); err == nil {
		t.Error("no error for an interface that does not exist")
	}
}
