package spec

import (
	"net/netip"
	"testing"
)

// TestChecked: one thing has one form, so that what is known of it is found again.
func TestChecked(t *testing.T) {
	addrs := func(texts ...string) (list []netip.Addr) {
		for _, text := range texts {
			list = append(list, netip.MustParseAddr(text))
		}
		return list
	}
	for _, tc := range []struct {
		e    Endpoint
		want string
	}{
		{Endpoint{}, ""},
		{Endpoint{Addresses: addrs("192.0.2.1")}, "192.0.2.1"},
		{Endpoint{Addresses: addrs("::ffff:192.0.2.1")}, "192.0.2.1"},
		{Endpoint{Addresses: addrs("2001:DB8::0001", "192.0.2.9", "192.0.2.10")}, "192.0.2.9 192.0.2.10 2001:db8::1"},
		{Endpoint{Host: "WWW.Example.net."}, "www.example.net"},
		{Endpoint{Host: "www.example.net"}, "www.example.net"},
		{Endpoint{Addresses: addrs("192.0.2.1"), Probe: "198.51.100.7"}, "198.51.100.7"},
		{Endpoint{Host: "www.example.net", Probe: "198.51.100.7:0080"}, "198.51.100.7:80"},
	} {
		if got := tc.e.Checked(); got != tc.want || !tc.e.IsChecked(got) || tc.e.IsChecked(got+"0") {
			t.Errorf("%+v: %q, want %q", tc.e, got, tc.want)
		}
	}
	e := Endpoint{Addresses: addrs("2001:db8::1", "192.0.2.1")}
	of := e.Checked()
	if n := testing.AllocsPerRun(100, func() { e.IsChecked(of) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
