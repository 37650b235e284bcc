package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

const maxHTTPHeader = 8 << 10 // bytes, with the URL: enough for a GET with a query of some 5000 bytes

// webServer takes in the connections of one address of HTTPS. HTTP/1.1 and HTTP/3 are spoken by libraries, HTTP/2 by web2.
type webServer struct {
	shared *Shared
	tls    *tls.Config
	http1  *http.Server
	http3  *http3.Server
	lent   *connQueue // to http1
	words  web2Words
}

// web2Words are what all connections of a listener say.
type web2Words struct {
	alternative string // where HTTP/3 is (RFC 7838)
	ok          []byte // how the header of an answer begins, in HTTP/2
}

// newWebServer makes what speaks HTTP at addr.
func newWebServer(s *Shared, addr netip.AddrPort) *webServer {
	cfg := &s.cfg
	alternative := `h3=":` + strconv.Itoa(int(addr.Port())) + `"; ma=86400`
	w := &webServer{shared: s, tls: s.keys.Config(alpnHTTP2, "http/1.1"), words: web2Words{alternative, webOK(alternative)}}
	w.lent = &connQueue{conns: make(chan net.Conn), done: make(chan struct{}), addr: net.TCPAddrFromAddrPort(addr)}
	w.http1 = &http.Server{
		Handler:                      &web{shared: s, alternative: alternative},
		TLSConfig:                    w.tls,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            cfg.FirstTimeout,
		WriteTimeout:                 cfg.MessageTimeout + cfg.WriteTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		MaxHeaderBytes:               maxHTTPHeader,
		ErrorLog:                     log.New(io.Discard, "", 0), // it tells of clients' faults, at clients' speed
		ConnContext:                  webContext,
		TLSNextProto:                 map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2
	}
	w.http3 = &http3.Server{Handler: &web{shared: s}, MaxHeaderBytes: maxHTTPHeader, IdleTimeout: cfg.IdleTimeout,
		ConnContext: web3Context}
	return w
}

// run serves the connections that speak HTTP/1.1, until stop.
func (w *webServer) run() { _ = w.http1.Serve(w.lent) } // ends by Shutdown, whatever it says

// serveQUIC serves a connection of HTTP/3 to its end.
func (w *webServer) serveQUIC(c *quicConn) {
	_ = w.http3.ServeQUICConn(c.conn) // its end is the client's business
	c.close(c.calm)
}

// stop ends idle connections, and lets the others come to their ends; guard.Conns knows of those that don't.
func (w *webServer) stop() {
	go func() { _ = w.http1.Shutdown(context.Background()) }()
	go func() { _ = w.http3.Shutdown(context.Background()) }()
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

// webConn is a connection of HTTPS by TCP. What speaks HTTP/2 is served by web2, and the rest is lent to net/http.
type webConn struct {
	guard.Seat
	pipe
	web2Words
	held []byte // records of TLS that are to be written together; nil: each is written at once
	lent atomic.Bool
	once sync.Once
}

// welcome takes in a connection.
func (w *webServer) welcome(conn *net.TCPConn, peer netip.AddrPort) {
	s := w.shared
	c := &webConn{pipe: newPipe(s, conn, nil), web2Words: w.words}
	c.conn = tls.Server(webSocket{c.tap, c}, w.tls)
	c.Seat = guard.Seat{Guest: c, Transport: seam.HTTPS, Peer: peer}
	if !s.Conns.Admit(&c.Seat) {
		c.Abort()
		return
	}
	go c.run(w)
}

// run does the handshake, which tells how to go on.
func (c *webConn) run(w *webServer) {
	deadline := time.Now().Add(c.shared.cfg.FirstTimeout)
	state, ok := c.shakeHands(deadline)
	switch {
	case !ok:
		c.Abort()
		c.end()
	case state.NegotiatedProtocol == alpnHTTP2:
		newWeb2(c, state, deadline).run()
	default:
		c.lend(w)
	}
}

// lend hands the connection to net/http, which sets deadlines of its own.
func (c *webConn) lend(w *webServer) {
	c.tap.patient = true
	c.lent.Store(true)
	if c.shared.Stopping.Load() { // it may have been looked at before
		c.Hurry()
	}
	select {
	case w.lent.conns <- c.conn:
	case <-w.lent.done:
		c.end()
	}
}

// Hurry closes the connection when it has nothing to do any more; net/http would wait for long.
func (c *webConn) Hurry() {
	if !c.lent.Load() {
		c.pipe.Hurry()
		return
	}
	time.AfterFunc(stopGrace, func() { c.shared.Conns.Dismiss(&c.Seat, func() { _ = c.tap.Close() }) })
}

// webSocket is what TLS reads from and writes to.
type webSocket struct {
	*tap
	c *webConn
}

// Close is the end of the connection; both servers call it.
func (s webSocket) Close() error {
	s.c.once.Do(func() { s.c.shared.Conns.Leave(&s.c.Seat) })
	return s.TCPConn.Close()
}

// Write cuts off a client that is too slow to take what is written: TLS would wait for it once more, to say goodbye.
func (s webSocket) Write(data []byte) (int, error) {
	if s.c.held != nil {
		s.c.held = append(s.c.held, data...)
		return len(data), nil
	}
	n, err := s.tap.Write(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.c.Abort()
	}
	return n, err
}

// webKey is the context's key for a connection's host.
type webKey struct{}

// host is what web needs to know of a request's connection.
type host struct {
	seat   *guard.Seat
	source func() netip.AddrPort
}

func webContext(ctx context.Context, conn net.Conn) context.Context {
	c := conn.(*tls.Conn).NetConn().(webSocket).c
	return context.WithValue(ctx, webKey{}, host{&c.Seat, func() netip.AddrPort { return c.Peer }})
}

// web3Context is webContext for HTTP/3.
func web3Context(ctx context.Context, conn *quic.Conn) context.Context {
	c := conn.Context().Value(quicKey{}).(welcomed)
	return context.WithValue(ctx, webKey{}, host{&c.Seat, c.source})
}
