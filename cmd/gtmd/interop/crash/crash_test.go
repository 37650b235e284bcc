//go:build interop

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/store/state"
)

// worlds is how many go on at once: they wait more than they compute.
const worlds = 6

// job is one crash: at a failpoint, when it is passed for the nth time, from 0.
type job struct {
	failpoint string
	nth       int
}

func (j job) String() string { return fmt.Sprintf("%s:%d", j.failpoint, j.nth) }

// TestCrashesBetweenSteps kills control at each failpoint: the first time that it is passed, the last time, and in the middle. Each run
// makes a change of two tenants, which is rolled out, while a third tenant is cleaned up. What has happened by then is whole; what was
// acknowledged is there; the same request, sent again, gives one generation of each; all comes to its end; and the audit log is whole.
func TestCrashesBetweenSteps(t *testing.T) {
	first := newWorld(t)
	counts := first.passed()
	jobs := make(chan job, 3*len(counts))
	for _, failpoint := range slices.Sorted(maps.Keys(counts)) {
		n := counts[failpoint]
		if n == 0 {
			t.Errorf("no step passes the failpoint %s", failpoint)
		}
		list := []int{0, n / 2, n - 1}
		for _, nth := range slices.Compact(list[:min(n, 3)]) {
			jobs <- job{failpoint, nth}
		}
	}
	close(jobs)
	t.Logf("%d crashes at %d failpoints: %v", len(jobs), len(counts), counts)
	t.Run("worlds", func(t *testing.T) {
		for i := range worlds {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				for j := range jobs {
					began := time.Now()
					crashed := w.crash(j)
					t.Logf("%s: crashed %v, %.1f s", j, crashed, time.Since(began).Seconds())
				}
			})
		}
	})
}

// passed tells how often each failpoint is passed in a run without a crash.
func (w *world) passed() map[string]int {
	w.t.Helper()
	h := w.startHub(nil)
	h.ready(func() bool { return false })
	names, err := h.failpoints()
	if err != nil || len(names) == 0 {
		w.t.Fatalf("gtmd has no failpoints: %v", err)
	}
	if err := h.Stop(); err != nil {
		w.t.Fatal(err)
	}
	terms := map[string]string{}
	for _, name := range names {
		terms[name] = "off" // and counted
	}
	w.next()
	h = w.startHub(terms)
	h.ready(func() bool { return false })
	if _, err := h.client().Apply(w.t.Context(), w.request(), "count"); err != nil {
		w.t.Fatal(err)
	}
	w.ends(h, w.heads())
	counts := map[string]int{}
	for _, name := range names {
		if counts[name], err = h.count(name); err != nil {
			w.t.Fatal(err)
		}
	}
	return counts
}

func (w *world) tenant() string { return fmt.Sprint("old-", w.runs) }

// next begins a run.
func (w *world) next() {
	w.t.Helper()
	w.runs++
	w.fill(w.tenant())
}

// crash is one run, and reports whether it came to the crash.
func (w *world) crash(j job) bool {
	w.t.Helper()
	w.next()
	before := w.heads()
	h := w.startHub(map[string]string{j.failpoint: terms(j.nth)})
	hit := func() bool {
		n, err := h.count(j.failpoint)
		return err == nil && n > j.nth
	}
	acknowledged, key := false, "run-"+fmt.Sprint(w.runs)
	crashed := !h.ready(hit)
	if !crashed {
		ctx, cancel := context.WithCancel(w.t.Context())
		done := make(chan error, 1)
		in, c := w.request(), h.client()
		go func() {
			_, err := c.Apply(ctx, in, key)
			done <- err
		}()
		w.eventually("it stops at "+j.String(), func() error {
			if crashed = hit(); crashed {
				return nil
			}
			select {
			case err := <-done:
				if acknowledged = err == nil; err != nil {
					w.t.Fatal(err)
				}
			default:
			}
			if !acknowledged {
				return errNotYet
			}
			return w.atEnd(h, [2]state.Generation{before[0] + 1, before[1] + 1}) // it came by fewer times than when it was counted
		})
		h.Kill()
		cancel()
		if !acknowledged {
			acknowledged = <-done == nil
		}
	}
	h.Kill()
	w.isWhole(before, acknowledged)
	w.expire()
	w.again(before, key)
	return crashed
}

