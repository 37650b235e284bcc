package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

func poolsOf(tenant string, n int) string {
	var docs []string
	for i := range n {
		docs = append(docs, poolOf(tenant, fmt.Sprint("p", i), "198.51.100.9"))
	}
	return join(docs...)
}

// outOfTurn is far longer than anything here takes: a change that waits for one which waits for it ends there.
func outOfTurn(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestALargeChangeKeepsNoOtherTenantWaiting: one apply of a tenant, in many generations, had all other tenants' changes wait for its end.
func TestALargeChangeKeepsNoOtherTenantWaiting(t *testing.T) {
	c, m := house(t)
	m.most = 1
	ctx := outOfTurn(t)
	small := mustPlan(t, c, Input{Put: decode(t, poolOf("cafe", "p", "198.51.100.9"))})
	order := ""
	m.before = func(ch store.Change) {
		if len(ch.Put) > 1 {
			return // it is too large, and tried in halves
		}
		order += " " + ch.Tenant
		if ch.Tenant == "shop" && strings.Count(order, "shop") == 3 {
			if _, err := c.Apply(ctx, small); err != nil {
				t.Errorf("between two generations of a large change: %v", err)
			}
		}
	}
	mustApply(t, c, Input{Put: decode(t, poolsOf("shop", 6))})
	if want := " shop shop shop cafe shop shop shop"; order != want {
		t.Errorf("the store was given%s, want%s", order, want)
	}
}

// A second change of the same tenant waits for the first one's end, and so does one that holds the tenant to a generation.
func TestChangesOfOneTenantTakeTurns(t *testing.T) {
	c, m := house(t)
	pinned := Input{Put: decode(t, poolOf("cafe", "p", "198.51.100.9")), Expect: map[string]state.Generation{"shop": 1, "bar": 0}}
	plans := []*Plan{mustPlan(t, c, Input{Put: decode(t, poolOf("shop", "q", "198.51.100.9"))}), mustPlan(t, c, pinned)}
	asked := false
	m.before = func(store.Change) {
		for _, p := range plans {
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // so that who has to wait says so
			if _, err := c.Apply(ctx, p); !errors.Is(err, context.Canceled) {
				t.Errorf("%s was not waited for: %v", outline(p), err)
			}
			asked = true
		}
	}
	mustApply(t, c, Input{Put: decode(t, poolOf("shop", "p", "198.51.100.9"))})
	if m.before = nil; !asked || len(c.queue.of) != 3 { // platform, shop, cafe
		t.Errorf("turns are of %d tenants", len(c.queue.of))
	}
	mustApply(t, c, Input{Put: decode(t, poolOf("shop", "q", "198.51.100.9"))}) // what was given up took no turn with it
}

// Who was overtaken by another tenant's change goes before all others of its process: a change of the platform that relies on
// every tenant is made while tenants change without end.
func TestWhoWasOvertakenGoesFirst(t *testing.T) {
	c, m := house(t)
	attempts, others := 0, []string{}
	m.before = func(ch store.Change) {
		if ch.Tenant != spec.Platform {
			return
		}
		attempts++
		if attempts == 1 { // another tenant comes between
			if _, err := c.Apply(outOfTurn(t), mustPlan(t, c, Input{Put: decode(t, poolOf("cafe", "p", "198.51.100.9"))})); err != nil {
				t.Error(err)
			}
			return
		}
		if c.gate.TryRLock() {
			c.gate.RUnlock()
			others = append(others, fmt.Sprint("at attempt ", attempts))
		}
	}
	z := strings.Replace(platform, "static.shop A 192.0.2.80", "static.shop A 192.0.2.81", 1)
	mustApply(t, c, Input{Put: decode(t, z)})
	if attempts != 2 || len(others) > 0 {
		t.Errorf("%d attempts; others may commit %v", attempts, others)
	}
	if !c.gate.TryLock() {
		t.Error("the others wait for ever")
	}
}

// A change that gets on is not given up for how often it was overtaken.
func TestBeingOvertakenCountsBetweenGenerations(t *testing.T) {
	c, m := house(t)
	m.most = 1
	one := New(Config{Store: m, Now: c.cfg.Now}) // of another process
	made, in := 0, false
	m.before = func(ch store.Change) {
		if in || ch.Tenant != "shop" || len(ch.Put) > 1 {
			return
		}
		if made++; made%2 == 1 { // each second attempt is overtaken
			in = true
			p := mustPlan(t, one, Input{Put: decode(t, fmt.Sprintf("kind: Site\ntenant: platform\nname: s%d\nspec: {}\n", made))})
			if _, err := one.Apply(outOfTurn(t), p); err != nil {
				t.Error(err)
			}
			in = false
		}
	}
	recs := mustApply(t, c, Input{Put: decode(t, poolsOf("shop", maxAttempts+2))})
	byGeneration := func(a, b state.Record) int { return int(a.Generation) - int(b.Generation) }
	if len(recs) != maxAttempts+2 || !slices.IsSortedFunc(recs, byGeneration) {
		t.Errorf("%d generations", len(recs))
	}
}

// Two that undo what the other does come to an end all the same.
func TestUndoingEachOtherEnds(t *testing.T) {
	c, m := house(t)
	m.most = 1
	other := New(Config{Store: m, Now: c.cfg.Now})
	asked, in := 0, false
	m.before = func(ch store.Change) {
		if in || len(ch.Put) > 1 {
			return
		}
		if asked++; asked%2 == 0 || asked > 1000 {
			return
		}
		in = true
		put := decode(t, poolOf("shop", "moves", fmt.Sprint("198.51.100.", asked%250+1)))
		var deleted []spec.Key
		for _, r := range mustState(t, other).Tenant("shop") {
			if strings.HasPrefix(r.Name, "p") {
				deleted = append(deleted, r.Key)
			}
		}
		mustApply(t, other, Input{Put: put, Delete: deleted})
		in = false
	}
	_, err := c.Apply(outOfTurn(t), mustPlan(t, c, Input{Put: decode(t, poolsOf("shop", 3))}))
	var partly *PartlyError
	if !errors.As(err, &partly) || !strings.Contains(err.Error(), "others changed the same 20 times") || asked > 100 {
		t.Errorf("%d attempts, %v", asked, err)
	}
}
