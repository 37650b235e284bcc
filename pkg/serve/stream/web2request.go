package stream

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gti/gtm/pkg/serve/seam"
)

// web2Head is what matters of a request's header.
type web2Head struct {
	method, scheme, path, contentType string
	length                            int64 // of the message, as declared; -1: not
	expects                           bool  // a word that it may go on
	size                              uint32
	tooLarge, malformed               bool
	regular                           bool // a field without a colon in front has come
}

func (h *web2Head) reset() { *h = web2Head{length: -1} }

// take takes in one field (RFC 9113, 8.2 and 8.3).
func (h *web2Head) take(f hpack.HeaderField) {
	if h.size += f.Size(); h.size > 2*maxHTTPHeader { // each field counts 32 bytes more than it has
		h.tooLarge = true
		return
	}
	if !httpguts.ValidHeaderFieldValue(f.Value) {
		h.malformed = true
	}
	if f.IsPseudo() {
		h.takePseudo(f)
		return
	}
	h.regular = true
	switch f.Name {
	case "content-type":
		h.contentType = f.Value
	case "content-length":
		n, err := strconv.ParseUint(f.Value, 10, 62)
		if h.length >= 0 && h.length != int64(n) || err != nil {
			h.malformed = true
		}
		h.length = int64(n)
	case "expect":
		h.expects = strings.EqualFold(f.Value, "100-continue")
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		h.malformed = true
	case "te":
		h.malformed = h.malformed || f.Value != "trailers"
	default:
		h.malformed = h.malformed || !lowerName(f.Name)
	}
}

func (h *web2Head) takePseudo(f hpack.HeaderField) {
	var to *string
	switch f.Name {
	case ":method":
		to = &h.method
	case ":scheme":
		to = &h.scheme
	case ":path":
		to = &h.path
	case ":authority": // the certificate has told who we are
		h.malformed = h.malformed || h.regular
		return
	}
	if to == nil || *to != "" || h.regular || f.Value == "" {
		h.malformed = true
		return
	}
	*to = f.Value
}

// lowerName reports whether name may be that of a field.
func lowerName(name string) bool {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return httpguts.ValidHeaderFieldName(name)
}

// query gives the parameter dns of a request for our path, still encoded; ok reports whether that is the path.
func (h *web2Head) query() (dns string, ok bool) {
	path, query, _ := strings.Cut(h.path, "?")
	if path != webPath { // written otherwise, it may still be the same
		u, err := url.ParseRequestURI(h.path)
		if err != nil || u.Path != webPath {
			return "", false
		}
		query = u.RawQuery
	}
	if dns, ok = strings.CutPrefix(query, "dns="); ok && !strings.ContainsAny(dns, "&;%+") {
		return dns, true
	}
	values, _ := url.ParseQuery(query) // what can't be read is not there
	return values.Get("dns"), true
}

// web2Request is one request. Those of which more has to come, or to be sent, are in web2.open.
type web2Request struct {
	id     uint32
	head   bool // the header alone is asked for
	ended  bool // the message is whole, or of no interest any more
	length int64
	came   int64   // of the message
	body   []byte  // the message
	why    refusal // it is refused, once it has come to its end: clients lose a reply that comes before
	rest   []byte  // of the reply: what waits for the client to want it
	window int64   // what the client takes of the reply
	until  time.Time

	open      bool   // it is in web2.open
	entered   bool   // it counts as a message under way
	permitted bool   // it has a permit for a large message
	slow      bool   // it waits for slow work
	resume    uint64 // see seam.Request.Resume
}

// find gives the open request of a stream, or nil.
func (c *web2) find(id uint32) *web2Request {
	for _, r := range c.open {
		if r.id == id {
			return r
		}
	}
	return nil
}

// forget gives up what is under way in a stream.
func (c *web2) forget(id uint32) {
	if r := c.find(id); r != nil {
		c.release(r)
	}
}

