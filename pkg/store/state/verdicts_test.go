package state

import (
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/pieces"
)

// TestPiecesThatAreGoneLeaveTheWhole: where all is read anew, and the pieces that were told are no longer there, the whole counts again,
// though it is as it was.
func TestPiecesThatAreGoneLeaveTheWhole(t *testing.T) {
	whole := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Judge: "p1", Endpoints: map[string]health.Finding{}}
	for i := range pieces.WholeMost + 1 {
		whole.Endpoints[fmt.Sprint("e", i)] = health.Finding{State: health.Up, Score: 1}
	}
	changed := whole
	changed.Endpoints = maps.Clone(whole.Endpoints)
	changed.Endpoints["e1"] = health.Finding{State: health.Down}
	which, ok := pieces.ChangedFindings(&whole, &changed, pieces.Plain)
	if !ok || len(which) != 1 {
		t.Fatal(which, ok)
	}
	piece := which[0]
	entry := func(rev int64, v health.Verdict, parts ...string) Entry {
		value, err := Verdicts.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		return Entry{Parts: append([]string{"shop", "eu"}, parts...), Value: value, Rev: rev, Sum: uint64(rev)}
	}
	mirror, tracker := NewMirror(), Verdicts.Track(nil, slog.New(slog.DiscardHandler))
	told := func(full bool) {
		u := Update{Full: full}
		tracker.Tell(&u)
		mirror.Apply(u)
		tracker.Told()
	}
	tracker.Begin(true, true)
	tracker.Read(entry(1, whole))
	tracker.ReadAll()
	told(true)
	tracker.Begin(false, false)
	tracker.Event(entry(2, pieces.OfVerdict(changed, piece), strings.Split(pieces.Key("", piece), "/")[1:]...), false)
	told(false)
	if v, _ := mirror.Verdict(whole.Pool); v.Endpoints["e1"].State != health.Down {
		t.Fatalf("with the piece it is %+v", v.Endpoints["e1"])
	}
	tracker.Begin(false, true)
	tracker.Read(entry(1, whole))
	tracker.ReadAll()
	told(false)
	if v, _ := mirror.Verdict(whole.Pool); !v.Equal(whole) {
		t.Errorf("without the piece it is %+v", v.Endpoints["e1"])
	}
}
