package serve

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// producing answers "transfer" with three messages, the second as large as can be, "fail" with one and an error,
// "long" with one that can't be, "boom" with a panic after one, "none" without Produce, and the rest at once.
func producing(r *Request) (int, Action) {
	id := bytes.Clone(r.Buf[:2])
	name := string(r.Buf[headerSize+1 : headerSize+1+int(r.Buf[headerSize])])
	clear(r.Buf[r.N:min(r.N+10, len(r.Buf))])
	if name == "none" {
		return 0, Stream
	}
	if name == "other" {
		return echo(r)
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
	transfer, other := query(0, "transfer.", 252), query(0, "other.", 1)
	three := frame([]byte("\x00\x00first"), make([]byte, 65535), []byte("last"))
	for _, secure := range []bool{false, true} {
		conn := dial(t, "tcp", s.Addrs()[0])
		if secure {
			conn = dialTLS(t, s)
		}
		write(t, conn, frame(other, transfer, other, transfer, other))
		o := frame(reply(other))
		want := bytes.Join([][]byte{o, three, o, three, o}, nil)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("TLS %v: %v", secure, err)
		}
	}
	conn := dialQUIC(t, s)
	if got, err := exchangeQUIC(t, conn, frame(transfer)); err != nil || !bytes.Equal(got, three) {
		t.Errorf("QUIC: %d bytes, %v", len(got), err)
	}
	for _, transport := range []string{"tcp", "tls", "quic"} {
		want := map[string]float64{"tcp": 9, "tls": 9, "quic": 3}[transport]
		eventually(t, "the count of "+transport, func() bool {
			return metric(t, reg, "gtm_serve_replies_total", "transport="+transport) == want
		})
	}
	for name, asker := range askers(t, s) {
		if name == "udp" || strings.HasPrefix(name, "HTTP") {
			if got := asker(transfer); rcode(got) != rcodeServFail || !bytes.Equal(got[4:], transfer[4:]) {
				t.Errorf("%s: got %x", name, got)
			}
		}
		if got := asker(query(0, "none.", 252)); rcode(got) != rcodeServFail {
			t.Errorf("%s, nothing to produce: got %x", name, got)
		}
	}
}

func TestStreamsThatFail(t *testing.T) {
	s := startSecure(t, Config{}, producing)
	for _, name := range []string{"fail", "long", "boom"} {
		for i, transport := range []string{"tcp", "tls", "quic"} { // another type each, as the like of what panics is refused
			msg := query(0, name+".", uint16(252+i))
			if transport == "quic" {
				if got, err := exchangeQUIC(t, dialQUIC(t, s), frame(msg)); err == nil {
					t.Errorf("%s: a whole answer by QUIC: %x", name, got)
				}
				continue
			}
			conn := dial(t, "tcp", s.Addrs()[0])
			if transport == "tls" {
				conn = dialTLS(t, s)
			}
			write(t, conn, frame(msg, msg))
			got, err := readFrame(conn)
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
	if got := ask(t, dial(t, "tcp", s.Addrs()[0]), query(0, "boom.", 252)); rcode(got) != rcodeRefused {
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
	msg := query(0, "a.", 252)
	write(t, dial(t, "tcp", s.Addrs()[0]), frame(msg))
	if err := <-ended; err == nil {
		t.Error("no error by TCP")
	}
	write(t, dialTLS(t, s), frame(msg))
	if err := <-ended; err == nil {
		t.Error("no error by TLS")
	}
	str, err := dialQUIC(t, s).OpenStreamSync(within(t))
	if err != nil {
		t.Fatal(err)
	}
	write(t, str, frame(msg))
	if err := str.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("no error by QUIC")
	}
}
