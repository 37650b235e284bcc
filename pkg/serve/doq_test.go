package serve

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"
)

func TestQUICManyStreams(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	conn := dialQUIC(t, s)
	var group sync.WaitGroup
	for i := range 500 { // more than are allowed at once
		group.Go(func() {
			msg := query(0, fmt.Sprintf("n%d.example.", i), 1)
			if got, err := exchangeQUIC(t, conn, frame(msg)); err != nil || !bytes.Equal(got, frame(reply(msg))) {
				t.Errorf("got %x, %v", got, err)
			}
		})
	}
	group.Wait()
}

func TestQUICProtocol(t *testing.T) {
	s := startSecure(t, Config{}, func(r *Request) (int, Action) {
		switch r.Buf[headerSize+1] {
		case 'd':
			return 0, Drop
		case 'c':
			return 0, Close
		case 'e':
			return 0, Send
		}
		return echo(r)
	})
	msg := query(0, "a.", 1)
	const connection, stream = true, false
	for _, tc := range []struct {
		name   string
		framed []byte
		ends   bool // the connection ends; else the stream alone
		code   uint64
	}{
		{"an ID", frame(query(1, "a.", 1)), connection, doqProtocolError},
		{"nothing", nil, connection, doqProtocolError},
		{"half a length", []byte{0}, connection, doqProtocolError},
		{"cut off", frame(msg)[:10], connection, doqProtocolError},
		{"too short for a header", frame(msg[:11]), connection, doqProtocolError},
		{"two messages", frame(msg, msg), connection, doqProtocolError},
		{"one byte too many", append(frame(msg), 0), connection, doqProtocolError},
		{"more than a message can be", make([]byte, lengthSize+streamRoom+1), connection, doqProtocolError},
		{"what the handler takes for an error", frame(query(0, "close.", 1)), connection, doqProtocolError},
		{"dropped", frame(query(0, "drop.", 1)), stream, doqUnspecified},
		{"no reply", frame(query(0, "empty.", 1)), stream, doqUnspecified},
	} {
		conn := dialQUIC(t, s)
		_, err := exchangeQUIC(t, conn, tc.framed)
		var ofConn *quic.ApplicationError
		var ofStream *quic.StreamError
		switch {
		case tc.ends && (!errors.As(err, &ofConn) || uint64(ofConn.ErrorCode) != tc.code || !ofConn.Remote):
			t.Errorf("%s: %v", tc.name, err)
		case !tc.ends && (!errors.As(err, &ofStream) || uint64(ofStream.ErrorCode) != tc.code):
			t.Errorf("%s: %v", tc.name, err)
		case !tc.ends:
			if got, err := exchangeQUIC(t, conn, frame(msg)); err != nil || !bytes.Equal(got, frame(reply(msg))) {
				t.Errorf("%s: then %x, %v", tc.name, got, err)
			}
		}
	}
}

// TestQUICHasNoOtherStreams tries what only servers, or other protocols, do.
func TestQUICHasNoOtherStreams(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	conn := dialQUIC(t, s)
	if _, err := conn.OpenUniStream(); err == nil {
		t.Error("a stream in one direction was allowed")
	}
	for _, protocol := range []string{"h3", "dot"} {
		if _, err := quic.DialAddr(within(t), s.AddrsOf(QUIC)[0].String(), clientTLS(t, s, protocol), nil); err == nil {
			t.Errorf("%s was taken for DNS", protocol)
		}
	}
}

// TestQUICCloseAfterReply has the Handler close with a reply, which must come first.
func TestQUICCloseAfterReply(t *testing.T) {
	s := startSecure(t, Config{}, func(r *Request) (int, Action) { n, _ := echo(r); return n, Close })
	conn := dialQUIC(t, s)
	msg := query(0, "a.", 1)
	if got, err := exchangeQUIC(t, conn, frame(msg)); err != nil || !bytes.Equal(got, frame(reply(msg))) {
		t.Errorf("got %x, %v", got, err)
	}
	waitFor(t, "the connection ends", conn.Context().Done())
}

