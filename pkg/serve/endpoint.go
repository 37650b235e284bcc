package serve

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// The protocols' names (ALPN).
const (
	alpnTLS  = "dot" // RFC 7858 and 9103
	alpnQUIC = "doq" // RFC 9250
)

// acceptPause keeps a listener that only gives errors from burning its CPU.
const acceptPause = 100 * time.Millisecond

// endpoint is one address at which connections are taken in.
type endpoint struct {
	shared    *streamShared
	transport Transport // TCP, TLS, HTTPS or QUIC
	addr      netip.AddrPort
	tcp       *net.TCPListener // all but QUIC
	tls       *tls.Config      // TLS
	web       *webServer       // HTTPS
	quic      *quicEndpoint    // QUIC, and HTTPS for HTTP/3
}

// open makes an endpoint of sockets that are bound: a listener for every transport but QUIC, and packets for HTTPS and QUIC. Who
// gives them closes them, after close.
func (s *streamShared) open(t Transport, addr netip.AddrPort, tcp *net.TCPListener, packets *net.UDPConn) (e *endpoint, err error) {
	e = &endpoint{shared: s, transport: t, addr: addr, tcp: tcp}
	switch t {
	case TLS:
		e.tls = s.keys.config(alpnTLS)
	case HTTPS:
		e.web = newWebServer(s, addr)
		e.quic, err = s.openQUIC(t, addr, packets, http3.NextProtoH3)
	case QUIC:
		e.quic, err = s.openQUIC(t, addr, packets, alpnQUIC)
	}
	return e, err
}

// start takes in connections, in goroutines of its own, until stop.
func (e *endpoint) start() {
	running := &e.shared.running
	if e.tcp != nil {
		running.Go(e.accept)
	}
	switch e.transport {
	case HTTPS:
		running.Go(e.web.run)
		running.Go(func() { e.shared.acceptQUIC(e.quic, e.web.serveQUIC) })
	case QUIC:
		running.Go(func() { e.shared.acceptQUIC(e.quic, e.shared.serveQUIC) })
	}
}

// stop ends the taking in of connections by HTTPS and QUIC, and tells those of HTTP to end. What comes by TCP ends with its listener.
func (e *endpoint) stop() {
	if e.web != nil {
		e.web.stop()
	}
	if e.quic != nil {
		_ = e.quic.listener.Close()
	}
}

// close ends what uses the sockets.
func (e *endpoint) close() {
	if e.quic != nil {
		_ = e.quic.transport.Close()
	}
}

// accept takes in the connections of the TCP listener until it is closed.
func (e *endpoint) accept() {
	s := e.shared
	for !s.stopping.Load() {
		conn, err := e.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // most likely out of file descriptors
			s.logger.Warn("accepting a connection failed; the one idle for longest gives way", "address", e.addr, "error", err)
			s.conns.evictOne()
			time.Sleep(acceptPause)
			continue
		}
		peer := clean(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
		if e.web != nil {
			e.web.welcome(conn, peer)
			continue
		}
		c := newStream(s, conn, peer, e.tls)
		if !s.conns.admit(&c.seat) {
			c.abort()
			continue
		}
		go c.run()
	}
}
