package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"
)

// TestLimitsAreShared takes a client's places by several transports, and finds none left for any of them.
func TestLimitsAreShared(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConnsPerClient: 4, Registerer: reg}, echo)
	msg := query(0, "a.", 1)
	first := dial(t, "tcp", s.Addrs()[0])
	ask(t, first, msg)
	dialTLS(t, s)
	quick := dialQUIC(t, s)
	clients := webClients(t, s)
	if _, err := post(clients["HTTP/2.0"], webURL(s), msg); err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"tcp", "tls", "https", "quic"} {
		if n := metric(t, reg, "gtm_serve_connections_open", "transport="+transport); n != 1 {
			t.Errorf("%v open by %s", n, transport)
		}
	}
	for _, address := range []netip.AddrPort{s.Addrs()[0], s.AddrsOf(TLS)[0], s.AddrsOf(HTTPS)[0]} {
		conn, err := net.DialTimeout("tcp", address.String(), patience)
		if err != nil {
			continue // its end came before Dial was done
		}
		if conn.SetDeadline(time.Now().Add(patience)) != nil || !ended(conn) {
			t.Errorf("a fifth connection is open, at %s", address)
		}
		conn.Close()
	}
	if _, err := quic.DialAddr(within(t), s.AddrsOf(QUIC)[0].String(), clientTLS(t, s, alpnQUIC), nil); err == nil {
		t.Error("a fifth connection is open, by QUIC")
	}
	if _, err := post(clients["HTTP/3.0"], webURL(s), msg); err == nil {
		t.Error("a fifth connection is open, by HTTP/3")
	}
	for _, transport := range []string{"tcp", "tls", "https", "quic"} {
		if n := metric(t, reg, "gtm_serve_connections_refused_total", "transport="+transport); n == 0 {
			t.Errorf("none refused by %s", transport)
		}
	}
	ask(t, first, msg) // the first ones live
	if _, err := exchangeQUIC(t, quick, frame(msg)); err != nil {
		t.Error(err)
	}
	if _, err := post(clients["HTTP/2.0"], webURL(s), msg); err != nil {
		t.Error(err)
	}
	first.Close()
	eventually(t, "a place is free", func() bool { return metric(t, reg, "gtm_serve_connections_open") == 3 })
	if _, err := post(clients["HTTP/3.0"], webURL(s), msg); err != nil {
		t.Error(err)
	}
}

func TestEvictionIsShared(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConns: 3, Registerer: reg}, echo)
	quick := dialQUIC(t, s)
	if _, err := exchangeQUIC(t, quick, frame(query(0, "a.", 1))); err != nil {
		t.Fatal(err)
	}
	web := tls.Client(dial(t, "tcp", s.AddrsOf(HTTPS)[0]), clientTLS(t, s, "http/1.1"))
	if err := web.Handshake(); err != nil {
		t.Fatal(err)
	}
	dialTLS(t, s)
	dialTLS(t, s)
	waitFor(t, "the connection of QUIC, idle for longest, ends", quick.Context().Done())
	dialTLS(t, s)
	if !ended(web) {
		t.Error("the connection of HTTPS, idle for longest, is open")
	}
	for _, transport := range []string{"https", "quic"} {
		if n := metric(t, reg, "gtm_serve_connections_evicted_total", "transport="+transport); n != 1 {
			t.Errorf("%v evicted by %s", n, transport)
		}
	}
}

// TestNewConnectionsEnd opens connections that never ask: they send pings, or a header that never ends.
func TestNewConnectionsEnd(t *testing.T) {
	s := startSecure(t, Config{FirstTimeout: 100 * time.Millisecond, IdleTimeout: time.Hour}, echo)
	lively := &quic.Config{KeepAlivePeriod: 10 * time.Millisecond}
	for protocol, address := range map[string]netip.AddrPort{alpnQUIC: s.AddrsOf(QUIC)[0], "h3": s.AddrsOf(HTTPS)[0]} {
		conn, err := quic.DialAddr(within(t), address.String(), clientTLS(t, s, protocol), lively)
		if err != nil {
			continue // it has ended already
		}
		waitFor(t, protocol+" ends", conn.Context().Done())
	}
	for protocol, say := range map[string]string{
		alpnTLS: "\x01", "http/1.1": "GET / HTTP/1.1\r\nSlow: ",
		"h2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x40\x00\x01\x00\x00\x00\x00\x01", // preface, settings, half a header
	} {
		to := s.AddrsOf(HTTPS)[0]
		if protocol == alpnTLS {
			to = s.AddrsOf(TLS)[0]
		}
		for _, silent := range []bool{true, false} {
			conn := dial(t, "tcp", to)
			if !silent {
				secure := tls.Client(conn, clientTLS(t, s, protocol))
				_, _ = secure.Write([]byte(say)) // it may have ended already
			}
			if !ended(conn) {
				t.Errorf("%s: open (silent %v)", protocol, silent)
			}
		}
	}
}

