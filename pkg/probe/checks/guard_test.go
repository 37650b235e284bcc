package checks

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
		{"private", nil, "10.0.0.1:80", false},
		{"private", nil, "172.31.255.255:80", false},
		{"beside it", nil, "172.32.0.1:80", true},
		{"private", nil, "192.168.1.1:80", false},
		{"shared by carriers", nil, "100.64.0.1:80", false},
		{"for benchmarks", nil, "198.19.0.1:80", false},
		{"unique local", nil, "[fd00::1]:80", false},
		{"of a site", nil, "[fec0::1]:80", false},
		{"private, opened", prefixes("10.0.0.0/8"), "10.0.0.1:80", true},
		{"private, opened in part", prefixes("10.1.0.0/16"), "10.2.0.1:80", false},
		{"private, mapped", nil, "[::ffff:10.0.0.1]:80", false},
		{"private, mapped, opened", prefixes("10.0.0.0/8"), "[::ffff:10.0.0.1]:80", true},
		{"private by SIIT", nil, "[::ffff:0:10.0.0.1]:80", false},
		{"private behind NAT64", nil, "[64:ff9b::10.0.0.1]:80", false},
		{"private behind local NAT64 of /48", nil, "[64:ff9b:1:a00:0:100::]:80", false},
		{"private behind local NAT64 of /56", nil, "[64:ff9b:1:a:0:1::]:80", false},
		{"private behind local NAT64 of /64", nil, "[64:ff9b:1:0:a:0:100:0]:80", false},
		{"private behind local NAT64 of /96", nil, "[64:ff9b:1:808:8:808:10.0.0.1]:80", false},
		{"private by 6to4", nil, "[2002:a00:1::1]:80", false},
		{"private as Teredo's server", nil, "[2001:0:a00:1::]:80", false},
		{"private as Teredo's client", nil, "[2001:0:808:808:0:0:f5ff:fffe]:80", false},
		{"any other by Teredo", nil, "[2001:0:808:808:0:0:f7f7:f7f7]:80", true},
		{"no Teredo", nil, "[2001:1:a00:1::]:80", true},
		{"private by ISATAP", nil, "[2001:db8::5efe:10.0.0.1]:80", false},
		{"private by ISATAP, universal", nil, "[2001:db8::200:5efe:10.0.0.1]:80", false},
		{"any other by ISATAP", nil, "[2001:db8::5efe:8.8.8.8]:80", true},
		{"loopback by ISATAP in what is opened", prefixes("fd00::/8"), "[fd00::5efe:127.0.0.1]:80", false},
		{"lent", nil, "10.9.1.1:80", true},
		{"lent, unique local", nil, "[fd09::1]:80", true},
		{"metadata in what is lent", nil, "[fd00:ec2::254]:80", false},
		{"loopback cannot be lent", nil, "127.9.0.1:80", false},
		{"denied", nil, "203.0.113.9:80", false},
		{"denied, behind NAT64", nil, "[64:ff9b::203.0.113.9]:80", false},
		{"denied, although opened", prefixes("10.66.0.0/16"), "10.66.0.1:80", false},
		{"denied, although lent", nil, "10.9.66.1:80", false},
		{"this machine", nil, "192.0.2.7:80", false},
		{"this machine", nil, "[2001:db8::7]:80", false},
		{"this machine behind NAT64", nil, "[64:ff9b::192.0.2.7]:80", false},
		{"this machine in a network that is opened", prefixes("10.0.0.0/8"), "10.0.0.7:80", false},
		{"this machine by its own address", prefixes("10.0.0.0/8", "10.0.0.7/32"), "10.0.0.7:80", true},
		{"this machine by its own public address", prefixes("192.0.2.7/32"), "192.0.2.7:80", true},
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
		{"own port on an interface, although opened", prefixes("192.0.2.7/32"), "192.0.2.7:8053", false},
		{"own port elsewhere", nil, "192.0.2.8:8053", true},
		{"own port on an interface, through NAT64", nil, "[64:ff9b::192.0.2.7]:8053", false},
	} {
		g := Guard{Allow: tc.allow, Own: []uint16{5300, 8053}, Local: localIs("192.0.2.7", "2001:db8::7", "10.0.0.7"),
			Deny: prefixes("203.0.113.0/24", "10.66.0.0/16", "10.9.66.0/24")}
		err := g.Permit(netip.MustParseAddrPort(tc.to), prefixes("10.9.0.0/16", "fd09::/16", "fd00:ec2::/32", "127.9.0.0/16"))
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
		if err := g.Permit(netip.MustParseAddrPort(to), nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// Where the machine's addresses cannot be known, any may be its own.
func TestGuardFailsClosed(t *testing.T) {
	g := Guard{Local: func() ([]net.Addr, error) { return nil, errors.New("no netlink") }}
	if g.Permit(netip.MustParseAddrPort("198.51.100.1:80"), nil) == nil {
		t.Error("permitted")
	}
}

// The system is asked for this machine's addresses, and not for each connect.
func TestMachine(t *testing.T) {
	local := Machine()
	first, err := local()
	if err != nil || len(first) == 0 {
		t.Fatalf("%v %v", first, err)
	}
	if again, _ := local(); &again[0] != &first[0] {
		t.Error("asked again at once")
	}
}
