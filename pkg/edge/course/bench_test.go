package course_test

import (
	"fmt"
	"testing"

	"github.com/gti/gtm/pkg/store/state"
)

// BenchmarkTake takes one change of a tenant with 100,000 resources: of one that follows, and of one that is held.
func BenchmarkTake(b *testing.B) {
	for _, held := range []bool{false, true} {
		b.Run(fmt.Sprint("held=", held), func(b *testing.B) {
			h, f := &history{tenant: "shop"}, newFollower(nil)
			var all []state.Version
			for i := range 100_000 {
				all = append(all, pool("shop", fmt.Sprint("p", i), 1))
			}
			f.Take(h.commit(all))
			f.Published()
			if held {
				f.Take(pointed(h.mark(1)))
			}
			for b.Loop() {
				f.Take(h.commit([]state.Version{pool("shop", "p7", state.Generation(len(h.states)+1))}))
				f.Taken()
				f.OnlyOverrides("shop")
				f.Outgrown(4)
				f.Published()
				f.Held()
				h.states = h.states[len(h.states)-1:]
				h.states[0].Head = 1
			}
		})
	}
}
