package api

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOnlyWhatAnEdgeSaysOfTheSameHistoryCounts: an edge that refuses the store at a larger number had the change, by its number.
func TestOnlyWhatAnEdgeSaysOfTheSameHistoryCounts(t *testing.T) {
	goal := map[string]Goal{"shop": {41, "aa", 0}}
	cases := []struct {
		name, state string
		have        uint64
		id          string
		behind      bool
		says        string
	}{
		{"current", "current", 41, "aa", false, ""},
		{"current, and further", "current", 42, "bb", false, ""},
		{"current, of an older program", "current", 41, "", false, ""},
		{"current, and older", "current", 40, "99", true, "answers from shop@40 (its source is current)"},
		{"current, without the tenant", "current", 0, "", true, "answers from nothing"},
		{"current, of another history", "current", 41, "xx", true, "shop@41 on it may be of another history than the store's"},
		{"stale with the very generation", "stale", 41, "aa", false, ""},
		{"stale with its number, of an older program", "stale", 41, "", false, ""},
		{"stale, of another history", "stale", 41, "xx", true, "another history"},
		{"stale, and older", "stale", 40, "99", true, "(its source is stale)"},
		{"stale, and further by number", "stale", 42, "bb", true, "shop@42 on it may be of another history"},
		{"from the snapshot with the very generation", "snapshot", 41, "aa", false, ""},
		{"from the snapshot, and further by number", "snapshot", 45, "cc", true, "another history"},
		{"refused, and further by number", "refused", 45, "cc", true,
			"(its source is refused); shop@45 on it may be of another history than the store's: it went back"},
		{"refused with the number", "refused", 41, "aa", true, "refused"},
		{"connecting", "connecting", 41, "aa", true, "connecting"},
	}
	for _, c := range cases {
		status := &EdgeStatus{Tenants: map[string]uint64{}, IDs: map[string]string{}, Source: Source{State: c.state}}
		if c.state == "refused" {
			status.Source.Error = "it went back"
		}
		if c.have > 0 {
			status.Tenants["shop"] = c.have
		}
		if c.id != "" {
			status.IDs["shop"] = c.id
		}
		b := (&Edge{ID: "e1", State: EdgeAlive, Status: status}).Behind(goal)
		if (len(b.Tenants) > 0) != c.behind || b.Unknown || !strings.Contains(b.Why, c.says) || !c.behind && b.Why != "" {
			t.Errorf("%s: %+v", c.name, b)
		}
	}
}

// TestAnEpochStandsBeforeTheGeneration: what an edge has of a history that was given up counted as newer, by its number.
func TestAnEpochStandsBeforeTheGeneration(t *testing.T) {
	goal := map[string]Goal{"shop": {41, "aa", 1000}}
	for _, c := range []struct {
		epoch  int64 // -1: it does not tell
		have   uint64
		id     string
		behind bool
	}{{-1, 45, "cc", false}, {0, 45, "cc", true}, {0, 41, "aa", true}, {1000, 41, "aa", false}, {1000, 45, "dd", false},
		{2000, 41, "aa", false}} {
		status := &EdgeStatus{Tenants: map[string]uint64{"shop": c.have}, IDs: map[string]string{"shop": c.id},
			Source: Source{State: "current"}}
		if c.epoch >= 0 {
			status.Epoch = &c.epoch
		}
		b := (&Edge{ID: "e1", State: EdgeAlive, Status: status}).Behind(goal)
		if len(b.Tenants) > 0 != c.behind || c.behind && b.Other == "" {
			t.Errorf("epoch %d, shop@%d: %+v", c.epoch, c.have, b)
		}
	}
}

// TestBehindSaysWhatIsRefused: and what it takes to end that.
func TestBehindSaysWhatIsRefused(t *testing.T) {
	status := &EdgeStatus{Tenants: map[string]uint64{"shop": 40}, Source: Source{State: "current"},
		Held: []HeldTenant{{Tenant: "shop", Newest: 41, Serves: 40, Refused: 41, Why: "web would be empty"}}}
	b := (&Edge{ID: "e1", State: EdgeAlive, Status: status}).Behind(map[string]Goal{"shop": {Generation: 41}})
	if len(b.Tenants) != 1 || !strings.HasSuffix(b.Why, "refuses shop@41 and serves shop@40: web would be empty; change it, or if it is "+
		"meant: gtmctl edge accept shop@41") {
		t.Errorf("%+v", b)
	}
}

// TestAnEdgeThatCannotBeAskedIsBehindInEverything, whatever it said before.
func TestAnEdgeThatCannotBeAskedIsBehindInEverything(t *testing.T) {
	since := time.Date(2026, 5, 4, 12, 3, 10, 0, time.UTC)
	goals := Goals(map[string]uint64{"shop": 41, "platform": 3}, nil, 0)
	for _, c := range []struct {
		edge Edge
		says string
	}{
		{Edge{ID: "ams1", State: EdgeSilent, Since: &since, Error: "refused", Last: map[string]uint64{"shop": 41}},
			"is silent since 2026-05-04 12:03:10Z (it held its lease until then): it may answer from shop@41; " +
				"if it is gone for good: gtmctl edge forget ams1"},
		{Edge{ID: "ams1", State: EdgeSilent, Error: "refused"},
			"is silent: it may answer from anything; if it is gone for good: gtmctl edge forget ams1"},
		{Edge{ID: "ams1", State: EdgeAlive, Since: &since, Error: "no route to host", Last: map[string]uint64{"shop": 41}},
			"cannot be asked since 2026-05-04 12:03:10Z: no route to host; it may answer from shop@41"},
		{Edge{ID: "ams1", Error: "no route to host"}, "cannot be asked: no route to host; it may answer from anything"},
	} {
		b := c.edge.Behind(goals)
		if !b.Unknown || !slices.Equal(b.Tenants, []string{"platform", "shop"}) || b.Why != c.says {
			t.Errorf("%+v, want %q", b, c.says)
		}
	}
	if b := (&Edge{}).Behind(nil); len(b.Tenants) > 0 {
		t.Errorf("nothing is asked for: %+v", b)
	}
}
