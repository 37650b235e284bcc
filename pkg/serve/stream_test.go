package serve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestPipelining(t *testing.T) {
	s := start(t, Config{}, servetest.Echo)
	conn := servetest.Dial(t, "tcp", s.Addrs()[0])
	const n = 5000 // replies far beyond one write
	var msgs [][]byte
	for i := range n {
		msgs = append(msgs, servetest.Query(uint16(i), "www.example.", 1))
	}
	go func() { _, _ = conn.Write(servetest.Frame(msgs...)) }() // an error shows as a missing reply
	for i, msg := range msgs {
		if got, err := servetest.ReadFrame(conn); err != nil || !bytes.Equal(got, servetest.Reply(msg)) {
			t.Fatalf("reply %d: %x, %v", i, got, err)
		}
	}
}

// TestFramesCutAnywhere sends messages of all sizes in pieces that begin and end anywhere.
func TestFramesCutAnywhere(t *testing.T) {
	s := start(t, Config{}, servetest.Echo)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		conn := servetest.Dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
		var msgs [][]byte
		for i, size := range []int{12, 13, 100, 2045, 2046, 2047, 2048, 5000, 65535, 12, 30000} {
			msg := append(servetest.Query(uint16(i), "a.", 1), make([]byte, 65535)...)[:size]
			msgs = append(msgs, msg)
		}
		rnd.Shuffle(len(msgs), func(i, j int) { msgs[i], msgs[j] = msgs[j], msgs[i] })
		go func() {
			for rest := servetest.Frame(msgs...); len(rest) > 0; {
				n := min(len(rest), 1+rnd.IntN(8000))
				if _, err := conn.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
			_ = conn.CloseWrite()
		}()
		for i, msg := range msgs {
			if got, err := servetest.ReadFrame(conn); err != nil || !bytes.Equal(got, servetest.Reply(msg)) {
				t.Fatalf("reply %d of %d bytes: %d bytes, %v", i, len(msg), len(got), err)
			}
		}
		if rest, err := io.ReadAll(conn); len(rest) != 0 || err != nil {
			t.Fatalf("after the last reply: %x, %v", rest, err)
		}
	}
}

func TestHalfClose(t *testing.T) {
	s := start(t, Config{}, servetest.Echo)
	for _, tail := range [][]byte{nil, {0}, {0, 50, 1, 2, 3}} { // with an unfinished message, too
		conn := servetest.Dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
		a, b := servetest.Query(1, "a.", 1), servetest.Query(2, "b.", 1)
		servetest.Write(t, conn, append(servetest.Frame(a, b), tail...))
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, servetest.Frame(servetest.Reply(a), servetest.Reply(b))) {
			t.Errorf("tail %x: got %x, %v", tail, got, err)
		}
	}
}

func TestTooShortAFrameEndsTheStream(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Registerer: reg}, servetest.Echo)
	for i, short := range [][]byte{{0, 0}, {0, 3, 1, 2, 3}} {
		conn := servetest.Dial(t, "tcp", s.Addrs()[0])
		a := servetest.Query(1, "a.", 1)
		servetest.Write(t, conn, append(servetest.Frame(a), short...))
		if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, servetest.Frame(servetest.Reply(a))) {
			t.Errorf("%x: got %x, %v", short, got, err)
		}
		servetest.Eventually(t, "the count", func() bool {
			return metric(t, reg, "gtm_serve_drops_total", "transport=tcp", "reason=short") == float64(i+1)
		})
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	const short, long = 50 * time.Millisecond, time.Hour
	tests := []struct {
		name   string
		cfg    Config
		before []byte // written at first
		drip   []byte // then written again and again
	}{
		{"silent from the start", Config{FirstTimeout: short, IdleTimeout: long, MessageTimeout: long}, nil, nil},
		{"dripping the first message", Config{FirstTimeout: short, IdleTimeout: long, MessageTimeout: long}, []byte{1, 1}, []byte{0}},
		{"idle after a message", Config{FirstTimeout: long, IdleTimeout: short, MessageTimeout: long}, servetest.Frame(servetest.Query(1,
			"a.", 1)), nil},
		{"dripping a later message", Config{FirstTimeout: long, IdleTimeout: long, MessageTimeout: short},
			append(servetest.Frame(servetest.Query(1, "a.", 1)), 255, 255), []byte{0}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			conn := servetest.Dial(t, "tcp", start(t, tc.cfg, servetest.Echo).Addrs()[0])
			servetest.Write(t, conn, tc.before)
			done := make(chan struct{})
			go func() {
				for range time.Tick(5 * time.Millisecond) {
					if _, err := conn.Write(tc.drip); err != nil || len(tc.drip) == 0 {
						break
					}
				}
				close(done)
			}()
			if !servetest.Ended(conn) {
				t.Error("still open")
			}
			conn.Close()
			<-done
		})
	}
}

func TestClientThatTakesNoRepliesIsCutOff(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{WriteTimeout: 50 * time.Millisecond, Registerer: reg}, func(r *Request) (int, Action) {
		servetest.Echo(r)
		return len(r.Buf), Send
	})
	conn := servetest.Dial(t, "tcp", s.Addrs()[0])
	asks := servetest.Frame(servetest.Query(1, "a.", 1))
	for { // until the server has given up
		if _, err := conn.Write(asks); err != nil {
			break
		}
	}
	servetest.Eventually(t, "the connection is gone", func() bool { return metric(t, reg, "gtm_serve_connections_open") == 0 })
	if metric(t, reg, "gtm_serve_replies_total", "transport=tcp") == 0 {
		t.Error("it was not asked at all")
	}
}

