//go:build interop

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// soon is far above what following takes, since a loaded machine decides no test.
const soon = 30 * time.Second

// stateIs waits until edges tell that their source is in a state.
func stateIs(t testing.TB, r *rig.Rig, state string, edges ...*rig.Node) {
	t.Helper()
	for _, edge := range edges {
		rig.Eventually(t, soon, edge.Name+" is "+state, func() error {
			status, err := r.Status(edge)
			if err == nil && status.Source.State != state {
				err = fmt.Errorf("it is %s: %s", status.Source.State, status.Source.Error)
			}
			return err
		})
	}
}

// heardAll waits until all edges know that they have heard everything up to now.
func heardAll(t testing.TB, r *rig.Rig) {
	t.Helper()
	now := r.Revision()
	for _, edge := range r.Edges {
		rig.Eventually(t, soon, fmt.Sprintf("%s has heard revision %d", edge.Name, now), func() error {
			status, err := r.Status(edge)
			if err == nil && status.Source.Cursor < now {
				err = fmt.Errorf("it is at %d", status.Source.Cursor)
			}
			return err
		})
	}
}

// stored gives what the store declares for the pools of a writer.
func stored(t testing.TB, r *rig.Rig, tenant string) map[string]netip.Addr {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	state, err := r.Store().Read(ctx, tenant, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]netip.Addr{}
	for key, version := range state.Resources.All() {
		if pool, ok := version.Resource.Spec.(*spec.Pool); ok {
			all[key.Name] = pool.Endpoints[0].Addresses[0]
		}
	}
	return all
}

// agree waits until all edges answer what the store holds.
func agree(t testing.TB, r *rig.Rig) {
	t.Helper()
	for _, tenant := range writerTenants {
		for pool, want := range stored(t, r, tenant) {
			answers(t, soon, r.Edges, writerHost(tenant, pool), want)
		}
	}
}

