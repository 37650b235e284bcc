package stream

import (
	"encoding/base64"
	"errors"
	"mime"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

const (
	webPath = "/dns-query"
	webType = "application/dns-message"
)

// web answers HTTP requests (RFC 8484), of all versions of HTTP.
type web struct {
	shared      *Shared
	alternative string // for HTTP/1.1: where HTTP/3 is (RFC 7838)
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

// isWebType reports whether a content type is that of DNS messages, whatever its parameters.
func isWebType(text string) bool {
	if text == webType {
		return true
	}
	kind, _, err := mime.ParseMediaType(text)
	return err == nil && kind == webType
}

// ServeHTTP implements http.Handler.
func (h *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.alternative != "" {
		w.Header().Set("Alt-Svc", h.alternative)
	}
	if r.URL.Path != webPath {
		refuse(w, notOurPath)
		return
	}
	at := r.Context().Value(webKey{}).(host)
	if !h.shared.Conns.Enter(at.seat) {
		refuse(w, tooMany)
		return
	}
	defer h.shared.Conns.Exit(at.seat)
	query, why := h.read(w, r)
	switch why {
	case refusal{}:
		h.respond(w, &asked{query: query, source: at.source(), transport: seam.HTTPS, peer: r.TLS}, at.seat)
	case tooSlow:
		at.seat.Guest.Abort()
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
	if len(query) < seam.HeaderSize {
		return nil, noMessage
	}
	return query, refusal{}
}

// safe reports whether a message may come by GET, which changes nothing (RFC 9110, 9.2.1) and may be sent again by anyone on the way: a
// query may, an UPDATE may not.
func safe(msg []byte) bool {
	const opcode = 0xF << 3
	return len(msg) < seam.HeaderSize || msg[2]&opcode == 0
}

// readBody reads the query of a POST, or tells why not.
func (h *web) readBody(w http.ResponseWriter, r *http.Request) (query []byte, why refusal) {
	if r.ContentLength > maxStream {
		return nil, tooLong
	}
	deadline := time.Now().Add(h.shared.cfg.MessageTimeout)
	if err := http.NewResponseController(w).SetReadDeadline(deadline); err != nil {
		return nil, tooSlow
	}
	query, err := h.shared.readMessage(r.Body, maxStream)
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
func (h *web) respond(w http.ResponseWriter, q *asked, at *guard.Seat) {
	h.shared.Conns.SetBusy(at, true)
	defer h.shared.Conns.SetBusy(at, false)
	reply, _, _ := h.shared.one(q, nil)
	if len(reply) == 0 {
		refuse(w, noAnswer)
		return
	}
	header := w.Header()
	header.Set("Content-Type", webType)
	header.Set("Content-Length", strconv.Itoa(len(reply)))
	header.Set("Cache-Control", "max-age="+strconv.FormatUint(uint64(seam.Freshness(reply)), 10))
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.shared.cfg.WriteTimeout)); err != nil {
		at.Guest.Abort()
		panic(http.ErrAbortHandler)
	}
	if _, err := w.Write(reply); errors.Is(err, os.ErrDeadlineExceeded) {
		at.Guest.Abort() // it does not take its replies
	}
}
