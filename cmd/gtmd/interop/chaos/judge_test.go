//go:build interop

package chaos

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
)

// The load's own judgement: what it must take, and what it must not.
func TestLoadJudgesValues(t *testing.T) {
	const host = "a.t1.gtm.test."
	edge, other := &rig.Node{Name: "one"}, &rig.Node{Name: "two"}
	w := &writer{tenant: "t1"}
	w.tried.Store(9)
	l := &load{writers: map[string]*writer{"t1": w}, faults: map[string]int{}, newest: map[place]seen{}}
	see := func(edge *rig.Node, change int) { l.judgeValue(edge, "t1", host, valueOf(change)) }
	want := map[string]int{}
	check := func(what string) {
		t.Helper()
		if !maps.Equal(l.faults, want) {
			t.Errorf("%s: %v, want %v", what, l.faults, want)
		}
	}
	see(edge, 3)
	see(edge, 5)
	see(other, 4) // another edge may be behind
	check("forward")
	see(edge, 4)
	want["went back"]++
	check("back")
	see(edge, 10)
	want["never written"]++
	check("a change that nobody made")
	l.judgeValue(edge, "t1", host, netip.MustParseAddr("192.0.2.1"))
	want["never written"]++
	check("an address of nothing")
	edge.Died()
	see(edge, 3) // what was on trial is not on disk
	see(edge, 5)
	check("back once after a kill")
	see(edge, 4)
	want["went back"]++
	check("back twice after one kill")
	l.newEra()
	see(edge, 5) // not there yet
	see(edge, 2)
	see(other, 2)
	check("back once after a restore")
	see(edge, 7)
	check("and on")
	see(edge, 2)
	want["went back"]++
	check("back twice after one restore")
}

func TestLoadJudgesHealth(t *testing.T) {
	targets := rig.StartTargets(t)
	l := &load{rig: &rig.Rig{Targets: targets}, bound: healthBound, faults: map[string]int{}, healthy: time.Now()}
	edge := &rig.Node{Name: "one"}
	see := func(after time.Duration, addr netip.Addr) { l.judgeHealth(edge, time.Now().Add(after), addr) }
	targets.Fail(mainA)
	see(0, mainA)
	see(healthBound/2, mainA)
	see(2*healthBound, mainB)
	if len(l.faults) > 0 {
		t.Errorf("in time, or alive: %v", l.faults)
	}
	l.followHealth(false)
	see(2*healthBound, mainA)
	l.followHealth(true)
	targets.Fail(mainB, backup)
	see(2*healthBound, mainA)
	if len(l.faults) > 0 {
		t.Errorf("without a store, or with all dead: %v", l.faults)
	}
	targets.Heal(backup)
	see(2*healthBound, mainA)
	if l.faults["dead endpoint"] != 1 {
		t.Errorf("dead for too long: %v", l.faults)
	}
}