// release is the end of a request.
func (c *web2) release(r *web2Request) {
	if r.open {
		c.open = slices.DeleteFunc(c.open, func(o *web2Request) bool { return o == r })
	}
	if r.entered {
		c.shared.Conns.Exit(&c.Seat)
	}
	if r.permitted {
		<-c.shared.bigMessages
	}
	*r = web2Request{body: r.body[:0]}
	if cap(r.body) <= smallMessage {
		c.spare = r
	}
}

// enlist puts a request among the open ones, as a message under way. False: there are too many.
func (c *web2) enlist(r *web2Request, limit time.Duration) bool {
	r.until = c.now.Add(limit)
	if !r.entered {
		if r.entered = c.shared.Conns.Enter(&c.Seat); !r.entered {
			return false
		}
	}
	if !r.open {
		r.open = true
		c.open = append(c.open, r)
	}
	return true
}

// begin begins a request, of which the header has come.
func (c *web2) begin(f *web2Framer, w *streamWorker, id uint32, ended bool) error {
	h := &c.head
	switch {
	case h.malformed || h.method == "" || h.scheme == "" || h.path == "":
		c.giveUp(id)
		return f.WriteRSTStream(id, http2.ErrCodeProtocol)
	case len(c.open) >= streamsPerConn:
		c.giveUp(id)
		return f.WriteRSTStream(id, http2.ErrCodeRefusedStream)
	}
	r := c.spare
	if c.spare = nil; r == nil {
		r = new(web2Request)
	}
	r.id, r.ended, r.length, r.window, r.head = id, ended, h.length, c.initial, h.method == http.MethodHead
	dns, ours := h.query()
	switch {
	case h.tooLarge:
		return c.refuse(f, r, headerTooLarge)
	case !ours:
		r.why = notOurPath
	case h.method == http.MethodGet, r.head:
		return c.get(f, w, r, dns)
	case h.method != http.MethodPost:
		r.why = wrongMethod
	case !isWebType(h.contentType):
		r.why = wrongType
	case ended:
		r.why = noMessage
	}
	switch {
	case h.length > maxStream:
		return c.refuse(f, r, tooLong)
	case r.why != (refusal{}) && (ended || h.expects):
		return c.refuse(f, r, r.why)
	case !c.enlist(r, c.shared.cfg.MessageTimeout):
		return c.refuse(f, r, tooMany)
	}
	if h.expects {
		c.proceed(id)
	}
	return nil
}

// get answers the query in an address.
func (c *web2) get(f *web2Framer, w *streamWorker, r *web2Request, dns string) error {
	f.text = append(f.text[:0], dns...)
	var err error
	if r.body, err = base64.RawURLEncoding.AppendDecode(r.body[:0], f.text); err != nil {
		return c.refuse(f, r, notBase64)
	}
	if !safe(r.body) {
		return c.refuse(f, r, notSafe)
	}
	return c.respondTo(f, w, r)
}

// collect takes in a part of a message, or says why not. Room grows as in readMessage.
func (c *web2) collect(r *web2Request, data []byte) (why refusal) {
	size := len(r.body) + len(data)
	if r.came += int64(len(data)); r.came > maxStream {
		return tooLong
	}
	if r.why != (refusal{}) {
		return refusal{}
	}
	if size > smallMessage && !r.permitted {
		select {
		case c.shared.bigMessages <- struct{}{}:
			r.permitted = true
		default:
			return tooManyBig
		}
	}
	r.body = append(r.body, data...)
	return refusal{}
}

// complete answers a message that has come to its end.
func (c *web2) complete(f *web2Framer, w *streamWorker, r *web2Request) error {
	if r.length >= 0 && r.length != r.came {
		return c.reset(f, r.id, http2.ErrCodeProtocol)
	}
	if r.ended = true; r.why != (refusal{}) {
		return c.refuse(f, r, r.why)
	}
	return c.respondTo(f, w, r)
}

// respondTo answers a request whose query is there.
func (c *web2) respondTo(f *web2Framer, w *streamWorker, r *web2Request) error {
	if len(r.body) < seam.HeaderSize {
		return c.refuse(f, r, noMessage)
	}
	c.answering()
	return c.answer(f, r, w)
}
