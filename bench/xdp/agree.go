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
		for i := range first {
			if fault := agree.Differ(first[i], all[i], load == peers.Steered); fault != "" {
				return fmt.Errorf("%s and %s do not agree on %s: %s", servers[0].name, s.name, first[i].Question, fault)
			}
		}
	}
	return nil
}

// answers asks the first n queries of a load through a socket at the load's end of the pair.
func (s *server) answers(ctx context.Context, o options, load string, n int) ([]agree.Answer, error) {
	queries, err := peers.ReadQueries(o.file(load), n)
	if err != nil {
		return nil, err
	}
	var conn *dns.Conn
	if err := inside(s.load, func() (err error) {
		conn, err = dns.Dial("udp", serverPort.String())
		return err
	}); err != nil {
		return nil, err
	}
	defer conn.Close()
	return agree.Server{Name: s.name, Conn: conn, Steers: load == peers.Steered}.All(ctx, queries)
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
