package serve

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/datagram"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/stream"
)

const portTries = 32 // free TCP ports to try for one that is free with UDP too

// binding is what serves one address: UDP and TCP, or one of the others.
type binding struct {
	transport Transport // UDP stands for TCP, too
	addr      netip.AddrPort
	tcp       *net.TCPListener // all but QUIC
	udp       []datagram.Socket
	packets   *net.UDPConn // HTTPS (for HTTP/3) and QUIC

	streams *stream.Endpoint // made by open; nil where there is nothing but datagrams
}

// bindAll binds every address or none.
func bindAll(cfg Config) ([]*binding, error) {
	var binds []*binding
	for t, addrs := range [seam.NumTransports][]netip.AddrPort{UDP: cfg.Addrs, TLS: cfg.TLS, HTTPS: cfg.HTTPS, QUIC: cfg.QUIC} {
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

// open makes what takes in the connections of b.
func (b *binding) open(s *stream.Shared) (err error) {
	t := b.transport
	if t == UDP {
		t = TCP
	}
	b.streams, err = s.Open(t, b.addr, b.tcp, b.packets)
	return err
}

// origins lists a socket for each address that is served by UDP.
func origins(binds []*binding) (all []datagram.Origin) {
	for _, b := range binds {
		if len(b.udp) > 0 {
			all = append(all, datagram.Origin{Addr: netip.AddrPortFrom(b.addr.Addr().WithZone(""), b.addr.Port()), FD: b.udp[0].FD})
		}
	}
	return all
}

// stop ends the taking in of connections.
func (b *binding) stop() {
	if b.tcp != nil {
		_ = b.tcp.Close() // ends accept; it can't fail in a way that matters now
	}
	if b.streams != nil {
		b.streams.Stop()
	}
}

// closeAll closes every socket; listeners may have been closed before.
func closeAll(binds []*binding) {
	for _, b := range binds {
		if b.tcp != nil {
			_ = b.tcp.Close()
		}
		for _, sock := range b.udp {
			_ = unix.Close(sock.FD)
		}
		if b.streams != nil {
			b.streams.Close()
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

// bindTCP listens, and decides on the port.
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
func (b *binding) network(kind string) string {
	return kind + seam.FamilyNames[seam.FamilyOf(b.addr.Addr())][3:]
}

// bindUDP opens one socket per worker.
func (b *binding) bindUDP(workers int) error {
	// Sockets with SO_REUSEPORT would share the port with any other program of this user that set it too, and lose
	// queries to it; one without the option finds out.
	probe, err := datagram.OpenSocket(b.addr, false)
	if err != nil {
		return err
	}
	if err := unix.Close(probe.FD); err != nil {
		return err
	}
	for range workers {
		sock, err := datagram.OpenSocket(b.addr, true)
		if err != nil {
			return err
		}
		b.udp = append(b.udp, sock)
	}
	return nil
}
