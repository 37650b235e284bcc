package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

const streamsPerConn = 32 // messages under way in one connection of HTTPS or QUIC

// quicEndpoint is one socket of QUIC.
type quicEndpoint struct {
	transport *quic.Transport
	listener  *quic.EarlyListener
}

// quicConn is a connection of QUIC: of DNS over QUIC, or HTTP/3.
type quicConn struct {
	guard.Seat
	shared      *Shared
	calm, anger quic.ApplicationErrorCode // to close it with

	mu      sync.Mutex
	conn    *quic.Conn // nil until the handshake has got so far
	aborted bool
}

var errTooManyConns = errors.New("serve: no place for this connection")

// openQUIC makes an endpoint of packets, which are bound to addr. A connection takes its seat with its first packet. That packet's
// source may be forged; when handshakes under way are so many that forgers could take a client's places, clients have to show
// that their address is their own before they get a seat (RFC 9000, 8.1.2).
func (s *Shared) openQUIC(t seam.Transport, addr netip.AddrPort, packets *net.UDPConn, protocol string) (*quicEndpoint, error) {
	uniStreams := int64(-1) // none
	if t == seam.HTTPS {
		uniStreams = 3 // control, and the tables of QPACK
	}
	var key quic.StatelessResetKey
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	e := &quicEndpoint{transport: &quic.Transport{
		Conn:              packets,
		StatelessResetKey: &key,
		VerifySourceAddress: func(net.Addr) bool {
			return int(s.handshakes.Load()) >= max(1, s.cfg.MaxConnsPerClient/2)
		},
		ConnContext: func(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
			return s.welcomeQUIC(ctx, t, info.RemoteAddr)
		},
	}}
	config := s.keys.Config(protocol)
	var err error
	if e.listener, err = e.transport.ListenEarly(config, s.quicConfig(uniStreams)); err != nil {
		return nil, fmt.Errorf("listen %s %s: %w", t, addr, err)
	}
	return e, nil
}

// welcomeQUIC gives a new connection a seat, until ctx ends.
func (s *Shared) welcomeQUIC(ctx context.Context, t seam.Transport, from net.Addr) (context.Context, error) {
	if int(s.handshakes.Load()) >= s.cfg.MaxConns {
		return nil, errTooManyConns
	}
	c := &quicConn{shared: s, calm: doqNoError, anger: doqExcessiveLoad}
	if t == seam.HTTPS {
		c.calm, c.anger = quic.ApplicationErrorCode(http3.ErrCodeNoError), quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad)
	}
	c.Seat = guard.Seat{Guest: c, Transport: t, Peer: clean(from.(*net.UDPAddr).AddrPort())}
	if !s.Conns.Admit(&c.Seat) {
		return nil, errTooManyConns
	}
	s.handshakes.Add(1)
	done := sync.OnceFunc(func() { s.handshakes.Add(-1) })
	context.AfterFunc(ctx, func() {
		done()
		s.Conns.Leave(&c.Seat)
	})
	return context.WithValue(ctx, quicKey{}, welcomed{c, done}), nil
}

// quicKey is the context's key for what welcomeQUIC has made of a connection.
type quicKey struct{}

type welcomed struct {
	*quicConn
	shookHands func()
}

// Abort closes the connection; not in this goroutine, as quic-go waits for its own.
func (c *quicConn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	if c.conn != nil {
		go c.close(c.anger)
	}
}

func (c *quicConn) close(code quic.ApplicationErrorCode) { _ = c.conn.CloseWithError(code, "") }

// Hurry closes the connection when it has nothing to do any more.
func (c *quicConn) Hurry() {
	time.AfterFunc(stopGrace, func() {
		c.shared.Conns.Dismiss(&c.Seat, func() {
			if c.attached() {
				c.close(c.calm)
			} else {
				c.Abort()
			}
		})
	})
}

func (c *quicConn) attached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn != nil
}

// attach says what conn is. False: it was aborted before.
func (c *quicConn) attach(conn *quic.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	return !c.aborted
}

// source is the client's address, which may change during a connection.
func (c *quicConn) source() netip.AddrPort {
	return clean(c.conn.RemoteAddr().(*net.UDPAddr).AddrPort())
}

// acceptQUIC takes in the connections of one endpoint until it is closed, and has each served.
func (s *Shared) acceptQUIC(e *quicEndpoint, serve func(*quicConn)) {
	for {
		conn, err := e.listener.Accept(context.Background())
		if err != nil {
			return
		}
		w := conn.Context().Value(quicKey{}).(welcomed)
		if !w.attach(conn) {
			go w.close(w.anger)
			continue
		}
		s.running.Go(func() {
			select {
			case <-conn.HandshakeComplete():
			case <-conn.Context().Done():
			}
			w.shookHands()
			serve(w.quicConn)
		})
	}
}

// clean gives an address as Request.Source wants it.
func clean(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// quicConfig bounds what a connection of QUIC may hold.
func (s *Shared) quicConfig(uniStreams int64) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           s.cfg.FirstTimeout,
		MaxIdleTimeout:                 s.cfg.IdleTimeout,
		InitialStreamReceiveWindow:     8 << 10,
		MaxStreamReceiveWindow:         streamInMax,
		InitialConnectionReceiveWindow: 64 << 10,
		MaxConnectionReceiveWindow:     128 << 10,
		MaxIncomingStreams:             streamsPerConn,
		MaxIncomingUniStreams:          uniStreams,
	}
}
