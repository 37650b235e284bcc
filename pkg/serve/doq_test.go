package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// The error codes of DNS over QUIC (RFC 9250, 4.3) that a client sees here.
const (
	protocolError = 2
	excessiveLoad = 4
	unspecified   = 5
)

func TestQUICManyStreams(t *testing.T) {
	s := startSecure(t, Config{}, servetest.Echo)
	conn := servetest.DialQUIC(t, s)
	var group sync.WaitGroup
	for i := range 500 { // more than are allowed at once
		group.Go(func() {
			msg := servetest.Query(0, fmt.Sprintf("n%d.example.", i), 1)
			if got, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(msg)); err != nil || !bytes.Equal(got,
				servetest.Frame(servetest.Reply(msg))) {
				t.Errorf("got %x, %v", got, err)
			}
		})
	}
	group.Wait()
}

func TestQUICProtocol(t *testing.T) {
	s := startSecure(t, Config{}, func(r *Request) (int, Action) {
		switch r.Buf[seam.HeaderSize+1] {
		case 'd':
			return 0, Drop
		case 'c':
			return 0, Close
		case 'e':
			return 0, Send
		}
		return servetest.Echo(r)
	})
	msg := servetest.Query(0, "a.", 1)
	const connection, stream = true, false
	for _, tc := range []struct {
		name   string
		framed []byte
		ends   bool // the connection ends; else the stream alone
		code   uint64
	}{
		{"an ID", servetest.Frame(servetest.Query(1, "a.", 1)), connection, protocolError},
		{"nothing", nil, connection, protocolError},
		{"half a length", []byte{0}, connection, protocolError},
		{"cut off", servetest.Frame(msg)[:10], connection, protocolError},
		{"too short for a header", servetest.Frame(msg[:11]), connection, protocolError},
		{"two messages", servetest.Frame(msg, msg), connection, protocolError},
		{"one byte too many", append(servetest.Frame(msg), 0), connection, protocolError},
		{"more than a message can be", make([]byte, 2+65535+1), connection, protocolError},
		{"what the handler takes for an error", servetest.Frame(servetest.Query(0, "close.", 1)), connection, protocolError},
		{"dropped", servetest.Frame(servetest.Query(0, "drop.", 1)), stream, unspecified},
		{"no reply", servetest.Frame(servetest.Query(0, "empty.", 1)), stream, unspecified},
	} {
		conn := servetest.DialQUIC(t, s)
		_, err := servetest.ExchangeQUIC(t, conn, tc.framed)
		var ofConn *quic.ApplicationError
		var ofStream *quic.StreamError
		switch {
		case tc.ends && (!errors.As(err, &ofConn) || uint64(ofConn.ErrorCode) != tc.code || !ofConn.Remote):
			t.Errorf("%s: %v", tc.name, err)
		case !tc.ends && (!errors.As(err, &ofStream) || uint64(ofStream.ErrorCode) != tc.code):
			t.Errorf("%s: %v", tc.name, err)
		case !tc.ends:
			if got, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(msg)); err != nil || !bytes.Equal(got,
				servetest.Frame(servetest.Reply(msg))) {
				t.Errorf("%s: then %x, %v", tc.name, got, err)
			}
		}
	}
}

// TestQUICHasNoOtherStreams tries what only servers, or other protocols, do.
func TestQUICHasNoOtherStreams(t *testing.T) {
	s := startSecure(t, Config{}, servetest.Echo)
	conn := servetest.DialQUIC(t, s)
	if _, err := conn.OpenUniStream(); err == nil {
		t.Error("a stream in one direction was allowed")
	}
	for _, protocol := range []string{"h3", "dot"} {
		if _, err := quic.DialAddr(servetest.Within(t), s.AddrsOf(QUIC)[0].String(), servetest.ClientTLS(t, s, protocol), nil); err == nil {
			t.Errorf("%s was taken for DNS", protocol)
		}
	}
}

