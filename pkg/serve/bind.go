package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"
)

const (
	recvBuffer = 4 << 20 // bytes per UDP socket: some thousand queries, a few ms of work
	sendBuffer = 1 << 20
	portTries  = 32 // free TCP ports to try for one that is free with UDP too
)

// binding is what serves one address: UDP and TCP, or one of the others.
type binding struct {
	transport Transport // UDP stands for TCP, too
	addr      netip.AddrPort
	tcp       *net.TCPListener // all but QUIC
	udp       []udpSocket
	packets   *net.UDPConn // HTTPS (for HTTP/3) and QUIC

	// made by openSecure
	tls      *tls.Config
	web      *http.Server
	web3     *http3.Server
	webConns *connQueue
	quic     *quicEndpoint
}

// udpSocket is a bound socket of its worker's own. The runtime's poller knows nothing of it.
type udpSocket struct {
	fd       int
	family   uint8 // index of familyNames
	wildcard bool
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return 0
	}
	return 1
}

// bindAll binds every address or none.
func bindAll(cfg Config) ([]*binding, error) {
	var binds []*binding
	for t, addrs := range [numTransports][]netip.AddrPort{UDP: cfg.Addrs, TLS: cfg.TLS, HTTPS: cfg.HTTPS, QUIC: cfg.QUIC} {
		for _, addr := range addrs {
			b, err := bind(Transport(t), addr, cfg.Workers)
			if err != nil {
				closeAll(binds)
				return nil, err
			}
			binds = append(binds, b)
		}
	}
	return binds, nil
}

// stop ends the taking in of connections.
func (b *binding) stop() {
	if b.tcp != nil {
		_ = b.tcp.Close() // ends accept; it can't fail in a way that matters now
	}
	b.stopSecure()
}

// closeAll closes every socket; listeners may have been closed before.
func closeAll(binds []*binding) {
	for _, b := range binds {
		if b.tcp != nil {
			_ = b.tcp.Close()
		}
		for _, sock := range b.udp {
			_ = unix.Close(sock.fd)
		}
		if b.quic != nil {
			_ = b.quic.transport.Close()
		}
		if b.packets != nil {
			_ = b.packets.Close()
		}
	}
}

// bind binds one address; with port 0 it looks for a port that is free for TCP and UDP, where both are needed.
func bind(t Transport, addr netip.AddrPort, workers int) (*binding, error) {
	for try := 1; ; try++ {
		b, err := bindPort(t, addr, workers)
		if err == nil {
			return b, nil
		}
		if addr.Port() != 0 || try == portTries || !errors.Is(err, unix.EADDRINUSE) {
			return nil, err
		}
	}
}

func bindPort(t Transport, addr netip.AddrPort, workers int) (_ *binding, err error) {
	b := &binding{transport: t, addr: addr}
	network := "tcp"
	if t != QUIC {
		err = b.bindTCP()
	}
	if err == nil && t != TLS {
		network = "udp"
		if t == UDP {
			err = b.bindUDP(workers)
		} else {
			err = b.bindPackets()
		}
	}
	if err != nil {
		closeAll([]*binding{b})
		return nil, bindError(t, network, b.addr, err)
	}
	return b, nil
}

// bindTCP listens, and settles the port.
func (b *binding) bindTCP() error {
	// Without SO_REUSEPORT, so that this is also what keeps a second server away from the port.
	lc := net.ListenConfig{KeepAlive: -1} // idle connections end long before
	l, err := lc.Listen(context.Background(), b.network("tcp"), b.addr.String())
	if err != nil {
		return err
	}
	b.tcp = l.(*net.TCPListener)
	b.addr = netip.AddrPortFrom(b.addr.Addr(), l.Addr().(*net.TCPAddr).AddrPort().Port())
	return nil
}

// bindPackets opens the socket that QUIC is spoken through.
func (b *binding) bindPackets() error {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(context.Background(), b.network("udp"), b.addr.String())
	if err != nil {
		return err
	}
	b.packets = conn.(*net.UDPConn)
	b.addr = netip.AddrPortFrom(b.addr.Addr(), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	return nil
}

// network gives "tcp4" or the like, so that :: is IPv6 alone.
func (b *binding) network(kind string) string { return kind + familyNames[familyOf(b.addr.Addr())][3:] }

// bindUDP opens one socket per worker.
func (b *binding) bindUDP(workers int) error {
	// Sockets with SO_REUSEPORT would share the port with any other program of this user that set it too, and lose
	// queries to it; one without the option finds out.
	probe, err := openUDP(b.addr, false)
	if err != nil {
		return err
	}
	if err := unix.Close(probe.fd); err != nil {
		return err
	}
	for range workers {
		sock, err := openUDP(b.addr, true)
		if err != nil {
			return err
		}
		b.udp = append(b.udp, sock)
	}
	return nil
}

// openUDP opens a blocking socket with its options and binds it.
func openUDP(addr netip.AddrPort, reusePort bool) (udpSocket, error) {
	sock := udpSocket{family: familyOf(addr.Addr()), wildcard: addr.Addr().IsUnspecified()}
	domain := unix.AF_INET
	if sock.family == 1 {
		domain = unix.AF_INET6
	}
	sa, err := sockaddr(addr)
	if err != nil {
		return sock, err
	}
	sock.fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return sock, fmt.Errorf("socket: %w", err)
	}
	if err = sock.setOptions(reusePort); err == nil {
		err = unix.Bind(sock.fd, sa)
	}
	if err != nil {
		_ = unix.Close(sock.fd)
	}
	return sock, err
}

// setOptions sets what serving needs; only the size of the buffers is left to what the system grants.
func (s udpSocket) setOptions(reusePort bool) error {
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
		if err := unix.SetsockoptInt(s.fd, o.level, o.option, o.value); err != nil {
			return fmt.Errorf("setting %s: %w", o.name, err)
		}
	}
	setBuffer(s.fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, recvBuffer)
	setBuffer(s.fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer)
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
