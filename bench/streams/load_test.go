package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/bench/figures"
)

const printed = `DNS Performance Testing Tool
Statistics:

  Queries sent:         1000
  Queries completed:    990 (99.00%)
  Queries lost:         10 (1.00%)

  Response codes:       NOERROR 990 (100.00%)
  Average packet size:  request 29, response 45
  Run time (s):         0.500000
  Queries per second:   1980.000000

  Average Latency (s):  0.001500 (min 0.000027, max 0.008353)
`

func TestParseFigures(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		wrong          bool
	}{
		{"as printed", "", "", false},
		{"a failure among them", "NOERROR 990 (100.00%)", "NOERROR 980 (98.99%), SERVFAIL 10 (1.01%)", true},
		{"failures alone", "NOERROR 990", "SERVFAIL 990", true},
		{"no report", printed, "", true},
		{"no answer", "990", "0", true},
	} {
		got, err := parseFigures(strings.ReplaceAll(printed, c.from, c.to))
		if (err != nil) != c.wrong {
			t.Errorf("%s: %v", c.name, err)
		}
		if want := (printedFigures{answers: 990, qps: 1980, latency: 0.0015, bytes: 45, seconds: 0.5}); !c.wrong && got != want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestOurOwnReport has parseFigures read what our own loads print.
func TestOurOwnReport(t *testing.T) {
	var own tally
	own.answers.Store(500)
	own.good.Store(500)
	own.bytes.Store(500 * 46)
	own.waited.Store(int64(500 * 2 * time.Millisecond))
	var b bytes.Buffer
	if err := own.report(&b, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	got, err := parseFigures(b.String())
	if want := (printedFigures{answers: 500, qps: 250, latency: 0.002, bytes: 46, seconds: 2}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestChosen(t *testing.T) {
	if all, err := chosen(""); err != nil || len(all) != len(loads) {
		t.Errorf("%d loads, %v", len(all), err)
	}
	if two, err := chosen("doh,tcp"); err != nil || len(two) != 2 || two[0].name != "doh" || two[1].name != "tcp" {
		t.Errorf("%v, %v", two, err)
	}
	if _, err := chosen("dot,fax"); err == nil {
		t.Error("fax is a load")
	}
}

// TestWhatCounts has answers/s count only where both servers are what holds back.
func TestWhatCounts(t *testing.T) {
	for _, c := range []struct {
		a, b float64
		want string
	}{{0.98, 0.99, "answers/s"}, {0.98, 0.5, "answers per CPU second"}, {0.5, 0.98, "answers per CPU second"}} {
		round := map[string]sample{"a": {busy: c.a}, "b": {busy: c.b}}
		if got := (table{rounds: figures.Rounds[sample]{round}}).counts("a", "b"); got != c.want {
			t.Errorf("%v and %v busy: %s", c.a, c.b, got)
		}
	}
}
