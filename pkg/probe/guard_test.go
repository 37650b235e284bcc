package probe

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func localIs(addrs ...string) func() ([]net.Addr, error) {
	return func() (list []net.Addr, err error) {
		for _, a := range addrs {
			list = append(list, &net.IPNet{IP: net.ParseIP(a)})
		}
		return list, nil
	}
}

func TestGuard(t *testing.T) {
	demo := prefixes("127.0.2.0/23", "127.0.4.0/24")
	for _, tc := range []struct {
		why   string
		allow []netip.Prefix
		to    string
		ok    bool
	}{
		{"anyone else's address", nil, "198.51.100.1:80", true},
		{"anyone else's address", nil, "[2001:db8::1]:80", true},
		{"private networks are where endpoints stand", nil, "10.0.0.1:80", true},
		{"private networks are where endpoints stand", nil, "[fd00::1]:80", true},
		{"loopback", nil, "127.0.0.1:80", false},
		{"loopback", nil, "127.255.0.1:80", false},
		{"loopback", nil, "[::1]:80", false},
		{"loopback mapped into IPv6", nil, "[::ffff:127.0.0.1]:80", false},
		{"loopback as IPv4-compatible", nil, "[::127.0.0.1]:80", false},
		{"loopback behind NAT64", nil, "[64:ff9b::127.0.0.1]:80", false},
		{"metadata behind local NAT64", nil, "[64:ff9b:1::169.254.169.254]:80", false},
		{"metadata behind 6to4", nil, "[2002:a9fe:a9fe::1]:80", false},
		{"any other behind NAT64", nil, "[64:ff9b::198.51.100.1]:80", true},
		{"unspecified", nil, "0.0.0.0:80", false},
		{"unspecified", nil, "[::]:80", false},
		{"this network", nil, "0.1.2.3:80", false},
		{"link-local", nil, "169.254.1.1:80", false},
		{"link-local", nil, "[fe80::1]:80", false},
		{"link-local with a zone", nil, "[fe80::1%eth0]:80", false},
		{"metadata", nil, "169.254.169.254:80", false},
		{"metadata", nil, "[fd00:ec2::254]:80", false},
		{"metadata", nil, "[fd20:ce::254]:80", false},
		{"metadata", nil, "100.100.100.200:80", false},
		{"multicast", nil, "224.0.0.1:80", false},
		{"multicast", nil, "[ff02::1]:80", false},
		{"broadcast", nil, "255.255.255.255:80", false},
		{"opened", demo, "127.0.2.1:8080", true},
		{"opened", demo, "127.0.3.2:8080", true},
		{"opened", demo, "127.0.4.2:8080", true},
		{"opened, mapped", demo, "[::ffff:127.0.2.1]:8080", true},
		{"beside what is opened", demo, "127.0.1.255:8080", false},
		{"beside what is opened", demo, "127.0.5.0:8080", false},
		{"a wide prefix opens nothing", prefixes("0.0.0.0/0", "::/0"), "127.0.0.1:80", false},
		{"a wide prefix opens nothing", prefixes("0.0.0.0/0", "::/0"), "[::1]:80", false},
		{"the whole block", prefixes("127.0.0.0/8"), "127.9.9.9:80", true},
		{"link-local opened", prefixes("169.254.0.0/16"), "169.254.1.1:80", true},
		{"metadata needs its own address", prefixes("169.254.0.0/16"), "169.254.169.254:80", false},
		{"metadata lies in link-local too", prefixes("169.254.169.254/32"), "169.254.169.254:80", true},
		{"own port on loopback, although opened", demo, "127.0.2.1:5300", false},
		{"own port on an interface", nil, "192.0.2.7:8053", false},
		{"own port elsewhere", nil, "192.0.2.8:8053", true},
		{"another port on an interface", nil, "192.0.2.7:80", true},
		{"own port on an interface, through NAT64", nil, "[64:ff9b::192.0.2.7]:8053", false},
	} {
		g := Guard{Allow: tc.allow, Own: []uint16{5300, 8053}, Local: localIs("192.0.2.7", "2001:db8::7")}
		err := g.Permit(netip.MustParseAddrPort(tc.to))
		if (err == nil) != tc.ok {
			t.Errorf("%s: %s: permitted %v, want %v (%v)", tc.why, tc.to, err == nil, tc.ok, err)
		}
	}
}

func TestGuardSaysWhy(t *testing.T) {
	var g Guard
	for to, want := range map[string]string{
		"127.0.0.1:80":       "127.0.0.1 may not be probed: it is loopback",
		"169.254.169.254:80": "169.254.169.254 may not be probed: it is a metadata service",
	} {
		if err := g.Permit(netip.MustParseAddrPort(to)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// Where the machine's addresses cannot be known, its own ports are closed everywhere.
func TestGuardFailsClosed(t *testing.T) {
	g := Guard{Own: []uint16{53}, Local: func() ([]net.Addr, error) { return nil, errors.New("no netlink") }}
	if g.Permit(netip.MustParseAddrPort("198.51.100.1:53")) == nil {
		t.Error("permitted")
	}
	if err := g.Permit(netip.MustParseAddrPort("198.51.100.1:80")); err != nil {
		t.Error(err)
	}
}
