package compile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
)

const byLabel = "  pick: sticky\n  sticky: {by: label}\n"

// rtc is a service at a wildcard.
func rtc(more string) string {
	return strings.Replace(service("rtc", more), "rtc.shop.gtm.example.", `"*.rtc.shop.gtm.example."`, 1)
}

// answerAt gives what a client gets for a name below rtc, and the decision, as a query finds them.
func (h *harness) answerAt(name, subnet string, f rr.Family) (string, table.Decision) {
	h.t.Helper()
	wire, err := dnswire.AppendName([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, name)
	if err != nil {
		h.t.Fatal(err)
	}
	var q dnswire.Query
	if got, _ := q.Parse(append(wire, 0, byte(f.Type()), 0, 1)); got != dnswire.Answer {
		h.t.Fatal(got)
	}
	var hashes names.Hashes
	z := h.view.Find(&q, &hashes)
	m := z.Lookup(&q, &hashes)
	s := h.view.Service(m)
	if s == nil || !s.Is.Has(table.Keyed) {
		h.t.Fatalf("%s: %+v", name, m)
	}
	c, d := clientAt(subnet), table.Decision{}
	if c.Label = table.Label(&q, m); c.Label != s.LabelOf(name) {
		h.t.Fatalf("%s has two labels", name)
	}
	h.view.Decide(&d, s, f, c, h.view.Classify(s, c), 7)
	e := table.Explanation{Decision: d, Family: f, Service: s}
	return fmt.Sprint(d.Draw.Pool.ID.Pool, e.Example()), d
}

// TestOneLabelMeets: whoever asks for a label gets one endpoint, and one pool for both families, whatever their country; with several
// rules, those whom one rule is for do.
func TestOneLabelMeets(t *testing.T) {
	const split = "[{pool: eu, weight: 2}, {pool: us, weight: 1}]"
	for _, pools := range []string{split, "[{split: " + split + "}]", "[{split: [{split: " + split + ", weight: 1}]}]"} {
		testOneLabelMeets(t, pools)
	}
	h := newHarness(t, testZone, testPools, rtc(byLabel+"  rules: [{when: {geo: [EU]}, pools: [eu, us]}, {pools: "+split+"}]\n"))
	apart := 0
	for i := range 100 {
		name := fmt.Sprintf("room%d.rtc.shop.gtm.example.", i)
		european, d := h.answerAt(name, berlin, rr.IPv4)
		scope := d.Scope
		if got, d := h.answerAt(name, "91.198.175.0/24", rr.IPv4); got != european || d.Scope != scope || scope == 0 || scope >= 24 {
			t.Fatalf("%s: %s with scope %d, want %s with %d", name, got, d.Scope, european, scope)
		}
		asian, _ := h.answerAt(name, beijing, rr.IPv4)
		if american, _ := h.answerAt(name, kansas, rr.IPv4); american != asian {
			t.Fatalf("%s: %s and %s by one rule", name, american, asian)
		}
		if asian != european {
			apart++
		}
	}
	if apart == 0 {
		t.Error("two rules give the same for 100 labels")
	}
}

func testOneLabelMeets(t *testing.T, pools string) {
	h := newHarness(t, testZone, testPools, rtc(byLabel+"  rules: [{pools: "+pools+"}]\n"))
	if len(h.last) > 0 {
		t.Fatal(h.last)
	}
	given := map[string]int{}
	for i := range 300 {
		name := fmt.Sprintf("room%d.rtc.shop.gtm.example.", i)
		want, d := h.answerAt(name, berlin, rr.IPv4)
		given[want]++
		for _, subnet := range []string{beijing, kansas, "2a02:ec80:300::/48", "91.198.175.0/24"} {
			if got, other := h.answerAt(name, subnet, rr.IPv4); got != want || other.Scope != 0 || other.TTL != d.TTL {
				t.Fatalf("%s: %s gets %s with scope %d, Berlin %s", name, subnet, got, other.Scope, want)
			}
		}
		// of us, b has no IPv6
		if _, six := h.answerAt(name, kansas, rr.IPv6); six.Draw != d.Draw || want != "us[192.0.2.2]" && six.Set != d.Set {
			t.Fatalf("%s: AAAA comes from %s %d, A from %s %d", name, six.Draw.Pool.ID, six.Set, d.Draw.Pool.ID, d.Set)
		}
		if got, _ := h.answerAt(strings.ToUpper(name), beijing, rr.IPv4); got != want {
			t.Fatalf("%s in upper case: %s, want %s", name, got, want)
		}
	}
	for endpoint, want := range map[string]int{"eu[198.51.100.1]": 150, "eu[198.51.100.2]": 50, "us[192.0.2.1]": 50, "us[192.0.2.2]": 50} {
		if got := given[endpoint]; got < want-30 || got > want+30 {
			t.Errorf("of 300 labels %s has %d, want some %d", endpoint, got, want)
		}
	}
}

// TestLabelsAreWhatTheWildcardStandsFor, all of them.
func TestLabelsAreWhatTheWildcardStandsFor(t *testing.T) {
	h := newHarness(t, testZone, testPools, rtc(byLabel+"  rules: [{pools: [eu]}]\n"), service("b.rtc", "  rules: [{pools: [us]}]\n"))
	hash := map[uint64]string{}
	for _, name := range []string{"a", "a.a", "b.a", "*", "aaaaaaaa", "aaaaaaaaa", "a.aaaaaa", `a\.a`, `\000`, `\000\000`} {
		name += ".rtc.shop.gtm.example."
		_, d := h.answerAt(name, berlin, rr.IPv4)
		if d.Draw == nil {
			t.Errorf("%s has no answer", name)
		}
		label := h.service(name).LabelOf(name)
		if other, twice := hash[label]; twice {
			t.Errorf("%s is taken for %s", name, other)
		}
		hash[label] = name
	}
}

// TestSecondariesGetWildcards: where nobody steers, the wildcard has the default answer.
func TestSecondariesGetWildcards(t *testing.T) {
	h := newHarness(t, testZone, testPools, rtc(byLabel+"  rules: [{pools: [eu]}]\n"))
	found := 0
	for _, set := range h.view.Records(h.view.Zones()[0]) {
		if dnswire.NameString(set.Owner) == "*.rtc.shop.gtm.example." && (set.Type == dnswire.TypeA || set.Type == dnswire.TypeAAAA) {
			found += len(set.Data)
		}
	}
	if found != 4 {
		t.Errorf("%d records stand at the wildcard, want two for each family", found)
	}
}

// TestAPeriodMovesANetworkWhenItEnds, not all at once, and no answer lives longer.
func TestAPeriodMovesANetworkWhenItEnds(t *testing.T) {
	testPeriods(t, "[eu]", 2)
	testPeriods(t, "[{split: [{pool: eu, weight: 1}, {pool: us, weight: 1}]}]", 4)
}

func testPeriods(t *testing.T, pools string, endpoints int) {
	h := newHarness(t, testZone, testPools,
		service("web", "  ttl: 5m\n  pick: sticky\n  sticky: {period: 1h}\n  rules: [{pools: "+pools+"}]\n"))
	s := h.service("web.shop.gtm.example.")
	const from, networks = 1_900_000_000, 60
	moves, sets := map[uint32]int{}, map[string]int{} // by minute; by what was given
	for n := range networks {
		c, d := clientAt(fmt.Sprintf("91.198.%d.0/24", n)), table.Decision{}
		class, changes := h.view.Classify(s, c), 0
		last, until := "", uint32(0)
		for c.Now = from; c.Now < from+12*3600; c.Now += 20 {
			h.view.Decide(&d, s, rr.IPv4, c, class, uint64(c.Now)*0x9e3779b97f4a7c15)
			if d.Scope != 24 || d.TTL < 1 || d.TTL > 300 {
				t.Fatalf("scope %d, TTL %d", d.Scope, d.TTL)
			}
			got := fmt.Sprint(d.Draw.Pool.ID, d.Set)
			if last != "" && got != last {
				changes++
				moves[(c.Now-from)/60%60]++
				if c.Now < until {
					t.Fatalf("network %d moves at %d, and an answer of before lives until %d", n, c.Now, until)
				}
			}
			last, until = got, max(until, c.Now+d.TTL)
			sets[got]++
		}
		if changes == 0 || changes > 12 {
			t.Errorf("network %d: %d changes in 12 hours", n, changes)
		}
	}
	if len(sets) != endpoints {
		t.Errorf("the networks are given %v", sets)
	}
	if len(moves) < 20 {
		t.Errorf("networks move in %d minutes of the hour: %v", len(moves), moves)
	}
}

// TestExplainTellsWhatIsHashed, and until when that holds.
func TestExplainTellsWhatIsHashed(t *testing.T) {
	const split = "{pools: [{pool: eu, weight: 9}, {pool: us, weight: 1}]}"
	h := newHarness(t, testZone, testPools, rtc(byLabel+"  rules: ["+split+"]\n"),
		service("web", "  pick: sticky\n  sticky: {period: 1h}\n  rules: ["+split+"]\n"))
	c := clientAt(berlin)
	s := h.service("x.rtc.shop.gtm.example.")
	c.Label = s.LabelOf("x.rtc.shop.gtm.example.")
	e := h.view.Explain(s, rr.IPv4, c, 1)
	if got := e.Turns(&e.Pools[0]); got != "chosen for 90% of the labels, this one among them" {
		t.Error(got)
	}
	if got := e.FixedNote(); got != "shares are of labels: this label always gets the same answer, whoever asks" {
		t.Error(got)
	}
	if got := e.Pools[0].Shares[0]; got != .9*.75 {
		t.Errorf("share %v: of labels it is exact", got)
	}
	seen := map[string]bool{}
	for s, c.Now = h.service("web.shop.gtm.example."), 1_900_000_000; c.Now < 1_900_003_600; c.Now++ {
		e := h.view.Explain(s, rr.IPv4, c, 1)
		before, left, _ := strings.Cut(e.FixedNote(), ", in ")
		if before != "shares are of client networks: this one gets the same answer until its period of 1h ends" {
			t.Fatal(e.FixedNote())
		}
		if seen[left] || (e.TTLFrom == "the end of the period") != (e.TTL < 30) {
			t.Fatalf("%s left twice, or TTL %d from %s", left, e.TTL, e.TTLFrom)
		}
		seen[left] = true
	}
}

// BenchmarkDecideKeyed is what a choice by label takes, and one by network and period.
func BenchmarkDecideKeyed(b *testing.B) {
	for _, n := range []int{2, 10, 100, 1000} {
		var many []string
		for i := range n {
			many = append(many, fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
		}
		for _, more := range []string{"  sticky: {by: label}\n", "  sticky: {period: 1h}\n"} {
			b.Run(fmt.Sprint(n, strings.TrimSpace(more)), func(b *testing.B) {
				c := New(Config{Seed: 1, Workers: 1}, world)
				var ch Change
				for tenant, list := range decode(b, 1, testZone+poolOf("p", many...)+
					rtc("  pick: sticky\n"+more+"  rules: [{pools: [p]}]\n")) {
					ch.Tenants = append(ch.Tenants, TenantChange{Tenant: tenant, Head: 1, Put: list})
				}
				c.Apply(ch)
				v, broken, _ := c.Compile(noon)
				if len(broken) > 0 {
					b.Fatal(broken)
				}
				v.FillTables(b.Context(), nil)
				s, client := v.FindService("x.rtc.shop.gtm.example."), clientAt(berlin)
				class := v.Classify(s, client)
				var d table.Decision
				for client.Now = 1; b.Loop(); client.Now++ {
					client.Label += 0x9e3779b97f4a7c15
					v.Decide(&d, s, rr.IPv4, client, class, 1)
				}
			})
		}
	}
}
