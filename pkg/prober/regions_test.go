package prober

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// acrossTheWorld starts five vantages: two in Europe, two in Asia, and one that does not say where it is.
func acrossTheWorld(l *lab) {
	for i, v := range []string{"ams EU-NL", "fra EU-DE", "nrt AS-JP", "sin AS-SG", "sjc "} {
		name, region, _ := strings.Cut(v, " ")
		l.where[name] = health.Vantage{Region: region, Network: fmt.Sprint("AS", i)}
		l.start(name)
	}
}

func withRegions(pools ...*spec.Resource) []*spec.Resource {
	for _, p := range pools {
		p.Spec.(*spec.Pool).Regions = true
	}
	return pools
}

// A cable cut hides a pool from Europe: it is down for Europe's clients, and up for all others. When it ends all is as it was.
func TestACutHidesAPoolFromARegion(t *testing.T) {
	inLab(t, func(l *lab) {
		pool, addrs := sized("sg", 2, 4)
		other, _ := sized("us", 3, 1)
		l.declare(append(withRegions(pool), other, monitorRes("m", spec.Monitor{}), rulesRes("web", []string{"sg", "us"}))...)
		acrossTheWorld(l)
		time.Sleep(settle)
		for _, of := range []string{"sg", "sg@EU", "sg@AS"} {
			l.want("all is well", of, "a:up b:up c:up d:up")
		}
		for _, of := range []string{"us@EU", "sg@NA", "sg@"} {
			l.want("nobody asked for it, or can tell", of, "none")
		}
		l.setCut(true, "ams", addrs...)
		l.setCut(true, "fra", addrs...)
		time.Sleep(settle)
		l.want("cut", "sg", "a:up b:up c:up d:up")
		l.want("cut", "sg@EU", "a:down b:down c:down d:down")
		l.want("cut", "sg@AS", "a:up b:up c:up d:up")
		if got := l.verdict("sg@EU").Endpoints["a"].Reason; got != "2 of 2 vantages of EU: timeout" {
			t.Errorf("reason %q", got)
		}
		// Their silence moves nothing, and a judge who comes then knows where they stood.
		l.stop("ams")
		l.stop("fra")
		time.Sleep(time.Hour)
		l.want("silent", "sg@EU", "a:down b:down c:down d:down")
		for _, v := range []string{"nrt", "sin"} {
			l.stop(v)
			l.start(v)
		}
		time.Sleep(time.Hour)
		l.want("silent, and other judges", "sg@EU", "a:down b:down c:down d:down")
		if got := l.verdict("sg@EU").Vantages; !slices.Equal(got, []string{"ams", "fra"}) {
			t.Errorf("vantages %v", got)
		}
		l.setCut(false, "ams", addrs...)
		l.setCut(false, "fra", addrs...)
		l.start("ams")
		l.start("fra")
		time.Sleep(settle)
		l.want("whole again", "sg@EU", "a:up b:up c:up d:up")
		// Nobody asks them any more: what is known for all holds.
		l.declare(monitorRes("m", spec.Monitor{Vantages: []string{"ams", "nrt", "sin"}}))
		time.Sleep(settle)
		l.want("one is left", "sg@EU", "none")
		l.want("two are left", "sg@AS", "a:up b:up c:up d:up")
		pool.Spec.(*spec.Pool).Regions = false
		l.declare(pool)
		time.Sleep(settle)
		l.want("no regions any more", "sg@AS", "none")
		l.want("no regions any more", "sg", "a:up b:up c:up d:up")
	})
}