func headOf(t testing.TB, r *rig.Rig, tenant string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	heads, err := r.Store().Heads(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(heads[tenant])
}

// healthMoves lets the first endpoint fail, which no edge may answer then, and heals it.
func healthMoves(t testing.TB, r *rig.Rig) {
	t.Helper()
	r.Targets.Fail(mainA)
	for _, edge := range r.Edges {
		rig.Eventually(t, soon, edge.Name+" hears that an endpoint is down", func() error { return never(edge, healthHost, mainA) })
	}
	r.Targets.Heal(mainA)
	for _, edge := range r.Edges {
		rig.Eventually(t, soon, edge.Name+" hears that it is up again", func() error {
			if never(edge, healthHost, mainA) == nil {
				return errors.New("it is not answered")
			}
			return nil
		})
	}
}

// never is an error if one of 20 answers is the address.
func never(edge *rig.Node, host string, not netip.Addr) error {
	for range 20 {
		if got, err := answer(edge, host); err != nil || got == not {
			return fmt.Errorf("%s answers %s, %v", edge.Name, got, err)
		}
	}
	return nil
}

// S1: after a restore that was accepted, etcd's revision is below what edges have seen. They must hear what comes next,
// also after their connection broke.
func TestEdgesHearAfterARestore(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	l := startLoad(r, w)
	w.writeMany(t, 2, soon)
	snapshot, head := r.SaveSnapshot("before.snap"), headOf(t, r, "t1")
	w.writeMany(t, 300, 2*time.Minute)
	r.Age(2000) // so that what is written below does not come near the old revision
	heardAll(t, r)

	l.followHealth(false)
	r.Restore(snapshot, "")
	stateIs(t, r, state.Refused, r.Edges...)
	l.newEra()
	r.Gtmctl("store", "accept")
	w.forget(head)
	agree(t, r)
	stateIs(t, r, state.Current, r.Edges...)
	r.RestartMembers()
	l.followHealth(true)

	w.writeMany(t, 4, soon)
	agree(t, r)
	healthMoves(t, r)
	w.checkNothingLost(t)
}

// S1 without a refusal: what the backup lacks is outside of what edges follow, so that only etcd's revision went back.
func TestEdgesHearAfterTheRevisionAloneWentBack(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	startLoad(r, w)
	w.writeMany(t, 2, soon)
	agree(t, r)
	for _, prober := range r.Probers {
		prober.Stop() // their verdicts and pulses would be missing as well
	}
	snapshot := r.SaveSnapshot("before.snap")
	r.Age(2000)
	heardAll(t, r)
	r.Restore(snapshot, "")
	stateIs(t, r, state.Current, r.Edges...)
	r.RestartMembers()
	for _, prober := range r.Probers {
		prober.Start()
	}
	r.WaitReady(r.Probers...)
	w.writeMany(t, 4, soon)
	agree(t, r)
	healthMoves(t, r)
	w.checkNothingLost(t)
}

// S2: after a restore, a control that was restarted makes changes until the numbers are those of before. It is another
// history all the same: edges refuse it, say so, and nobody is told that all is well, until someone accepts it.
func TestEqualNumbersAreNotTheSameHistory(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	l := startLoad(r, w)
	w.writeMany(t, 2, soon)
	snapshot, head := r.SaveSnapshot("before.snap"), headOf(t, r, "t1")
	w.writeMany(t, 2, soon)
	agree(t, r)

	l.followHealth(false)
	r.Restore(snapshot, "")
	w.forget(head)
	restartControls(r)
	w.writeMany(t, 2, soon)
	w.writeMany(t, 2, soon)
	stateIs(t, r, state.Refused, r.Edges...)
	if out, err := r.TryGtmctl(0, "wait", "--all", "--timeout", "3s"); err == nil {
		t.Errorf("wait says that all is well:\n%s", out)
	}
	if out, err := r.TryGtmctl(0, "status"); err == nil {
		t.Errorf("status says that all is well:\n%s", out)
	}
	for _, edge := range r.Edges {
		for _, pool := range writerPools {
			if got, err := answer(edge, writerHost("t1", pool)); err != nil || changeOf(got) > 4 {
				t.Errorf("%s answers %s for %s, %v, which nobody accepted", edge.Name, got, pool, err)
			}
		}
	}
	l.newEra()
	r.Gtmctl("store", "accept")
	agree(t, r)
	r.Gtmctl("wait", "--all", "--timeout", "30s")
	l.followHealth(true)
	healthMoves(t, r)
	w.checkNothingLost(t)
}

// S2: an edge that was cut off while the store was restored and changed, and has never been told of it, finds the store
// with higher numbers than its own. It takes nothing of it before it is accepted.
func TestAnEdgeThatWasCutDuringTheRestore(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	l := startLoad(r, w)
	w.writeMany(t, 2, soon)
	snapshot, head := r.SaveSnapshot("before.snap"), headOf(t, r, "t1")
	w.writeMany(t, 3, soon) // both pools
	agree(t, r)

	cut := r.Edges[1]
	cut.Cut()
	l.followHealth(false)
	r.Restore(snapshot, "")
	w.forget(head)
	restartControls(r)
	w.writeMany(t, 5, soon)
	cut.Heal()
	stateIs(t, r, state.Refused, cut)
	for _, pool := range writerPools {
		if got, err := answer(cut, writerHost("t1", pool)); err != nil || changeOf(got) > 5 {
			t.Errorf("%s answers %s for %s, %v, which nobody accepted", cut.Name, got, pool, err)
		}
	}
	l.newEra()
	r.Gtmctl("store", "accept")
	agree(t, r)
	r.Gtmctl("wait", "--all", "--timeout", "30s")
	l.followHealth(true)
	healthMoves(t, r)
	w.checkNothingLost(t)
}

// restartControls lets the controls forget what they know of the store: they take it as it is.
func restartControls(r *rig.Rig) {
	for _, control := range r.Controls {
		control.Stop()
		control.Start()
	}
	r.WaitReady(r.Controls...)
}

// S2: edges hold verdicts that the restored store does not hold. The judge writes anew what differs, in both directions.
func TestVerdictsAfterARestore(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	l := startLoad(r, w)
	w.writeMany(t, 2, soon)
	dead := func() { r.Targets.Fail(mainA, mainB) }
	alive := func() { r.Targets.Heal(mainA, mainB) }
	for _, c := range []struct {
		saved, now     func()
		whenSaved, end []netip.Addr
		stored         string
	}{
		{dead, alive, []netip.Addr{backup}, []netip.Addr{mainA, mainB}, "up"},
		{alive, dead, []netip.Addr{mainA, mainB}, []netip.Addr{backup}, "down"},
	} {
		c.saved()
		answers(t, soon, r.Edges, healthHost, c.whenSaved...)
		snapshot := r.SaveSnapshot("verdicts.snap")
		c.now()
		answers(t, soon, r.Edges, healthHost, c.end...)
		l.followHealth(false)
		r.Restore(snapshot, "")
		l.newEra()
		r.Gtmctl("store", "accept")
		l.followHealth(true)
		rig.Eventually(t, soon, "the store holds what was judged", func() error {
			if verdict := r.Get("verdict/web/main"); strings.Count(verdict, fmt.Sprintf(`"state":%q`, c.stored)) != 2 {
				return fmt.Errorf("it is %s", verdict)
			}
			return nil
		})
		answers(t, soon, r.Edges, healthHost, c.end...)
		stateIs(t, r, state.Current, r.Edges...)
	}
}
