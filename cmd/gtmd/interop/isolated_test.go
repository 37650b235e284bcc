//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// What is asked of changes while one of three members is of no use.
const (
	isolatedLeast   = 100              // changes that are acknowledged,
	isolatedWithin  = 20 * time.Second // in this time
	isolatedCall    = 6 * time.Second  // and none takes longer
	isolatedAtLeast = 5 * time.Second  // of writing, however fast it goes
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
			c.hurt(t, victim, row.stop)
			s.steadily(t)
		})
	}
}

// hurt lets a member be of no use until the test ends.
func (c *cluster) hurt(t *testing.T, i int, stop bool) {
	t.Helper()
	if !stop {
		c.isolate(t, i)
		return
	}
	pid := -c.processes[i].cmd.Process.Pid
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
}

// TestOneIsolatedMemberKeepsNobodyForLong: who judges, follows or holds a lease by way of such a member goes on by another.
func TestOneIsolatedMemberKeepsNobodyForLong(t *testing.T) {
	for _, row := range []struct {
		name string
		stop bool
	}{{"isolated", false}, {"stopped", true}} {
		t.Run(row.name, func(t *testing.T) {
			c := startDivisibleCluster(t)
			victim := c.leader(t, c.client(t))
			s := newSteadyWriter(t, c)
			w := startWatchers(t, c)
			s.write(t, 3)
			eventually(t, startTimeout, "all is well", func() error { return w.behind(s.head) })
			c.hurt(t, victim, row.stop)
			begun := time.Now()
			for time.Since(begun) < keptWatched {
				s.change()
				time.Sleep(100 * time.Millisecond)
			}
			eventually(t, keptAtMost, "all goes on", func() error { return w.behind(s.head) })
			t.Logf("longest without a pulse %v, without a vantage %v, without news %v; %d changes", w.pulse.longest(), w.vantage.longest(),
				w.news.longest(), len(s.acked))
			for what, g := range map[string]*gap{"pulse": &w.pulse, "vantage": &w.vantage, "news": &w.news} {
				if g.longest() > keptAtMost {
					t.Errorf("%v without %s", g.longest(), what)
				}
			}
		})
	}
}

const (
	// keptAtMost is how long a member may keep somebody from going on: until a connection is given up, and a lease after that.
	keptAtMost  = 20 * time.Second
	keptWatched = 13 * time.Second // until a connection to a silent member is given up
)

// A gap is the longest time without something that keeps coming.
type gap struct {
	mu   sync.Mutex
	last time.Time
	most time.Duration
}

func (g *gap) seen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); g.last.IsZero() {
		g.last = now
	} else {
		g.most, g.last = max(g.most, now.Sub(g.last)), now
	}
}

// longest counts the time since as well.
func (g *gap) longest() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.most, time.Since(g.last)).Round(time.Millisecond)
}

// watchers are two candidates for judge, a follower and a vantage, each with a connection of its own to all members.
type watchers struct {
	pulse, vantage, news gap
	head                 atomic.Uint64
}

func startWatchers(t *testing.T, c *cluster) *watchers {
	t.Helper()
	w := &watchers{}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	run := func(what func(*store.Client)) {
		client, err := store.Open(ctx, store.Config{Endpoints: c.endpoints()})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { what(client); client.Close() })
	}
	for _, id := range []string{"one", "two"} {
		run(func(client *store.Client) {
			_ = client.Campaign(ctx, id, func(ctx context.Context) error {
				for ctx.Err() == nil {
					if client.PutPulse(ctx, state.Pulse{Judge: id, Time: time.Now()}) == nil {
						w.pulse.seen()
					}
					time.Sleep(200 * time.Millisecond)
				}
				return nil
			})
		})
	}
	run(func(client *store.Client) { _ = client.KeepVantage(ctx, store.Vantage{ID: "fra"}, 3*time.Second) })
	run(func(client *store.Client) {
		_ = client.Follow(ctx, store.FollowConfig{OnUpdate: func(u state.Update) error {
			for _, tu := range u.Tenants {
				w.head.Store(uint64(tu.Head))
				w.news.seen()
			}
			return nil
		}})
	})
	run(func(client *store.Client) {
		for ctx.Err() == nil {
			if all, err := client.Vantages(ctx); err == nil && len(all) == 1 && all[0].Alive {
				w.vantage.seen()
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return w
}

// behind tells who does not go on at the moment.
func (w *watchers) behind(head state.Generation) error {
	const lately = 2 * time.Second
	for what, g := range map[string]*gap{"pulse": &w.pulse, "vantage": &w.vantage} {
		g.mu.Lock()
		since := time.Since(g.last)
		g.mu.Unlock()
		if since > lately {
			return fmt.Errorf("%v without %s", since, what)
		}
	}
	if now := w.head.Load(); now != uint64(head) {
		return fmt.Errorf("heard of generation %d, not of %d", now, head)
	}
	return nil
}

// A steadyWriter makes one change after the other, each once, whatever comes of it.
type steadyWriter struct {
	store   *store.Client
	head    state.Generation
	made    int
	acked   map[state.Generation]string
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
	return &steadyWriter{store: client, acked: map[state.Generation]string{}, unknown: map[string]bool{}}
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
	record, err := s.store.Commit(context.Background(), store.Change{Tenant: "shop", Base: s.head, Message: message,
		Author: "interop", Time: begun,
		Put: []*spec.Resource{{Key: spec.Key{Tenant: "shop", Kind: spec.KindSite, Name: fmt.Sprintf("s%d", s.made%10)},
			Spec: &spec.Site{Region: "EU"}}}})
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
	for since := time.Duration(0); since < isolatedAtLeast || since < isolatedWithin &&
		len(s.acked) < before+isolatedLeast; since = time.Since(begun) {
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
	var records []state.Record
	eventually(t, startTimeout, "the history is read", func() (err error) {
		records, err = s.store.History(context.Background(), "shop", 0)
		return err
	})
	times, at := map[string]int{}, map[state.Generation]string{}
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
