package stream

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// web2Client speaks HTTP/2 frame by frame.
type web2Client struct {
	t      testing.TB
	conn   *tls.Conn
	framer *http2.Framer
	out    bytes.Buffer // what write sends
	block  bytes.Buffer
	pack   *hpack.Encoder
}

// dialWeb2 connects, and says what a client has to say first.
func dialWeb2(t testing.TB, s servetest.Served, settings ...http2.Setting) *web2Client {
	t.Helper()
	conn := tls.Client(servetest.Dial(t, "tcp", servetest.Target(s, seam.HTTPS)), servetest.ClientTLS(t, s, alpnHTTP2))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := &web2Client{t: t, conn: conn}
	c.framer = http2.NewFramer(&c.out, conn)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.pack = hpack.NewEncoder(&c.block)
	c.out.WriteString(http2.ClientPreface)
	c.must(c.framer.WriteSettings(settings...))
	return c
}

func (c *web2Client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// send sends what was written.
func (c *web2Client) send() {
	c.t.Helper()
	servetest.Write(c.t, c.conn, c.out.Bytes())
	c.out.Reset()
}

// header packs fields, given as "name value".
func (c *web2Client) header(fields ...string) []byte {
	c.block.Reset()
	for _, f := range fields {
		name, value, _ := strings.Cut(f, " ")
		c.must(c.pack.WriteField(hpack.HeaderField{Name: name, Value: value}))
	}
	return c.block.Bytes()
}

var postFields = []string{":method POST", ":scheme https", ":path " + webPath, ":authority ns.example", "content-type " + webType}

func getFields(msg []byte) []string {
	return []string{":method GET", ":scheme https", ":path " + webPath + "?dns=" + base64.RawURLEncoding.EncodeToString(msg)}
}

// request begins a request; it has no message where end is set.
func (c *web2Client) request(id uint32, end bool, fields ...string) {
	c.t.Helper()
	c.must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.header(fields...), EndHeaders: true,
		EndStream: end}))
}

func (c *web2Client) get(id uint32, msg []byte) { c.request(id, true, getFields(msg)...) }

func (c *web2Client) post(id uint32, msg []byte) {
	c.request(id, false, postFields...)
	c.must(c.framer.WriteData(id, true, msg))
}

// web2Answer is what came back in one stream.
type web2Answer struct {
	status string
	body   []byte
	reset  http2.ErrCode
	whole  bool // it has ended
}

// until reads frames until the stream id has ended, or the connection; then goneAway is GOAWAY's code.
func (c *web2Client) until(all map[uint32]*web2Answer, id uint32) (goneAway http2.ErrCode, ended bool) {
	c.t.Helper()
	at := func(id uint32) *web2Answer {
		if all[id] == nil {
			all[id] = new(web2Answer)
		}
		return all[id]
	}
	for all[id] == nil || !all[id].whole {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return goneAway, true
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			a := at(f.StreamID)
			a.status, a.whole = f.PseudoValue("status"), f.StreamEnded()
		case *http2.DataFrame:
			a := at(f.StreamID)
			a.body, a.whole = append(a.body, f.Data()...), f.StreamEnded()
		case *http2.RSTStreamFrame:
			a := at(f.StreamID)
			a.reset, a.whole = f.ErrCode, true
		case *http2.GoAwayFrame:
			goneAway = f.ErrCode
		}
	}
	return 0, false
}

func TestWeb2Pipelining(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	c := dialWeb2(t, s)
	const n = 3000 // replies far beyond one write and beyond the client's first window
	c.must(c.framer.WriteWindowUpdate(0, 1<<20))
	var msgs [][]byte
	for i := range n {
		msgs = append(msgs, servetest.Query(uint16(i), "www.example.", 1))
		if i%2 == 0 {
			c.get(uint32(2*i+1), msgs[i])
		} else {
			c.post(uint32(2*i+1), msgs[i])
		}
	}
	// In pieces that begin and end anywhere
	go func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		for rest := c.out.Bytes(); len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN(4000))
			if _, err := c.conn.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	all := map[uint32]*web2Answer{}
	for i, msg := range msgs {
		if _, ended := c.until(all, uint32(2*i+1)); ended {
			t.Fatalf("ended before answer %d", i)
		}
		if a := all[uint32(2*i+1)]; a.status != "200" || !bytes.Equal(a.body, servetest.Reply(msg)) {
			t.Fatalf("answer %d: %+v", i, a)
		}
	}
}

