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
	"sync/atomic"
	"time"
)

const (
	webPath = "/dns-query"
	webType = "application/dns-message"
)

// webConn is a connection of HTTPS by TCP. What speaks HTTP/2 is served by web2, and the rest is lent to net/http.
type webConn struct {
	seat
	pipe
	web2Words
	held []byte // records of TLS that are to be written together; nil: each is written at once
	lent atomic.Bool
	once sync.Once
}

// welcomeHTTP takes in a connection.
func (s *Server) welcomeHTTP(b *binding, conn *net.TCPConn, peer netip.AddrPort) {
	c := &webConn{pipe: newPipe(s, conn, nil), web2Words: b.web.Handler.(*web).words}
	c.conn = tls.Server(webSocket{c.tap, c}, b.tls)
	c.seat = seat{guest: c, transport: HTTPS, peer: peer}
	if !s.conns.admit(&c.seat) {
		c.abort()
		return
	}
	go c.run(b)
}

// run does the handshake, which tells how to go on.
func (c *webConn) run(b *binding) {
	deadline := time.Now().Add(c.srv.cfg.FirstTimeout)
	state, ok := c.shakeHands(deadline)
	switch {
	case !ok:
		c.abort()
		c.end()
	case state.NegotiatedProtocol == alpnHTTP2:
		newWeb2(c, state, deadline).run()
	default:
		c.lend(b)
	}
}

// lend hands the connection to net/http, which sets deadlines of its own.
func (c *webConn) lend(b *binding) {
	c.tap.patient = true
	c.lent.Store(true)
	if c.srv.stopping.Load() { // it may have been looked at before
		c.hurry()
	}
	select {
	case b.webConns.conns <- c.conn:
	case <-b.webConns.done:
		c.end()
	}
}

// hurry closes the connection when it has nothing to do any more; net/http would wait for long.
func (c *webConn) hurry() {
	if !c.lent.Load() {
		c.pipe.hurry()
		return
	}
	time.AfterFunc(stopGrace, func() { c.srv.conns.dismiss(&c.seat, func() { _ = c.tap.Close() }) })
}

// webSocket is what TLS reads from and writes to.
type webSocket struct {
	*tap
	c *webConn
}

// Close is the end of the connection; both servers call it.
func (s webSocket) Close() error {
	s.c.once.Do(func() { s.c.srv.conns.leave(&s.c.seat) })
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
		s.c.abort()
	}
	return n, err
}

// webKey is the context's key for a connection's host.
type webKey struct{}

// host is what web needs to know of a request's connection.
type host struct {
	seat   *seat
	source func() netip.AddrPort
}

func webContext(ctx context.Context, conn net.Conn) context.Context {
	c := conn.(*tls.Conn).NetConn().(webSocket).c
	return context.WithValue(ctx, webKey{}, host{&c.seat, func() netip.AddrPort { return c.peer }})
}

// web answers HTTP requests (RFC 8484), of all versions of HTTP.
type web struct {
	srv   *Server
	words web2Words // for HTTP/1.1 and HTTP/2
}

// web2Words are what all connections of a listener say.
type web2Words struct {
	alternative string // where HTTP/3 is (RFC 7838)
	ok          []byte // how the header of an answer begins, in HTTP/2
}

// A refusal is why a request is not answered with DNS. The zero refusal is none.
type refusal struct {
	status int
	text   string
}

const webMethods = "GET, HEAD, POST"

var (
	notOurPath     = refusal{http.StatusNotFound, "DNS is at " + webPath}
	wrongMethod    = refusal{http.StatusMethodNotAllowed, "use GET or POST"}
	wrongType      = refusal{http.StatusUnsupportedMediaType, "the content type is not " + webType}
	headerTooLarge = refusal{http.StatusRequestHeaderFieldsTooLarge, "the header is too large"}
	notBase64      = refusal{http.StatusBadRequest, "the parameter dns is not base64url without padding"}
	notSafe        = refusal{http.StatusBadRequest, "only queries are asked by GET; send this message by POST"}
	noMessage      = refusal{http.StatusBadRequest, "this is no DNS message"}
	endedEarly     = refusal{http.StatusBadRequest, "the message ended too early"}
	noAnswer       = refusal{http.StatusBadRequest, "this message gets no answer"}
	tooLong        = refusal{http.StatusRequestEntityTooLarge, "a DNS message has 65535 bytes at most"}
	tooMany        = refusal{http.StatusTooManyRequests, "too many messages are under way"}
	tooManyBig     = refusal{http.StatusServiceUnavailable, "too many large messages are under way"}
	tooSlow        = refusal{status: http.StatusRequestTimeout} // it gets no answer
)

