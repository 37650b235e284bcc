package edge

import (
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store"
)

// TestVerdictChangesAnswers is also the example of docs/contributing.md: an edge at work, news from its store, answers from its socket.
func TestVerdictChangesAnswers(t *testing.T) {
	r := startServing(t, nil)
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)

	r.tell(store.Update{Cursor: 102, Cluster: 7, Verdicts: []health.Verdict{down("eu", "a", "b")}})
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
}
