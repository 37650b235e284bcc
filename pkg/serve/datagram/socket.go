package datagram

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/seam"
)

const (
	recvBuffer = 4 << 20 // bytes per UDP socket: some thousand queries, a few ms of work
	sendBuffer = 1 << 20
)

// Socket is a bound socket of its worker's own. The runtime's poller knows nothing of it.
type Socket struct {
	FD       int
	family   uint8 // index of seam.FamilyNames
	wildcard bool
}

// OpenSocket opens a blocking socket with its options and binds it.
func OpenSocket(addr netip.AddrPort, reusePort bool) (Socket, error) {
	sock := Socket{family: seam.FamilyOf(addr.Addr()), wildcard: addr.Addr().IsUnspecified()}
	domain := unix.AF_INET
	if sock.family == 1 {
		domain = unix.AF_INET6
	}
	sa, err := sockaddr(addr)
	if err != nil {
		return sock, err
	}
	sock.FD, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return sock, fmt.Errorf("socket: %w", err)
	}
	if err = sock.setOptions(reusePort); err == nil {
		err = unix.Bind(sock.FD, sa)
	}
	if err != nil {
		_ = unix.Close(sock.FD)
	}
	return sock, err
}

// setOptions sets what serving needs; only the size of the buffers is left to what the system grants.
func (s Socket) setOptions(reusePort bool) error {
	for _, o := range []struct {
		name          string
		want          bool
		level, option int
		value         int
	}{
		{"SO_REUSEPORT", reusePort, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		// Forged "packet too big" messages must not make us fragment (RFC 9715); replies are small by themselves.
		{"IP_MTU_DISCOVER", s.family == 0, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT},
		{"IPV6_MTU_DISCOVER", s.family == 1, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT},
		{"IPV6_V6ONLY", s.family == 1, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
		{"IP_PKTINFO", s.family == 0 && s.wildcard, unix.IPPROTO_IP, unix.IP_PKTINFO, 1},
		{"IPV6_RECVPKTINFO", s.family == 1 && s.wildcard, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
	} {
		if !o.want {
			continue
		}
		if err := unix.SetsockoptInt(s.FD, o.level, o.option, o.value); err != nil {
			return fmt.Errorf("setting %s: %w", o.name, err)
		}
	}
	setBuffer(s.FD, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, recvBuffer)
	setBuffer(s.FD, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer)
	return nil
}

// setBuffer asks for a buffer beyond the system's limit, which needs CAP_NET_ADMIN, or else for what the limit allows.
func setBuffer(fd, force, option, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size) // a smaller buffer serves too
	}
}

func sockaddr(addr netip.AddrPort) (unix.Sockaddr, error) {
	if addr.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	if zone := addr.Addr().Zone(); zone != "" {
		id, err := zoneID(zone)
		if err != nil {
			return nil, err
		}
		sa.ZoneId = id
	}
	return sa, nil
}

func zoneID(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %q: %w", zone, err)
	}
	return uint32(i.Index), nil
}
