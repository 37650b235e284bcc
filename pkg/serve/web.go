package serve

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	webPath = "/dns-query"
	webType = "application/dns-message"
)

// webConn is a connection of HTTP/1.1 or HTTP/2. net/http holds it, under TLS; this watches over its seat.
type webConn struct {
	seat
	*net.TCPConn
	srv  *Server
	once sync.Once
}

// welcomeHTTP hands a connection to net/http.
func (s *Server) welcomeHTTP(b *binding, conn *net.TCPConn, peer netip.AddrPort) {
	c := &webConn{TCPConn: conn, srv: s}
	c.seat = seat{guest: c, transport: HTTPS, peer: peer}
	if !s.conns.admit(&c.seat) {
		c.abort()
		return
	}
	select {
	case b.webConns.conns <- tls.Server(c, b.tls):
	case <-b.webConns.done:
		_ = c.Close()
	}
}

// Close is the end of the connection. net/http always calls it.
func (c *webConn) Close() error {
	c.once.Do(func() { c.srv.conns.leave(&c.seat) })
	return c.TCPConn.Close()
}

// Write cuts off a client that is too slow to take what is written: TLS would wait for it once more, to say goodbye.
func (c *webConn) Write(data []byte) (int, error) {
	n, err := c.TCPConn.Write(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.abort()
	}
	return n, err
}

func (c *webConn) abort() {
	_ = c.SetLinger(0) // on a connection that is closed already both may fail
	_ = c.TCPConn.Close()
}

// hurry closes the connection when it has nothing to do any more; net/http would wait for long.
func (c *webConn) hurry() {
	time.AfterFunc(stopGrace, func() { c.srv.conns.dismiss(&c.seat, func() { _ = c.Close() }) })
}

// webKey is the context's key for a connection's host.
type webKey struct{}

// host is what web needs to know of a request's connection.
type host struct {
	seat   *seat
	source func() netip.AddrPort
}

func webContext(ctx context.Context, conn net.Conn) context.Context {
	c := conn.(*tls.Conn).NetConn().(*webConn)
	return context.WithValue(ctx, webKey{}, host{&c.seat, func() netip.AddrPort { return c.peer }})
}

// web answers HTTP requests (RFC 8484), of all versions of HTTP.
type web struct {
	srv         *Server
	alternative string // for HTTP/1.1 and HTTP/2: where HTTP/3 is (RFC 7838)
}

// ServeHTTP implements http.Handler.
func (h *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.alternative != "" {
		w.Header().Set("Alt-Svc", h.alternative)
	}
	if r.URL.Path != webPath {
		refuse(w, http.StatusNotFound, "DNS is at "+webPath)
		return
	}
	at := r.Context().Value(webKey{}).(host)
	if !h.srv.conns.enter(at.seat) {
		refuse(w, http.StatusTooManyRequests, "too many messages are under way")
		return
	}
	defer h.srv.conns.exit(at.seat)
	query, status, why := h.read(w, r)
	switch {
	case status == http.StatusRequestTimeout:
		at.seat.guest.abort()
		panic(http.ErrAbortHandler) // or else it would be status 200
	case status != 0:
		refuse(w, status, why)
	default:
		h.respond(w, &asked{query: query, source: at.source(), transport: HTTPS, peer: r.TLS}, at.seat)
	}
}

// refuse answers a request that is not answered with DNS.
func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, why, status)
}

// read gives the query of a request or else a status, and why.
func (h *web) read(w http.ResponseWriter, r *http.Request) (query []byte, status int, why string) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		var err error
		if query, err = base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns")); err != nil {
			return nil, http.StatusBadRequest, "the parameter dns is not base64url without padding"
		}
	case http.MethodPost:
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != webType {
			return nil, http.StatusUnsupportedMediaType, "the content type is not " + webType
		}
		if query, status, why = h.readBody(w, r); status != 0 {
			return nil, status, why
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		return nil, http.StatusMethodNotAllowed, "use GET or POST"
	}
	if len(query) < headerSize {
		return nil, http.StatusBadRequest, "this is no DNS message"
	}
	return query, 0, ""
}

// readBody reads the query of a POST. StatusRequestTimeout: the client is too slow.
func (h *web) readBody(w http.ResponseWriter, r *http.Request) (query []byte, status int, why string) {
	if r.ContentLength > streamRoom {
		return nil, http.StatusRequestEntityTooLarge, "a DNS message has 65535 bytes at most"
	}
	deadline := time.Now().Add(h.srv.cfg.MessageTimeout)
	if err := http.NewResponseController(w).SetReadDeadline(deadline); err != nil {
		return nil, http.StatusRequestTimeout, ""
	}
	query, err := h.srv.readMessage(r.Body, streamRoom)
	switch {
	case errors.Is(err, errMessageTooLong):
		return nil, http.StatusRequestEntityTooLarge, "a DNS message has 65535 bytes at most"
	case errors.Is(err, errTooManyBig):
		return nil, http.StatusServiceUnavailable, "too many large messages are under way"
	case err != nil && !time.Now().Before(deadline):
		return nil, http.StatusRequestTimeout, ""
	case err != nil:
		return nil, http.StatusBadRequest, "the message ended too early"
	}
	return query, 0, ""
}

// respond has a query answered.
func (h *web) respond(w http.ResponseWriter, q *asked, at *seat) {
	h.srv.conns.setBusy(at, true)
	defer h.srv.conns.setBusy(at, false)
	reply, _, _ := h.srv.one(q, nil)
	if len(reply) == 0 {
		refuse(w, http.StatusBadRequest, "this message gets no answer")
		return
	}
	header := w.Header()
	header.Set("Content-Type", webType)
	header.Set("Content-Length", strconv.Itoa(len(reply)))
	header.Set("Cache-Control", "max-age="+strconv.FormatUint(uint64(freshness(reply)), 10))
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.srv.cfg.WriteTimeout)); err != nil {
		at.guest.abort()
		panic(http.ErrAbortHandler)
	}
	if _, err := w.Write(reply); errors.Is(err, os.ErrDeadlineExceeded) {
		at.guest.abort() // it does not take its replies
	}
}
