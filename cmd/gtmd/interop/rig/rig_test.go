//go:build interop

package rig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// little is enough for an edge to be ready.
const little = "kind: Zone\ntenant: platform\nname: gtm.test.\nspec:\n  nameservers: [ns1.example.net.]\n  contact: hostmaster.gtm.test.\n"

// TestARigDoesWhatItsTestsRelyOn: nodes are killed, stopped, frozen, cut off and come back, members too; the store is saved and restored.
// A rig that did nothing of it would let every test of chaos pass.
func TestARigDoesWhatItsTestsRelyOn(t *testing.T) {
	r := New(t, Size{Control: 1, Edges: 1}, little)
	edge, began := r.Edges[0], time.Now()
	answers := func() error { _, err := r.Page(edge, "/readyz"); return err }
	if err := answers(); err != nil || edge.Troubled(began) {
		t.Fatalf("at first: %v, troubled: %v", err, edge.Troubled(began))
	}
	known := func(want int) func() error {
		return func() error {
			if keys := r.Keys("world/edge/"); len(keys) != want {
				return fmt.Errorf("edges in the store: %v", keys)
			}
			return nil
		}
	}
	Eventually(t, startTimeout, "the edge is in the store", known(1))

	for what, end := range map[string]func(){"killed": edge.Kill, "stopped": edge.Stop} {
		end()
		if err := answers(); err == nil || edge.process.Running() || !edge.Troubled(time.Now()) {
			t.Errorf("%s: it answers (%v), runs (%v)", what, err, edge.process.Running())
		}
		edge.Start()
		r.WaitReady(edge)
		if !edge.Troubled(began) || edge.Troubled(time.Now()) || edge.Calm().Before(began) {
			t.Errorf("%s: troubled: %v, now: %v", what, edge.Troubled(began), edge.Troubled(time.Now()))
		}
	}

	edge.Freeze()
	Eventually(t, startTimeout, "it stands still", func() error { return stateIs(edge, "T") })
	edge.Thaw()
	Eventually(t, startTimeout, "it goes on", answers)

	edge.Cut()
	Eventually(t, startTimeout, "its lease ran out", known(0))
	if err := answers(); err == nil {
		t.Error("an edge that is cut off is reached")
	}
	edge.Heal()
	Eventually(t, startTimeout, "it is back", known(1))
	if err := answers(); err != nil || edge.Healed().Before(began) {
		t.Errorf("healed at %s: %v", edge.Healed(), err)
	}
	r.tryStore()
}

// tryStore kills the member that leads, and goes back to a saved store.
func (r *Rig) tryStore() {
	leader, before := r.Leader(), r.Revision()
	leader.Kill()
	r.Put("elsewhere/x", "old") // by the others
	if after := r.Leader(); after == leader || r.Revision() <= before {
		r.T.Errorf("%s was killed, and leads", leader.Name)
	}
	leader.Start()
	r.WaitMembers()
	file := r.SaveSnapshot("saved")
	r.Put("elsewhere/x", "new")
	if got := r.Get("elsewhere/x"); got != "new" {
		r.T.Errorf("written %q", got)
	}
	r.Restore(file, "")
	if got := r.Get("elsewhere/x"); got != "old" {
		r.T.Errorf("restored %q", got)
	}
	r.Empty()
	if got := r.Get("elsewhere/x"); got != "" {
		r.T.Errorf("emptied, it has %q", got)
	}
}

// stateIs reads a process's state as the kernel tells it.
func stateIs(n *Node, want string) error {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.process.Pid()))
	if err != nil {
		return err
	}
	if _, rest, ok := strings.Cut(string(data), ") "); !ok || !strings.HasPrefix(rest, want) {
		return errors.New(string(data))
	}
	return nil
}

// TestTargetsFailAndHeal, each by itself.
func TestTargetsFailAndHeal(t *testing.T) {
	targets := StartTargets(t)
	one, other := netip.MustParseAddr("10.78.1.1"), netip.MustParseAddr("10.78.1.2")
	code := func(a netip.Addr) int {
		ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/", a, TargetPort), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := web.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	for _, step := range []struct {
		do   func(...netip.Addr)
		want int
	}{{targets.Heal, http.StatusOK}, {targets.Fail, http.StatusServiceUnavailable}, {targets.Heal, http.StatusOK}} {
		step.do(one)
		if code(one) != step.want || code(other) != http.StatusOK || targets.DeadSince(one).IsZero() != (step.want == http.StatusOK) {
			t.Errorf("%d and %d, want %d and 200; dead since %s", code(one), code(other), step.want, targets.DeadSince(one))
		}
	}
}