// TestWeb2Faults breaks the rules of RFC 9113, and looks at how the connection or the stream 1 ends.
func TestWeb2Faults(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	msg := servetest.Query(0, "a.", 1)
	type code = http2.ErrCode
	const connection, stream = true, false
	for _, tc := range []struct {
		name  string
		say   func(c *web2Client) error
		whole bool // it is the connection that ends
		want  code
	}{
		{"a stream of the server", func(c *web2Client) error { c.get(2, msg); return nil }, connection, http2.ErrCodeProtocol},
		{"a stream once more", func(c *web2Client) error { c.get(3, msg); c.get(3, msg); return nil }, connection, http2.ErrCodeProtocol},
		{"an older stream", func(c *web2Client) error { c.get(5, msg); c.get(3, msg); return nil }, connection, http2.ErrCodeProtocol},
		{"data of no stream", func(c *web2Client) error { return c.framer.WriteData(1, true, msg) }, connection, http2.ErrCodeProtocol},
		{"data behind the end", func(c *web2Client) error { c.get(1, msg); return c.framer.WriteData(3, true, msg) }, connection,
			http2.ErrCodeProtocol},
		{"the end of no stream", func(c *web2Client) error { return c.framer.WriteRSTStream(1, 0) }, connection, http2.ErrCodeProtocol},
		{"room for no stream", func(c *web2Client) error { return c.framer.WriteWindowUpdate(1, 1) }, connection, http2.ErrCodeProtocol},
		{"no room", func(c *web2Client) error {
			return c.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4))
		}, connection, http2.ErrCodeProtocol},
		{"too much room", func(c *web2Client) error { return c.framer.WriteWindowUpdate(0, 1<<31-1) }, connection,
			http2.ErrCodeFlowControl},
		{"a window too large", func(c *web2Client) error {
			return c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}, connection, http2.ErrCodeFlowControl},
		{"a frame too large", func(c *web2Client) error {
			return c.framer.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, web2Frame+1))
		}, connection, http2.ErrCodeFrameSize},
		{"half a ping", func(c *web2Client) error { return c.framer.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 4)) }, connection,
			http2.ErrCodeFrameSize},
		{"a push", func(c *web2Client) error {
			return c.framer.WriteRawFrame(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, make([]byte, 4))
		}, connection, http2.ErrCodeProtocol},
		{"continued without a beginning", func(c *web2Client) error { return c.framer.WriteContinuation(1, true, nil) }, connection,
			http2.ErrCodeProtocol},
		{"another frame within a header", func(c *web2Client) error {
			c.must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.header(postFields...)}))
			return c.framer.WritePing(false, [8]byte{})
		}, connection, http2.ErrCodeProtocol},
		{"a header without an end", func(c *web2Client) error {
			c.must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.header(postFields...)}))
			for range 4 {
				c.must(c.framer.WriteContinuation(1, false, bytes.Repeat(c.header("a b"), 10000)[:10000]))
			}
			return nil
		}, connection, http2.ErrCodeEnhanceYourCalm},
		{"a header packed wrongly", func(c *web2Client) error {
			return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
		}, connection, http2.ErrCodeCompression},
		{"more after the message that is no end", func(c *web2Client) error {
			c.request(1, false, postFields...)
			c.request(1, false, "a b")
			return nil
		}, connection, http2.ErrCodeProtocol},
		{"no method", func(c *web2Client) error { c.request(1, true, ":scheme https", ":path /"); return nil }, stream,
			http2.ErrCodeProtocol},
		{"two methods", func(c *web2Client) error {
			c.request(1, true, append([]string{":method GET"}, getFields(msg)...)...)
			return nil
		}, stream, http2.ErrCodeProtocol},
		{"a method that comes late", func(c *web2Client) error {
			c.request(1, true, ":scheme https", ":path /", "a b", ":method GET")
			return nil
		}, stream, http2.ErrCodeProtocol},
		{"an unknown field with a colon", func(c *web2Client) error { c.request(1, true, append(getFields(msg), ":a b")...); return nil },
			stream, http2.ErrCodeProtocol},
		{"a capital letter", func(c *web2Client) error { c.request(1, true, append(getFields(msg), "Accept b")...); return nil }, stream,
			http2.ErrCodeProtocol},
		{"a field of HTTP/1.1", func(c *web2Client) error {
			c.request(1, true, append(getFields(msg), "connection close")...)
			return nil
		}, stream, http2.ErrCodeProtocol},
		{"a line's end in a value", func(c *web2Client) error { c.request(1, true, append(getFields(msg), "a b\nc")...); return nil },
			stream, http2.ErrCodeProtocol},
		{"another length than declared", func(c *web2Client) error {
			c.request(1, false, append(postFields, "content-length 99")...)
			return c.framer.WriteData(1, true, msg)
		}, stream, http2.ErrCodeProtocol},
		{"a window that overflows", func(c *web2Client) error {
			c.request(1, false, postFields...)
			return c.framer.WriteWindowUpdate(1, 1<<31-1)
		}, stream, http2.ErrCodeFlowControl},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dialWeb2(t, s)
			c.must(tc.say(c))
			c.send()
			all := map[uint32]*web2Answer{}
			code, ended := c.until(all, 1)
			if ended != tc.whole && !(tc.whole && all[1] != nil) {
				t.Fatalf("the connection has ended: %v, %v", ended, all[1])
			}
			if !tc.whole {
				code = all[1].reset
				c.get(3, msg) // the others go on
				c.send()
				if _, ended := c.until(all, 3); ended || all[3].status != "200" {
					t.Errorf("then %+v", all[3])
				}
			} else if !ended {
				code, _ = c.until(all, 99)
			}
			if code != tc.want {
				t.Errorf("code %v, want %v", code, tc.want)
			}
		})
	}
}

