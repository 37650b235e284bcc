package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/gti/gtm/bench/agree"
	"github.com/gti/gtm/bench/peers"
)

// asked is how many queries are compared before anything is measured.
const asked = 500

// compare holds the answers of each server against those of the first. One that answers something else is not to be compared:
// that is an error.
func compare(ctx context.Context, o options, servers []*server, load string) error {
	var first []agree.Answer
	for _, s := range servers {
		all, err := s.answers(ctx, o, load, asked)
		if err != nil {
			return err
		}
		if first == nil {
			first = all
		}
		if err := agree.Compare(first, all, load == peers.Steered); err != nil {
			return fmt.Errorf("%s and %s: %w", servers[0].name, s.name, err)
		}
	}
	return nil
}

// answers asks the first n queries of a load through a socket at the load's end of the pair.
func (s *server) answers(ctx context.Context, o options, load string, n int) ([]agree.Answer, error) {
	return agree.Server{Name: s.name, Steers: load == peers.Steered, Dial: func() (conn *dns.Conn, err error) {
		err = inside(s.load, func() error {
			conn, err = dns.Dial("udp", serverPort.String())
			return err
		})
		return conn, err
	}}.Ask(ctx, o.file(load), n)
}

// inside runs f on a thread that is in a network namespace.
func inside(ns string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		file, err := os.Open("/run/netns/" + ns)
		if err == nil {
			defer file.Close()
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}
