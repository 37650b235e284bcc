package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// Guard says where checks may connect. It looks at the address of each connect, after resolution, so that a name that
// resolves elsewhere the second time gains nothing. Refused are loopback, link-local, metadata services, the unspecified
// address, multicast, reserved blocks, and gtm's own ports on this machine. A Guard is safe for concurrent use.
type Guard struct {
	// Allow opens refused blocks, each prefix as far as it lies inside one: 127.0.2.0/24 opens part of loopback,
	// 0.0.0.0/0 opens nothing, a metadata service needs its own address.
	Allow []netip.Prefix
	// Own are gtm's ports. They are refused at every address of this machine, whatever Allow says.
	Own []uint16
	// Local gives this machine's addresses. nil: net.InterfaceAddrs.
	Local func() ([]net.Addr, error)
}

// block is a network that is refused, and why.
type block struct {
	prefix netip.Prefix
	why    string
}

// blocks are refused unless opened: RFC 6890 and its registry, and what clouds serve metadata and credentials from. All that
// hold an address must be open.
var blocks = func(list ...string) (blocks []block) {
	for i := 0; i < len(list); i += 2 {
		blocks = append(blocks, block{netip.MustParsePrefix(list[i]), list[i+1]})
	}
	return blocks
}(
	"169.254.169.254/32", "a metadata service",
	"169.254.170.2/32", "a metadata service", // container credentials
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
	"::/128", "unspecified",
	"::1/128", "loopback",
	"fe80::/10", "link-local",
	"ff00::/8", "multicast",
)

// refused is the error of a connect that the guard does not permit.
type refused struct {
	addr netip.Addr
	why  string
}

func (r *refused) Error() string { return fmt.Sprintf("%s may not be probed: it is %s", r.addr, r.why) }

// Permit gives an error that says why addr may not be connected to, or nil.
func (g *Guard) Permit(to netip.AddrPort) error {
	addr := to.Addr().Unmap().WithZone("")
	for _, a := range embedded(addr) {
		for _, b := range blocks {
			if b.prefix.Contains(a) && !g.opened(a, b.prefix) {
				return &refused{addr, b.why}
			}
		}
		if slices.Contains(g.Own, to.Port()) && g.isLocal(a) {
			return &refused{addr, "gtm's own port " + fmt.Sprint(to.Port())}
		}
	}
	return nil
}

// opened tells whether a prefix of Allow that lies inside the block holds a.
func (g *Guard) opened(a netip.Addr, block netip.Prefix) bool {
	for _, p := range g.Allow {
		if p.Contains(a) && p.Bits() >= block.Bits() {
			return true
		}
	}
	return false
}

// embedded gives an address and the IPv4 address that a translator or tunnel may make of it: IPv4-compatible (RFC 4291),
// NAT64 (RFC 6052, 8215) and 6to4 (RFC 3056).
func embedded(a netip.Addr) []netip.Addr {
	if a.Is4() {
		return []netip.Addr{a}
	}
	b := a.As16()
	switch {
	case [12]byte(b[:12]) == [12]byte{} && !a.IsUnspecified() && !a.IsLoopback(),
		[12]byte(b[:12]) == [12]byte{0x00, 0x64, 0xff, 0x9b},
		[6]byte(b[:6]) == [6]byte{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}:
		return []netip.Addr{a, netip.AddrFrom4([4]byte(b[12:]))}
	case b[0] == 0x20 && b[1] == 0x02:
		return []netip.Addr{a, netip.AddrFrom4([4]byte(b[2:6]))}
	}
	return []netip.Addr{a}
}

// isLocal tells whether a is this machine. Where that cannot be known it is assumed.
func (g *Guard) isLocal(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	local := g.Local
	if local == nil {
		local = net.InterfaceAddrs
	}
	addrs, err := local()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(addrs, func(l net.Addr) bool {
		n, ok := l.(*net.IPNet)
		return ok && n.IP.Equal(a.AsSlice())
	})
}

// control is for net.Dialer.ControlContext: it runs for each address, just before the connect.
func (g *Guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s %s is no address: %w", network, address, err)
	}
	return g.Permit(to)
}
