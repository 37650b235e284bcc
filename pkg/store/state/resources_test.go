package state_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// Resources hold over any changes what a map holds, those of before stay as they were, and Unlike tells of all that came.
func TestResourcesAreAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	type look struct {
		got  state.Resources
		want map[spec.Key]state.Version
	}
	states := []look{{want: map[spec.Key]state.Version{}}}
	for step := range 400 {
		was := states[random.IntN(len(states))]
		want := maps.Clone(was.want)
		var put []state.Version
		for range random.IntN(1 << random.IntN(9)) {
			v := state.Version{Resource: storetest.Site("shop", fmt.Sprint(random.IntN(1000)), "EU"), Generation: state.Generation(step)}
			put, want[v.Resource.Key] = append(put, v), v
		}
		var deleted []spec.Key
		for range random.IntN(1 << random.IntN(9)) {
			k := storetest.Site("shop", fmt.Sprint(random.IntN(1000)), "").Key
			deleted = append(deleted, k)
			delete(want, k)
		}
		got := was.got.With(put, deleted)
		news := maps.Collect(got.Unlike(was.got))
		for k, v := range want {
			if _, told := news[k]; was.want[k] != v && !told {
				t.Fatalf("step %d: %s is new, and not told", step, k)
			}
		}
		states = append(states, look{got, want})
	}
	for i, s := range states {
		if diff := cmp.Diff(s.want, maps.Collect(s.got.All()), cmp.Comparer(func(a, b state.Version) bool { return a == b })); diff != "" ||
			s.got.Len() != len(s.want) {
			t.Fatalf("state %d has %d resources rather than %d:\n%s", i, s.got.Len(), len(s.want), diff)
		}
		for n := range 1000 {
			k := storetest.Site("shop", fmt.Sprint(n), "").Key
			v, ok := s.got.Get(k)
			if want, there := s.want[k]; v != want || ok != there {
				t.Fatalf("state %d: %s is %v %v, not %v %v", i, k, v, ok, want, there)
			}
		}
	}
}

// One change among many leaves nearly everything shared.
func TestResourcesShare(t *testing.T) {
	var all []state.Version
	for i := range 10_000 {
		all = append(all, state.Version{Resource: storetest.Site("shop", fmt.Sprint(i), "EU"), Generation: 1})
	}
	was := state.NewResources(all...)
	one := state.Version{Resource: storetest.Site("shop", "77", "NA"), Generation: 2}
	news := maps.Collect(was.With([]state.Version{one}, nil).Unlike(was))
	if news[one.Resource.Key] != one || len(news) > 2*state.PieceMost {
		t.Errorf("%d resources may have changed", len(news))
	}
}

func BenchmarkResourcesWith(b *testing.B) {
	var all []state.Version
	for i := range 200_000 {
		all = append(all, state.Version{Resource: storetest.Site("shop", fmt.Sprint(i), "EU"), Generation: 1})
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			state.NewResources(all...)
		}
	})
	r := state.NewResources(all...)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r = r.With(all[7:8], nil)
		}
	})
}
