package pieces

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest"
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

// TestPiecesMakeTheWhole: what is cut and joined again, again and again, is what it was, however much changes at a time, and whoever joins
// all that is left at the end, or each piece as it comes, sees the same.
func TestPiecesMakeTheWhole(t *testing.T) {
	rng := gtmtest.Random(t)
	kinds := map[bool]int{}
	for range 30 {
		whole := many(20 + rng.IntN(1+rng.IntN(500)))
		was, stepwise := whole, whole
		var left map[Piece]map[string]health.Sight
		var set Set
		for step := range 40 {
			now := maps.Clone(was)
			names := slices.Sorted(maps.Keys(now))
			for range rng.IntN(40) / (1 + step%3*10) {
				switch name := names[rng.IntN(len(names))]; rng.IntN(6) {
				case 0:
					delete(now, name)
				case 1:
					now[fmt.Sprint("new", rng.IntN(1000))] = health.Sight{State: health.Down}
				default:
					now[name] = health.Sight{State: health.Down, Reason: fmt.Sprint(step)}
				}
			}
			changed, ok := ChangedSights(was, now, Plain)
			if !ok {
				continue
			}
			for _, p := range changed {
				kinds[p.isFine()]++
				left, set = Add(left, p, Cut(now, p)), set.With(p)
				stepwise = Join(stepwise, map[Piece]map[string]health.Sight{p: Cut(now, p)})
			}
			if got := Join(whole, left); !maps.Equal(got, now) || !maps.Equal(stepwise, now) {
				t.Fatalf("%d endpoints came of it, and step by step %d, want %d", len(got), len(stepwise), len(now))
			}
			if want := slices.Sorted(maps.Keys(left)); !slices.Equal(set, want) {
				t.Fatalf("the set is %v, the pieces are %v", set, want)
			}
			was = now
		}
	}
	if kinds[true] < 100 || kinds[false] < 100 {
		t.Errorf("not everything was tried: %v", kinds)
	}
}

// TestWhatChangedIsWritten: pools that are small are always one value, and so is what changed nearly everywhere; what changed here and
// there is written in fine pieces.
func TestWhatChangedIsWritten(t *testing.T) {
	for _, c := range []struct {
		endpoints, changed int
		pieces             int // 0: the whole
		fine               bool
		f                  Frame
	}{{WholeMost, 1, 0, false, Plain}, {WholeMost + 1, 1, 1, true, Plain}, {4096, 1, 1, true, Plain},
		{4096, fineMost, fineMost, true, Plain}, {4096, fineMost + 1, 0, false, Plain}, {30, 10, 10, true, Plain},
		{30, 11, 11, false, Plain}, {4096, 4096, 0, false, Plain}, {4096, fineMost, fineMost, true, Packed},
		{4096, fineMost + 1, 0, false, Packed}, {100, 6, 6, true, Packed}, {100, 7, 0, false, Packed}, {30, 1, 1, true, Packed},
		{30, 2, 0, false, Packed}, {WholeMost + 1, 1, 0, false, Packed}} {
		was, now := many(c.endpoints), many(c.endpoints)
		for i := range c.changed {
			now[fmt.Sprint("e", i)] = health.Sight{State: health.Down}
		}
		set, ok := ChangedSights(was, now, c.f)
		if ok != (c.pieces > 0) || ok && (len(set) != c.pieces || set[0].isFine() != c.fine) {
			t.Errorf("%+v: %v, %v", c, set, ok)
		}
	}
}

func TestSets(t *testing.T) {
	s := Set{}.With(fine(3, 1)).With(fine(3, 2)).With(5).With(fine(5, 0)).With(fine(3, 1))
	if want := (Set{5, fine(3, 1), fine(3, 2), fine(5, 0)}); !slices.Equal(s, want) {
		t.Errorf("%v, want %v", s, want)
	}
	before := slices.Clone(s)
	if got, want := s.With(3), (Set{3, 5, fine(5, 0)}); !slices.Equal(got, want) || !slices.Equal(s, before) {
		t.Errorf("%v, want %v; it was %v, is %v", got, want, before, s)
	}
	got, want := s.Without(5), Set{fine(3, 1), fine(3, 2), fine(5, 0)}
	if !slices.Equal(got, want) || got.Has(5) || !got.Has(fine(5, 0)) {
		t.Errorf("%v, want %v", got, want)
	}
	if all := All(); len(all) != count || !all.Has(0) || !all.Has(63) {
		t.Errorf("%v", all)
	}
}

// TestKeysOfPieces: what a key says is read back.
func TestKeysOfPieces(t *testing.T) {
	for _, p := range []Piece{0, 7, 63, fine(0, 0), fine(0, 63), fine(63, 0), fine(63, 63)} {
		var parts []string
		for _, part := range []string{Key("", p)[1:3], Key("", p)[3:]} {
			if part != "" {
				parts = append(parts, part[len(part)-2:])
			}
		}
		if got, ok := Parse(parts); !ok || got != p {
			t.Errorf("%s is read as %d, %v", Key("", p), got, ok)
		}
	}
}

// TestWhatIsSaidOfAPoolIsWritten: the brake's word, of which no endpoint's finding tells, stands in a piece.
func TestWhatIsSaidOfAPoolIsWritten(t *testing.T) {
	was := health.Verdict{Endpoints: map[string]health.Finding{}}
	for i := range WholeMost + 1 {
		was.Endpoints[fmt.Sprint("e", i)] = health.Finding{State: health.Up}
	}
	now := was
	now.Frozen, now.Cause = true, "so many"
	set, ok := ChangedFindings(&was, &now, Plain)
	if !ok || len(set) != 1 {
		t.Fatal(set, ok)
	}
	if got := JoinVerdict(was, map[Piece]health.Verdict{set[0]: OfVerdict(now, set[0])}, set[0]); !got.Equal(now) {
		t.Errorf("%+v", got)
	}
}