func TestSlowQUICClientsAreCutOff(t *testing.T) {
	const short = 50 * time.Millisecond
	s := startSecure(t, Config{MessageTimeout: short, WriteTimeout: short, FirstTimeout: time.Hour, IdleTimeout: time.Hour},
		func(r *Request) (int, Action) {
			echo(r)
			return len(r.Buf), Send
		})
	address := s.AddrsOf(QUIC)[0].String()
	for name, framed := range map[string][]byte{"reading": frame(query(0, "a.", 1)), "writing": {0, 50, 0}} {
		// A window smaller than the reply, which nobody opens
		conn, err := quic.DialAddr(within(t), address, clientTLS(t, s, alpnQUIC),
			&quic.Config{InitialStreamReceiveWindow: 1000, MaxStreamReceiveWindow: 1000, KeepAlivePeriod: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		str, err := conn.OpenStreamSync(within(t))
		if err != nil {
			t.Fatal(err)
		}
		write(t, str, framed)
		if name == "reading" {
			if err := str.Close(); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, "a client slow at "+name+" is cut off", conn.Context().Done())
		var fault *quic.ApplicationError
		if !errors.As(context.Cause(conn.Context()), &fault) || fault.ErrorCode != doqExcessiveLoad {
			t.Errorf("%s: %v", name, context.Cause(conn.Context()))
		}
	}
}

// TestQUICResetStream gives up a query while the server waits for its rest.
func TestQUICResetStream(t *testing.T) {
	s := startSecure(t, Config{MessageTimeout: time.Hour}, echo)
	conn := dialQUIC(t, s)
	str, err := conn.OpenStreamSync(within(t))
	if err != nil {
		t.Fatal(err)
	}
	write(t, str, []byte{0})
	under := func() int {
		s.streams.conns.mu.Lock()
		defer s.streams.conns.mu.Unlock()
		return s.streams.conns.messages
	}
	eventually(t, "it is under way", func() bool { return under() == 1 })
	str.CancelWrite(3)
	eventually(t, "it is not any more", func() bool { return under() == 0 })
	if _, err := exchangeQUIC(t, conn, frame(query(0, "a.", 1))); err != nil {
		t.Error(err)
	}
}

// TestForgedQUICHandshakes begins handshakes that nobody finishes, and finds that they take no more than a share of
// a client's places, and that an honest client gets through.
func TestForgedQUICHandshakes(t *testing.T) {
	const places = 8
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConnsPerClient: places, FirstTimeout: time.Hour, Registerer: reg}, echo)
	to := s.AddrsOf(QUIC)[0]
	for i := range 40 {
		forge(t, s, to, 1+i%2) // half a hello, or all of it
	}
	eventually(t, "handshakes are under way", func() bool { return s.streams.handshakes.Load() >= places/2 })
	conn := dialQUIC(t, s)
	if _, err := exchangeQUIC(t, conn, frame(query(0, "a.", 1))); err != nil {
		t.Fatal(err)
	}
	if n := s.streams.handshakes.Load(); n > places/2 {
		t.Errorf("%d handshakes are under way", n)
	}
	if n := metric(t, reg, "gtm_serve_connections_open", "transport=quic"); n != places/2+1 {
		t.Errorf("%v connections open", n)
	}
	// The end of the test shuts down, which does not wait for them.
}

// forge sends the first packets of a handshake, and nothing more. The client's hello takes two.
func forge(t *testing.T, s *Server, to netip.AddrPort, packets int) {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	ctx, cancel := context.WithCancel(within(t))
	dialed := make(chan error)
	go func() {
		_, err := quic.DialAddr(ctx, front.LocalAddr().String(), clientTLS(t, s, alpnQUIC), nil)
		dialed <- err
	}()
	buf := make([]byte, 65535)
	back := dial(t, "udp", to)
	for range packets {
		n, err := front.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		write(t, back, buf[:n])
	}
	cancel()
	if err := <-dialed; err == nil {
		t.Error("a handshake without answers")
	}
}

// TestAbortOfQUICHandshakes cuts off handshakes that have got nowhere, or half of the way.
func TestAbortOfQUICHandshakes(t *testing.T) {
	s := startSecure(t, Config{FirstTimeout: time.Hour}, echo)
	for packets := range 2 {
		forge(t, s, s.AddrsOf(QUIC)[0], 1+packets)
	}
	open := func() int {
		s.streams.conns.mu.Lock()
		defer s.streams.conns.mu.Unlock()
		return s.streams.conns.order.Len()
	}
	eventually(t, "both are there", func() bool { return open() == 2 })
	s.streams.conns.evictOne()
	s.streams.conns.evictOne()
	if n := open(); n != 0 {
		t.Errorf("%d open", n)
	}
	if _, err := exchangeQUIC(t, dialQUIC(t, s), frame(query(0, "a.", 1))); err != nil {
		t.Error(err)
	}
}

func TestHonestClientAmongHostileOnesQUIC(t *testing.T) {
	const hostile, places = 300, 50
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConns: places, MaxConnsPerClient: places, FirstTimeout: time.Hour, IdleTimeout: time.Hour,
		MessageTimeout: time.Hour, WriteTimeout: time.Hour, Registerer: reg}, echo)
	to := s.AddrsOf(QUIC)[0]
	config := clientTLS(t, s, alpnQUIC)
	for i := range hostile {
		local, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(i%200+1))})
		if err != nil {
			t.Fatal(err)
		}
		from := &quic.Transport{Conn: local}
		t.Cleanup(func() { from.Close(); local.Close() })
		if conn, err := from.Dial(within(t), net.UDPAddrFromAddrPort(to), config, nil); err == nil && i%2 == 0 {
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
	conn := dialQUIC(t, s)
	for i := range 10 {
		msg := query(0, fmt.Sprintf("honest%d.example.", i), 1)
		if got, err := exchangeQUIC(t, conn, frame(msg)); err != nil || !bytes.Equal(got, frame(reply(msg))) {
			t.Fatalf("got %x, %v", got, err)
		}
	}
	_ = conn.CloseWithError(0, "")
}

func TestWholeFrame(t *testing.T) {
	for _, tc := range []struct {
		framed []byte
		want   bool
	}{
		{frame(query(0, "a.", 1)), true}, {frame(query(0x0100, "a.", 1)), false}, {frame(query(1, "a.", 1)), false},
		{binary.BigEndian.AppendUint16(nil, 0), false}, {nil, false},
	} {
		if got := wholeFrame(tc.framed); got != tc.want {
			t.Errorf("%x: %v", tc.framed, got)
		}
	}
}