// isWebType tells whether a content type is that of DNS messages, whatever its parameters.
func isWebType(text string) bool {
	if text == webType {
		return true
	}
	kind, _, err := mime.ParseMediaType(text)
	return err == nil && kind == webType
}

// ServeHTTP implements http.Handler.
func (h *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.words.alternative != "" {
		w.Header().Set("Alt-Svc", h.words.alternative)
	}
	if r.URL.Path != webPath {
		refuse(w, notOurPath)
		return
	}
	at := r.Context().Value(webKey{}).(host)
	if !h.srv.conns.enter(at.seat) {
		refuse(w, tooMany)
		return
	}
	defer h.srv.conns.exit(at.seat)
	query, why := h.read(w, r)
	switch why {
	case refusal{}:
		h.respond(w, &asked{query: query, source: at.source(), transport: HTTPS, peer: r.TLS}, at.seat)
	case tooSlow:
		at.seat.guest.abort()
		panic(http.ErrAbortHandler) // or else it would be status 200
	default:
		refuse(w, why)
	}
}

// refuse answers a request that is not answered with DNS.
func refuse(w http.ResponseWriter, why refusal) {
	w.Header().Set("Cache-Control", "no-store")
	if why == wrongMethod {
		w.Header().Set("Allow", webMethods)
	}
	http.Error(w, why.text, why.status)
}

// read gives the query of a request, or why there is none.
func (h *web) read(w http.ResponseWriter, r *http.Request) (query []byte, why refusal) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		var err error
		if query, err = base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns")); err != nil {
			return nil, notBase64
		}
		if !safe(query) {
			return nil, notSafe
		}
	case http.MethodPost:
		if !isWebType(r.Header.Get("Content-Type")) {
			return nil, wrongType
		}
		if query, why = h.readBody(w, r); why != (refusal{}) {
			return nil, why
		}
	default:
		return nil, wrongMethod
	}
	if len(query) < headerSize {
		return nil, noMessage
	}
	return query, refusal{}
}

// safe tells whether a message may come by GET, which changes nothing (RFC 9110, 9.2.1) and may be sent again by anyone on the way: a
// query may, an UPDATE may not.
func safe(msg []byte) bool {
	const opcode = 0xF << 3
	return len(msg) < headerSize || msg[2]&opcode == 0
}

// readBody reads the query of a POST, or tells why not.
func (h *web) readBody(w http.ResponseWriter, r *http.Request) (query []byte, why refusal) {
	if r.ContentLength > streamRoom {
		return nil, tooLong
	}
	deadline := time.Now().Add(h.srv.cfg.MessageTimeout)
	if err := http.NewResponseController(w).SetReadDeadline(deadline); err != nil {
		return nil, tooSlow
	}
	query, err := h.srv.readMessage(r.Body, streamRoom)
	switch {
	case errors.Is(err, errMessageTooLong):
		return nil, tooLong
	case errors.Is(err, errTooManyBig):
		return nil, tooManyBig
	case err != nil && !time.Now().Before(deadline):
		return nil, tooSlow
	case err != nil:
		return nil, endedEarly
	}
	return query, refusal{}
}

// respond has a query answered.
func (h *web) respond(w http.ResponseWriter, q *asked, at *seat) {
	h.srv.conns.setBusy(at, true)
	defer h.srv.conns.setBusy(at, false)
	reply, _, _ := h.srv.one(q, nil)
	if len(reply) == 0 {
		refuse(w, noAnswer)
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
