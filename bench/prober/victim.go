package main

import (
	"io"
	"net"
	"net/netip"
	"sync"
)

// victim is a server of HTTP that dies and lives again.
type victim struct {
	at    netip.AddrPort
	hangs bool // it dies by saying nothing any more, rather than by refusing

	mu       sync.Mutex
	listener net.Listener
	silent   bool
}

// live has it answer.
func (v *victim) live() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.silent = false
	if v.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", v.at.String())
	if err != nil {
		return err
	}
	v.listener = l
	go v.serve(l)
	return nil
}

// die has it answer no more, from now on.
func (v *victim) die() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.hangs {
		v.silent = true
		return
	}
	v.close()
}

// stop ends it.
func (v *victim) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.close()
}

func (v *victim) close() {
	if v.listener != nil {
		_ = v.listener.Close()
		v.listener = nil
	}
}

func (v *victim) isSilent() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.silent
}

func (v *victim) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if v.isSilent() {
				_, _ = io.Copy(io.Discard, conn) // until the other side gives up
				return
			}
			answer(conn)
		}()
	}
}
