package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// tally counts the answers to a load of ours, over all connections.
type tally struct{ next, answers, good, bytes, waited atomic.Int64 }

// count takes in one answer to what was asked at began.
func (t *tally) count(answer []byte, began time.Time) {
	t.answers.Add(1)
	t.bytes.Add(int64(len(answer)))
	t.waited.Add(int64(time.Since(began)))
	if len(answer) >= 12 && answer[3]&15 == dns.RcodeSuccess {
		t.good.Add(1)
	}
}

// report prints in dnsperf's words.
func (t *tally) report(w io.Writer, took time.Duration) error {
	n := float64(max(t.answers.Load(), 1))
	_, err := fmt.Fprintf(w, "Queries completed: %d\nResponse codes: NOERROR %d\nAverage packet size: request 0, response %.0f\n"+
		"Run time (s): %f\nQueries per second: %f\nAverage Latency (s): %f\n", t.answers.Load(), t.good.Load(), float64(t.bytes.Load())/n,
		took.Seconds(), float64(t.answers.Load())/took.Seconds(), time.Duration(float64(t.waited.Load())/n).Seconds())
	return err
}
