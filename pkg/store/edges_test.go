package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// keepEdge lets an edge live until the test or its own end.
func keepEdge(t *testing.T, c *Client, e Edge) (end func()) {
	ctx, cancel := context.WithCancel(storetest.Context(t))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.KeepEdge(ctx, func() Edge { return e }, 5*time.Second)
	}()
	end = func() { cancel(); <-ended }
	t.Cleanup(end)
	return end
}

// edgesUntil lists the edges again and again.
func edgesUntil(t *testing.T, c *Client, what string, ok func([]Edge) bool) []Edge {
	t.Helper()
	ctx := storetest.Context(t)
	for {
		edges, err := c.Edges(ctx)
		if err != nil {
			t.Fatalf("waited in vain until %s: %v", what, err)
		}
		if ok(edges) {
			return edges
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func living(n int) func([]Edge) bool {
	return func(edges []Edge) bool {
		alive := 0
		for _, e := range edges {
			if e.Alive && !e.Seen.IsZero() {
				alive++
			}
		}
		return alive == n
	}
}

// TestAnEdgeThatDiedIsKnownUntilItIsForgotten: one that vanished from the list was one that nobody missed.
func TestAnEdgeThatDiedIsKnownUntilItIsForgotten(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	e1 := Edge{ID: "e1", HTTP: "http://192.0.2.1:8053", Version: "v1", Started: storetest.Time,
		Tenants: map[string]state.Generation{"shop": 40}}
	end := keepEdge(t, c, e1)
	keepEdge(t, c, Edge{ID: "e2", Started: storetest.Time})
	edgesUntil(t, c, "both live", living(2))
	if err := c.ForgetEdge(ctx, "e1"); !errors.Is(err, ErrEdgeAlive) {
		t.Errorf("a live one: %v", err)
	}
	end()
	got := edgesUntil(t, c, "one has died", living(1))
	if len(got) != 2 || got[0].Alive || got[0].Seen.IsZero() || !got[1].Alive {
		t.Fatalf("known: %+v", got)
	}
	e1.Seen = got[0].Seen
	if d := cmp.Diff(e1, got[0]); d != "" {
		t.Error(d)
	}
	if err := c.ForgetEdge(ctx, "e9"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown one: %v", err)
	}
	if err := c.ForgetEdge(ctx, "e1"); err != nil {
		t.Fatal(err)
	}
	if got := edgesUntil(t, c, "e2 alone", living(1)); len(got) != 1 {
		t.Errorf("after it was forgotten: %+v", got)
	}
	keepEdge(t, c, e1) // one that comes back is simply known again
	edgesUntil(t, c, "it is back", living(2))
}

// TestAnEdgeOfAnOlderProgramIsListed: it has a lease and nothing else. What is not understood costs its own entry only.
func TestAnEdgeOfAnOlderProgramIsListed(t *testing.T) {
	c := testClient(t)
	put(t, c, c.keys.Edge("old"), `{"id":"old","http":"192.0.2.1:8053"}`)
	put(t, c, c.keys.KnownEdge("odd"), `{`)
	got, err := c.Edges(storetest.Context(t))
	if want := []Edge{{ID: "odd"}, {ID: "old", HTTP: "192.0.2.1:8053", Alive: true}}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := c.ForgetEdge(storetest.Context(t), "odd"); err != nil {
		t.Errorf("what is not understood cannot be forgotten: %v", err)
	}
}

// TestAnEdgeSpeaksForItselfAlone: a stolen one, which may write its own key, wrote another's ID in it and took that one's place.
func TestAnEdgeSpeaksForItselfAlone(t *testing.T) {
	c := testClient(t)
	for key, value := range map[string]string{"fra1": `{"id":"fra1","http":"192.0.2.1:8053"}`,
		"stolen": `{"id":"fra1","http":"192.0.2.66:8053"}`} {
		if _, err := c.link.Etcd.Put(storetest.Context(t), c.keys.Edge(key), value); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Edges(storetest.Context(t))
	if want := []Edge{{ID: "fra1", HTTP: "192.0.2.1:8053", Alive: true}}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAnEdgeIsWrittenDownAgain, so that what it answers from is not that of its start.
func TestAnEdgeIsWrittenDownAgain(t *testing.T) {
	c := testClient(t)
	keepEdge(t, c, Edge{ID: "e1", Started: storetest.Time})
	first := edgesUntil(t, c, "it lives", living(1))[0].Seen
	edgesUntil(t, c, "it was seen again", func(edges []Edge) bool { return edges[0].Seen.After(first) })
	if err := c.ForgetEdge(storetest.Context(t), "e1"); err == nil {
		t.Error("forgotten while alive")
	}
}

// TestAnEdgeThatEndsComplainsOfNothing: one that was stopped while it wrote itself down warned that the store would not miss it.
func TestAnEdgeThatEndsComplainsOfNothing(t *testing.T) {
	log, text := storetest.Logger(t)
	c := openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: freshPrefix(), Logger: log})
	ctx, cancel := context.WithCancel(storetest.Context(t))
	cancel()
	c.know(ctx, Edge{ID: "e1"})
	if text.String() != "" {
		t.Errorf("it says %s", text)
	}
}

// TestTwoEdgesWithOneIDAreTold: each overwrites what the other wrote, and status would show one edge that is well.
func TestTwoEdgesWithOneIDAreTold(t *testing.T) {
	c := testClient(t)
	log, text := storetest.Logger(t)
	other := openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: c.cfg.Prefix, Logger: log})
	keepEdge(t, c, Edge{ID: "e1", HTTP: "192.0.2.1:8053", Started: storetest.Time})
	edgesUntil(t, c, "the first one lives", living(1))
	keepEdge(t, other, Edge{ID: "e1", HTTP: "192.0.2.2:8053", Started: storetest.Time.Add(time.Minute)})
	got := edgesUntil(t, c, "both were seen", func(edges []Edge) bool { return edges[0].Twin != "" })
	for _, part := range []string{"192.0.2.1:8053", "192.0.2.2:8053", "2026"} {
		if !strings.Contains(got[0].Twin, part) {
			t.Errorf("%q lacks %s", got[0].Twin, part)
		}
	}
	edgesUntil(t, c, "the edge itself says so", func([]Edge) bool { return strings.Contains(text.String(), "must not share an ID") })
}

func TestEvidenceTellsSinceWhenHealthStandsStill(t *testing.T) {
	start := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	current := state.FollowStatus{State: state.Current, Since: start}
	stale := state.FollowStatus{State: state.Stale, Since: at(109)}
	pulse := state.Pulse{Judge: "fra", Nonce: "1", Silent: []string{"nyc"}}
	cases := []struct {
		name      string
		pulses    map[string]int // when each came, by nonce
		now       int
		following state.FollowStatus
		contact   time.Time
		since     time.Time
		why       string
	}{
		{"no judge was ever heard: an older one sends no pulses", nil, 3600, current, at(3600), time.Time{}, ""},
		{"a pulse", map[string]int{"1": 100}, 102, current, at(101), time.Time{}, ""},
		{"one was missed", map[string]int{"1": 100}, 120, current, at(119), time.Time{}, ""},
		{"none for long", map[string]int{"1": 100}, 121, current, at(120), at(100), "no judge is heard, and the last one was fra"},
		{"the store is away, and pulses came just now", map[string]int{"1": 100}, 110, stale, at(102), at(102), "the store is not heard"},
		{"an older judge, and the store is away", nil, 110, stale, at(102), at(102), "the store is not heard"},
		{"last contact not known", nil, 110, stale, time.Time{}, at(109), "the store is not heard"},
		{"refused", map[string]int{"1": 100}, 110, state.FollowStatus{State: state.Refused, Since: at(90)}, at(109), at(90),
			"the store is refused"},
		{"from the snapshot", nil, 110, state.FollowStatus{State: state.Connecting, Since: at(108)}, at(10), at(10),
			"the store has not been heard yet"},
	}
	for _, c := range cases {
		var e state.Evidence
		for nonce, when := range c.pulses {
			p := pulse
			p.Nonce = nonce
			e.Heard(p, at(when))
			e.Heard(p, at(when+15)) // told again by a new connection: no news
		}
		h := e.Health(at(c.now), c.following, c.contact)
		if h.StandsStill != (c.why != "") || !h.Since.Equal(c.since) || !strings.HasPrefix(h.Why, c.why) {
			t.Errorf("%s: %+v", c.name, h)
		}
		if len(c.pulses) > 0 && (h.Judge != "fra" || !cmp.Equal(h.Silent, []string{"nyc"})) {
			t.Errorf("%s: %+v", c.name, h)
		}
	}
	h := state.Health{StandsStill: true, Since: at(190), Why: "the store is not heard"}
	const want = "health stands still since 12:03:10Z (3m12s): the store is not heard; what stands above is what was known then"
	if got := h.Text(at(382)); got != want {
		t.Error(got)
	}
	if got := h.Text(at(190 + 86400)); !strings.Contains(got, "since 2026-05-04 12:03:10Z (24h0m0s)") {
		t.Error(got)
	}
}

// TestALeasedKeyThatIsTakenAwayIsMadeAgain: of two edges with one ID, one got another. It took their key along, and the one that stayed
// counted as silent for as long as it lived.
func TestALeasedKeyThatIsTakenAwayIsMadeAgain(t *testing.T) {
	c := testClient(t)
	keepEdge(t, c, Edge{ID: "e1", HTTP: "192.0.2.1:8053", Started: storetest.Time})
	edgesUntil(t, c, "one lives", living(1))
	end := keepEdge(t, c, Edge{ID: "e1", HTTP: "192.0.2.2:8053", Started: storetest.Time})
	edgesUntil(t, c, "the other has taken the key", func(edges []Edge) bool { return edges[0].HTTP == "192.0.2.2:8053" })
	end()
	got := edgesUntil(t, c, "the first is there again", func(edges []Edge) bool { return edges[0].Alive })
	if got[0].HTTP != "192.0.2.1:8053" {
		t.Errorf("%+v", got)
	}
}

// TestAnEdgeIsForgottenOverALostAnswer: what an attempt did whose answer was lost counts.
func TestAnEdgeIsForgottenOverALostAnswer(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(context.Context, func() error) error{"silence": silence, "lost answer": losesTheAnswer} {
		c := testClient(t)
		c.link.Wait.Attempt = 300 * time.Millisecond
		put(t, c, c.keys.KnownEdge("e1"), `{"id":"e1"}`)
		through(t, c, onWrites(1, do))
		if err := c.ForgetEdge(storetest.Context(t), "e1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.ForgetEdge(storetest.Context(t), "e1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s, again: %v", name, err)
		}
	}
}
