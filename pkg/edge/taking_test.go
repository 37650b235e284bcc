package edge

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

func key(tenant string, kind spec.Kind, name string) spec.Key {
	return spec.Key{Tenant: tenant, Kind: kind, Name: name}
}

// refuses waits until the edge refuses a generation of a tenant.
func (r *running) refuses(tenant string, gen, serves uint64, why string) {
	r.t.Helper()
	gtmtest.Eventually(r.t, "the generation is refused", func() error {
		s := r.fetchStatus()
		if len(s.Held) != 1 || s.Held[0].Refused != gen || s.Held[0].Tenant != tenant {
			return errors.New("it is not")
		}
		if s.Tenants[tenant] != serves || !strings.Contains(s.Held[0].Why, why) {
			r.t.Errorf("it serves %v, and holds %+v", s.Tenants, s.Held)
		}
		return nil
	})
}

const emptied = `
kind: Pool
tenant: shop
name: eu
spec: {endpoints: []}
---
kind: Pool
tenant: shop
name: us
spec: {endpoints: []}
`

func TestRefusesAnEmptiedName(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.tell(delta(t, 2, declared.Resources(t, emptied)...))
	r.refuses("shop", 2, 1, "web.shop.gtm.example.")
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	r.logged("A GENERATION IS REFUSED", "gtmctl edge accept shop@2")
	r.valueIs(1, "gtm_edge_generations_refused_total")
	r.valueIs(1, "gtm_edge_held_generation", "tenant=shop", "why=refused")
	r.tell(delta(t, 3, declared.Resources(t, strings.ReplaceAll(shopYAML, euA, "198.51.100.9"))...)) // it is mended
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.9")
	if s := r.fetchStatus(); len(s.Held) > 0 || s.Tenants["shop"] != 3 {
		t.Errorf("it is mended, and %+v is held", s.Held)
	}
}

func TestTakesAnEmptiedNameThatIsMeant(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.tell(delta(t, 2, declared.Resources(t, emptied)...))
	r.refuses("shop", 2, 1, "")
	r.tell(state.Update{Cursor: 103, Cluster: 7, Values: state.Aims.Put(state.Aim{Tenant: "shop", Accept: state.Mark{Generation: 2}})})
	r.expect("web.shop.gtm.example.", "A", european, "SERVFAIL")
}

// TestADeletedServiceIsNoEmptiedName: what somebody takes away is gone.
func TestADeletedServiceIsNoEmptiedName(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	u := delta(t, 2)
	u.Tenants = []state.TenantUpdate{{Tenant: "shop", Head: 2, Deleted: []spec.Key{key("shop", spec.KindPool, "eu"),
		key("shop", spec.KindPool, "us"), key("shop", spec.KindService, "web")}}}
	r.tell(u)
	r.expect("web.shop.gtm.example.", "A", european, "NXDOMAIN")
	if s := r.fetchStatus(); len(s.Held) > 0 {
		t.Errorf("held: %+v", s.Held)
	}
}

// TestThePlatformIsBlamedForWhatItTakesFromOthers: without their zone, the names of tenants that changed nothing vanish.
func TestThePlatformIsBlamedForWhatItTakesFromOthers(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	u := delta(t, 2)
	u.Tenants = []state.TenantUpdate{{Tenant: "platform", Head: 2, Deleted: []spec.Key{key("platform", spec.KindZone, "gtm.example.")}}}
	r.tell(u)
	r.refuses("platform", 2, 1, "Service")
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	r.always("static.gtm.example.", "A", "", "NOERROR 192.0.2.80")
}

