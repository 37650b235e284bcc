package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"
)

// TestLimitsAreShared takes a client's places by several transports. A further connection, by whatever transport, takes the place of
// the client's own that is idle for longest: a few that only connect must not shut out everyone behind one address.
func TestLimitsAreShared(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConnsPerClient: 4, Registerer: reg}, echo)
	msg := query(0, "a.", 1)
	first := dial(t, "tcp", s.Addrs()[0])
	ask(t, first, msg)
	encrypted := dialTLS(t, s)
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
	if _, err := exchangeQUIC(t, quick, frame(msg)); err != nil {
		t.Fatal(err)
	}
	ask(t, dial(t, "tcp", s.Addrs()[0]), msg)
	if !ended(first) {
		t.Error("the first one, idle for longest, is open beside four")
	}
	if _, err := post(clients["HTTP/3.0"], webURL(s), msg); err != nil {
		t.Error(err)
	}
	if !ended(encrypted) {
		t.Error("the one by TLS, which never asked, is open beside four")
	}
	if n := metric(t, reg, "gtm_serve_connections_open"); n != 4 {
		t.Errorf("%v open, 4 may be", n)
	}
	if _, err := exchangeQUIC(t, quick, frame(msg)); err != nil {
		t.Errorf("one that asks lives on: %v", err)
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
	eventually(t, "shutdown begins", s.shared.stopping.Load)
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

// TestTotalOfMessagesIsBounded has many clients with a few messages each, as many as may be; one more costs the connection that has
// most of them its place, and nobody else, however many more there are.
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
		if i == 10*messagesPerConn-1 {
			i = 1 // which has one more than all others, and the last one less
		}
		if !table.enter(seats[i%10]) {
			t.Fatalf("message %d was refused", i)
		}
	}
	if table.enter(seats[1]) || len(aborted) != 0 {
		t.Errorf("who has most of them is refused, and nobody pays for it: %v", aborted)
	}
	for range 5 {
		if table.enter(seats[5]) {
			t.Error("one more was let in")
		}
	}
	if len(aborted) != 1 || aborted[1] != 1 {
		t.Errorf("aborted: %v", aborted)
	}
	if n := table.stats()[QUIC]; n.overload != 6 || n.evicted != 1 || n.open != 9 {
		t.Errorf("%+v", n)
	}
	if table.enter(seats[1]) || table.stats()[QUIC].overload != 6 {
		t.Error("what was cut off goes on with its batch")
	}
	for range messagesPerConn + 1 {
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
		s.streams.bigMessages <- struct{}{}
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
	<-s.streams.bigMessages // one is free, and free again afterwards
	for range 3 {
		if got, err := exchangeQUIC(t, conn, frame(large)); err != nil || !bytes.Equal(got, frame(reply(large))) {
			t.Errorf("QUIC: %d bytes, %v", len(got), err)
		}
	}
}

// Where all places were taken by clients that never read, those that blocked in a write counted as busy, and the few honest ones between
// two questions gave way: 30 to 54 % of new connections were reset.
func TestClientsThatNeverReadGiveWay(t *testing.T) {
	table := newConnTable(100, 20)
	aborted := map[string]int{}
	join := func(who string, host byte) *seat {
		c := &seat{transport: TCP, peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, host}), 1)}
		c.guest = guestFunc(func() { aborted[who]++ })
		if !table.admit(c) {
			t.Fatalf("%s is not admitted", who)
		}
		return c
	}
	for i := range 95 {
		c := join("hostile", byte(i/19))
		table.setBusy(c, true)
		c.at = c.at.Add(-time.Minute) // since when it has not taken its replies
	}
	for round := range 200 {
		c := join("honest", byte(100+round%100))
		table.setBusy(c, true)
		table.setBusy(c, false) // it has its answer, and waits before it asks again
		if round%3 == 0 {
			table.leave(c)
		}
		hostile := join("hostile", byte(round%5))
		table.setBusy(hostile, true)
		hostile.at = hostile.at.Add(-time.Minute)
		if aborted["honest"] > 0 {
			t.Fatalf("round %d: an honest client gave way", round)
		}
		if round%3 != 0 {
			table.leave(c)
		}
	}
	if aborted["hostile"] < 100 {
		t.Errorf("%d hostile ones gave way", aborted["hostile"])
	}
}

// Who connects and never asks gives way to others behind the same address before one that has asked, however long ago.
func TestConnectionsThatNeverAskGiveWayFirst(t *testing.T) {
	table := newConnTable(100, 3)
	var gone []int
	for i := range 4 {
		c := &seat{transport: TCP, peer: netip.MustParseAddrPort("192.0.2.1:1")}
		c.guest = guestFunc(func() { gone = append(gone, i) })
		if !table.admit(c) {
			t.Fatalf("%d is not admitted", i)
		}
		if i == 0 {
			table.setBusy(c, true)
			table.setBusy(c, false)
		}
		c.since = c.since.Add(-time.Minute)
	}
	if len(gone) != 1 || gone[0] != 1 {
		t.Errorf("%v gave way, and not the first that never asked", gone)
	}
}

// Where all of a client's connections are at work, a further one is refused.
func TestConnectionsAtWorkStay(t *testing.T) {
	table := newConnTable(100, 3)
	for i := range 4 {
		c := &seat{transport: TCP, peer: netip.MustParseAddrPort("192.0.2.1:1"), guest: guestFunc(func() { t.Error("one at work was closed") })}
		if ok := table.admit(c); ok != (i < 3) {
			t.Fatalf("connection %d: %v", i, ok)
		} else if ok {
			table.setBusy(c, true)
		}
	}
	if n := table.stats()[TCP]; n.refused != 1 || n.open != 3 {
		t.Errorf("%+v", n)
	}
}