// Europe's vantages lose everything: its clients stay where they are, and nobody else notices. What is held there a person can release.
func TestABlindRegionIsHeld(t *testing.T) {
	inLab(t, func(l *lab) {
		sg, _ := sized("sg", 2, 4)
		us, _ := sized("us", 3, 2)
		l.declare(append(withRegions(sg, us), monitorRes("m", spec.Monitor{}), rulesRes("web", []string{"sg", "us"}))...)
		acrossTheWorld(l)
		time.Sleep(settle)
		l.setBlind(true, "ams", "fra")
		time.Sleep(settle)
		l.want("blind", "sg", "a:up b:up c:up d:up")
		l.want("blind", "sg@EU", "a:up b:up c:up d:up frozen")
		l.want("blind", "us@EU", "a:up b:up frozen")
		time.Sleep(10 * time.Minute)
		l.want("still blind", "sg@EU", "a:up b:up c:up d:up frozen")
		obs, verdicts := l.writes()
		time.Sleep(10 * time.Minute)
		if o, v := l.writes(); o != obs || v != verdicts {
			t.Errorf("nothing changes, and %d observations and %d verdicts are written", o-obs, v-verdicts)
		}
		l.release(store.Release{Tenant: "shop", Pool: "sg", Reason: "it is so"})
		time.Sleep(settle)
		l.want("released", "sg@EU", "a:down b:down c:down d:down")
		l.want("not this one", "us@EU", "a:up b:up frozen")
		l.setBlind(false, "ams", "fra")
		time.Sleep(settle)
		l.want("they see again", "sg@EU", "a:up b:up c:up d:up")
		l.want("they see again", "us@EU", "a:up b:up")
	})
}

// A region whose vantages are silent goes along when something changes for all; a pool that failed for all is kept out for it too.
func TestASilentRegionGoesAlong(t *testing.T) {
	inLab(t, func(l *lab) {
		sg, addrs := sized("sg", 2, 3)
		us, _ := sized("us", 3, 3)
		sg.Spec.(*spec.Pool).Resume = spec.ResumeManual
		l.declare(append(withRegions(sg, us), monitorRes("m", spec.Monitor{Quorum: 2}), rulesRes("web", []string{"sg", "us"}))...)
		acrossTheWorld(l)
		time.Sleep(settle)
		l.stop("ams")
		l.stop("fra")
		time.Sleep(settle)
		l.set(probe.Failed, addrs...)
		time.Sleep(settle)
		l.want("dead", "sg", "a:down b:down c:down")
		l.want("dead", "sg@AS", "a:down b:down c:down")
		l.want("dead", "sg@EU", "a:down b:down c:down")
		if !l.verdict("sg@EU").Out.Enforced() || !l.verdict("sg").Out.Enforced() {
			t.Errorf("out: %v, for all %v", l.verdict("sg@EU").Out, l.verdict("sg").Out)
		}
		l.set(probe.Passed, addrs...)
		time.Sleep(settle)
		l.want("alive", "sg@EU", "a:up b:up c:up")
		if !l.verdict("sg@EU").Out.Enforced() {
			t.Error("it came back by itself")
		}
		l.release(store.Release{Tenant: "shop", Pool: "sg", Reason: "mended", Resume: true})
		time.Sleep(settle)
		if l.verdict("sg@EU").Out != nil || l.verdict("sg").Out != nil {
			t.Errorf("out still: %v, for all %v", l.verdict("sg@EU").Out, l.verdict("sg").Out)
		}
	})
}

// What nearly everything fails of is nobody's own matter, in a region as for all: a tenant without regions counts there, too.
func TestNearlyEverythingFailsForARegion(t *testing.T) {
	inLab(t, func(l *lab) {
		for i, tenant := range []string{"a1", "a2", "a3"} {
			pool, _ := sized("only", 10+i, 3) // too few for a brake of one's own
			back, _ := sized("back", 20+i, 1)
			l.declareOf(tenant, append(withRegions(pool, back), monitorRes("m", spec.Monitor{}),
				rulesRes("web", []string{"only", "back"}))...)
		}
		acrossTheWorld(l)
		time.Sleep(settle)
		l.setBlind(true, "ams", "fra")
		time.Sleep(settle)
		for _, tenant := range []string{"a1", "a2", "a3"} {
			l.fakeStore.mu.Lock()
			id := health.PoolID{Tenant: tenant, Pool: "only"}
			all, there := l.verdicts[id], l.verdicts[id.For("EU")]
			l.fakeStore.mu.Unlock()
			if all.Frozen || !there.Frozen || !strings.Contains(there.Cause, "of all tenants") || there.Endpoints["a"].State != health.Up {
				t.Errorf("%s: %+v\nfor all: %+v", tenant, there, all)
			}
		}
	})
}
