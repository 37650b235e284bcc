package discover

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

func listOf(addresses ...string) (list []spec.FoundEndpoint) {
	for _, a := range addresses {
		list = append(list, spec.FoundEndpoint{Address: netip.MustParseAddr(a)})
	}
	slices.SortFunc(list, spec.CompareFound)
	return list
}

// text gives the last parts of a list's addresses.
func text(list []spec.FoundEndpoint) string {
	var words []string
	for _, e := range list {
		words = append(words, strings.TrimPrefix(e.Address.String(), "192.0.2."))
	}
	return strings.Join(words, " ")
}

func sourceOf(change func(*spec.Source)) *spec.Source {
	s := spec.Source{Name: "s", DNS: "a.example"}
	if change != nil {
		change(&s)
	}
	e := s.Effective()
	return &e
}

// What comes, comes at once; what goes, goes at once while it is at most half, and otherwise when three looks in a row missed it.
func TestWhatLeavesAListAndWhen(t *testing.T) {
	for _, tc := range []struct {
		name  string
		looks []string // addresses; "!": it fails; "0": it is empty
		want  []string
		empty string
		most  int
	}{
		{name: "grows", looks: []string{"1", "1 2 3 4"}, want: []string{"1", "1 2 3 4"}},
		{name: "half goes", looks: []string{"1 2 3 4", "1 2"}, want: []string{"1 2 3 4", "1 2"}},
		{name: "more than half goes", looks: []string{"1 2 3 4", "1", "1", "1"}, want: []string{"1 2 3 4", "1 2 3 4", "1 2 3 4", "1"}},
		{name: "it comes back", looks: []string{"1 2 3", "1", "1", "1 2 3", "1", "1", "1"},
			want: []string{"1 2 3", "1 2 3", "1 2 3", "1 2 3", "1 2 3", "1 2 3", "1"}},
		{name: "a move", looks: []string{"1", "2", "2", "2"}, want: []string{"1", "1 2", "1 2", "2"}},
		{name: "a failure between", looks: []string{"1", "2", "!", "2", "2"}, want: []string{"1", "1 2", "1 2", "1 2", "2"}},
		{name: "one of many each time", looks: []string{"1", "2", "3", "4", "5"}, want: []string{"1", "1 2", "1 2 3", "2 3 4", "3 4 5"}},
		{name: "empty is kept", looks: []string{"1", "0", "0", "0", "0"}, want: []string{"1", "1", "1", "1", "1"}},
		{name: "empty is taken", looks: []string{"1", "0", "0", "0"}, want: []string{"1", "1", "1", ""}, empty: spec.EmptyTake},
		{name: "a failure is not empty", looks: []string{"1", "!", "!", "!", "!"}, want: []string{"1", "1", "1", "1", "1"},
			empty: spec.EmptyTake},
		{name: "never more than most", looks: []string{"1 2 3", "4 5 6", "7 8"}, want: []string{"1 2 3", "4 5 6", "4 7 8"}, most: 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := sourceOf(func(s *spec.Source) { s.Empty, s.Most = tc.empty, tc.most })
			var m memory
			at := time.Unix(1e9, 0)
			for i, look := range tc.looks {
				at = at.Add(time.Minute)
				o := outcome{}
				switch look {
				case "!":
					o.err = errors.New("it broke")
				case "0":
					o.err, o.empty = errors.New("it is empty"), true
				default:
					for _, last := range strings.Fields(look) {
						o.list = append(o.list, listOf("192.0.2."+last)...)
					}
				}
				before := m.is
				m.take(s, &o, "told", at)
				if got := text(m.is.Endpoints); got != tc.want[i] {
					t.Fatalf("look %d: %q, want %q", i+1, got, tc.want[i])
				}
				if want := strings.Count(" "+tc.want[i], " ") - strings.Count(" "+look, " "); o.err == nil && m.is.Leaving != want {
					t.Errorf("look %d: %d are leaving, want %d", i+1, m.is.Leaving, want)
				}
				if same := text(before.Endpoints) == tc.want[i]; i > 0 && same != m.is.Since.Equal(before.Since) {
					t.Errorf("look %d: since %s, before %s", i+1, m.is.Since, before.Since)
				}
				failed := look == "!" || look == "0" && tc.empty == ""
				if failed != !m.is.Failed.IsZero() || failed != (m.is.Error == "told") {
					t.Errorf("look %d: failed %s: %s", i+1, m.is.Failed, m.is.Error)
				}
			}
		})
	}
}

