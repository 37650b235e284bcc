package spec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestStoredOverrides: what older programs stored is written as it was read; what goes somewhere over a time has a form of its own.
func TestStoredOverrides(t *testing.T) {
	for _, body := range []string{
		`{"pool":"eu","endpoint":"a","state":"drain","weight":0,"reason":"r","author":"ann","expires":"2030-01-01T00:00:00Z"}`,
		`{"pool":"eu","endpoint":"a","weight":30,"reason":"r"}`,
		`{"pool":"eu","state":"drain","reason":"r"}`,
		`{"pool":"eu","endpoint":"a","weight":{"to":0,"over":"20m"},"starts":"2030-01-01T00:00:00Z","reason":"r"}`,
		`{"service":"web","rule":"1","pool":"eu","weight":{"to":10,"over":"1m30s","from":2.5},"reason":"r"}`,
		`{"pool":"eu","state":"drain","schedule":{"cron":"0 2 * * 1-5","zone":"Asia/Shanghai","for":"2h"},"reason":"r"}`,
	} {
		stored := `{"kind":"Override","tenant":"shop","name":"o","spec":` + body + `}`
		for _, mode := range []Mode{Strict, Tolerant} {
			r, err := DecodeJSON([]byte(stored), mode)
			if err != nil {
				t.Fatal(err)
			}
			data, err := r.MarshalJSON()
			if err != nil || string(data) != stored {
				t.Errorf("%s became %s %v", stored, data, err)
			}
			yaml, err := EncodeYAML([]*Resource{r})
			if err != nil {
				t.Fatal(err)
			}
			again, err := Decode("o.yaml", yaml)
			if err != nil || len(again) != 1 {
				t.Fatalf("%v in\n%s", err, yaml)
			}
			if diff := cmp.Diff(r.Spec, again[0].Spec, cmp.AllowUnexported(Time{})); diff != "" {
				t.Errorf("by YAML: %s", diff)
			}
		}
	}
}

func TestWrittenRamps(t *testing.T) {
	for weight, want := range map[string]string{
		`ten`:                          `spec.weight: wants a whole number or {to: 30, over: 20m}, not the text "ten"`,
		`1.5`:                          `spec.weight: wants a whole number or {to: 30, over: 20m}, not the number 1.5`,
		`{over: 20m}`:                  `spec.weight.to: is missing: the weight to go to`,
		`{to: 30, over: 20}`:           `spec.weight.over: a duration needs a unit; write 20s for seconds`,
		`{to: 30, ober: 20m}`:          `spec.weight.ober: unknown field; did you mean over?`,
		`{to: 30, over: 20m, from: x}`: `spec.weight.from: wants a number, not the text "x"`,
	} {
		_, err := Decode("o.yaml",
			[]byte("kind: Override\ntenant: shop\nname: o\nspec: {pool: eu, endpoint: a, reason: r, weight: "+weight+"}\n"))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", weight, err, want)
		}
	}
}

