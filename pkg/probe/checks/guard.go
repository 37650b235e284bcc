package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// Guard says where checks may connect. It looks at the address of each connect, after resolution, so that a name that
// resolves elsewhere the second time gains nothing. Refused are private networks, loopback, link-local, metadata services, the unspecified
// address, multicast, reserved blocks, and this machine. An address that holds an IPv4 address is refused where that is. A Guard is
// safe for concurrent use.
type Guard struct {
	// Allow opens refused blocks, as spec.Unreachable has it. An address of this machine beside loopback needs a prefix of its own.
	Allow []netip.Prefix
	// Deny are refused whatever is allowed.
	Deny []netip.Prefix
	// Own are gtm's ports. They are refused at every address of this machine, whatever is allowed.
	Own []uint16
	// Local gives this machine's addresses. nil: net.InterfaceAddrs.
	Local func() ([]net.Addr, error)
}

// refused is the error of a connect that the guard does not permit. It is for whoever runs the prober: tenants hear errRefused.
type refused struct {
	addr netip.Addr
	why  string
}

func (r *refused) Error() string { return fmt.Sprintf("%s may not be probed: it is %s", r.addr, r.why) }

// errRefused does not tell what a name was resolved to, nor what would have answered.
var errRefused = errors.New("refused by the prober's networks")

// Permit gives an error that says why to may not be connected to, or nil. lent are private networks that are open for this check.
func (g *Guard) Permit(to netip.AddrPort, lent []netip.Prefix) error {
	addr := to.Addr().Unmap().WithZone("")
	for _, a := range spec.Embedded(addr) {
		if why := g.refusal(a, to.Port(), lent); why != "" {
			return &refused{addr, why}
		}
	}
	return nil
}

func (g *Guard) refusal(a netip.Addr, port uint16, lent []netip.Prefix) string {
	if what := spec.Unreachable(a, g.Allow, lent); what != "" {
		return what
	}
	local := g.isLocal(a)
	switch {
	case holds(g.Deny, a):
		return "denied"
	case local && slices.Contains(g.Own, port):
		return "gtm's own port " + fmt.Sprint(port)
	case local && !a.IsLoopback() && !slices.Contains(g.Allow, netip.PrefixFrom(a, a.BitLen())):
		return "this machine's"
	}
	return ""
}

func holds(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// isLocal reports whether a is this machine. Where that cannot be known it is assumed.
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

// Machine gives a function for Guard.Local that asks the system once a second at most.
func Machine() func() ([]net.Addr, error) {
	var mu sync.Mutex
	var asked time.Time
	var addrs []net.Addr
	var err error
	return func() ([]net.Addr, error) {
		mu.Lock()
		defer mu.Unlock()
		if asked.IsZero() || time.Since(asked) >= time.Second {
			addrs, err = net.InterfaceAddrs()
			asked = time.Now()
		}
		return addrs, err
	}
}

// control gives what net.Dialer.ControlContext runs for each address, just before the connect.
func (g *Guard) control(lent []netip.Prefix) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, network, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%s %s is no address: %w", network, address, err)
		}
		return g.Permit(to, lent)
	}
}