// TestQUICCloseAfterReply has the Handler close with a reply, which must come first.
func TestQUICCloseAfterReply(t *testing.T) {
	s := startSecure(t, Config{}, func(r *Request) (int, Action) { n, _ := servetest.Echo(r); return n, Close })
	conn := servetest.DialQUIC(t, s)
	msg := servetest.Query(0, "a.", 1)
	if got, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(msg)); err != nil || !bytes.Equal(got,
		servetest.Frame(servetest.Reply(msg))) {
		t.Errorf("got %x, %v", got, err)
	}
	servetest.WaitFor(t, "the connection ends", conn.Context().Done())
}

func TestSlowQUICClientsAreCutOff(t *testing.T) {
	const short = 50 * time.Millisecond
	s := startSecure(t, Config{MessageTimeout: short, WriteTimeout: short, FirstTimeout: time.Hour, IdleTimeout: time.Hour},
		func(r *Request) (int, Action) {
			servetest.Echo(r)
			return len(r.Buf), Send
		})
	address := s.AddrsOf(QUIC)[0].String()
	for name, framed := range map[string][]byte{"reading": servetest.Frame(servetest.Query(0, "a.", 1)), "writing": {0, 50, 0}} {
		// A window smaller than the reply, which nobody opens
		conn, err := quic.DialAddr(servetest.Within(t), address, servetest.ClientTLS(t, s, servetest.ProtocolDoQ),
			&quic.Config{InitialStreamReceiveWindow: 1000, MaxStreamReceiveWindow: 1000, KeepAlivePeriod: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		str, err := conn.OpenStreamSync(servetest.Within(t))
		if err != nil {
			t.Fatal(err)
		}
		servetest.Write(t, str, framed)
		if name == "reading" {
			if err := str.Close(); err != nil {
				t.Fatal(err)
			}
		}
		servetest.WaitFor(t, "a client slow at "+name+" is cut off", conn.Context().Done())
		var fault *quic.ApplicationError
		if !errors.As(context.Cause(conn.Context()), &fault) || fault.ErrorCode != excessiveLoad {
			t.Errorf("%s: %v", name, context.Cause(conn.Context()))
		}
	}
}

func TestHonestClientAmongHostileOnesQUIC(t *testing.T) {
	const hostile, places = 300, 50
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConns: places, MaxConnsPerClient: places, FirstTimeout: time.Hour, IdleTimeout: time.Hour,
		MessageTimeout: time.Hour, WriteTimeout: time.Hour, Registerer: reg}, servetest.Echo)
	to := s.AddrsOf(QUIC)[0]
	config := servetest.ClientTLS(t, s, servetest.ProtocolDoQ)
	for i := range hostile {
		local, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(i%200+1))})
		if err != nil {
			t.Fatal(err)
		}
		from := &quic.Transport{Conn: local}
		t.Cleanup(func() { from.Close(); local.Close() })
		if conn, err := from.Dial(servetest.Within(t), net.UDPAddrFromAddrPort(to), config, nil); err == nil && i%2 == 0 {
			str, err := conn.OpenStream()
			if err == nil {
				_, _ = str.Write([]byte{0, 100, 0}) // and no more
			}
		}
		if i%60 == 59 {
			honestQUIC(t, s)
		}
	}
	honestQUIC(t, s)
	if open := metric(t, reg, "gtm_serve_connections_open"); open > places {
		t.Errorf("%v connections open, %d allowed", open, places)
	}
	if n := metric(t, reg, "gtm_serve_connections_evicted_total", "transport=quic"); n < hostile-places {
		t.Errorf("%v evicted", n)
	}
}

func honestQUIC(t *testing.T, s *Server) {
	t.Helper()
	conn := servetest.DialQUIC(t, s)
	for i := range 10 {
		msg := servetest.Query(0, fmt.Sprintf("honest%d.example.", i), 1)
		if got, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(msg)); err != nil || !bytes.Equal(got,
			servetest.Frame(servetest.Reply(msg))) {
			t.Fatalf("got %x, %v", got, err)
		}
	}
	_ = conn.CloseWithError(0, "")
}
