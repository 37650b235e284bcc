package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// runHTTP3 is https over QUIC. There is no way back to TCP.
func runHTTP3(ctx context.Context, a *attempt) error {
	config, err := a.tlsConfig(http3.NextProtoH3)
	if err != nil {
		return err
	}
	socket, done, err := a.dial(ctx, "udp")
	if err != nil {
		return err
	}
	defer done()
	by := quic.Transport{Conn: &packets{socket}}
	defer by.Close()
	conn, err := by.Dial(ctx, socket.RemoteAddr(), config, &quic.Config{})
	if err != nil {
		return quicError(err)
	}
	defer conn.CloseWithError(0, "")
	transport := http3.Transport{
		Dial:                   func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) { return conn, nil },
		MaxResponseHeaderBytes: headerLimit,
		DisableCompression:     true,
	}
	defer transport.Close()
	return a.roundTrip(ctx, &transport)
}

// packets is a connected socket as QUIC wants it: it sends to one address only, the one that the guard has seen, and hears where nobody
// listens there.
type packets struct{ net.Conn }

// ReadFrom reads a datagram.
func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.Read(b)
	return n, p.RemoteAddr(), err
}

// WriteTo sends one. The address is that of the connection.
func (p *packets) WriteTo(b []byte, _ net.Addr) (int, error) { return p.Write(b) }

// SetReadBuffer leaves the buffer as the system has it: a check reads little.
func (p *packets) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does, too.
func (p *packets) SetWriteBuffer(int) error { return nil }

// quicError sorts what went wrong in a QUIC handshake.
func quicError(err error) error {
	var transport *quic.TransportError
	var version *quic.VersionNegotiationError
	var op *net.OpError
	switch {
	case errors.As(err, &op):
		return fail("connect", err)
	case errors.As(err, &version):
		return fail("quic", errors.New("the server speaks no version of QUIC that the check does"))
	case errors.As(err, &transport) && transport.ErrorCode.IsCryptoError():
		if err = tlsError(err); strings.HasPrefix(err.Error(), "certificate:") {
			return err
		}
		return tlsError(tls.AlertError(transport.ErrorCode & 0xff)) // RFC 9001, 4.8
	case isTimeout(err):
		return fail("quic", err)
	}
	return fail("quic", errors.New("the server breaks the protocol"))
}
