package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ended reads until the server ends the connection, and tells whether it did.
func ended(conn net.Conn) bool {
	_, err := io.Copy(io.Discard, conn)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestPipelining(t *testing.T) {
	s := start(t, Config{}, echo)
	conn := dial(t, "tcp", s.Addrs()[0])
	const n = 5000 // replies far beyond one write
	var msgs [][]byte
	for i := range n {
		msgs = append(msgs, query(uint16(i), "www.example.", 1))
	}
	go func() { _, _ = conn.Write(frame(msgs...)) }() // an error shows as a missing reply
	for i, msg := range msgs {
		if got, err := readFrame(conn); err != nil || !bytes.Equal(got, reply(msg)) {
			t.Fatalf("reply %d: %x, %v", i, got, err)
		}
	}
}

// TestFramesCutAnywhere sends messages of all sizes in pieces that begin and end anywhere.
func TestFramesCutAnywhere(t *testing.T) {
	s := start(t, Config{}, echo)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		conn := dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
		var msgs [][]byte
		for i, size := range []int{12, 13, 100, 2045, 2046, 2047, 2048, 5000, 65535, 12, 30000} {
			msg := append(query(uint16(i), "a.", 1), make([]byte, 65535)...)[:size]
			msgs = append(msgs, msg)
		}
		rnd.Shuffle(len(msgs), func(i, j int) { msgs[i], msgs[j] = msgs[j], msgs[i] })
		go func() {
			for rest := frame(msgs...); len(rest) > 0; {
				n := min(len(rest), 1+rnd.IntN(8000))
				if _, err := conn.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
			_ = conn.CloseWrite()
		}()
		for i, msg := range msgs {
			if got, err := readFrame(conn); err != nil || !bytes.Equal(got, reply(msg)) {
				t.Fatalf("reply %d of %d bytes: %d bytes, %v", i, len(msg), len(got), err)
			}
		}
		if rest, err := io.ReadAll(conn); len(rest) != 0 || err != nil {
			t.Fatalf("after the last reply: %x, %v", rest, err)
		}
	}
}

func TestHalfClose(t *testing.T) {
	s := start(t, Config{}, echo)
	for _, tail := range [][]byte{nil, {0}, {0, 50, 1, 2, 3}} { // with an unfinished message, too
		conn := dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
		a, b := query(1, "a.", 1), query(2, "b.", 1)
		write(t, conn, append(frame(a, b), tail...))
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, frame(reply(a), reply(b))) {
			t.Errorf("tail %x: got %x, %v", tail, got, err)
		}
	}
}