// TestAt: whether an override holds, since when, and until when, or when it will.
func TestAt(t *testing.T) {
	noon := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	clock := func(moment time.Time) string {
		if moment.IsZero() {
			return "-"
		}
		return moment.UTC().Format("15:04")
	}
	hourly := &Schedule{Cron: "0 * * * *", For: Duration(30 * time.Minute)}
	for _, c := range []struct {
		name string
		o    Override
		want string // holds, since, next
	}{
		{"always", Override{}, "true - -"},
		{"ends", Override{Expires: TimeOf("2030-01-31T13:00:00Z")}, "true - 13:00"},
		{"has ended", Override{Expires: TimeOf("2030-01-31T12:00:00Z")}, "false - -"},
		{"ends some day", Override{Expires: TimeOf("tomorrow")}, "false - -"},
		{"starts later", Override{Starts: TimeOf("2030-01-31T12:00:01Z"), Expires: TimeOf("2030-01-31T13:00:00Z")}, "false - 12:00"},
		{"starts now", Override{Starts: TimeOf("2030-01-31T12:00:00Z")}, "true 12:00 -"},
		{"started", Override{Starts: TimeOf("2030-01-31T11:00:00Z"), Expires: TimeOf("2030-01-31T13:00:00Z")}, "true 11:00 13:00"},
		{"starts some day", Override{Starts: TimeOf("soon")}, "false - -"},
		{"recurs", Override{Schedule: hourly}, "true 12:00 12:30"},
		{"recurs until it ends", Override{Schedule: hourly, Expires: TimeOf("2030-01-31T12:10:00Z")}, "true 12:00 12:10"},
		{"will recur", Override{Schedule: &Schedule{Cron: "30 * * * *", For: Duration(time.Minute)}}, "false - 12:30"},
		{"is over before it recurs", Override{Schedule: &Schedule{Cron: "30 * * * *", For: Duration(time.Minute)},
			Expires: TimeOf("2030-01-31T12:30:00Z")}, "false - -"},
		{"recurs at no time", Override{Schedule: &Schedule{Cron: "x", For: Duration(time.Minute)}}, "false - -"},
	} {
		term := c.o.At(noon)
		if got := fmt.Sprintf("%v %s %s", term.Holds, clock(term.From), clock(term.Next)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestOverridesOfRules: the rule must be there, have the pool, and divide its clients among it and a neighbour by weights.
func TestOverridesOfRules(t *testing.T) {
	o := func(name, rule, pool string) string {
		return fmt.Sprintf("kind: Override\ntenant: shop\nname: %s\nspec: {service: web, rule: %s, pool: %s, weight: 10, reason: "+
			"x}\n---\n", name, rule, pool)
	}
	web := func(rules string) string {
		return "kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., rules: [" + rules + "]}\n---\n"
	}
	split := web("{name: europe, when: {geo: [EU]}, pools: [eu]}, {pools: [{pool: eu, weight: 90}, {pool: us, weight: 10}]}")
	for _, c := range []struct{ name, put, want string }{
		{"by number", split + o("x", "2", "us"), ""},
		{"by name, of a failover, with a neighbour", o("x", "rest", "eu") + o("y", "rest", "us"), ""},
		{"by number, of a failover, with a neighbour by name", o("x", "2", "eu") + o("y", "rest", "us"), ""},
		{"of a failover, by itself", o("x", "rest", "us"),
			"s.yaml:4: shop/Override/x: spec.pool: pool us stands by itself in rule rest, for failover: a weight alone moves nothing; " +
				"give its neighbours weights, too, as in gtmctl shift shop/web --rule rest eu=90 us=10"},
		{"of a failover, the first by itself", o("x", "rest", "eu"),
			"s.yaml:4: shop/Override/x: spec.pool: pool eu stands by itself in rule rest, for failover: a weight alone moves nothing; " +
				"give its neighbours weights, too, as in gtmctl shift shop/web --rule rest eu=90 us=10"},
		{"no such service", strings.Replace(o("x", "rest", "us"), "web", "wbe", 1),
			"s.yaml:4: shop/Override/x: spec.service: shop/Service/wbe does not exist; did you mean web?"},
		{"no such rule", o("x", "rst", "us"), "s.yaml:4: shop/Override/x: spec.rule: service web has no rule rst; did you mean rest?"},
		{"no such number", split + o("x", "3", "us"), "s.yaml:9: shop/Override/x: spec.rule: service web has no rule 3; did you mean 2?"},
		{"not its pool", split + o("x", "europe", "us"),
			"s.yaml:9: shop/Override/x: spec.pool: rule europe of service web has no pool us to give a weight"},
		{"twice, in two ways", split + o("x", "2", "us") + o("y", `"2"`, "us"),
			"s.yaml:9: shop/Override/x: spec: shop/us in rule 2 of shop/web is already overridden by shop/Override/y; change or " +
				"delete that " +
				"one\ns.yaml:14: shop/Override/y: spec: shop/us in rule 2 of shop/web is already overridden by shop/Override/x; " +
				"change or " +
				"delete that one"},
		{"by name and number", o("x", "2", "us") + o("y", "rest", "us") + o("z", "rest", "eu"),
			"s.yaml:4: shop/Override/x: spec: shop/us in rule rest of shop/web is already overridden by shop/Override/y; change or " +
				"delete that " +
				"one\ns.yaml:9: shop/Override/y: spec: shop/us in rule rest of shop/web is already overridden by shop/Override/x; " +
				"change or " +
				"delete that one"},
		{"beside one of the pool itself", split + o("x", "2", "eu") +
			"kind: Override\ntenant: shop\nname: y\nspec: {pool: eu, state: drain, reason: x}\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := validateAfter(t, strings.TrimSuffix(c.put, "---\n"), "")
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestARuleThatAnOverrideIsOf cannot go before it.
func TestARuleThatAnOverrideIsOf(t *testing.T) {
	all, err := Decode("s.yaml",
		[]byte(base+"---\nkind: Override\ntenant: shop\nname: o\nspec: {service: web, rule: rest, pool: us, weight: 1, reason: x}\n"))
	if err != nil {
		t.Fatal(err)
	}
	web := Key{"shop", KindService, "web"}
	for rules, want := range map[string]string{
		"{name: rest, pools: [eu, {pool: us, weight: 3}]}": "",
		"{name: all, pools: [eu, us]}": "shop/Service/web: spec.rules: service web has no rule rest, but shop/Override/o still refers " +
			"to it; " +
			"delete the override too",
		"{name: rest, pools: [eu]}": "shop/Service/web: spec.rules: rule rest of service web has no pool us to give a weight, but " +
			"shop/Override/o " +
			"still refers to " +
			"it; delete the override too",
	} {
		changed, err := Decode("",
			[]byte("kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., rules: ["+rules+"]}\n"))
		if err != nil {
			t.Fatal(err)
		}
		changed[0].Origin = Origin{}
		set := setOf(all)
		set[web] = changed[0]
		_, err = ValidateSet(set, changed, nil)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", rules, got, want)
		}
	}
	set := setOf(all)
	delete(set, web)
	if _, err := ValidateSet(set, nil, []Key{web}); err == nil || !strings.Contains(err.Error(),
		"shop/Override/o still refers to it (spec.service)") {
		t.Errorf("the service goes: %v", err)
	}
}
