package serve

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// producing answers "transfer" with three messages, the second as large as can be, "fail" with one and an error,
// "long" with one that can't be, "boom" with a panic after one, "none" without Produce, and the rest at once.
func producing(r *Request) (int, Action) {
	id := bytes.Clone(r.Buf[:2])
	name := string(r.Buf[seam.HeaderSize+1 : seam.HeaderSize+1+int(r.Buf[seam.HeaderSize])])
	clear(r.Buf[r.N:min(r.N+10, len(r.Buf))])
	if name == "none" {
		return 0, Stream
	}
	if name == "other" {
		return servetest.Echo(r)
	}
	r.Produce = func(send func([]byte) error) error {
		if err := send(append(id, "first"...)); err != nil {
			return err
		}
		switch name {
		case "fail":
			return errors.New("no more")
		case "long":
			return send(make([]byte, 65536))
		case "boom":
			panic("boom")
		}
		if err := send(make([]byte, 65535)); err != nil {
			return err
		}
		return send([]byte("last"))
	}
	return 0, Stream
}

func TestStreams(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{Registerer: reg}, producing)
	transfer, other := servetest.Query(0, "transfer.", 252), servetest.Query(0, "other.", 1)
	three := servetest.Frame([]byte("\x00\x00first"), make([]byte, 65535), []byte("last"))
	for _, secure := range []bool{false, true} {
		conn := servetest.Dial(t, "tcp", s.Addrs()[0])
		if secure {
			conn = servetest.DialTLS(t, s)
		}
		servetest.Write(t, conn, servetest.Frame(other, transfer, other, transfer, other))
		o := servetest.Frame(servetest.Reply(other))
		want := bytes.Join([][]byte{o, three, o, three, o}, nil)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("TLS %v: %v", secure, err)
		}
	}
	conn := servetest.DialQUIC(t, s)
	if got, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(transfer)); err != nil || !bytes.Equal(got, three) {
		t.Errorf("QUIC: %d bytes, %v", len(got), err)
	}
	for _, transport := range []string{"tcp", "tls", "quic"} {
		want := map[string]float64{"tcp": 9, "tls": 9, "quic": 3}[transport]
		servetest.Eventually(t, "the count of "+transport, func() bool {
			return metric(t, reg, "gtm_serve_replies_total", "transport="+transport) == want
		})
	}
	for name, asker := range servetest.Askers(t, s) {
		if name == "udp" || strings.HasPrefix(name, "HTTP") {
			if got := asker(transfer); servetest.Rcode(got) != seam.RcodeServFail || !bytes.Equal(got[4:], transfer[4:]) {
				t.Errorf("%s: got %x", name, got)
			}
		}
		if got := asker(servetest.Query(0, "none.", 252)); servetest.Rcode(got) != seam.RcodeServFail {
			t.Errorf("%s, nothing to produce: got %x", name, got)
		}
	}
}

func TestStreamsThatFail(t *testing.T) {
	s := startSecure(t, Config{}, producing)
	for _, name := range []string{"fail", "long", "boom"} {
		for i, transport := range []string{"tcp", "tls", "quic"} { // another type each, as the like of what panics is refused
			msg := servetest.Query(0, name+".", uint16(252+i))
			if transport == "quic" {
				if got, err := servetest.ExchangeQUIC(t, servetest.DialQUIC(t, s), servetest.Frame(msg)); err == nil {
					t.Errorf("%s: a whole answer by QUIC: %x", name, got)
				}
				continue
			}
			conn := servetest.Dial(t, "tcp", s.Addrs()[0])
			if transport == "tls" {
				conn = servetest.DialTLS(t, s)
			}
			servetest.Write(t, conn, servetest.Frame(msg, msg))
			got, err := servetest.ReadFrame(conn)
			if err == nil && string(got) != "\x00\x00first" { // it may be lost, as the connection is cut off
				t.Errorf("%s by %s: %x, %v", name, transport, got, err)
			}
			if rest, _ := io.ReadAll(conn); len(rest) != 0 {
				t.Errorf("%s by %s: more came: %x", name, transport, rest)
			}
		}
	}
	if n := len(s.Panics()); n != 3 {
		t.Errorf("%d panics", n)
	}
	if got := servetest.Ask(t, servetest.Dial(t, "tcp", s.Addrs()[0]), servetest.Query(0, "boom.",
		252)); servetest.Rcode(got) != seam.RcodeRefused {
		t.Errorf("the like of a panic got %x", got)
	}
}

// TestStreamsToSlowClients ends transfers that their clients do not take.
func TestStreamsToSlowClients(t *testing.T) {
	ended := make(chan error)
	s := startSecure(t, Config{WriteTimeout: 50 * time.Millisecond}, func(r *Request) (int, Action) {
		r.Produce = func(send func([]byte) error) error {
			for {
				if err := send(make([]byte, 60000)); err != nil {
					ended <- err
					return err
				}
			}
		}
		return 0, Stream
	})
	msg := servetest.Query(0, "a.", 252)
	servetest.Write(t, servetest.Dial(t, "tcp", s.Addrs()[0]), servetest.Frame(msg))
	if err := <-ended; err == nil {
		t.Error("no error by TCP")
	}
	servetest.Write(t, servetest.DialTLS(t, s), servetest.Frame(msg))
	if err := <-ended; err == nil {
		t.Error("no error by TLS")
	}
	str, err := servetest.DialQUIC(t, s).OpenStreamSync(servetest.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	servetest.Write(t, str, servetest.Frame(msg))
	if err := str.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("no error by QUIC")
	}
}