func TestTooShortAFrameEndsTheStream(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Registerer: reg}, echo)
	for i, short := range [][]byte{{0, 0}, {0, 3, 1, 2, 3}} {
		conn := dial(t, "tcp", s.Addrs()[0])
		a := query(1, "a.", 1)
		write(t, conn, append(frame(a), short...))
		if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, frame(reply(a))) {
			t.Errorf("%x: got %x, %v", short, got, err)
		}
		eventually(t, "the count", func() bool {
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
		{"idle after a message", Config{FirstTimeout: long, IdleTimeout: short, MessageTimeout: long}, frame(query(1, "a.", 1)), nil},
		{"dripping a later message", Config{FirstTimeout: long, IdleTimeout: long, MessageTimeout: short},
			append(frame(query(1, "a.", 1)), 255, 255), []byte{0}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			conn := dial(t, "tcp", start(t, tc.cfg, echo).Addrs()[0])
			write(t, conn, tc.before)
			done := make(chan struct{})
			go func() {
				for range time.Tick(5 * time.Millisecond) {
					if _, err := conn.Write(tc.drip); err != nil || len(tc.drip) == 0 {
						break
					}
				}
				close(done)
			}()
			if !ended(conn) {
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
		echo(r)
		return len(r.Buf), Send
	})
	conn := dial(t, "tcp", s.Addrs()[0])
	asks := frame(query(1, "a.", 1))
	for { // until the server has given up
		if _, err := conn.Write(asks); err != nil {
			break
		}
	}
	eventually(t, "the connection is gone", func() bool { return metric(t, reg, "gtm_serve_connections_open") == 0 })
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
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestHonestClientAmongHostileOnes(t *testing.T) {
	const hostile, places = 300, 50
	reg := prometheus.NewRegistry()
	s := start(t, Config{MaxConns: places, MaxConnsPerClient: places, FirstTimeout: time.Hour, IdleTimeout: time.Hour,
		MessageTimeout: time.Hour, WriteTimeout: time.Hour, Registerer: reg}, func(r *Request) (int, Action) {
		echo(r)
		if r.Buf[0] == 0xff { // asked by a client that won't read
			return len(r.Buf), Send
		}
		return r.N, Send
	})
	greedy := bytes.Repeat(frame(query(0xff00, "a.", 1)), 200) // 13 MB of replies: more than fits into socket buffers
	for i := range hostile {
		conn := dialFrom(t, fmt.Sprintf("127.0.1.%d", i%200+1), s.Addrs()[0])
		var say []byte
		switch i % 4 {
		case 1:
			say = []byte{0}
		case 2:
			say = frame(query(1, "a.", 1))[:20]
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
		msg := query(uint16(i), "honest.example.", 1)
		if got := ask(t, conn, msg); !bytes.Equal(got, reply(msg)) {
			t.Fatalf("got %x", got)
		}
	}
}

func TestConnectionsPerClient(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{MaxConnsPerClient: 3, Registerer: reg}, echo)
	var conns []net.Conn
	msg := query(1, "a.", 1)
	for range 3 {
		conns = append(conns, dialFrom(t, "127.0.0.1", s.Addrs()[0]))
		ask(t, conns[len(conns)-1], msg)
	}
	ask(t, dialFrom(t, "127.0.0.2", s.Addrs()[0]), msg) // another client
	ask(t, dialFrom(t, "127.0.0.1", s.Addrs()[0]), msg)
	if !ended(conns[0]) {
		t.Error("the client's own that is idle for longest is open beside three")
	}
	for _, c := range conns[1:] {
		ask(t, c, msg) // the others live
	}
	if n := metric(t, reg, "gtm_serve_connections_open"); n != 4 {
		t.Errorf("%v open: three of one client, one of another", n)
	}
}

func TestEvictOneTakesTheOneIdleForLongest(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Registerer: reg}, echo)
	s.streams.conns.evictOne() // nobody is there
	a, b := dial(t, "tcp", s.Addrs()[0]), dial(t, "tcp", s.Addrs()[0])
	for _, conn := range []net.Conn{b, a} { // b is idle for longer, though a came first
		ask(t, conn, query(1, "a.", 1))
		eventually(t, "the server has done its part", func() bool {
			s.streams.conns.mu.Lock()
			defer s.streams.conns.mu.Unlock()
			last := s.streams.conns.order.Back().Value.(*seat)
			return last.busy == 0 && last.peer.String() == conn.LocalAddr().String()
		})
	}
	s.streams.conns.evictOne()
	if !ended(b) {
		t.Error("b is open")
	}
	ask(t, a, query(1, "a.", 1))
	if n := metric(t, reg, "gtm_serve_connections_evicted_total"); n != 1 {
		t.Errorf("%v evicted", n)
	}
}

func TestClientKey(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1", true}, {"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		if got := clientKey(netip.MustParseAddr(tc.a)) == clientKey(netip.MustParseAddr(tc.b)); got != tc.same {
			t.Errorf("%s and %s: %v", tc.a, tc.b, got)
		}
	}
}

func TestIdleTimeShrinks(t *testing.T) {
	table := newConnTable(100, 100)
	for _, tc := range []struct {
		open int
		want time.Duration
	}{{0, 20 * time.Second}, {50, 20 * time.Second}, {75, 11 * time.Second}, {100, 2 * time.Second}} {
		for table.order.Len() < tc.open {
			if !table.admit(&seat{peer: netip.MustParseAddrPort("127.0.0.1:1")}) {
				t.Fatal("not admitted")
			}
		}
		if got := table.idleTime(20 * time.Second); got.Round(time.Millisecond) != tc.want {
			t.Errorf("%d open: %v, want %v", tc.open, got, tc.want)
		}
	}
}

// TestShutdownAnswersPipelinedMessages begins the shutdown while the first of many messages is being handled.
func TestShutdownAnswersPipelinedMessages(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := start(t, Config{}, func(r *Request) (int, Action) {
		once.Do(func() { close(entered); <-release })
		return echo(r)
	})
	conn, idle := dial(t, "tcp", s.Addrs()[0]), dial(t, "tcp", s.Addrs()[0])
	var asked, want [][]byte
	for i := range 3000 {
		asked = append(asked, query(uint16(i), "a.", 1))
		want = append(want, reply(asked[i]))
	}
	write(t, conn, frame(asked...))
	<-entered
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	eventually(t, "shutdown begins", s.shared.stopping.Load)
	close(release)
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, frame(want...)) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(frame(want...)))
	}
	if !ended(idle) {
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
		return handlerFunc(echo)
	}}, nil)
	var group sync.WaitGroup
	for range 64 {
		conn := dial(t, "tcp", s.Addrs()[0])
		group.Go(func() {
			for i := range 20 {
				if _, err := conn.Write(frame(query(uint16(i), "a.", 1))); err != nil {
					t.Error(err)
				}
				if _, err := readFrame(conn); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	mu.Lock()
	defer mu.Unlock()
	if most := 1 + cap(s.streams.streams.free); made > most {
		t.Errorf("%d handlers for 64 connections, want %d at most", made, most)
	}
}
