//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// What is asked of changes while one of three members is of no use.
const (
	isolatedLeast   = 100              // changes that are acknowledged,
	isolatedWithin  = 20 * time.Second // in this time
	isolatedCall    = 6 * time.Second  // and none takes longer
	isolatedAtLeast = 8 * time.Second  // of writing, however fast it goes
)

// TestOneIsolatedMemberStopsNoChange: calls went over the members in turn and waited for each, though it had no leader or
// stood still: of three members, one that was cut off let one change pass in a minute.
func TestOneIsolatedMemberStopsNoChange(t *testing.T) {
	for _, row := range []struct {
		name         string
		leader, stop bool
	}{
		{"follower isolated", false, false}, {"leader isolated", true, false},
		{"follower stopped", false, true}, {"leader stopped", true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := startDivisibleCluster(t)
			victim := c.leader(t, c.client(t))
			if !row.leader {
				victim = (victim + 1) % len(c.members)
			}
			s := newSteadyWriter(t, c)
			s.write(t, 3) // all is well
			if row.stop {
				pid := -c.processes[victim].cmd.Process.Pid
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
			} else {
				c.isolate(t, victim)
			}
			s.steadily(t)
		})
	}
}

// A steadyWriter makes one change after the other, each once, whatever comes of it.
type steadyWriter struct {
	store   *store.Client
	head    store.Generation
	made    int
	acked   map[store.Generation]string
	unknown map[string]bool
	longest time.Duration
	failed  []error
}

func newSteadyWriter(t *testing.T, c *cluster) *steadyWriter {
	t.Helper()
	client, err := store.Open(context.Background(), store.Config{Endpoints: c.endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return &steadyWriter{store: client, acked: map[store.Generation]string{}, unknown: map[string]bool{}}
}

func (s *steadyWriter) write(t *testing.T, n int) {
	t.Helper()
	for range n {
		s.change()
	}
	if len(s.acked) < n {
		t.Fatalf("%d of %d changes were acknowledged while all was well: %v", len(s.acked), n, s.failed)
	}
}

// change makes one change.
func (s *steadyWriter) change() {
	s.made++
	message := fmt.Sprintf("change %d", s.made)
	begun := time.Now()
	record, err := s.store.Commit(context.Background(), store.Change{Tenant: "shop", Base: s.head, Message: message, Author: "interop", Time: begun,
		Put: []*spec.Resource{{Key: spec.Key{Tenant: "shop", Kind: spec.KindSite, Name: fmt.Sprintf("s%d", s.made%10)}, Spec: &spec.Site{Region: "EU"}}}})
	s.longest = max(s.longest, time.Since(begun))
	var conflict *store.ConflictError
	switch {
	case err == nil:
		s.head = record.Generation
		s.acked[record.Generation] = message
		return
	case errors.As(err, &conflict):
		s.head = conflict.Have
	default:
		s.unknown[message] = true
	}
	s.failed = append(s.failed, fmt.Errorf("%s after %v: %w", message, time.Since(begun).Round(time.Millisecond), err))
}

// steadily writes for a time, and looks at what became of it.
func (s *steadyWriter) steadily(t *testing.T) {
	t.Helper()
	begun, before := time.Now(), len(s.acked)
	for since := time.Duration(0); since < isolatedAtLeast || since < isolatedWithin && len(s.acked) < before+isolatedLeast; since = time.Since(begun) {
		s.change()
	}
	n := len(s.acked) - before
	t.Logf("%d changes acknowledged in %v, %d failed, the longest took %v", n, time.Since(begun).Round(time.Millisecond), len(s.failed),
		s.longest.Round(time.Millisecond))
	for _, err := range s.failed {
		t.Log(err)
	}
	if n < isolatedLeast {
		t.Errorf("%d changes acknowledged in %v; want %d", n, isolatedWithin, isolatedLeast)
	}
	if s.longest > isolatedCall {
		t.Errorf("a change took %v; want %v at most", s.longest, isolatedCall)
	}
	s.compare(t)
}

// compare looks whether what was acknowledged is there, and every change at most once.
func (s *steadyWriter) compare(t *testing.T) {
	t.Helper()
	var records []store.Record
	eventually(t, startTimeout, "the history is read", func() (err error) {
		records, err = s.store.History(context.Background(), "shop", 0)
		return err
	})
	times, at := map[string]int{}, map[store.Generation]string{}
	for _, r := range records {
		times[r.Message]++
		at[r.Generation] = r.Message
		if times[r.Message] > 1 {
			t.Errorf("%q was made %d times", r.Message, times[r.Message])
		}
		if s.acked[r.Generation] != r.Message && !s.unknown[r.Message] {
			t.Errorf("%s@%d is %q, which was neither acknowledged nor left open", r.Tenant, r.Generation, r.Message)
		}
	}
	for g, message := range s.acked {
		if at[g] != message {
			t.Errorf("generation %d was acknowledged as %q; the store has %q", g, message, at[g])
		}
	}
}
