package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func TestParseKind(t *testing.T) {
	for word, want := range map[string]spec.Kind{"pool": spec.KindPool, "Pools": spec.KindPool, "SERVICE": spec.KindService,
		"overrides": spec.KindOverride} {
		if got, err := parseKind(word); got != want || err != nil {
			t.Errorf("parseKind(%q) = %q, %v", word, got, err)
		}
	}
	for word, hint := range map[string]string{"poll": "did you mean Pool?", "servces": "did you mean Service?", "x": "it can be Zone, "} {
		if _, err := parseKind(word); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("parseKind(%q): %v", word, err)
		}
	}
}

func TestParseName(t *testing.T) {
	for _, c := range []struct {
		kind       spec.Kind
		word, want string // want "": an error
	}{
		{spec.KindPool, "shop/eu", "shop/Pool/eu"},
		{spec.KindPool, "eu", ""},
		{spec.KindPool, "shop/eu/a", ""},
		{spec.KindPool, "/eu", ""},
		{spec.KindPool, "shop/", ""},
		{spec.KindSite, "fra", "platform/Site/fra"},
		{spec.KindZone, "gtm.example", "platform/Zone/gtm.example."},
		{spec.KindZone, "platform/gtm.example.", "platform/Zone/gtm.example."},
	} {
		got, err := parseName(c.kind, c.word)
		if (err != nil) != (c.want == "") || err == nil && got.String() != c.want {
			t.Errorf("parseName(%s, %q) = %s, %v; want %q", c.kind, c.word, got, err, c.want)
		}
	}
}

func TestParseWeights(t *testing.T) {
	got, err := parseWeights("ENDPOINT", []string{"a=3", "b=0"})
	if err != nil || got["a"] != 3 || got["b"] != 0 || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	for _, wrong := range [][]string{{"a"}, {"=3"}, {"a=x"}, {"a=-1"}, {"a=1", "a=2"}, {"a=1.5"}} {
		if _, err := parseWeights("POOL", wrong); err == nil {
			t.Errorf("%v is taken", wrong)
		}
	}
}

func TestParseSubnet(t *testing.T) {
	for word, want := range map[string]string{
		"81.2.69.0/24": "81.2.69.0/24", "81.2.69.7/24": "81.2.69.0/24", "81.2.69.7": "81.2.69.0/24", "::ffff:81.2.69.7": "81.2.69.0/24",
		"2001:db8::1": "2001:db8::/56", "2001:db8::/32": "2001:db8::/32", "81.2.69.0/33": "", "fe80::1%eth0": "", "x": "",
	} {
		got, err := parseSubnet(word)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("parseSubnet(%q) = %s, %v; want %q", word, got, err, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 300 * time.Millisecond: "0s", 12*time.Second + 1: "12s", 3 * time.Minute: "3m", 185 * time.Second: "3m5s",
		2 * time.Hour: "2h", 130*time.Minute + 9*time.Second: "2h10m", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 100 * time.Hour: "4d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 1: "1", 10: "10", 100: "100", 0.5: "0.5", 1.0 / 3: "0.33", 2.999: "3"} {
		if got := number(f); got != want {
			t.Errorf("number(%v) = %q, want %q", f, got, want)
		}
	}
}

// An edge that cannot be asked, or answers from less, is late; one that is further is not.
func TestLateEdges(t *testing.T) {
	edge := func(id string, shop uint64) api.Edge {
		return api.Edge{ID: id, Status: &api.EdgeStatus{Tenants: map[string]uint64{"shop": shop}, Source: api.Source{State: "current"}}}
	}
	now := &api.Edges{Edges: []api.Edge{edge("old", 40), edge("right", 41), edge("newer", 42), edge("new", 0),
		{ID: "gone", Error: "refused"}}}
	late := lateEdges(now, map[string]uint64{"shop": 41})
	text := strings.Join(late, "\n")
	for _, id := range []string{"old", "new", "gone"} {
		if !strings.Contains(text, "edge "+id+" ") {
			t.Errorf("%s is not named in %q", id, text)
		}
	}
	if len(late) != 3 {
		t.Errorf("late: %q", late)
	}
}

func TestProgressFollowsTheNumberOfEdges(t *testing.T) {
	var out bytes.Buffer
	p := progress{progressbar.NewOptions(1, progressbar.OptionSetWriter(&out), progressbar.OptionShowCount())}
	p.show(0, 0) // nobody is there yet
	p.show(1, 3)
	p.show(2, 2)
	p.end()
	if !strings.Contains(out.String(), "(1/3)") || !strings.Contains(out.String(), "(2/2)") {
		t.Errorf("drawn: %q", out.String())
	}
	(&app{world: world{err: &out}}).progress("not on a terminal").show(1, 1)
}

func TestEveryCommandHasHelpAndAnExample(t *testing.T) {
	a := &app{world: world{getenv: func(string) string { return "" }}}
	commands := a.root().Commands()
	for len(commands) > 0 {
		c := commands[0]
		commands = append(commands[1:], c.Commands()...)
		if c.Short == "" || !c.HasSubCommands() && c.Example == "" {
			t.Errorf("%s has no help or no example", c.CommandPath())
		}
	}
}

// A pool with many endpoints, or long reasons, made tables wider than the terminal, whose lines then broke into each other.
func TestAFrameIsNoWiderThanTheTerminal(t *testing.T) {
	var out bytes.Buffer
	long := strings.Repeat("198.51.100.1 ", 40)
	rows := [][]string{{"a", long, "up"}, {"b", strings.Repeat("x", 200), "\x1b[31mdown\x1b[0m"}}
	for _, width := range []int{60, 80, 200} {
		out.Reset()
		framed(&out, []string{"endpoint", "where", "state"}, rows, width)
		for line := range strings.Lines(out.String()) {
			if got := len([]rune(strings.TrimSuffix(strings.NewReplacer("\x1b[31m", "", "\x1b[0m", "").Replace(line), "\n"))); got > width {
				t.Errorf("a line of %d columns in %d: %s", got, width, line)
			}
		}
		if got := strings.Count(out.String(), "198.51.100.1"); got != 40 {
			t.Errorf("%d of 40 addresses are left at %d columns", got, width)
		}
	}
	out.Reset()
	framed(&out, []string{"a", "b"}, [][]string{{"1", "2"}}, 80)
	if got := strings.Count(out.String(), "\n"); got != 5 {
		t.Errorf("what fits was broken:\n%s", out.String())
	}
}

// Tables for programs had frames, and rows of several lines.
func TestPipedTablesArePlainColumns(t *testing.T) {
	var out bytes.Buffer
	a := &app{world: world{out: &keeper{Writer: &out}}}
	a.table([]string{"pool", "why", "n"}, [][]string{{"shop/eu", "two\nlines", ""}, {"shop/überall", "x", "12"}})
	want := "POOL          WHY        N\nshop/eu       two lines  -\nshop/überall  x          12\n"
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

// TestWhatWasReleasedForARegion: as status and describe name it.
func TestWhatWasReleasedForARegion(t *testing.T) {
	for endpoint, want := range map[string]string{
		"shop/sg/a": "shop/sg/a", "shop/sg@EU/a": "shop/sg/a for EU", "shop/sg@EU/a/ipv4": "shop/sg/a/ipv4 for EU",
	} {
		if got := inRegion(endpoint); got != want {
			t.Errorf("%s: %q, want %q", endpoint, got, want)
		}
	}
}