// dialFrom dials from one of the loopback addresses.
func dialFrom(t testing.TB, from string, to netip.AddrPort) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(servetest.Patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestHonestClientAmongHostileOnes(t *testing.T) {
	const hostile, places = 300, 50
	reg := prometheus.NewRegistry()
	s := start(t, Config{MaxConns: places, MaxConnsPerClient: places, FirstTimeout: time.Hour, IdleTimeout: time.Hour,
		MessageTimeout: time.Hour, WriteTimeout: time.Hour, Registerer: reg}, func(r *Request) (int, Action) {
		servetest.Echo(r)
		if r.Buf[0] == 0xff { // asked by a client that won't read
			return len(r.Buf), Send
		}
		return r.N, Send
	})
	greedy := bytes.Repeat(servetest.Frame(servetest.Query(0xff00, "a.", 1)), 200) // 13 MB of replies: more than fits into socket buffers
	for i := range hostile {
		conn := dialFrom(t, fmt.Sprintf("127.0.1.%d", i%200+1), s.Addrs()[0])
		var say []byte
		switch i % 4 {
		case 1:
			say = []byte{0}
		case 2:
			say = servetest.Frame(servetest.Query(1, "a.", 1))[:20]
		case 3:
			say = greedy
		}
		_, _ = conn.Write(say) // it may have been evicted already
		if i%60 == 59 {
			honestly(t, s.Addrs()[0], 20)
		}
	}
	honestly(t, s.Addrs()[0], 20)
	if open := metric(t, reg, "gtm_serve_connections_open"); open > places {
		t.Errorf("%v connections open, %d allowed", open, places)
	}
	if n := metric(t, reg, "gtm_serve_connections_evicted_total"); n < hostile-places {
		t.Errorf("%v evicted", n)
	}
}

// honestly asks n times over one connection.
func honestly(t *testing.T, to netip.AddrPort, n int) {
	t.Helper()
	conn := dialFrom(t, "127.0.2.1", to)
	defer conn.Close()
	for i := range n {
		msg := servetest.Query(uint16(i), "honest.example.", 1)
		if got := servetest.Ask(t, conn, msg); !bytes.Equal(got, servetest.Reply(msg)) {
			t.Fatalf("got %x", got)
		}
	}
}

func TestConnectionsPerClient(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{MaxConnsPerClient: 3, Registerer: reg}, servetest.Echo)
	var conns []net.Conn
	msg := servetest.Query(1, "a.", 1)
	for range 3 {
		conns = append(conns, dialFrom(t, "127.0.0.1", s.Addrs()[0]))
		servetest.Ask(t, conns[len(conns)-1], msg)
	}
	servetest.Ask(t, dialFrom(t, "127.0.0.2", s.Addrs()[0]), msg) // another client
	servetest.Ask(t, dialFrom(t, "127.0.0.1", s.Addrs()[0]), msg)
	if !servetest.Ended(conns[0]) {
		t.Error("the client's own that is idle for longest is open beside three")
	}
	for _, c := range conns[1:] {
		servetest.Ask(t, c, msg) // the others live
	}
	if n := metric(t, reg, "gtm_serve_connections_open"); n != 4 {
		t.Errorf("%v open: three of one client, one of another", n)
	}
}

// TestShutdownAnswersPipelinedMessages begins the shutdown while the first of many messages is being handled.
func TestShutdownAnswersPipelinedMessages(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := start(t, Config{}, func(r *Request) (int, Action) {
		once.Do(func() { close(entered); <-release })
		return servetest.Echo(r)
	})
	conn, idle := servetest.Dial(t, "tcp", s.Addrs()[0]), servetest.Dial(t, "tcp", s.Addrs()[0])
	var asked, want [][]byte
	for i := range 3000 {
		asked = append(asked, servetest.Query(uint16(i), "a.", 1))
		want = append(want, servetest.Reply(asked[i]))
	}
	servetest.Write(t, conn, servetest.Frame(asked...))
	<-entered
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	servetest.Eventually(t, "shutdown begins", s.shared.Stopping.Load)
	close(release)
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, servetest.Frame(want...)) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(servetest.Frame(want...)))
	}
	if !servetest.Ended(idle) {
		t.Error("the idle connection is open")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHandlersOfStreamsAreFew(t *testing.T) {
	var mu sync.Mutex
	made := 0
	s := start(t, Config{Workers: 1, NewHandler: func() Handler {
		mu.Lock()
		made++
		mu.Unlock()
		return servetest.HandlerFunc(servetest.Echo)
	}}, nil)
	var group sync.WaitGroup
	for range 64 {
		conn := servetest.Dial(t, "tcp", s.Addrs()[0])
		group.Go(func() {
			for i := range 20 {
				if _, err := conn.Write(servetest.Frame(servetest.Query(uint16(i), "a.", 1))); err != nil {
					t.Error(err)
				}
				if _, err := servetest.ReadFrame(conn); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	mu.Lock()
	defer mu.Unlock()
	if most := 1 + 2*runtime.GOMAXPROCS(0); made > most {
		t.Errorf("%d handlers for 64 connections, want %d at most", made, most)
	}
}
