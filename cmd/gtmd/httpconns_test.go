package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// addressed is a connection of which only the client's address matters.
type addressed struct {
	net.Conn
	from string
}

func (a *addressed) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a.from))
}

// TestConnectionsOfTheHTTPPortAreBounded: it took as many as there were descriptors, and edges and probers had none left.
func TestConnectionsOfTheHTTPPortAreBounded(t *testing.T) {
	w := limitConns(nil, 4, 2)
	now := time.Unix(0, 0)
	admit := func(from string) (c, victim net.Conn, ok bool) {
		now = now.Add(time.Second)
		c = &addressed{from: from}
		victim, ok = w.admit(c, now)
		return c, victim, ok
	}
	a1, _, _ := admit("192.0.2.1:1")
	a2, _, ok := admit("192.0.2.1:2")
	if !ok || len(w.conns) != 2 {
		t.Fatal("two of one address")
	}
	a3, victim, ok := admit("192.0.2.1:3")
	if !ok || victim != a1 || len(w.conns) != 2 {
		t.Errorf("a third of one address: %v in place of %v", ok, victim)
	}
	w.watch(a1, http.StateClosed) // which is not counted twice
	w.watch(a2, http.StateActive)
	w.watch(a3, http.StateActive)
	if _, _, ok := admit("192.0.2.1:4"); ok {
		t.Error("one more than all that are at work")
	}
	b, _, _ := admit("[2001:db8::1]:1")
	if _, victim, ok := admit("[2001:db8:0:0:1::1]:1"); !ok || victim != nil {
		t.Error("a fourth in all")
	}
	if _, victim, ok := admit("[2001:db8::2]:1"); !ok || victim != b {
		t.Errorf("a third of one /64: %v in place of %v", ok, victim)
	}
	w.watch(a2, http.StateIdle)
	if _, victim, ok := admit("198.51.100.1:1"); !ok || victim == nil || victim == a2 || victim == a3 || len(w.conns) != 4 {
		t.Errorf("a fifth in all: %v in place of %v", ok, victim)
	}
	for c := range w.conns {
		w.watch(c, http.StateClosed)
	}
	if len(w.conns) != 0 || len(w.from) != 0 {
		t.Errorf("left behind: %v, %v", w.conns, w.from)
	}
}

// TestTheHTTPPortLetsNobodyWaitForEver, and the limits are those of a real server.
func TestTheHTTPPortLetsNobodyWaitForEver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := limitConns(l, 3, 2)
	web := newWebServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), conns,
		slog.New(slog.DiscardHandler))
	if web.ReadTimeout <= 0 || web.WriteTimeout <= 0 || web.IdleTimeout <= 0 || web.ReadHeaderTimeout <= 0 || web.MaxHeaderBytes <= 0 {
		t.Errorf("no limit: %+v", web)
	}
	done := make(chan error, 1)
	go func() { done <- web.Serve(conns) }()
	var open []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	// The first gives way to the third, which is the third of this address.
	if err := open[0].SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := open[0].Read(make([]byte, 1)); err == nil {
		t.Error("the first is still there")
	} else if timeout, is := err.(net.Error); is && timeout.Timeout() {
		t.Error("the first is still there")
	}
	if _, err := io.WriteString(open[2], "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if reply, err := io.ReadAll(open[2]); err != nil || len(reply) == 0 {
		t.Errorf("the third: %q, %v", reply, err)
	}
	if err := web.Close(); err != nil {
		t.Error(err)
	}
	<-done
}
