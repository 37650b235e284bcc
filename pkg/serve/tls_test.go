package serve

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestTLSPipelining(t *testing.T) {
	s := startSecure(t, Config{}, servetest.Echo)
	conn := servetest.DialTLS(t, s)
	const n = 2000
	var msgs [][]byte
	for i := range n {
		msgs = append(msgs, servetest.Query(uint16(i), "www.example.", 1))
	}
	go func() {
		_, _ = conn.Write(servetest.Frame(msgs...)) // an error shows as a missing reply
		_ = conn.CloseWrite()
	}()
	for i, msg := range msgs {
		if got, err := servetest.ReadFrame(conn); err != nil || !bytes.Equal(got, servetest.Reply(msg)) {
			t.Fatalf("reply %d: %x, %v", i, got, err)
		}
	}
	if rest, err := io.ReadAll(conn); len(rest) != 0 || err != nil { // an end that TLS has told of
		t.Errorf("after the last reply: %x, %v", rest, err)
	}
}

func TestTLSVersionsAndProtocols(t *testing.T) {
	s := startSecure(t, Config{}, servetest.Echo)
	for _, tc := range []struct {
		name   string
		change func(*tls.Config)
		ok     bool
	}{
		{"as it should be", func(c *tls.Config) {}, true},
		{"without ALPN", func(c *tls.Config) { c.NextProtos = nil }, true},
		{"ALPN of another protocol", func(c *tls.Config) { c.NextProtos = []string{"h2"} }, false},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, false},
		{"another name", func(c *tls.Config) { c.ServerName = "other.example" }, false}, // refused by the client
	} {
		config := servetest.ClientTLS(t, s, servetest.ProtocolDoT)
		tc.change(config)
		conn := tls.Client(servetest.Dial(t, "tcp", s.AddrsOf(TLS)[0]), config)
		msg := servetest.Query(1, "a.", 1)
		err := conn.Handshake()
		if err == nil {
			servetest.Write(t, conn, servetest.Frame(msg))
			got, e := servetest.ReadFrame(conn)
			if err = e; !bytes.Equal(got, servetest.Reply(msg)) {
				t.Errorf("%s: %x", tc.name, got)
			}
		}
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestTLSResumption(t *testing.T) {
	s := startSecure(t, Config{}, servetest.Echo)
	config := servetest.ClientTLS(t, s, servetest.ProtocolDoT)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		conn := tls.Client(servetest.Dial(t, "tcp", s.AddrsOf(TLS)[0]), config)
		servetest.Write(t, conn, servetest.Frame(servetest.Query(1, "a.", 1)))
		if _, err := servetest.ReadFrame(conn); err != nil { // the ticket comes before
			t.Fatal(err)
		}
		if got := conn.ConnectionState().DidResume; got != (i > 0) {
			t.Errorf("connection %d: resumed %v", i, got)
		}
	}
}

func TestSlowTLSClientsAreCutOff(t *testing.T) {
	const short, long = 50 * time.Millisecond, time.Hour
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{FirstTimeout: long, IdleTimeout: long, MessageTimeout: short, WriteTimeout: short, Registerer: reg},
		func(r *Request) (int, Action) {
			servetest.Echo(r)
			return len(r.Buf), Send
		})
	dripping := servetest.DialTLS(t, s)
	servetest.Write(t, dripping, servetest.Frame(servetest.Query(1, "a.", 1)))
	servetest.Write(t, dripping, []byte{255, 255})
	go func() {
		for range time.Tick(5 * time.Millisecond) {
			if _, err := dripping.Write([]byte{0}); err != nil {
				return
			}
		}
	}()
	if !servetest.Ended(dripping) {
		t.Error("a dripping client's connection is open")
	}
	greedy := servetest.DialTLS(t, s)
	for { // until the server has given up
		if _, err := greedy.Write(servetest.Frame(servetest.Query(1, "a.", 1))); err != nil {
			break
		}
	}
	servetest.Eventually(t, "the connections are gone", func() bool { return metric(t, reg, "gtm_serve_connections_open") == 0 })
}

// TestHonestClientAmongHostileOnesTLS is TestHonestClientAmongHostileOnes, with TLS: some hostile clients do not begin
// it, some stop halfway, some ask for all and take nothing.
func TestHonestClientAmongHostileOnesTLS(t *testing.T) {
	const hostile, places = 300, 50
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConns: places, MaxConnsPerClient: places, FirstTimeout: time.Hour, IdleTimeout: time.Hour,
		MessageTimeout: time.Hour, WriteTimeout: time.Hour, Registerer: reg}, func(r *Request) (int, Action) {
		servetest.Echo(r)
		if r.Buf[0] == 0xff { // asked by a client that won't read
			return len(r.Buf), Send
		}
		return r.N, Send
	})
	to := s.AddrsOf(TLS)[0]
	greedy := bytes.Repeat(servetest.Frame(servetest.Query(0xff00, "a.", 1)), 200)
	hello := servetest.ClientHello(t, s)
	honest := func() {
		config := servetest.ClientTLS(t, s, servetest.ProtocolDoT)
		conn := tls.Client(dialFrom(t, "127.0.2.1", to), config)
		defer conn.Close()
		for i := range 20 {
			msg := servetest.Query(uint16(i), "honest.example.", 1)
			servetest.Write(t, conn, servetest.Frame(msg))
			if got, err := servetest.ReadFrame(conn); err != nil || !bytes.Equal(got, servetest.Reply(msg)) {
				t.Fatalf("got %x, %v", got, err)
			}
		}
	}
	for i := range hostile {
		conn := dialFrom(t, fmt.Sprintf("127.0.1.%d", i%200+1), to)
		switch i % 5 { // errors: it may have been evicted already
		case 1:
			_, _ = conn.Write(hello[:20])
		case 2:
			_, _ = conn.Write(hello)
		case 3:
			_, _ = conn.Write([]byte("GET / HTTP/1.0\r\n"))
		case 4:
			_, _ = tls.Client(conn, servetest.ClientTLS(t, s, servetest.ProtocolDoT)).Write(greedy)
		}
		if i%60 == 59 {
			honest()
		}
	}
	honest()
	if open := metric(t, reg, "gtm_serve_connections_open"); open > places {
		t.Errorf("%v connections open, %d allowed", open, places)
	}
	if n := metric(t, reg, "gtm_serve_connections_evicted_total", "transport=tls"); n < hostile/2-places {
		t.Errorf("%v evicted", n)
	}
}
