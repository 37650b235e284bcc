package control

import (
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// TestAnAbortHoldsWhatWasMadeJustNow: what the store has, though the mirror lags; and what the mirror has where the store does not tell.
func TestAnAbortHoldsWhatWasMadeJustNow(t *testing.T) {
	for _, c := range []struct {
		stored state.Generation // 0: it cannot be read
		held   string
	}{{42, ""}, {43, "shop@43 waited"}, {0, ""}} {
		w := newWorld(t)
		from, to := state.Mark{Generation: 41}, state.Mark{Generation: 42}
		w.store.Apply(state.Update{Values: state.Aims.Put(state.Aim{Tenant: "shop", InForce: &spec.Rollout{},
			Groups:  []state.AimedGroup{{Name: "canary", Edges: []string{"canary-*"}, At: to}, {Name: "rest", At: from}},
			Rollout: &state.Progress{State: state.RolloutSoaking, From: from, To: to}})})
		if c.stored > 0 {
			w.store.states["shop@0"] = state.TenantState{Head: c.stored, Resources: state.NewResources()}
		}
		var out api.Rollout
		w.ask(t, "POST", "/v1/rollouts/shop/abort", api.RolloutRequest{}, &out)
		held := strings.Contains(out.Why, "waited")
		if out.State != state.RolloutStopped || !strings.Contains(out.Why, c.held) || held != (c.held != "") {
			t.Errorf("the store has %d: %+v", c.stored, out)
		}
	}
}
