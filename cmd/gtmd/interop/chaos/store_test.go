//go:build interop

package chaos

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
	"github.com/gti/gtm/pkg/store/state"
)

// S3: whichever member is cut off from all others, the leader too, changes go on through every control, and edges hear of them.
func TestAnIsolatedMemberStopsNothing(t *testing.T) {
	r := rig.New(t, rig.Size{Control: 2, Edges: 2, Probers: 1}, world())
	w1, w2 := newWriter(r, "t1"), newWriter(r, "t2")
	w2.turn = 1 // the other control
	startLoad(r, w1, w2).bound = troubledBound
	for _, member := range append([]*rig.Node{r.Leader()}, r.Members...) {
		member.Cut()
		began := time.Now()
		w1.writeMany(t, 10, soon)
		w2.writeMany(t, 10, soon)
		t.Logf("%s is cut off: 20 changes in %v", member.Name, time.Since(began).Round(time.Millisecond))
		agree(t, r)
		member.Heal()
		r.WaitMembers()
	}
	healthMoves(t, r)
	w1.checkNothingLost(t)
	w2.checkNothingLost(t)
}

// S4: a backup tool, or a person, writes config/epoch again with the value that it has.
func TestEpochIsWrittenAnewWithAnEqualValue(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	l := startLoad(r, w)
	l.newEra()
	r.Gtmctl("store", "accept")
	w.writeMany(t, 2, soon)
	for range 2 {
		r.Put("config/epoch", r.Get("config/epoch"))
		w.writeMany(t, 2, soon)
		agree(t, r)
	}
	healthMoves(t, r)
	stateIs(t, r, state.Current, r.Edges...)
}

// S5: one value in the store is garbage. It costs its own tenant, zone or pool at most, of which the last good form is
// served on, and all others go on: edges that stay connected, edges that connect anew, and a control that starts anew.
func TestGarbageCostsItsOwnAlone(t *testing.T) {
	const other = "---\nkind: Zone\ntenant: platform\nname: other.test.\n" +
		"spec: {nameservers: [ns1.example.net.], contact: hostmaster.other.test., content: \"www A 192.0.2.7\\n\"}\n"
	r := rig.New(t, small, world()+other)
	w, bystander := newWriter(r, "t1"), newWriter(r, "t2")
	startLoad(r, w, bystander)
	bystander.writeMany(t, 2, soon)
	w.writeMany(t, 2, soon)
	head := headOf(t, r, "t2")
	var run string // of the other zone
	zone := r.Get(r.Keys("config/res/platform/Zone/other.test./")[0])
	for _, key := range r.Keys("config/text/") {
		if strings.Contains(zone, strings.TrimPrefix(key, "config/text/")) {
			run = key
		}
	}
	for _, c := range []struct{ name, key string }{
		{"head", "config/head/t2"},
		{"record", fmt.Sprintf("config/log/t2/%016x", head)},
		{"version", fmt.Sprintf("config/res/t2/Pool/a/%016x", head)},
		{"verdict", "verdict/web/main"},
		{"run", run},
	} {
		t.Run(c.name, func(t *testing.T) {
			was := r.Get(c.key)
			if was == "" {
				t.Fatalf("there is no %s in the store", c.key)
			}
			r.Put(c.key, "garbage")
			othersGoOn(t, r, w)
			r.RestartMembers()
			othersGoOn(t, r, w)
			restartControls(r)
			othersGoOn(t, r, w)
			r.Put(c.key, was)
			othersGoOn(t, r, w)
		})
	}
	bystander.writeMany(t, 2, soon)
	agree(t, r)
	healthMoves(t, r)
	w.checkNothingLost(t)
	bystander.checkNothingLost(t)
}

// othersGoOn makes a change of each pool of a tenant, which all edges must answer then, as they do the static name.
func othersGoOn(t *testing.T, r *rig.Rig, w *writer) {
	t.Helper()
	w.writeMany(t, len(writerPools), soon)
	for pool, want := range stored(t, r, w.tenant) {
		answers(t, soon, r.Edges, writerHost(w.tenant, pool), want)
	}
	answers(t, soon, r.Edges, "www.other.test.", netip.MustParseAddr("192.0.2.7"))
}

// S6: the store is gone, and a new, empty cluster takes its place. One command fills it; edges serve what they had until
// the new is whole, and no query is refused.
func TestANewEmptyClusterIsFilledByOneCommand(t *testing.T) {
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	l := startLoad(r, w)
	w.writeMany(t, 4, soon)
	agree(t, r)
	l.followHealth(false)
	r.Empty()
	l.newEra()
	dir := t.TempDir()
	writeFile(t, dir+"/world.yaml", world())
	out := r.Gtmctl("store", "rebuild", "-f", dir)
	t.Logf("%s", out)
	agree(t, r)
	r.Gtmctl("wait", "--all", "--timeout", "30s")
	l.followHealth(true)
	w.writeMany(t, 2, soon)
	agree(t, r)
	healthMoves(t, r)
}

// Point 5: etcd is gone while an endpoint fails. Whoever looks is told that health stands still, and since when.
func TestHealthThatStandsStillSaysSo(t *testing.T) {
	r := rig.New(t, small, world())
	l := startLoad(r)
	healthMoves(t, r)
	l.followHealth(false)
	r.StopMembers()
	r.Targets.Fail(mainA)
	const still = "stands still"
	says := func(what string, say func() (string, error)) {
		t.Helper()
		rig.Eventually(t, time.Minute, what+" says that health stands still", func() error {
			if out, err := say(); !strings.Contains(out, still) {
				return fmt.Errorf("%v\n%s", err, out)
			}
			return nil
		})
	}
	says("status", func() (string, error) {
		out, err := r.TryGtmctl(0, "status")
		if err == nil {
			return "", fmt.Errorf("exit code 0: %s", out)
		}
		return out, err
	})
	says("explain", func() (string, error) { return r.TryGtmctl(0, "explain", healthHost) })
	says("dig", func() (string, error) { return text(r.Edges[0], healthHost+"_explain.gtm.test.") })
	r.StartMembers()
	l.followHealth(true)
	for _, edge := range r.Edges {
		rig.Eventually(t, time.Minute, edge.Name+" hears that the endpoint is down", func() error { return never(edge, healthHost, mainA) })
	}
	r.Targets.Heal(mainA)
	rig.Eventually(t, time.Minute, "status is well", func() error {
		out, err := r.TryGtmctl(0, "status")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		return err
	})
}
