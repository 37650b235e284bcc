package rig

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

// Proxy stands between an edge and its etcd, and notes when a marked value goes to the edge: the moment before the bytes
// are handed to the edge's socket. What etcd and its disk take is thereby left out; what the edge takes to read, decode,
// compile and publish is not.
type Proxy struct {
	socket string
	l      net.Listener

	mu     sync.Mutex
	mark   []byte
	passed time.Time
	conns  []net.Conn
}

// NewProxy listens at 127.0.0.1 and passes on to a unix:// endpoint.
func NewProxy(endpoint string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{socket: strings.TrimPrefix(endpoint, "unix://"), l: l}
	go p.accept()
	return p, nil
}

// Endpoint is what the edge is given as --etcd.
func (p *Proxy) Endpoint() string { return "http://" + p.l.Addr().String() }

// Close ends all connections.
func (p *Proxy) Close() {
	_ = p.l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// Expect begins to look for a mark, of which the last passing is forgotten.
func (p *Proxy) Expect(mark string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark, p.passed = []byte(mark), time.Time{}
}

// Passed tells when the mark went to the edge first.
func (p *Proxy) Passed() (time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.passed.IsZero() {
		return p.passed, errors.New("the verdict did not come through the proxy")
	}
	return p.passed, nil
}

func (p *Proxy) accept() {
	for {
		edge, err := p.l.Accept()
		if err != nil {
			return
		}
		etcd, err := net.Dial("unix", p.socket)
		if err != nil {
			_ = edge.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, edge, etcd)
		p.mu.Unlock()
		go p.pass(etcd, edge, nil)
		go p.pass(edge, etcd, p.look)
	}
}

// pass copies from one to the other until either ends.
func (p *Proxy) pass(to, from net.Conn, look func(before, chunk []byte)) {
	defer to.Close()
	buf := make([]byte, 1<<16)
	var before []byte // the end of the last chunk: a mark may be cut in two
	for {
		n, err := from.Read(buf)
		if look != nil && n > 0 {
			look(before, buf[:n])
			before = append(before[:0], buf[max(0, n-64):n]...)
		}
		if _, writeErr := to.Write(buf[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func (p *Proxy) look(before, chunk []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.mark) == 0 || !p.passed.IsZero() {
		return
	}
	if bytes.Contains(chunk, p.mark) || bytes.Contains(append(before[:len(before):len(before)], chunk[:min(64, len(chunk))]...), p.mark) {
		p.passed = time.Now()
	}
}
