package edge

import (
	"testing"

	"github.com/gti/gtm/pkg/store/state"
)

// TestVerdictChangesAnswers is also the example of docs/contributing.md: an edge at work, news from its store, answers from its socket.
func TestVerdictChangesAnswers(t *testing.T) {
	r := startServing(t, nil)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)

	r.tell(state.Update{Cursor: 102, Cluster: 7, Values: state.Verdicts.Put(down("eu", "a", "b"))})
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
}
