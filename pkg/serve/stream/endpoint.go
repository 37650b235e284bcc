package stream

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/gti/gtm/pkg/serve/seam"
)

// The protocols' names (ALPN).
const (
	alpnTLS  = "dot" // RFC 7858 and 9103
	alpnQUIC = "doq" // RFC 9250
)

// acceptPause keeps a listener that only gives errors from burning its CPU.
const acceptPause = 100 * time.Millisecond

// Endpoint is one address at which connections are taken in.
type Endpoint struct {
	shared    *Shared
	transport seam.Transport // TCP, TLS, HTTPS or QUIC
	addr      netip.AddrPort
	tcp       *net.TCPListener // all but QUIC
	tls       *tls.Config      // TLS
	web       *webServer       // HTTPS
	quic      *quicEndpoint    // QUIC, and HTTPS for HTTP/3
}

// Open makes an endpoint of sockets that are bound: a listener for every transport but QUIC, and packets for HTTPS and QUIC. Who
// gives them closes them, after close.
func (s *Shared) Open(t seam.Transport, addr netip.AddrPort, tcp *net.TCPListener, packets *net.UDPConn) (e *Endpoint, err error) {
	e = &Endpoint{shared: s, transport: t, addr: addr, tcp: tcp}
	switch t {
	case seam.TLS:
		e.tls = s.keys.Config(alpnTLS)
	case seam.HTTPS:
		e.web = newWebServer(s, addr)
		e.quic, err = s.openQUIC(t, addr, packets, http3.NextProtoH3)
	case seam.QUIC:
		e.quic, err = s.openQUIC(t, addr, packets, alpnQUIC)
	}
	return e, err
}

// Start takes in connections, in goroutines of its own, until stop.
func (e *Endpoint) Start() {
	running := &e.shared.running
	if e.tcp != nil {
		running.Go(e.accept)
	}
	switch e.transport {
	case seam.HTTPS:
		running.Go(e.web.run)
		running.Go(func() { e.shared.acceptQUIC(e.quic, e.web.serveQUIC) })
	case seam.QUIC:
		running.Go(func() { e.shared.acceptQUIC(e.quic, e.shared.serveQUIC) })
	}
}

// Stop ends the taking in of connections by HTTPS and QUIC, and tells those of HTTP to end. What comes by TCP ends with its listener.
func (e *Endpoint) Stop() {
	if e.web != nil {
		e.web.stop()
	}
	if e.quic != nil {
		_ = e.quic.listener.Close()
	}
}

// Close ends what uses the sockets.
func (e *Endpoint) Close() {
	if e.quic != nil {
		_ = e.quic.transport.Close()
	}
}

// accept takes in the connections of the TCP listener until it is closed.
func (e *Endpoint) accept() {
	s := e.shared
	for !s.Stopping.Load() {
		conn, err := e.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // most likely out of file descriptors
			s.Logger.Warn("accepting a connection failed; the one idle for longest gives way", "address", e.addr, "error", err)
			s.Conns.EvictOne()
			time.Sleep(acceptPause)
			continue
		}
		peer := clean(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
		if e.web != nil {
			e.web.welcome(conn, peer)
			continue
		}
		c := newStream(s, conn, peer, e.tls)
		if !s.Conns.Admit(&c.Seat) {
			c.Abort()
			continue
		}
		go c.run()
	}
}