// TestTheBlameOfOneDoesNotHideAnothers: a tenant that changed something at the same time is blamed first, and going back from that touches
// no name. The platform's generation is refused all the same.
func TestTheBlameOfOneDoesNotHideAnothers(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), nil)
	full := delta(t, 1, declared.Resources(t, platformYAML, shopYAML)...)
	full.Full = true
	r.tell(full)
	r.ready()
	u := delta(t, 2, declared.Resources(t, "kind: Pool\ntenant: shop\nname: spare\nspec: {endpoints: []}\n")...)
	u.Tenants = append([]state.TenantUpdate{{Tenant: "platform", Head: 2, Deleted: []spec.Key{key("platform", spec.KindZone,
		"gtm.example.")}}}, u.Tenants...)
	r.tell(u)
	gtmtest.Eventually(t, "something is refused", func() error {
		if len(r.fetchStatus().Held) == 0 {
			return errors.New("nothing is")
		}
		return nil
	})
	if s := r.fetchStatus(); s.Tenants["platform"] != 1 {
		t.Errorf("it serves %v, and holds %+v", s.Tenants, s.Held)
	}
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}

// TestOneTenantsFaultIsNotAnothers: what comes at the same time is taken.
func TestOneTenantsFaultIsNotAnothers(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	u := delta(t, 2, declared.Resources(t, emptied)...)
	u.Tenants = append(delta(t, 2, declared.Resources(t, strings.ReplaceAll(otherYAML, otherA, "192.0.2.8"))...).Tenants, u.Tenants...)
	r.tell(u)
	r.expect("w.other.gtm.example.", "A", "", "NOERROR 192.0.2.8")
	r.refuses("shop", 2, 1, "")
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}

// TestADrainIsJudgedByNobody: and holds while the generation that it came with is refused.
func TestADrainIsJudgedByNobody(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.tell(delta(t, 2, declared.Resources(t, emptied)...))
	r.refuses("shop", 2, 1, "")
	r.tell(delta(t, 3, declared.Resources(t, `
kind: Override
tenant: shop
name: drain-eu
spec: {pool: eu, state: drain, reason: test, author: test, expires: 2100-01-01T00:00:00Z}
`)...))
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.refuses("shop", 3, 1, "")
}

// TestADrainIsNotToBlameForWhatComesWithIt: the platform takes the zone away at the same time, and is refused alone.
func TestADrainIsNotToBlameForWhatComesWithIt(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	u := delta(t, 2, declared.Resources(t, `
kind: Override
tenant: shop
name: drain-eu
spec: {pool: eu, state: drain, reason: test, author: test, expires: 2100-01-01T00:00:00Z}
`)...)
	u.Tenants = append([]state.TenantUpdate{{Tenant: "platform", Head: 2, Deleted: []spec.Key{key("platform", spec.KindZone,
		"gtm.example.")}}}, u.Tenants...)
	r.tell(u)
	r.refuses("platform", 2, 1, "")
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	if s := r.fetchStatus(); s.Tenants["shop"] != 2 || len(s.Held) != 1 {
		t.Errorf("it serves %v, and holds %+v", s.Tenants, s.Held)
	}
}

func TestRefusesAZoneOutOfAllProportion(t *testing.T) {
	t.Parallel()
	r := startServing(t, func(c *Config) { c.MostGrowth = 2 })
	big := declared.Resources(t, platformYAML)
	z := *big[0].Spec.(*spec.Zone)
	z.Content += strings.Repeat("; what a generator writes twice\n", 80_000)
	r.tell(delta(t, 2, big[0].With(&z)))
	r.refuses("platform", 2, 1, "more than 2 times as many")
	r.always("static.gtm.example.", "A", "", "NOERROR 192.0.2.80")
}

// TestARefusalLeavesTheSnapshotWhereItWas: the edge follows from what it serves, and knows the store that it is of.
func TestARefusalLeavesTheSnapshotWhereItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.tell(everything(t, 1))
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA) // before the other comes: both at once are taken as one
	u := delta(t, 2, declared.Resources(t, emptied)...)
	u.Epoch = 1000
	r.tell(u)
	r.refuses("shop", 2, 1, "")
	r.stop()
	again := start(t, dir, nil)
	from := <-again.store.from
	if from == nil || from.Cluster != 7 || from.Revision != 102 || from.Epoch != 1000 || from.Heads["shop"] != 1 {
		t.Errorf("it follows from %+v", from)
	}
	again.ready()
	again.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	again.tell(u)
	again.refuses("shop", 2, 1, "")
}

