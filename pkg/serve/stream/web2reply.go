package stream

import (
	"encoding/binary"
	"net/http"
	"strconv"

	"golang.org/x/net/http2"

	"github.com/gti/gtm/pkg/serve/seam"
)

// Fields of a header that HTTP/2 has numbers for (RFC 7541, appendix A), by name; alt-svc is not among them.
const (
	fieldStatus200    = 0x80 | 8 // with its value
	fieldStatus       = 8
	fieldAllow        = 22
	fieldCacheControl = 24
	fieldLength       = 28
	fieldType         = 31
)

// appendField appends a field by the number of its name (RFC 7541, 6.2.2: not to be remembered). The value has less than
// 127 bytes.
func appendField(dst []byte, name byte, value string) []byte {
	if name < 15 {
		dst = append(dst, name)
	} else {
		dst = append(dst, 15, name-15)
	}
	return append(append(dst, byte(len(value))), value...)
}

// appendNamed is appendField for a name that has no number.
func appendNamed(dst []byte, name, value string) []byte {
	dst = append(append(dst, 0, byte(len(name))), name...)
	return append(append(dst, byte(len(value))), value...)
}

// appendNumber is appendField for a number as value, behind a text.
func appendNumber(dst []byte, name byte, text string, number uint64) []byte {
	dst = append(dst, 15, name-15, 0)
	at := len(dst)
	dst = strconv.AppendUint(append(dst, text...), number, 10)
	dst[at-1] = byte(len(dst) - at)
	return dst
}

// appendFrame appends the beginning of a frame, for size bytes (RFC 9113, 4.1).
func appendFrame(dst []byte, kind http2.FrameType, flags http2.Flags, id uint32, size int) []byte {
	dst = append(dst, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(flags))
	return binary.BigEndian.AppendUint32(dst, id)
}

// webOK is how the header of each answer begins. alternative is what Alt-Svc says.
func webOK(alternative string) []byte {
	return appendNamed(appendField([]byte{fieldStatus200}, fieldType, webType), "alt-svc", alternative)
}

// openHeader begins a frame for a header in c.out; closeHeader ends it.
func (c *web2) openHeader(id uint32) (at int) {
	at = len(c.outSpace())
	c.out = appendFrame(c.outSpace(), http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, 0)
	return at
}

func (c *web2) closeHeader(at int, last bool) {
	binary.BigEndian.PutUint16(c.out[at+1:], uint16(len(c.out)-at-web2Header)) // they are short
	if last {
		c.out[at+4] |= byte(http2.FlagHeadersEndStream)
	}
}

// answer has a query answered, or defers that.
func (c *web2) answer(f *web2Framer, r *web2Request, w *streamWorker) error {
	c.ask.query, c.ask.resume = r.body, r.resume
	reply, action := w.answer(&c.ask)
	switch {
	case action == seam.Defer && !c.enlist(r, c.shared.cfg.MessageTimeout):
		return c.refuse(f, r, tooMany)
	case action == seam.Defer:
		r.slow, r.resume = true, c.ask.resume
		return nil
	case len(reply) == 0:
		return c.refuse(f, r, noAnswer)
	}
	at := c.openHeader(r.id)
	c.out = append(c.out, c.ok...)
	c.out = appendNumber(c.out, fieldCacheControl, "max-age=", uint64(seam.Freshness(reply)))
	c.out = appendNumber(c.out, fieldLength, "", uint64(len(reply)))
	c.closeHeader(at, r.head)
	return c.send(f, r, reply)
}

// refuse answers a request that is not answered with DNS.
func (c *web2) refuse(f *web2Framer, r *web2Request, why refusal) error {
	text := why.text + "\n"
	at := c.openHeader(r.id)
	c.out = appendField(c.out, fieldStatus, strconv.Itoa(why.status))
	c.out = appendField(c.out, fieldType, "text/plain; charset=utf-8")
	c.out = appendField(c.out, fieldCacheControl, "no-store")
	c.out = appendNamed(c.out, "x-content-type-options", "nosniff")
	c.out = appendNamed(c.out, "alt-svc", c.alternative)
	if why.status == http.StatusMethodNotAllowed {
		c.out = appendField(c.out, fieldAllow, webMethods)
	}
	c.out = appendNumber(c.out, fieldLength, "", uint64(len(text)))
	c.closeHeader(at, r.head)
	return c.send(f, r, []byte(text))
}

// proceed tells a client that waits for that word that it may send its message.
func (c *web2) proceed(id uint32) {
	at := c.openHeader(id)
	c.out = appendField(c.out, fieldStatus, "100")
	c.closeHeader(at, false)
}

// send sends a reply, behind its header, and ends the request; what the client does not take yet is kept.
func (c *web2) send(f *web2Framer, r *web2Request, reply []byte) error {
	r.rest = reply
	if r.head {
		r.rest = nil
	}
	if c.advance(r) {
		err := c.finish(f, r)
		c.cuts = append(c.cuts, len(c.out))
		return err
	}
	r.rest = append([]byte(nil), r.rest...) // reply belongs to a worker
	if !c.enlist(r, c.shared.cfg.WriteTimeout) {
		c.giveUp(r.id)
		err := f.WriteRSTStream(r.id, http2.ErrCodeEnhanceYourCalm)
		c.release(r)
		return err
	}
	return nil
}

// advance sends as much of a reply as the client takes, and reports whether that is all.
func (c *web2) advance(r *web2Request) bool {
	for len(r.rest) > 0 {
		n := int(min(int64(len(r.rest)), web2Frame, r.window, c.window))
		if n <= 0 {
			return false
		}
		var flags http2.Flags
		if n == len(r.rest) {
			flags = http2.FlagDataEndStream
		}
		c.out = append(appendFrame(c.outSpace(), http2.FrameData, flags, r.id, n), r.rest[:n]...)
		r.rest, r.window, c.window = r.rest[n:], r.window-int64(n), c.window-int64(n)
	}
	return true
}

// finish ends a request that is answered. A client that still sends is told that nobody listens (RFC 9113, 8.1).
func (c *web2) finish(f *web2Framer, r *web2Request) (err error) {
	if !r.ended {
		c.giveUp(r.id)
		err = f.WriteRSTStream(r.id, http2.ErrCodeNo)
	}
	c.release(r)
	return err
}

// pump sends what replies wait for the client to want.
func (c *web2) pump(f *web2Framer) error {
	for i := 0; i < len(c.open); {
		r := c.open[i]
		if len(r.rest) == 0 || !c.advance(r) {
			i++
			continue
		}
		if err := c.finish(f, r); err != nil { // which takes it out of c.open
			return err
		}
	}
	return nil
}
