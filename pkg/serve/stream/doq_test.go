package stream

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// TestQUICResetStream gives up a query while the server waits for its rest.
func TestQUICResetStream(t *testing.T) {
	s := startRig(t, Limits{MessageTimeout: time.Hour}, servetest.Echo)
	conn := servetest.DialQUIC(t, s)
	str, err := conn.OpenStreamSync(servetest.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	servetest.Write(t, str, []byte{0})
	under := s.Conns.UnderWay
	servetest.Eventually(t, "it is under way", func() bool { return under() == 1 })
	str.CancelWrite(3)
	servetest.Eventually(t, "it is not any more", func() bool { return under() == 0 })
	if _, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(servetest.Query(0, "a.", 1))); err != nil {
		t.Error(err)
	}
}

// TestForgedQUICHandshakes begins handshakes that nobody finishes, and finds that they take no more than a share of
// a client's places, and that an honest client gets through.
func TestForgedQUICHandshakes(t *testing.T) {
	const places = 8
	s := startRig(t, Limits{MaxConnsPerClient: places, FirstTimeout: time.Hour}, servetest.Echo)
	to := s.AddrsOf(seam.QUIC)[0]
	for i := range 40 {
		forge(t, s, to, 1+i%2) // half a hello, or all of it
	}
	servetest.Eventually(t, "handshakes are under way", func() bool { return s.handshakes.Load() >= places/2 })
	conn := servetest.DialQUIC(t, s)
	if _, err := servetest.ExchangeQUIC(t, conn, servetest.Frame(servetest.Query(0, "a.", 1))); err != nil {
		t.Fatal(err)
	}
	if n := s.handshakes.Load(); n > places/2 {
		t.Errorf("%d handshakes are under way", n)
	}
	if n := s.Conns.Stats()[seam.QUIC].Open; n != places/2+1 {
		t.Errorf("%v connections open", n)
	}
	// The end of the test shuts down, which does not wait for them.
}

// forge sends the first packets of a handshake, and nothing more. The client's hello takes two.
func forge(t *testing.T, s servetest.Served, to netip.AddrPort, packets int) {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	ctx, cancel := context.WithCancel(servetest.Within(t))
	dialed := make(chan error)
	go func() {
		_, err := quic.DialAddr(ctx, front.LocalAddr().String(), servetest.ClientTLS(t, s, alpnQUIC), nil)
		dialed <- err
	}()
	buf := make([]byte, 65535)
	back := servetest.Dial(t, "udp", to)
	for range packets {
		n, err := front.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		servetest.Write(t, back, buf[:n])
	}
	cancel()
	if err := <-dialed; err == nil {
		t.Error("a handshake without answers")
	}
}

// TestAbortOfQUICHandshakes cuts off handshakes that have got nowhere, or half of the way.
func TestAbortOfQUICHandshakes(t *testing.T) {
	s := startRig(t, Limits{FirstTimeout: time.Hour}, servetest.Echo)
	for packets := range 2 {
		forge(t, s, s.AddrsOf(seam.QUIC)[0], 1+packets)
	}
	open := func() uint64 { return s.Conns.Stats()[seam.QUIC].Open }
	servetest.Eventually(t, "both are there", func() bool { return open() == 2 })
	s.Conns.EvictOne()
	s.Conns.EvictOne()
	if n := open(); n != 0 {
		t.Errorf("%d open", n)
	}
	if _, err := servetest.ExchangeQUIC(t, servetest.DialQUIC(t, s), servetest.Frame(servetest.Query(0, "a.", 1))); err != nil {
		t.Error(err)
	}
}

func TestWholeFrame(t *testing.T) {
	for _, tc := range []struct {
		framed []byte
		want   bool
	}{
		{servetest.Frame(servetest.Query(0, "a.", 1)), true}, {servetest.Frame(servetest.Query(0x0100, "a.", 1)), false},
		{servetest.Frame(servetest.Query(1, "a.", 1)), false},
		{binary.BigEndian.AppendUint16(nil, 0), false}, {nil, false},
	} {
		if got := wholeFrame(tc.framed); got != tc.want {
			t.Errorf("%x: %v", tc.framed, got)
		}
	}
}

// TestShutdownDoesNotWaitForWhoGoesOnAsking has a client ask without a pause: what is on its way when Shutdown begins is taken for a
// while, and then no more.
func TestShutdownDoesNotWaitForWhoGoesOnAsking(t *testing.T) {
	s := startRig(t, Limits{}, servetest.Echo)
	conn := servetest.DialQUIC(t, s)
	msg := servetest.Frame(servetest.Query(0, "a.", 1))
	asked := make(chan struct{})
	var once sync.Once
	var client sync.WaitGroup
	client.Go(func() {
		for {
			if _, err := servetest.ExchangeQUIC(t, conn, msg); err != nil {
				return
			}
			once.Do(func() { close(asked) })
		}
	})
	servetest.WaitFor(t, "an answer", asked)
	ended := make(chan struct{})
	go func() { s.shutdown(); close(ended) }()
	servetest.WaitFor(t, "the end of the shutdown", ended)
	_ = conn.CloseWithError(0, "")
	client.Wait()
}
