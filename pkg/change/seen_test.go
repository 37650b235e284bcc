package change

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/demand"
)

// TestGuardsGoByTheLargerShift: a change is judged by the queries that edges saw and by Internet users, also compared with an hour ago.
func TestGuardsGoByTheLargerShift(t *testing.T) {
	seenIn := func(country string) *demand.Sum {
		s := demand.NewSketch(clock)
		for range 1000 {
			s.Add("shop", "web", demand.CountryOf(country), 1)
		}
		return demand.Add(clock, []demand.Word{{Edge: "ams1", At: clock, Data: s.Encode()}})
	}
	for _, c := range []struct {
		moves, asked string
		refused      bool
	}{
		{"EU-FR", "FR", true},  // a hundredth of all users
		{"EU-FR", "DE", false}, // nobody who asked
		{"AS", "DE", true},     // half of all users, and nobody who asked
	} {
		for field, guard := range map[string]string{"change": "{largestShift: {change: 30%}}", "hour": "{largestShift: {hour: 30%}}"} {
			ch, _, now := guarded(t, "")
			mustApply(t, ch, Input{Put: decode(t, webOf(0)+guardOf("shop", guard))})
			*now = now.Add(2 * time.Hour)
			ch.cfg.Seen = func() *demand.Sum { return seenIn(c.asked) }
			yaml := strings.Replace(webOf(0), "rules: [", "rules: [{name: moved, when: {geo: ["+c.moves+"]}, pools: [us]}, ", 1)
			_, err := ch.Apply(context.Background(), mustPlan(t, ch, Input{Put: decode(t, yaml)}))
			fields, _ := refusals(err)
			if got := len(fields) == 1 && fields[0] == "spec.largestShift."+field; got != c.refused || !got && err != nil {
				t.Errorf("%s moves, asked for in %s, bound by %s: %v", c.moves, c.asked, field, err)
			}
		}
	}
}
