package control

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/gti/gtm/pkg/store"
)

// reach says where edges may be asked. Each edge writes its own address into the store, so one that was stolen can write any other: what
// stands here is all that keeps control from being sent to it.
type reach struct {
	networks []netip.Prefix
	own      store.Edge // the one in this process
	local    func() ([]net.Addr, error)
}

// everywhere is where edges are asked if nothing else is said.
var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// closed are the networks of which only those parts are open that are named by themselves: "0.0.0.0/0" does not open loopback, and
// "127.0.0.0/8" does. The narrow ones come first.
var closed = func(list ...string) (blocks []block) {
	for i := 0; i < len(list); i += 2 {
		blocks = append(blocks, block{netip.MustParsePrefix(list[i]), list[i+1]})
	}
	return blocks
}(
	"100.100.100.200/32", "a metadata service",
	"168.63.129.16/32", "a metadata service",
	"192.0.0.192/32", "a metadata service",
	"fd00:ec2::/32", "a metadata service",
	"fd20:ce::254/128", "a metadata service",
	"0.0.0.0/8", "unspecified",
	"127.0.0.0/8", "loopback",
	"169.254.0.0/16", "link-local",
	"224.0.0.0/4", "multicast",
	"240.0.0.0/4", "reserved",
	"::1/128", "loopback",
	"::/96", "unspecified", // and the old way to write IPv4 (RFC 4291, 2.5.5.1)
	"64:ff9b::/96", "a translator's", // RFC 6052
	"64:ff9b:1::/48", "a translator's", // RFC 8215
	"2001::/32", "a tunnel's", // RFC 4380
	"2002::/16", "a tunnel's", // RFC 3056
	"fe80::/10", "link-local",
	"ff00::/8", "multicast",
)

type block struct {
	prefix netip.Prefix
	what   string
}

// find gives the address to ask an edge at, or says why it is not asked.
func (r *reach) find(e store.Edge) (netip.AddrPort, error) {
	given, err := netip.ParseAddrPort(e.HTTP)
	if err != nil || given.Port() == 0 || given.Addr().Zone() != "" {
		return given, fmt.Errorf("%.60q is not an address with a port: start it with --http ADDRESS:PORT", e.HTTP)
	}
	to := netip.AddrPortFrom(given.Addr().Unmap(), given.Port())
	if e.ID == r.own.ID && e.HTTP == r.own.HTTP {
		return to, nil
	}
	least, what := r.closedBy(to.Addr())
	if slices.ContainsFunc(r.networks, func(n netip.Prefix) bool { return n.Contains(to.Addr()) && n.Bits() >= least }) {
		return to, nil
	}
	if what != "" {
		what = ", which is " + what
	}
	return to, fmt.Errorf("control does not ask %s%s: if that is meant, name it in --edge-networks of control", to.Addr(), what)
}

// closedBy tells how long a prefix must be at least that opens an address, and why; 0: any does.
func (r *reach) closedBy(a netip.Addr) (least int, what string) {
	for _, b := range closed {
		if b.prefix.Contains(a) {
			return b.prefix.Bits(), b.what
		}
	}
	local, err := r.local()
	if err != nil || slices.ContainsFunc(local, func(l net.Addr) bool {
		n, ok := l.(*net.IPNet)
		return ok && n.IP.Equal(a.AsSlice())
	}) {
		return a.BitLen(), "an address of control's own machine"
	}
	return 0, ""
}