// terms have a failpoint stop at the nth time, for longer than anybody waits.
func terms(nth int) string {
	const stop = "1*sleep(3600000)"
	if nth == 0 {
		return stop
	}
	return fmt.Sprintf("%d*off->%s", nth, stop)
}

// isWhole fails unless the store has each tenant as it was, or as it is to be; the latter where the change was acknowledged.
func (w *world) isWhole(before [2]state.Generation, acknowledged bool) {
	w.t.Helper()
	heads := w.heads()
	for i, want := range w.wanted() {
		made := heads[i] == before[i]+1
		if heads[i] != before[i] && !made || acknowledged && !made {
			w.t.Fatalf("%s is at %d, was at %d; acknowledged: %v", want.Tenant, heads[i], before[i], acknowledged)
		}
		run, err := w.run(heads[i], want.Key)
		if err != nil || made != (run == w.runs) || !made && run != w.runs-1 {
			w.t.Fatalf("%s@%d is of run %d, made %v: %v", want.Tenant, heads[i], run, made, err)
		}
	}
	w.whole(w.tenant())
}

// again starts control, sends the request again, and waits until all is at its end.
func (w *world) again(before [2]state.Generation, key string) {
	w.t.Helper()
	h := w.startHub(nil)
	h.ready(func() bool { return false })
	for range 2 {
		if _, err := h.client().Apply(w.t.Context(), w.request(), key); err != nil {
			w.t.Fatal(err)
		}
	}
	want := [2]state.Generation{before[0] + 1, before[1] + 1}
	w.ends(h, want)
	if got := w.heads(); got != want {
		w.t.Fatalf("the same request twice made %v of %v", got, before)
	}
	w.whole(w.tenant())
	for i, wanted := range w.wanted() {
		if run, err := w.run(want[i], wanted.Key); err != nil || run != w.runs {
			w.t.Fatalf("%s@%d is of run %d: %v", wanted.Tenant, want[i], run, err)
		}
	}
	if err := h.Stop(); err != nil {
		w.t.Fatal(err)
	}
	w.logIsWhole()
}

// ends waits until the change is everywhere, and the old generations are gone.
func (w *world) ends(h *hub, heads [2]state.Generation) {
	w.t.Helper()
	w.eventually("rollout and clean-up are at their end", func() error { return w.atEnd(h, heads) })
	w.answers()
}

func (w *world) atEnd(h *hub, heads [2]state.Generation) error {
	return errors.Join(w.rolledOut(h, heads[1]), w.left(w.tenant()))
}

// logIsWhole fails unless the audit log is a chain, and has for each change of a run that it was asked for.
func (w *world) logIsWhole() {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "hub", "audit", "audit-*.jsonl"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("there is no audit log: %v", err)
	}
	v, asked, pruned := &chain.Verifier{}, 0, map[string]bool{}
	for _, file := range files { // Glob sorts them
		text, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := v.Add(bytes.NewReader(text)); err != nil {
			w.t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			e, err := chain.Parse(bytes.TrimSpace(line))
			switch {
			case err != nil:
				w.t.Fatal(err)
			case e.Act == chain.ActChange && e.Outcome == chain.Asked && slices.Contains(e.Tenants, "shop"):
				asked++
			case e.Act == chain.ActPrune:
				for _, g := range e.Generations {
					pruned[fmt.Sprintf("%s@%d", g.Tenant, g.Generation)] = true
				}
			}
		}
	}
	if len(v.Faults()) > 0 || len(v.Chains()) != 1 {
		w.t.Fatalf("the audit log: %v, %v", v.Faults(), v.Chains())
	}
	if asked < w.runs {
		w.t.Fatalf("the audit log has %d changes of %d", asked, w.runs)
	}
	for g := 1; g < oldGenerations; g++ {
		if name := fmt.Sprintf("%s@%d", w.tenant(), g); !pruned[name] {
			w.t.Fatalf("%s left the store, and is not in the audit log", name)
		}
	}
}
