package signals

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/health"
)

// TestAStateThatIsNotWrittenYetIsNotTaken: who says it again, or says something newer, waits for what becomes of it.
func TestAStateThatIsNotWrittenYetIsNotTaken(t *testing.T) {
	for _, away := range []error{nil, errors.New("nobody there")} {
		for _, states := range [][]health.State{
			{health.Down, health.Down}, {health.Down, health.Down, health.Down}, {health.Down, health.Up, health.Down},
			{health.Down, health.Up, health.Up},
		} {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.slow, m.away = 3*time.Second, away
				i := begin(t, m, declared(1, "shop"))
				answers := make(chan error, len(states))
				for n, s := range states { // the first is being written when the others come
					go func() {
						time.Sleep(time.Duration(n) * time.Second)
						_, err := i.Push(t.Context(), eu, map[string]health.Signal{"e0": said(health.Signal{State: s})})
						if at := m.of(eu, "e0").State; err == nil && (at == "" || n > 0 && at != states[len(states)-1]) {
							t.Errorf("%v: push %d is answered, and the store has %q", states, n+1, at)
						}
						answers <- err
					}()
				}
				for range states {
					if err := <-answers; (err == nil) != (away == nil) {
						t.Errorf("%v, store %v: %v", states, away, err)
					}
				}
			})
		}
	}
}

// TestWhoTakesAWordBackWaits: the store still has the state that is said again, but will not have it in a moment.
func TestWhoTakesAWordBackWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		i := begin(t, m, declared(1, "shop"))
		push(t, i, eu, "e0", load(80))
		m.slow = time.Minute
		go func() {
			_, _ = i.Push(t.Context(), eu, map[string]health.Signal{"e0": said(health.Signal{State: health.Down})})
		}()
		time.Sleep(time.Second)
		up := load(80)
		push(t, i, eu, "e0", up)
		if got := m.of(eu, "e0"); !got.Equal(up) {
			t.Errorf("%+v", got)
		}
	})
}

// TestWhatEndsASilenceWaitsForTheStore: what only prolonged is not written yet, and what the store has is over.
func TestWhatEndsASilenceWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		i := begin(t, m, declared(1, "shop"))
		short := func() health.Signal {
			s := load(80)
			s.Until = s.Time.Add(time.Minute)
			return s
		}
		push(t, i, eu, "e0", short())
		m.slow = time.Minute
		time.Sleep(40 * time.Second)
		push(t, i, eu, "e0", short())
		time.Sleep(25 * time.Second)
		last := short()
		push(t, i, eu, "e0", last)
		if got := m.of(eu, "e0"); !got.Equal(last) {
			t.Errorf("%+v", got)
		}
	})
}

// TestWhatFollowsOnAFailedWriteIsWritten: a load that came while the one before could not be written.
func TestWhatFollowsOnAFailedWriteIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		i := begin(t, m, declared(1, "shop"))
		push(t, i, eu, "e0", load(80))
		time.Sleep(time.Minute)
		m.slow = 3 * time.Second
		m.setAway(errors.New("nobody there"))
		push(t, i, eu, "e0", load(300))
		time.Sleep(time.Second)
		push(t, i, eu, "e0", load(200))
		time.Sleep(2500 * time.Millisecond)
		m.setAway(nil)
		time.Sleep(time.Minute)
		if got := m.of(eu, "e0"); got.Load.Current != 200 {
			t.Errorf("%+v", got)
		}
	})
}