// TestIdleConnectionsEnd lets connections ask once, and then send pings at most.
func TestIdleConnectionsEnd(t *testing.T) {
	s := startSecure(t, Config{FirstTimeout: time.Hour, IdleTimeout: 100 * time.Millisecond}, echo)
	reg := prometheus.NewRegistry()
	if err := reg.Register(s.metrics); err != nil {
		t.Fatal(err)
	}
	quick, err := quic.DialAddr(within(t), s.AddrsOf(QUIC)[0].String(), clientTLS(t, s, alpnQUIC), &quic.Config{KeepAlivePeriod: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	msg := query(0, "a.", 1)
	if _, err := exchangeQUIC(t, quick, frame(msg)); err != nil {
		t.Fatal(err)
	}
	secure := dialTLS(t, s)
	write(t, secure, frame(msg))
	for version, client := range webClients(t, s) {
		if _, err := post(client, webURL(s), msg); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
	waitFor(t, "QUIC ends", quick.Context().Done())
	if !ended(secure) {
		t.Error("TLS is open")
	}
	eventually(t, "all are gone", func() bool { return metric(t, reg, "gtm_serve_connections_open") == 0 })
}

func waitFor(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-within(t).Done():
		t.Errorf("waited in vain: %s", what)
	}
}

func TestShutdownEndsEverything(t *testing.T) {
	entered, release := make(chan string, 10), make(chan struct{})
	s := startSecure(t, Config{SlowWorkers: 8}, func(r *Request) (int, Action) {
		if !r.Slow {
			return 0, Defer
		}
		entered <- r.Transport.String()
		<-release
		return echo(r)
	})
	all := askers(t, s)
	idle, half := dialTLS(t, s), dial(t, "tcp", s.AddrsOf(HTTPS)[0])
	quiet := dialQUIC(t, s)
	msg := query(0, "a.", 1)
	var group sync.WaitGroup
	for name, asker := range all {
		group.Go(func() {
			if got := asker(msg); !bytes.Equal(got, reply(msg)) {
				t.Errorf("%s: got %x", name, got)
			}
		})
	}
	for range all {
		<-entered
	}
	done := make(chan error)
	go func() { done <- s.Shutdown(within(t)) }()
	eventually(t, "shutdown begins", s.stopping.Load)
	close(release)
	group.Wait()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !ended(idle) || !ended(half) {
		t.Error("an idle connection is open")
	}
	waitFor(t, "the idle connection of QUIC ends", quiet.Context().Done())
}

func TestShutdownCutsOff(t *testing.T) {
	entered, release := make(chan bool, 10), make(chan struct{})
	cfg := secured(t, Config{NewHandler: func() Handler {
		return handlerFunc(func(r *Request) (int, Action) {
			r.Produce = func(send func([]byte) error) error {
				entered <- true
				<-release
				return send([]byte("too late"))
			}
			return 0, Stream
		})
	}})
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	secure, quick := dialTLS(t, s), dialQUIC(t, s)
	write(t, secure, frame(query(0, "a.", 1)))
	failed := make(chan error, 1)
	go func() {
		_, err := exchangeQUIC(t, quick, frame(query(0, "a.", 1)))
		failed <- err
	}()
	<-entered
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("Shutdown did not wait")
	}
	if !ended(secure) {
		t.Error("open")
	}
	if err := <-failed; err == nil {
		t.Error("open by QUIC")
	}
	close(release)
	s.slowly.Wait() // what was cut off comes to its end all the same
}

// TestTotalOfMessagesIsBounded has many clients with a few messages each, as many as may be; one more costs the
// connection that was answered longest ago its place.
func TestTotalOfMessagesIsBounded(t *testing.T) {
	table := newConnTable(10, 10)
	var seats []*seat
	aborted := map[int]int{}
	for i := range 10 {
		c := &seat{transport: QUIC, peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1)}
		c.guest = guestFunc(func() { aborted[i]++ })
		if !table.admit(c) {
			t.Fatal("not admitted")
		}
		seats = append(seats, c)
	}
	for i := range 10 * messagesPerConn {
		if !table.enter(seats[i%10]) {
			t.Fatalf("message %d was refused", i)
		}
	}
	table.setBusy(seats[0], true) // it is the oldest, but at work
	if table.enter(seats[5]) {
		t.Error("one more was let in")
	}
	if len(aborted) != 1 || aborted[1] != 1 {
		t.Errorf("aborted: %v", aborted)
	}
	if n := table.stats()[QUIC]; n.overload != 1 || n.evicted != 1 || n.open != 9 {
		t.Errorf("%+v", n)
	}
	for range messagesPerConn {
		table.exit(seats[1])
	}
	table.leave(seats[1])
	if !table.enter(seats[5]) {
		t.Error("refused, though there is room")
	}
	if len(table.client) != 9 {
		t.Errorf("%d clients are remembered", len(table.client))
	}
}

// guestFunc is a guest that only counts what is done to it.
type guestFunc func()

func (f guestFunc) abort() { f() }
func (f guestFunc) hurry() {}

// TestLargeMessagesAreBounded takes all permits to read one, and finds that small ones still pass.
func TestLargeMessagesAreBounded(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	for range maxBigMessages {
		s.bigMessages <- struct{}{}
	}
	small := query(0, "a.", 1)
	large := append(small, make([]byte, smallMessage)...)
	conn := dialQUIC(t, s)
	for version, client := range webClients(t, s) {
		if _, err := post(client, webURL(s), large); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("%s: %v", version, err)
		}
		if _, err := post(client, webURL(s), small); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
	var fault *quic.StreamError
	if _, err := exchangeQUIC(t, conn, frame(large)); !errors.As(err, &fault) || fault.ErrorCode != doqExcessiveLoad {
		t.Errorf("QUIC: %v", err)
	}
	if _, err := exchangeQUIC(t, conn, frame(small)); err != nil {
		t.Errorf("QUIC: %v", err)
	}
	<-s.bigMessages // one is free, and free again afterwards
	for range 3 {
		if got, err := exchangeQUIC(t, conn, frame(large)); err != nil || !bytes.Equal(got, frame(reply(large))) {
			t.Errorf("QUIC: %d bytes, %v", len(got), err)
		}
	}
}
