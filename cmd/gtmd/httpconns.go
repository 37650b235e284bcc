package main

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// How many connections the HTTP port holds. A file descriptor and some 20 KB each: what edges, probers and DNS need is left.
const (
	maxWebConns     = 1024
	maxWebConnsFrom = 128 // one address; of IPv6 one /64
)

// webConns bounds the connections of the HTTP port. Where there are too many, the one that has been idle for the longest time gives way,
// and where none is idle the new one is closed. A connection that has not yet asked anything is idle. It is safe for concurrent use.
type webConns struct {
	net.Listener
	most, each int

	mu    sync.Mutex
	conns map[net.Conn]*webConn
	from  map[netip.Prefix]int
}

// webConn is what is known of a connection.
type webConn struct {
	from netip.Prefix
	idle time.Time // since when; zero: it is not
}

func limitConns(l net.Listener, most, each int) *webConns {
	return &webConns{Listener: l, most: most, each: each, conns: map[net.Conn]*webConn{}, from: map[netip.Prefix]int{}}
}

// Accept gives the next connection that there is room for.
func (w *webConns) Accept() (net.Conn, error) {
	for {
		c, err := w.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if victim, ok := w.admit(c, time.Now()); !ok {
			_ = c.Close()
			continue
		} else if victim != nil {
			_ = victim.Close() // its server hears of it, and calls watch
		}
		return c, nil
	}
}

// admit notes a connection, or says that there is no room. victim is to be closed for it.
func (w *webConns) admit(c net.Conn, now time.Time) (victim net.Conn, ok bool) {
	from := originOf(c.RemoteAddr())
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.from[from] >= w.each:
		victim = w.longestIdle(func(o *webConn) bool { return o.from == from })
	case len(w.conns) >= w.most:
		victim = w.longestIdle(func(*webConn) bool { return true })
	default:
		w.note(c, from, now)
		return nil, true
	}
	if victim == nil {
		return nil, false
	}
	w.forget(victim)
	w.note(c, from, now)
	return victim, true
}

func (w *webConns) note(c net.Conn, from netip.Prefix, now time.Time) {
	w.conns[c] = &webConn{from: from, idle: now}
	w.from[from]++
}

func (w *webConns) forget(c net.Conn) {
	o := w.conns[c]
	if o == nil {
		return
	}
	delete(w.conns, c)
	if w.from[o.from]--; w.from[o.from] == 0 {
		delete(w.from, o.from)
	}
}

func (w *webConns) longestIdle(may func(*webConn) bool) (longest net.Conn) {
	var since time.Time
	for c, o := range w.conns {
		if !o.idle.IsZero() && may(o) && (longest == nil || o.idle.Before(since)) {
			longest, since = c, o.idle
		}
	}
	return longest
}

// watch is a http.Server's ConnState.
func (w *webConns) watch(c net.Conn, state http.ConnState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.conns[c]
	switch {
	case o == nil:
	case state == http.StateClosed, state == http.StateHijacked:
		w.forget(c)
	case state == http.StateActive:
		o.idle = time.Time{}
	case state == http.StateIdle:
		o.idle = time.Now()
	}
}

// originOf gives what connections are counted by.
func originOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil { // no address at all: all such count together
		return netip.Prefix{}
	}
	return p
}