// copied gives a copy of an edge's folder as it is now: what a crash leaves.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-r", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

// TestACrashOnAGenerationIsKnownAfterTheRestart: the edge starts from the generation before, and takes the next.
func TestACrashOnAGenerationIsKnownAfterTheRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, func(c *Config) { c.Trial = time.Hour })
	r.tell(everything(t, 1))
	r.ready()
	gtmtest.Eventually(t, "the first state is on disk", func() error {
		_, err := os.Stat(filepath.Join(dir, "snapshot", "base"))
		return err
	})
	second := delta(t, 2, declared.Resources(t, strings.ReplaceAll(shopYAML, euA, "198.51.100.9"))...)
	r.tell(second)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.9")
	left := copied(t, dir)
	killed := copied(t, dir)
	r.stop()

	again := start(t, left, func(c *Config) { c.Crashed = true })
	again.ready()
	again.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	again.logged("THIS EDGE CRASHED ON A GENERATION", "shop@2")
	again.tell(second)
	again.refuses("shop", 2, 1, "crashed")
	again.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	again.tell(delta(t, 3, declared.Resources(t, strings.ReplaceAll(shopYAML, euA, "198.51.100.10"))...))
	again.expect("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.10")

	once := start(t, killed, nil) // killed, or without power: not the generation's fault the first time
	once.ready()
	once.tell(second)
	once.expect("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.9")

	quiet := start(t, dir, nil) // it ended in good order: nothing is poison, and the snapshot has it
	quiet.ready()
	quiet.always("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.9")
}

// TestACrashOnAnOverrideIsKnownAfterTheRestart: also of a tenant that a rollout holds at an older generation.
func TestACrashOnAnOverrideIsKnownAfterTheRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, func(c *Config) { c.Trial = time.Hour })
	full := everything(t, 1)
	full.Values = state.Aims.Put(state.Aim{Tenant: "shop", Groups: []state.AimedGroup{{Name: "rest", At: state.Mark{Generation: 1}}}})
	r.tell(full)
	r.ready()
	gtmtest.Eventually(t, "the first state is on disk", func() error {
		_, err := os.Stat(filepath.Join(dir, "snapshot", "base"))
		return err
	})
	drain := delta(t, 2, declared.Resources(t, `
kind: Override
tenant: shop
name: drain-eu
spec: {pool: eu, state: drain, reason: test, author: test, expires: 2100-01-01T00:00:00Z}
`)...)
	r.tell(drain)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	left := copied(t, dir)
	r.stop()
	again := start(t, left, func(c *Config) { c.Crashed = true })
	again.ready()
	again.logged("THIS EDGE CRASHED ON A GENERATION", "shop@2")
	again.tell(drain)
	again.refuses("shop", 2, 1, "crashed on its overrides")
	again.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}

// TestWhatPassedItsTrialIsOnDisk: an edge that is killed later starts from it.
func TestWhatPassedItsTrialIsOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, func(c *Config) { c.Trial = 50 * time.Millisecond })
	r.tell(everything(t, 1))
	r.tell(delta(t, 2, declared.Resources(t, strings.ReplaceAll(shopYAML, euA, "198.51.100.9"))...))
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.9")
	gtmtest.Eventually(t, "nothing is on trial", func() error {
		if _, err := os.Stat(filepath.Join(dir, "trial.json")); err == nil {
			return errors.New("something is")
		}
		return nil
	})
	var left string
	gtmtest.Eventually(t, "the snapshot has it", func() error {
		left = copied(t, dir)
		for _, file := range []string{"base", "journal"} {
			text, err := os.ReadFile(filepath.Join(left, "snapshot", file))
			if err == nil && strings.Contains(string(text), "198.51.100.9") {
				return nil
			}
		}
		return errors.New("it has not")
	})
	again := start(t, left, nil)
	again.ready()
	again.always("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.9")
}