func TestWeb2BeginsWithItsPreface(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	for _, say := range []string{"GET / HTTP/1.1\r\nHost: ns.example\r\n\r\n",
		http2.ClientPreface + "\x00\x00\x08\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		c := dialWeb2(t, s)
		c.out.Reset()
		c.out.WriteString(say)
		c.send()
		if code, ended := c.until(map[uint32]*web2Answer{}, 1); !ended || code != http2.ErrCodeProtocol {
			t.Errorf("%q: %v, %v", say, code, ended)
		}
	}
}

// TestWeb2Windows lets replies pass as far as the client has room for them, in each way that it can say so.
func TestWeb2Windows(t *testing.T) {
	s := startRig(t, Limits{}, func(r *seam.Request) (int, seam.Action) { _, _ = servetest.Echo(r); return 50_000, seam.Send })
	c := dialWeb2(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	msg := servetest.Query(0, "a.", 1)
	for id := uint32(1); id <= 5; id += 2 {
		c.get(id, msg)
	}
	c.send()
	all := map[uint32]*web2Answer{}
	for _, id := range []uint32{1, 3, 5} { // 10 bytes of each
		frame := func() *web2Answer { return all[id] }
		for frame() == nil || len(frame().body) < 10 {
			f, err := c.framer.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := f.(*http2.DataFrame); ok {
				all[d.StreamID] = &web2Answer{status: "200", body: bytes.Clone(d.Data())}
			}
		}
	}
	c.must(c.framer.WriteWindowUpdate(3, 1<<20)) // one stream, as far as the connection goes
	c.send()
	if _, ended := c.until(all, 3); ended || len(all[3].body) != 50_000 || len(all[1].body) != 10 {
		t.Fatalf("%d and %d bytes", len(all[3].body), len(all[1].body))
	}
	c.must(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 50_000}))
	c.must(c.framer.WriteWindowUpdate(0, 1<<20))
	c.send()
	for _, id := range []uint32{1, 5} {
		if _, ended := c.until(all, id); ended || len(all[id].body) != 50_000 {
			t.Fatalf("stream %d: %d bytes", id, len(all[id].body))
		}
	}
	under := s.Conns.UnderWay
	servetest.Eventually(t, "nothing is under way", func() bool { return under() == 0 })
}

