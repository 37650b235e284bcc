package edge

import (
	"fmt"
	"maps"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
)

// An edge tells what identifies the generations that it answers from, also after it started from its snapshot.
func TestIDsOfWhatIsServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, nil)
	want := func(ids map[string]string) {
		t.Helper()
		gtmtest.Eventually(t, "the IDs", func() error {
			if got := r.fetchStatus().IDs; !maps.Equal(got, ids) {
				return fmt.Errorf("IDs %v, want %v", got, ids)
			}
			return nil
		})
	}
	whole := everything(t, 1)
	for i := range whole.Tenants {
		whole.Tenants[i].ID = whole.Tenants[i].Tenant + "-one"
	}
	r.tell(whole)
	want(map[string]string{"platform": "platform-one", "shop": "shop-one", "other": "other-one"})
	r.tell(state.Update{Cursor: 102, Cluster: 7,
		Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2, ID: "shop-two"}, {Tenant: "other", Head: 2}}})
	now := map[string]string{"platform": "platform-one", "shop": "shop-two"}
	want(now)
	r.tell(state.Update{Cursor: 103, Cluster: 7, Values: state.Verdicts.Put(down("eu", "a"))})
	want(now)
	r.stop()
	r = start(t, dir, nil)
	if from := <-r.store.from; !maps.Equal(from.IDs, now) {
		t.Errorf("it follows from %v, want %v", from.IDs, now)
	}
	want(now)
}

// A verdict that is damaged in the store while everything is told anew holds as it was; so does the copy on disk.
func TestDamagedVerdictHoldsOverAFullUpdate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.tell(everything(t, 1))
	v := down("eu", "a", "b")
	r.tell(state.Update{Cursor: 102, Cluster: 7, Values: state.Verdicts.Put(v)})
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	u := everything(t, 2)
	state.Verdicts.Set(&u, state.Changes[health.PoolID, health.Verdict]{Broken: []health.PoolID{v.Pool}})
	r.tell(u)
	gtmtest.Eventually(t, "the next view", func() error {
		if got := r.fetchStatus().Tenants["shop"]; got != 2 {
			return fmt.Errorf("shop@%d", got)
		}
		return nil
	})
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.stop()
	r = start(t, dir, nil)
	r.ready()
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
}
