package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/simulate/sim"
	"github.com/gti/gtm/pkg/geo"
)

// land is the built-in database.
var land = sync.OnceValue(func() *sim.Land {
	atlas, err := geo.Open()
	if err != nil {
		panic(err)
	}
	return sim.Survey(atlas)
})

// tiny plays half a minute with a few clients, and has the marks that it is given.
func tiny(marks ...mark) []scenario {
	return []scenario{{"tiny", "nothing happens", func(f form) (*outcome, error) {
		c := f.config(fourEndpoints)
		c.Networks, c.Resolvers, c.PerSecond, c.Warm, c.Length = 200, 100, 5, 10*time.Second, 30*time.Second
		r, err := sim.New(c)
		if err != nil {
			return nil, err
		}
		return &outcome{run: r, marks: marks, groups: sites(r, "fra")}, r.Play()
	}}}
}

func TestMarks(t *testing.T) {
	for _, c := range []struct {
		name string
		mark
		met bool
	}{
		{"below", atMost("", 1, 2, ""), true},
		{"at the limit", atMost("", 2, 2, ""), true},
		{"above", atMost("", 3, 2, ""), false},
		{"more than the least", atLeast("", 3, 2, ""), true},
		{"less than the least", atLeast("", 1, 2, ""), false},
		{"not measured", atMost("", math.NaN(), 2, ""), false},
		{"not measured, with a least", atLeast("", math.NaN(), 2, ""), false},
		{"in time", within("", time.Second, 2*time.Second), true},
		{"late", within("", 3*time.Second, 2*time.Second), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(context.Background(), []string{"-out", ""}, tiny(c.mark), land(), &out, io.Discard)
			if c.met != (err == nil) || err != nil && !errors.Is(err, errMissed) || c.met == strings.Contains(out.String(), " NO\n") {
				t.Errorf("%v\n%s", err, &out)
			}
		})
	}
}

// TestMissedMarkEndsWith1 runs this program with a mark that cannot be met.
func TestMissedMarkEndsWith1(t *testing.T) {
	const asked = "GTM_SIMULATE_IMPOSSIBLE"
	if os.Getenv(asked) != "" {
		program.Main("simulate", func(ctx context.Context) error {
			return run(ctx, []string{"-out", ""}, tiny(atMost("sessions", 1, 0, "")), land(), os.Stdout, os.Stderr)
		})
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestMissedMarkEndsWith1$")
	cmd.Env = append(os.Environ(), asked+"=1")
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(text), "1 marks were missed") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestSameSeedSameBytes plays a scenario twice: what is printed and drawn is the same.
func TestSameSeedSameBytes(t *testing.T) {
	of := func(seed string) (printed, drawn string) {
		folder := t.TempDir()
		var out bytes.Buffer
		args := []string{"-short", "-seed", seed, "-only", "site-lost", "-out", folder}
		if err := run(context.Background(), args, scenarios, land(), &out, io.Discard); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		picture, err := os.ReadFile(filepath.Join(folder, "site-lost.svg"))
		if err != nil {
			t.Fatal(err)
		}
		return out.String(), string(picture)
	}
	printed, drawn := of("3")
	if again, redrawn := of("3"); again != printed || redrawn != drawn {
		t.Errorf("two runs with one seed differ:\n%s\n%s", printed, again)
	}
}