// A failure says when it was good last, and from when on it fails; another question begins anew.
func TestWhatIsToldOfAFailure(t *testing.T) {
	var m memory
	s := sourceOf(nil)
	at := func(minute int) time.Time { return time.Unix(1e9, 0).UTC().Add(time.Duration(minute) * time.Minute) }
	fails := outcome{err: errors.New("it broke")}
	m.take(s, &fails, "told", at(0))
	if !m.is.Failed.Equal(at(0)) || !m.is.Good.IsZero() {
		t.Errorf("never good: %+v", m.is)
	}
	m.take(s, &outcome{list: listOf("192.0.2.1", "192.0.2.2")}, "", at(1))
	m.take(s, &outcome{list: listOf("192.0.2.1", "192.0.2.2")}, "", at(5))
	m.take(s, &fails, "told", at(6))
	m.take(s, &fails, "told", at(7))
	if !m.is.Failed.Equal(at(6)) || !m.is.Good.Equal(at(5)) || !m.is.Since.Equal(at(1)) {
		t.Errorf("it fails: %+v", m.is)
	}
	other := sourceOf(func(s *spec.Source) { s.DNS = "b.example" })
	m.take(other, &outcome{list: listOf("192.0.2.9")}, "", at(8))
	if text(m.is.Endpoints) != "9" || m.is.Of != "dns b.example." || m.is.Leaving != 0 || !m.is.Failed.IsZero() {
		t.Errorf("another question: %+v", m.is)
	}
}

// A source that is declared otherwise mixes no lists, also when the first look fails: the old list is kept until there is a new one, and
// with it who pushed it.
func TestAnotherQuestionMixesNoLists(t *testing.T) {
	s := sourceOf(func(s *spec.Source) { s.DNS = "new.example" })
	at := time.Unix(1e9, 0).UTC()
	for _, was := range []spec.Found{{Of: "dns old.example."}, {Of: "pushed", By: "scaler", Expires: at}} {
		for fails := range 3 {
			was.Since, was.Endpoints = at, listOf("192.0.2.1", "192.0.2.2", "192.0.2.3")
			m := memory{is: was}
			for range fails {
				m.take(s, &outcome{err: errors.New("it broke")}, "told", at)
				if text(m.is.Endpoints) != "1 2 3" || m.is.By != was.By || !m.is.Expires.Equal(was.Expires) {
					t.Errorf("%s, a failure: %+v", was.Of, m.is)
				}
			}
			m.take(s, &outcome{list: listOf("192.0.2.9")}, "", at)
			if text(m.is.Endpoints) != "9" || m.is.Leaving != 0 || m.is.By != "" || !m.is.Expires.IsZero() || m.is.Of != s.Of() {
				t.Errorf("%s, %d failures: %+v", was.Of, fails, m.is)
			}
		}
	}
}

// What is told of an error is in the store as it was written, wherever it is cut: else each look would write it anew.
func TestWhatIsToldIsCutBetweenLetters(t *testing.T) {
	for n := range 3 {
		f := spec.Found{Error: new(run).told(errors.New(strings.Repeat("x", n) + strings.Repeat("é", mostTold)))}
		value, err := state.Discovered.Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		var has spec.Found
		if err := json.Unmarshal(value, &has); err != nil || has.Error != f.Error || len(f.Error) < mostTold-1 {
			t.Errorf("%d: %q in the store is %q, %v", n, f.Error, has.Error, err)
		}
	}
}

// Whatever lists come: no more than most are kept, all of the last good look are among them, sorted and each once.
func TestRandomLooks(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 14))
	for range 500 {
		s := sourceOf(func(s *spec.Source) { s.Most = 1 + r.IntN(12) })
		var m memory
		for look := range 20 {
			o := outcome{}
			if r.IntN(5) == 0 {
				o.err = errors.New("it broke")
			}
			last := map[string]bool{}
			for range r.IntN(s.Most) + 1 {
				last[fmt.Sprintf("192.0.2.%d", r.IntN(30))] = true
			}
			for a := range last {
				o.list = append(o.list, listOf(a)...)
			}
			slices.SortFunc(o.list, spec.CompareFound)
			m.take(s, &o, "told", time.Unix(int64(look), 0))
			got := m.is.Endpoints
			if len(got) > s.Most || !slices.IsSortedFunc(got, spec.CompareFound) || m.is.Leaving != len(m.missed) ||
				len(slices.CompactFunc(slices.Clone(got), spec.FoundEndpoint.Equal)) != len(got) {
				t.Fatalf("look %d: %v of at most %d, %d leaving", look, got, s.Most, m.is.Leaving)
			}
			if o.err != nil {
				continue
			}
			for _, e := range o.list {
				if !slices.ContainsFunc(got, e.Equal) {
					t.Fatalf("look %d: %s is missing of %v", look, e.Address, got)
				}
			}
		}
	}
}
