package events

import (
	"context"
	"errors"
	"testing"

	"github.com/gti/gtm/pkg/store/state"
)

// TestAChangeThatGuardsDidNotStopIsAnEvent, once at each control, and with the same name; of what was changed before control began there
// is none.
func TestAChangeThatGuardsDidNotStopIsAnEvent(t *testing.T) {
	w := newWorld(t)
	var records []state.Record // newest first
	var asked []int
	var fail error
	w.cfg.History = func(_ context.Context, tenant string, limit int) ([]state.Record, error) {
		asked = append(asked, limit)
		return records[:min(limit, len(records))], fail
	}
	made := func(glass ...string) {
		for _, why := range glass {
			w.heads["shop"]++
			records = append([]state.Record{{Tenant: "shop", Generation: w.heads["shop"], Time: w.now, Author: "ann", Message: "m",
				BreakGlass: why, ID: "id" + why}}, records...)
		}
		w.apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: w.heads["shop"]}}})
	}
	made("before")
	w.want("what was changed before", "")
	made("")
	w.want("a change as any other", "")
	made("fra burns")
	w.want("one that guards did not stop", "a change of shop guarded>breakGlass")
	list, _ := w.log.After("", Position{}, 10)
	if e := list[len(list)-1]; e.Reason != "shop@3 by ann: fra burns (m)" || e.Kind != "change" || e.Bad() {
		t.Errorf("got %+v", e)
	}
	made("", "x", "")
	w.want("several at once", "a change of shop guarded>breakGlass")
	if len(asked) != 3 || asked[2] != 3 {
		t.Errorf("so many records were asked for: %v", asked)
	}
	fail = errors.New("etcd is away")
	made("lost")
	w.want("where the store is away", "")
}
