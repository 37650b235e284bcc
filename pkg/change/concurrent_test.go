package change

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gti/gtm/pkg/change/lawful"
	"github.com/gti/gtm/pkg/spec"
)

// Two changes that are lawful alone and unlawful together: whatever the order, one is refused.
func TestLawfulChangesDoNotAddUpToAnUnlawfulState(t *testing.T) {
	grantsGone := strings.Replace(platform, "{shop: [shop.gtm.example.], ", "{", 1)
	for _, c := range []struct {
		name string
		a, b Input
	}{
		{"a host taken twice", Input{Put: decode(t,
			join(poolOf("cafe", "p", "198.51.100.9"), serviceOf("cafe", "s", "x.shared.gtm.example.", "p")))},
			Input{Put: decode(t, join(poolOf("bar", "p", "198.51.100.9"), serviceOf("bar", "s", "x.shared.gtm.example.", "p")))}},
		{"a site deleted and used", Input{Delete: []spec.Key{key("platform/Site/sin")}},
			Input{Put: decode(t, strings.Replace(poolOf("cafe", "p", "198.51.100.9"), "{endpoints", "{site: sin, endpoints", 1))}},
		{"a grant taken away and used", Input{Put: decode(t, grantsGone), Delete: []spec.Key{key("shop/Service/web")}},
			Input{Put: decode(t, serviceOf("shop", "s2", "s2.shop.gtm.example.", "eu"))}},
		{"a tenant that ceases and comes", Input{Put: decode(t, strings.Replace(platform, ", bar: [shared.gtm.example.]", "", 1))},
			Input{Put: decode(t, join(poolOf("bar", "p", "198.51.100.9"), serviceOf("bar", "s", "x.shared.gtm.example.", "p")))}},
		{"a zone cut and a service below",
			Input{Put: decode(t, strings.Replace(platform, "mail.shop MX", "cut.shop NS ns1\n    mail.shop MX", 1))},
			Input{Put: decode(t, serviceOf("shop", "s2", "x.cut.shop.gtm.example.", "eu"))}},
		{"a pool deleted and used", Input{Delete: []spec.Key{key("shop/Pool/spare")}},
			Input{Put: decode(t, serviceOf("shop", "s2", "s2.shop.gtm.example.", "spare"))}},
	} {
		for _, order := range []string{"ab", "ba"} {
			t.Run(c.name+" "+order, func(t *testing.T) {
				ch, m := house(t)
				mustApply(t, ch, Input{Put: decode(t, join("kind: Site\ntenant: platform\nname: sin\nspec: {}\n",
					poolOf("shop", "spare", "198.51.100.77")))})
				plans := map[byte]*Plan{'a': mustPlan(t, ch, c.a), 'b': mustPlan(t, ch, c.b)} // both on the same state
				if _, err := ch.Apply(context.Background(), plans[order[0]]); err != nil {
					t.Fatal(err)
				}
				_, err := ch.Apply(context.Background(), plans[order[1]])
				var errs spec.Errors
				if !errors.As(err, &errs) {
					t.Errorf("the second was not refused for what it is: %v", err)
				}
				checkLawful(t, m)
			})
		}
	}
}

// The same, at the same time.
func TestConcurrentChangesStayLawful(t *testing.T) {
	_, m := house(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for _, tenant := range []string{"cafe", "bar"} {
		for i := range 4 {
			wg.Go(func() {
				c := New(Config{Store: m}) // each is a process of its own
				p, err := c.Plan(context.Background(),
					Input{Author: "x", Put: decode(t, join(poolOf(tenant, fmt.Sprint("p", i), fmt.Sprintf("198.51.100.%d", i+1)),
						serviceOf(tenant, fmt.Sprint("s", i), "x.shared.gtm.example.", fmt.Sprint("p", i))))})
				if err == nil {
					_, err = c.Apply(context.Background(), p)
				}
				if err == nil {
					mu.Lock()
					taken++
					mu.Unlock()
				} else if !strings.Contains(err.Error(), "is already steered by") {
					t.Errorf("got %v", err)
				}
			})
		}
	}
	wg.Wait()
	if taken != 1 {
		t.Errorf("%d services took the same host", taken)
	}
	checkLawful(t, m)
}

// checkLawful checks the whole state, not only what a change touched.
func checkLawful(t testing.TB, m *memStore) {
	t.Helper()
	s, err := ReadState(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	var all []*spec.Resource
	var steps []Step
	for _, tenant := range s.Tenants() {
		for _, r := range s.Tenant(tenant) {
			all = append(all, r)
			steps = append(steps, Step{Action: Update, Key: r.Key, new: r})
		}
	}
	if _, err := spec.ValidateSet(s, all, nil); err != nil {
		t.Errorf("the state is unlawful: %v", err)
	}
	if errs, _ := lawful.Clashes(nearTo(newOverlay(s).with(steps), steps), all); len(errs) > 0 {
		t.Errorf("the state is unlawful: %v", errs)
	}
}
