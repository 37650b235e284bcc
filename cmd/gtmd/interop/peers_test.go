//go:build interop

package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// A peerDoor is a way to one member's peer port that the other members go. It can tell who comes, since members say so in the
// first line of each connection, and lets nothing pass from or to a member that is cut off.
type peerDoor struct {
	cut *cutMembers
	to  string // the member's name
	at  string // where it listens
}

// cutMembers are the members that reach no other.
type cutMembers struct {
	mu    sync.Mutex
	names map[string]string // by ID, as members tell it
	off   map[string]chan struct{}
}

// gate gives what a connection between two members waits for; nil: nothing.
func (c *cutMembers) gate(from, to string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gate := c.off[to]; gate != nil {
		return gate
	}
	return c.off[c.names[from]]
}

// openDoor gives the address of a door to a member.
func openDoor(t *testing.T, cut *cutMembers, name, at string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	d := &peerDoor{cut: cut, to: name, at: at}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go d.serve(conn)
		}
	}()
	return ln.Addr().String()
}

var saysFrom = regexp.MustCompile(`(?i)X-Server-From: ([0-9a-f]+)`)

func (d *peerDoor) serve(in net.Conn) {
	defer in.Close()
	first := make([]byte, 32<<10)
	n, err := in.Read(first)
	if err != nil {
		return
	}
	from := ""
	if m := saysFrom.FindSubmatch(first[:n]); m != nil {
		from = string(m[1])
	}
	out, err := net.Dial("tcp", d.at)
	if err != nil {
		return
	}
	defer out.Close()
	go d.pump(in, out, nil, from)
	d.pump(out, in, first[:n], from)
}

func (d *peerDoor) pump(to, from net.Conn, first []byte, who string) {
	defer to.Close()
	defer from.Close()
	buf, data := make([]byte, 32<<10), first
	for {
		if gate := d.cut.gate(who, d.to); gate != nil {
			<-gate
			return
		}
		if _, err := to.Write(data); err != nil {
			return
		}
		n, err := from.Read(buf)
		if data = buf[:n]; err != nil && err != io.EOF || n == 0 {
			return
		}
	}
}

// isolate cuts a member off from the others until the test ends; clients reach it as before.
func (c *cluster) isolate(t *testing.T, i int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := c.client(t).MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	t.Cleanup(func() { close(gate) })
	c.cut.mu.Lock()
	defer c.cut.mu.Unlock()
	for _, m := range list.Members {
		c.cut.names[fmt.Sprintf("%x", m.ID)] = m.Name
	}
	c.cut.off[c.members[i].Name] = gate
}

// startDivisibleCluster starts three members of which each can be isolated.
func startDivisibleCluster(t *testing.T) *cluster {
	t.Helper()
	cut := &cutMembers{names: map[string]string{}, off: map[string]chan struct{}{}}
	c := startClusterBy(t, func(m *member) {
		m.PeerAt = m.Peer
		m.Peer = "http://" + openDoor(t, cut, m.Name, strings.TrimPrefix(m.PeerAt, "http://"))
	})
	c.cut = cut
	return c
}