// TestWeb2ClientThatTakesNoRepliesIsCutOff leaves a reply without room.
func TestWeb2ClientThatTakesNoRepliesIsCutOff(t *testing.T) {
	s := startRig(t, Limits{WriteTimeout: 50 * time.Millisecond, IdleTimeout: time.Hour, MessageTimeout: time.Hour}, servetest.Echo)
	c := dialWeb2(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	c.get(1, servetest.Query(0, "a.", 1))
	c.send()
	if _, ended := c.until(map[uint32]*web2Answer{}, 1); !ended {
		t.Error("a reply without room")
	}
	servetest.Eventually(t, "the connection is gone", func() bool { return s.Conns.Stats()[seam.HTTPS].Open == 0 })
}

// TestWeb2Streams opens as many as there may be, and one more; gives up one, and goes on.
func TestWeb2Streams(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	c := dialWeb2(t, s)
	msg := servetest.Query(0, "a.", 1)
	id := func(i int) uint32 { return uint32(2*i + 1) }
	for i := range streamsPerConn + 1 {
		c.request(id(i), false, postFields...)
	}
	c.send()
	all := map[uint32]*web2Answer{}
	if _, ended := c.until(all, id(streamsPerConn)); ended || all[id(streamsPerConn)].reset != http2.ErrCodeRefusedStream {
		t.Fatalf("one more: %+v", all[id(streamsPerConn)])
	}
	c.must(c.framer.WriteRSTStream(id(0), http2.ErrCodeCancel))
	c.must(c.framer.WriteData(id(0), true, msg)) // though it has ended it
	c.post(id(streamsPerConn+1), msg)
	for i := 1; i < streamsPerConn; i++ {
		c.must(c.framer.WriteData(id(i), false, msg[:5]))
		if i%2 == 0 {
			c.must(c.framer.WriteData(id(i), true, msg[5:]))
			continue
		}
		c.must(c.framer.WriteDataPadded(id(i), false, msg[5:], make([]byte, 7)))
		c.request(id(i), true, "trailing field")
	}
	c.send()
	for i := 1; i < streamsPerConn+2; i++ {
		if i == streamsPerConn {
			continue
		}
		if _, ended := c.until(all, id(i)); ended || all[id(i)].status != "200" || !bytes.Equal(all[id(i)].body, servetest.Reply(msg)) {
			t.Fatalf("stream %d: %+v", id(i), all[id(i)])
		}
	}
	if got := all[id(0)]; got == nil || got.status != "" || got.reset != http2.ErrCodeStreamClosed {
		t.Errorf("the one given up: %+v", got)
	}
}

// A request that is refused was answered while its message was still on its way; some clients then lose the answer (curl 7.88).
func TestWeb2RefusesBehindTheMessage(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	c := dialWeb2(t, s)
	msg := servetest.Query(0, "a.", 1)
	fields := append([]string{}, postFields...)
	for i := range fields {
		fields[i] = strings.Replace(fields[i], webType, "text/plain", 1)
	}
	c.request(1, false, fields...)
	c.must(c.framer.WriteData(1, false, msg))
	c.get(3, msg)
	c.send()
	all := map[uint32]*web2Answer{}
	if _, ended := c.until(all, 3); ended || all[1] != nil {
		t.Fatalf("before the message's end: %+v", all[1])
	}
	c.must(c.framer.WriteData(1, true, msg))
	c.send()
	if _, ended := c.until(all, 1); ended || all[1].status != "415" || all[1].reset != 0 {
		t.Errorf("behind it: %+v", all[1])
	}
}

// Data of a stream that has ended is told to be so (RFC 9113, 5.1); where it was us who gave up, the client cannot know yet.
func TestWeb2DataOfEndedStreams(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	c := dialWeb2(t, s)
	msg := servetest.Query(0, "a.", 1)
	c.get(1, msg)
	c.request(3, false, append(append([]string{}, postFields...), "content-length 70000")...) // refused at once: it is too long
	c.send()
	all := map[uint32]*web2Answer{}
	c.until(all, 1)
	if _, ended := c.until(all, 3); ended || all[3].status != "413" {
		t.Fatalf("too long: %+v", all[3])
	}
	c.must(c.framer.WriteData(3, true, msg))
	c.must(c.framer.WriteData(1, true, msg))
	c.get(5, msg)
	c.send()
	again := map[uint32]*web2Answer{}
	if _, ended := c.until(again, 5); ended || again[1] == nil || again[1].reset != http2.ErrCodeStreamClosed || again[3] != nil &&
		again[3].reset != http2.ErrCodeNo {
		t.Errorf("%+v, %+v", again[1], again[3])
	}
}

// TestWeb2Headers cuts a header into frames in every way, and looks for how long one may be.
func TestWeb2Headers(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	c := dialWeb2(t, s)
	msg := servetest.Query(0, "a.", 1)
	all := map[uint32]*web2Answer{}
	next := uint32(1)
	for cut := 1; cut < 40; cut += 3 {
		block := bytes.Clone(c.header(getFields(msg)...))
		cut := min(cut, len(block))
		c.must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: next, BlockFragment: block[:cut/2], EndStream: true}))
		c.must(c.framer.WriteContinuation(next, false, block[cut/2:cut]))
		c.must(c.framer.WriteContinuation(next, true, block[cut:]))
		c.send()
		if _, ended := c.until(all, next); ended || !bytes.Equal(all[next].body, servetest.Reply(msg)) {
			t.Fatalf("cut at %d: %+v", cut, all[next])
		}
		next += 2
	}
	long := append(msg, make([]byte, 5000)...) // as much as documented
	c.get(next, long)
	c.send()
	if _, ended := c.until(all, next); ended || !bytes.Equal(all[next].body, servetest.Reply(long)) {
		t.Errorf("a long address: %+v", all[next])
	}
	next += 2
	var many []string
	for i := range 500 {
		many = append(many, fmt.Sprintf("field%d value", i))
	}
	c.request(next, true, append(getFields(msg), many...)...)
	c.send()
	if _, ended := c.until(all, next); ended || all[next].status != "431" {
		t.Errorf("many fields: %+v", all[next])
	}
}

func TestWeb2PingsAndEnds(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	c := dialWeb2(t, s)
	c.must(c.framer.WritePing(false, [8]byte{1, 2, 3}))
	c.must(c.framer.WritePing(true, [8]byte{}))
	c.must(c.framer.WriteRawFrame(0xbb, 0, 1, []byte("of a kind to come")))
	c.must(c.framer.WritePriority(1, http2.PriorityParam{StreamDep: 3}))
	c.must(c.framer.WriteSettingsAck())
	c.get(1, servetest.Query(0, "a.", 1))
	c.send()
	pong := false
	for !pong {
		f, err := c.framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := f.(*http2.PingFrame); ok {
			pong = p.IsAck() && p.Data == [8]byte{1, 2, 3}
		}
	}
	all := map[uint32]*web2Answer{}
	if _, ended := c.until(all, 1); ended || all[1].status != "200" {
		t.Fatalf("%+v", all[1])
	}
	go s.shutdown()
	if code, ended := c.until(all, 3); !ended || code != http2.ErrCodeNo {
		t.Errorf("at the server's end: %v", code)
	}
}
