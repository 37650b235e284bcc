package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// The protocols' names (ALPN).
const (
	alpnTLS  = "dot" // RFC 7858 and 9103
	alpnQUIC = "doq" // RFC 9250
)

const (
	streamsPerConn = 32      // messages under way in one connection of HTTPS or QUIC
	maxHTTPHeader  = 8 << 10 // bytes, with the URL: enough for a GET with a query of some 5000 bytes
)

// openSecure makes what b needs to be served, beside its sockets.
func (s *Server) openSecure(b *binding) (err error) {
	switch b.transport {
	case TLS:
		b.tls = s.keys.config(alpnTLS)
	case HTTPS:
		s.openHTTP(b)
		b.quic, err = s.openQUIC(b, http3.NextProtoH3)
	case QUIC:
		b.quic, err = s.openQUIC(b, alpnQUIC)
	}
	return err
}

// openHTTP makes the HTTP servers of b: one for HTTP/1.1, one for HTTP/3. HTTP/2 is served by web2.
func (s *Server) openHTTP(b *binding) {
	b.tls = s.keys.config(alpnHTTP2, "http/1.1")
	cfg := &s.cfg
	b.webConns = &connQueue{conns: make(chan net.Conn), done: make(chan struct{}), addr: b.tcp.Addr()}
	alternative := `h3=":` + strconv.Itoa(int(b.addr.Port())) + `"; ma=86400`
	b.web = &http.Server{
		Handler:                      &web{srv: s, words: web2Words{alternative, webOK(alternative)}},
		TLSConfig:                    b.tls,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            cfg.FirstTimeout,
		WriteTimeout:                 cfg.MessageTimeout + cfg.WriteTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		MaxHeaderBytes:               maxHTTPHeader,
		ErrorLog:                     log.New(io.Discard, "", 0), // it tells of clients' faults, at clients' speed
		ConnContext:                  webContext,
		TLSNextProto:                 map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2
	}
	b.web3 = &http3.Server{Handler: &web{srv: s}, MaxHeaderBytes: maxHTTPHeader, IdleTimeout: cfg.IdleTimeout,
		ConnContext: web3Context}
}

// stopSecure ends the taking in of connections, and tells those of HTTP to end.
func (b *binding) stopSecure() {
	if b.web != nil {
		// Both end idle connections, and let the others come to their ends; the connTable knows of those that don't.
		go func() { _ = b.web.Shutdown(context.Background()) }()
		go func() { _ = b.web3.Shutdown(context.Background()) }()
	}
	if b.quic != nil {
		_ = b.quic.listener.Close()
	}
}

// connQueue is a net.Listener whose connections somebody else accepts.
type connQueue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

var errQueueClosed = errors.New("serve: closed")

func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, errQueueClosed
	}
}

func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *connQueue) Addr() net.Addr { return q.addr }

// quicConfig bounds what a connection of QUIC may hold.
func (s *Server) quicConfig(uniStreams int64) *quic.Config {
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
