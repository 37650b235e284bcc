package checks

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"

	probing "github.com/prometheus-community/pro-bing"
)

// errNoPings says what a prober lacks.
var errNoPings = errors.New("this prober may not send pings: it needs CAP_NET_RAW, or its group in net.ipv4.ping_group_range")

// runICMP sends one echo request, and passes once the reply is there. Of a host name it asks the first address.
func runICMP(ctx context.Context, a *attempt) error {
	to, err := a.resolve(ctx)
	if err != nil {
		return err
	}
	// The system sorts replies by socket where it sends without privileges; raw sockets get all of them, each.
	came, err := ping(ctx, to, false)
	if errors.Is(err, os.ErrPermission) {
		came, err = ping(ctx, to, true)
	}
	switch {
	case came:
		return nil
	case ctx.Err() != nil:
		return fail("icmp", context.DeadlineExceeded)
	case errors.Is(err, os.ErrPermission):
		return unable{fail("icmp", errNoPings)}
	case err != nil:
		return connectError(err)
	}
	return fail("icmp", errors.New("no reply"))
}

// resolve gives the address that is checked, where the guard permits it.
func (a *attempt) resolve(ctx context.Context) (netip.Addr, error) {
	if len(a.Addrs) > 0 {
		to, err := netip.ParseAddrPort(a.address)
		if err != nil {
			return netip.Addr{}, unable{err}
		}
		return to.Addr(), a.k.Guard.Permit(to, a.Lent)
	}
	resolver := a.k.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	addrs, err := resolver.LookupNetIP(ctx, "ip", a.Host)
	if err != nil {
		return netip.Addr{}, connectError(err)
	}
	return addrs[0].Unmap(), a.k.Guard.Permit(netip.AddrPortFrom(addrs[0].Unmap(), 0), a.Lent)
}

// ping reports whether a reply came.
func ping(ctx context.Context, to netip.Addr, privileged bool) (bool, error) {
	p := probing.New("")
	p.SetIPAddr(&net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()})
	p.SetPrivileged(privileged)
	p.SetLogger(probing.NoopLogger{})
	p.Count, p.Timeout = 1, math.MaxInt64
	err := p.RunWithContext(ctx)
	return p.PacketsRecv > 0, err
}
