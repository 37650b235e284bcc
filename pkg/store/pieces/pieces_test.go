package pieces

import (
	"fmt"
	"maps"
	"testing"

	"github.com/gti/gtm/pkg/health"
)

// many gives so many sights by endpoint.
func many(n int) map[string]health.Sight {
	all := map[string]health.Sight{}
	for i := range n {
		all[fmt.Sprint("e", i)] = health.Sight{State: health.Up}
	}
	return all
}

// TestPiecesMakeTheWhole: what is cut and joined again is what it was, and a piece replaces what the whole says of its endpoints.
func TestPiecesMakeTheWhole(t *testing.T) {
	was, now := many(500), many(500)
	now["e7"] = health.Sight{State: health.Down}
	delete(now, "e8")
	now["new"] = health.Sight{State: health.Up}
	changed := ChangedSights(was, now)
	if want := Set(0).With(Of("e7")).With(Of("e8")).With(Of("new")); changed != want {
		t.Errorf("%b changed, want %b", changed, want)
	}
	cut := map[int]map[string]health.Sight{}
	changed.Each(func(i int) { cut[i] = Cut(now, i) })
	if got := Join(was, cut); !maps.Equal(got, now) {
		t.Errorf("%d endpoints came of it, want %d", len(got), len(now))
	}
}

// TestWorth: small pools are always one value, and so is what changed nearly everywhere.
func TestWorth(t *testing.T) {
	half := Set(1)<<(Count/2) - 1
	for _, c := range []struct {
		endpoints int
		changed   Set
		want      bool
	}{{WholeMost, 1, false}, {WholeMost + 1, 1, true}, {4096, half, true}, {4096, half.With(Count - 1), false}, {4096, All, false}} {
		if Worth(c.endpoints, c.changed) != c.want {
			t.Errorf("%d endpoints, %d pieces: want %v", c.endpoints, c.changed.Len(), c.want)
		}
	}
}

// TestKeysOfPieces: what a key says is read back, and nothing else is a piece.
func TestKeysOfPieces(t *testing.T) {
	for i := range Count {
		if got, ok := Parse(Key("k", i)[len("k/"):]); !ok || got != i {
			t.Errorf("piece %d is read as %d, %v", i, got, ok)
		}
	}
	for _, name := range []string{"", "7", "64", "-1", "007", "x"} {
		if _, ok := Parse(name); ok {
			t.Errorf("%q is read as a piece", name)
		}
	}
}
