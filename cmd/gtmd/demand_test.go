package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
)

// demandYAML is a service that answers from one place, or clients in the Netherlands from another.
func demandYAML(rules string) string {
	return strings.Replace(configYAML, "rules: [{pools: [eu]}]", "rules: ["+rules+"{pools: [eu]}]", 1) +
		"---\nkind: Pool\ntenant: shop\nname: us\nspec: {endpoints: [{name: a, addresses: [203.0.113.1]}]}\n"
}

// TestPlansAreWeighedByTheQueriesSeen: of ten queries at two edges, nine come from one country. What moves that country moves nine tenths,
// says the plan, and by what it is weighed; and a guard refuses it. So it stays when an edge falls silent.
func TestPlansAreWeighedByTheQueriesSeen(t *testing.T) {
	t.Parallel()
	ctl, dir := buildCtl(t), newDir(t)
	before, after := filepath.Join(t.TempDir(), "before.yaml"), filepath.Join(t.TempDir(), "after.yaml")
	guard := "---\nkind: Guard\ntenant: shop\nname: g\nspec: {largestShift: {change: 80%}}\n"
	writeFile(t, before, demandYAML("")+guard)
	writeFile(t, after, demandYAML("{name: nl, when: {geo: [EU-NL]}, pools: [us]}, ")+guard)
	// by Internet users, a tenth of both countries' are in NL
	places := geoOf(t, map[string]string{"81.2.69.0/24": "GB", "91.198.174.0/24": "NL", "194.0.0.0/24": "DE"})
	hub := start(t, dir, "--roles", "control", "--apply", before, "--geo", places)
	ams := start(t, newDir(t), "--roles", "edge", "--etcd", socketOf(dir), "--id", "ams1", "--geo", places)
	fra := start(t, newDir(t), "--roles", "edge", "--etcd", socketOf(dir), "--id", "fra1", "--geo", places)
	random := rand.New(rand.NewPCG(1, 2))
	const each = 500
	for transport, edge := range map[string]*daemon{"udp": ams, "tcp": fra} {
		edge.comesToAnswer(webHost, "198.51.100.1")
		for range each {
			from := "91.198.174.0/24"
			if random.IntN(10) == 0 {
				from = "81.2.69.0/24"
			}
			if got := edge.askBy(transport, webHost, from); got != "NOERROR 198.51.100.1" {
				t.Fatal(got)
			}
		}
	}
	hub.eventually("both edges told what they saw", func() error {
		text, _ := hub.ctl(ctl, dir, "demand", "shop/web", "-o", "json")
		var d api.Demand
		if err := json.Unmarshal([]byte(text), &d); err != nil || len(d.Services) != 1 {
			return fmt.Errorf("%s: %w", text, err)
		}
		if w := &d.Services[0]; w.Edges != 2 || w.Queries < 2*each*0.9 || !w.Enough {
			return fmt.Errorf("%+v", w)
		}
		return nil
	})
	if text, code := hub.ctl(ctl, dir, "demand"); code != 0 || !strings.Contains(text, "shop/web") || !strings.Contains(text, "NL ") {
		t.Errorf("demand: %d\n%s", code, text)
	}
	if text, code := hub.ctl(ctl, dir, "demand", "shop/web"); code != 0 || !strings.Contains(text, "samples at 2 edges") {
		t.Errorf("demand shop/web: %d\n%s", code, text)
	}
	plans := func(when string) {
		t.Helper()
		text, _ := hub.ctl(ctl, dir, "plan", "-f", after, "-o", "json")
		var plan api.ApplyReply
		err := json.NewDecoder(strings.NewReader(text)).Decode(&plan)
		if err != nil || plan.Effect == nil || len(plan.Effect.Services) != 1 {
			t.Fatalf("%s: %v\n%s", when, err, text)
		}
		s := &plan.Effect.Services[0]
		if math.Abs(s.Moved-0.9) > 0.04 || s.ByUsers > 0.4 || s.Weighed.By != "service" || s.Weighed.Edges != 2 ||
			len(s.Countries) != 1 || s.Countries[0].Country != "NL" {
			t.Errorf("%s: %+v", when, s)
		}
		if len(plan.Effect.Tenants) != 1 || math.Abs(plan.Effect.Tenants[0].Moved-s.Moved) > 0.01 {
			t.Errorf("%s: %+v", when, plan.Effect.Tenants)
		}
	}
	plans("both alive")
	if text, _ := hub.ctl(ctl, dir, "plan", "-f", after); !strings.Contains(text, "queries of about a day, seen at 2 edges") {
		t.Errorf("plan:\n%s", text)
	}
	text, code := hub.ctl(ctl, dir, "apply", "-f", after)
	if code != 1 || !strings.Contains(text, "of its answers would come from another pool (of NL): at most 80%") {
		t.Errorf("apply: %d\n%s", code, text)
	}
	fra.kill()
	plans("one is gone")
}
