package stream

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// quietWeb2 is a connection of HTTP/2 without a client: what it would write is in out.
func quietWeb2(t testing.TB, h func(*seam.Request) (int, seam.Action)) *web2 {
	t.Helper()
	s := newTestShared(t, Limits{}, nil, h)
	conn := &webConn{pipe: pipe{shared: s}, web2Words: web2Words{ok: webOK("h3")}}
	conn.Seat = guard.Seat{Guest: nobody{}, Transport: seam.HTTPS, Peer: netip.MustParseAddrPort("127.0.0.1:1")}
	if !s.Conns.Admit(&conn.Seat) {
		t.Fatal("not admitted")
	}
	return newWeb2(conn, nil, time.Now().Add(time.Hour))
}

// nobody is a guest that takes no notice.
type nobody struct{}

func (nobody) Abort() {}
func (nobody) Hurry() {}

// hear lets c handle data, and gives what it would write.
func (c *web2) hear(data []byte) (out []byte, err error) {
	c.in = append(c.in, data...)
	for c.whole(c.in) && err == nil {
		var rest []byte
		rest, err = c.handle()
		out = append(out, c.out...)
		c.in = append([]byte(nil), rest...)
		c.releaseOut()
		c.cuts = c.cuts[:0]
		if c.busy {
			c.busy = false
			c.shared.Conns.SetBusy(&c.Seat, false)
		}
	}
	return out, err
}

// FuzzWeb2 has it hear anything. What it says must be frames, and nothing may be left under way when it ends.
func FuzzWeb2(f *testing.F) {
	var b bytes.Buffer
	framer, pack := http2.NewFramer(&b, nil), &web2Client{t: f}
	pack.pack = hpack.NewEncoder(&pack.block)
	_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 7})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: pack.header(getFields(servetest.Query(0, "a.", 1))...),
		EndHeaders: true, EndStream: true})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: pack.header(postFields...), EndHeaders: true})
	_ = framer.WriteData(3, true, servetest.Query(0, "b.", 1))
	_ = framer.WriteWindowUpdate(1, 100)
	_ = framer.WriteRSTStream(3, 0)
	f.Add(b.Bytes(), 10)
	f.Add(b.Bytes(), 1000)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		c := quietWeb2(t, servetest.Echo)
		out, err := c.hear([]byte(http2.ClientPreface))
		for len(data) > 0 && err == nil {
			n := min(len(data), max(piece, 1))
			var more []byte
			more, err = c.hear(data[:n])
			out, data = append(out, more...), data[n:]
		}
		said := http2.NewFramer(nil, bytes.NewReader(out))
		for err == nil {
			_, err = said.ReadFrame()
			if err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("it said %x: %v", out, err)
			}
		}
		for len(c.open) > 0 {
			c.release(c.open[0])
		}
		if n := c.shared.Conns.UnderWay(); n != 0 || len(c.shared.bigMessages) != 0 {
			t.Errorf("%d messages are under way, %d of them large", n, len(c.shared.bigMessages))
		}
	})
}

// TestWeb2AllocatesLittle counts what a query takes: x/net's frame, and with GET the address as text.
func TestWeb2AllocatesLittle(t *testing.T) {
	msg := servetest.Query(0, "www.example.", 1)
	want := servetest.Reply(msg)
	for name, most := range map[string]float64{"GET": 2, "POST": 1} {
		c := quietWeb2(t, servetest.Echo)
		if _, err := c.hear([]byte(http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
			t.Fatal(err)
		}
		client := &web2Client{t: t}
		client.framer, client.pack = http2.NewFramer(&client.out, nil), hpack.NewEncoder(&client.block)
		id, least := uint32(1), math.Inf(1)
		for range 30 { // the least, as pools may lose what they hold
			var requests [][]byte
			for range 2 { // AllocsPerRun asks once to warm up
				if name == "GET" {
					client.get(id, msg)
				} else {
					client.post(id, msg)
				}
				id += 2
				requests = append(requests, bytes.Clone(client.out.Bytes()))
				client.out.Reset()
			}
			least = min(least, testing.AllocsPerRun(1, func() {
				c.in, requests = requests[0], requests[1:]
				if rest, err := c.handle(); err != nil || len(rest) != 0 || !bytes.HasSuffix(c.out, want) {
					t.Fatalf("%x, %v: %x", rest, err, c.out)
				}
				c.releaseOut()
				c.cuts, c.in, c.window = c.cuts[:0], nil, c.initial
			}))
		}
		if least > most {
			t.Errorf("%s: %v allocations, want %v at most", name, least, most)
		}
	}
}