// TestFollowsWhatItsGroupIsPointedAt: also after a restart, while the store is silent, and where the store alone has the generation.
func TestFollowsWhatItsGroupIsPointedAt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, nil)
	full := everything(t, 1)
	aim := func(g state.Generation) state.Values {
		return state.Aims.Put(state.Aim{Tenant: "shop", Groups: []state.AimedGroup{{Name: "canary", Edges: []string{"canary-*"},
			At: state.Mark{Generation: 7}}, {Name: "rest", At: state.Mark{Generation: g}}}})
	}
	full.Values = aim(1)
	r.tell(full)
	r.ready()
	second := delta(t, 2, declared.Resources(t, strings.ReplaceAll(shopYAML, euA, "198.51.100.9"))...)
	r.tell(second)
	third := delta(t, 3, declared.Resources(t, strings.ReplaceAll(shopYAML, euA, "198.51.100.10"))...)
	r.tell(third)
	gtmtest.Eventually(t, "it tells of the rollout", func() error {
		if s := r.fetchStatus(); len(s.Held) != 1 || s.Held[0].Group != "rest" || s.Held[0].Newest != 3 {
			return errors.New("it does not")
		}
		return nil
	})
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	r.stop()

	again := start(t, dir, nil)
	again.ready()
	again.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	again.tell(third)
	again.always("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	again.tell(state.Update{Cursor: 110, Cluster: 7, Values: aim(2)})
	again.logged("cannot be read; those that it serves hold", "shop@2")
	again.store.read.Store("shop@2", state.TenantState{Head: 2, Resources: state.NewResources(second.Tenants[0].Put...)})
	again.expect("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.9")
	again.tell(state.Update{Cursor: 111, Cluster: 7, Values: aim(3)})
	again.expect("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.10")
	again.tell(state.Update{Cursor: 112, Cluster: 7, Values: aim(2)})
	again.expect("web.shop.gtm.example.", "A", european, "NOERROR 198.51.100.9")
}

// TestAStartReadsWhatIsMissingAtOnce: the first sixteen tenants of those that are pointed at what only the store has.
func TestAStartReadsWhatIsMissingAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), nil)
	full := everything(t, 1)
	aims := []state.Aim{{Tenant: "shop", Groups: []state.AimedGroup{{Name: "rest", At: state.Mark{Generation: 1}}}}}
	for i := range 2 * missingOnce {
		name := fmt.Sprintf("t%02d", i)
		full.Tenants = append(full.Tenants, state.TenantUpdate{Tenant: name, Head: 2})
		aims = append(aims, state.Aim{Tenant: name, Groups: []state.AimedGroup{{Name: "rest", At: state.Mark{Generation: 1}}}})
		r.store.read.Store(name+"@1", state.TenantState{Head: 1})
	}
	full.Values = state.Aims.Put(aims...)
	var mu sync.Mutex
	reading, most, all := 0, 0, make(chan struct{})
	release := sync.OnceFunc(func() { close(all) })
	r.store.asked = func(string) {
		mu.Lock()
		if reading++; reading == missingOnce {
			release()
		}
		most = max(most, reading)
		mu.Unlock()
		<-all // until as many read at the same time as may
		mu.Lock()
		reading--
		mu.Unlock()
	}
	r.tell(full)
	r.ready()
	if s := r.fetchStatus(); s.Tenants["t00"] != 1 || s.Tenants["t31"] != 1 || len(s.Held) != 2*missingOnce {
		t.Errorf("it serves %v, and holds %+v", s.Tenants, s.Held)
	}
	if mu.Lock(); most > missingOnce {
		t.Errorf("%d read at the same time", most)
	}
}
