package spec

import (
	"fmt"
	"strings"
	"testing"
)

func TestStandbyIsChecked(t *testing.T) {
	const ends = ", endpoints: [{name: a, addresses: [192.0.2.1]}]"
	for _, c := range []struct {
		kind       Kind
		body, want string
	}{
		{KindPool, "monitor: ok, resume: manual, slowStart: 5m, depends: [{pool: db}, {service: db}]" + ends, ""},
		{KindPool, "monitor: ok, resume: auto, slowStart: 10s" + ends, ""},
		{KindPool, "monitor: ok, resume: manual, slowStart: 24h, modes: {resume: observe, slowStart: off}" + ends, ""},
		{KindPool, "monitor: ok, resume: manul" + ends, `spec.resume: "manul" is not possible; did you mean manual?`},
		{KindPool, "resume: manual" + ends, "spec.resume: a pool that nobody checks never fails; give it a monitor"},
		{KindPool, "monitor: ok, slowStart: 9s" + ends, "spec.slowStart: 9s is out of range: it can be 10s to 24h"},
		{KindPool, "monitor: ok, slowStart: 25h" + ends, "spec.slowStart: 25h is out of range: it can be 10s to 24h"},
		{KindPool, "slowStart: 1m" + ends, "spec.slowStart: endpoints that nobody checks never recover; give it a monitor"},
		{KindPool, "depends: [{}, {pool: a, service: b}, {pool: A}, {pool: c}, {pool: c}]" + ends,
			"spec.depends[0]: wants one of pool and service\nspec.depends[1]: wants one of pool and service\n" +
				"spec.depends[2].pool: \"A\" has the letter 'A'; a name is of a-z, 0-9 and -, at most 63 letters\n" +
				"spec.depends[4]: stands twice, first at spec.depends[3]"},
		{KindPool, "depends: [{pool: a}" + strings.Repeat(", {pool: a}", 16) + "]" + ends, "names 17 pools and services"},
		{KindPool, "depends: [{pool: db}], modes: {depends: observed, resume: off, slowStart: observe}" + ends,
			"spec.modes.resume: is how resume: manual acts, which the pool does not have; remove it\n" +
				"spec.modes.depends: \"observed\" is not possible; did you mean observe?\n" +
				"spec.modes.slowStart: is how slowStart acts, which the pool does not have; remove it"},
		{KindService, "host: a.example, ttlUnsure: 5s, rules: [{pools: [eu]}]", ""},
		{KindService, "host: a.example, ttl: 5s, ttlUnsure: 5s, rules: [{ttl: 6s, pools: [eu]}]", ""},
		{KindService, "host: a.example, ttlUnsure: 0s, rules: [{pools: [eu]}]", ""},
		{KindService, "host: a.example, ttlUnsure: 30s, rules: [{pools: [eu]}]",
			"spec.ttlUnsure: 30s does nothing: no TTL of the service is longer; make it shorter"},
		{KindService, "host: a.example, ttlUnsure: 1500ms, rules: [{pools: [eu]}]",
			"spec.ttlUnsure: 1.5s is not a whole number of seconds"},
		{KindService, "host: a.example, ttlUnsure: 5s, alias: {to: b.example}",
			"spec.ttlUnsure: goes not with alias, which answers as the name that it leads to; remove it, or alias"},
	} {
		err := Validate(one(t, c.kind, "shop", "x", c.body))
		got := ""
		if err != nil {
			var lines []string
			for _, e := range err.(Errors) {
				line := e.Field + ": " + e.Msg
				if e.Hint != "" {
					line += "; " + e.Hint
				}
				lines = append(lines, line)
			}
			got = strings.Join(lines, "\n")
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s\n got %s\nwant %s", c.body, got, c.want)
		}
	}
}

func TestModesOfPools(t *testing.T) {
	all := func(p *Pool) string { return p.ResumeMode() + " " + p.DependsMode() + " " + p.SlowStartMode() }
	p := &Pool{}
	if got := all(p); got != "off off off" {
		t.Error(got)
	}
	p.Resume, p.Depends, p.SlowStart = ResumeManual, []Dependency{{Pool: "a"}}, 1
	if got := all(p); got != "enforce enforce enforce" {
		t.Error(got)
	}
	p.Modes = &PoolModes{Resume: ModeOff, Depends: ModeObserve}
	if got := all(p); got != "off observe enforce" {
		t.Error(got)
	}
	p.Resume, p.Depends, p.SlowStart = ResumeAuto, nil, 0
	if got := all(p); got != "off off off" {
		t.Error(got)
	}
}

// TestPoolsDependOnOthers: what they name exists, and no chain comes back to where it began, nor is it too long.
func TestPoolsDependOnOthers(t *testing.T) {
	pool := func(name string, depends ...string) string {
		return fmt.Sprintf("---\nkind: Pool\ntenant: shop\nname: %s\nspec: {endpoints: [{name: a, addresses: [192.0.2.9]}], "+
			"depends: [%s]}\n", name, strings.Join(depends, ", "))
	}
	service := func(name, more string) string {
		return fmt.Sprintf("---\nkind: Service\ntenant: shop\nname: %s\nspec: {host: %s.shop.gtm.example., %s}\n", name, name, more)
	}
	chain := ""
	for i := range 8 {
		chain += pool(fmt.Sprint("p", i), fmt.Sprintf("{pool: p%d}", i+1))
	}
	for _, c := range []struct{ name, put, del, want string }{
		{"what there is", pool("x", "{pool: us}", "{service: web}"), "", ""},
		{"what there is not", pool("x", "{pool: uk}", "{service: wib}"), "", "spec.depends[0].pool: shop/Pool/uk does not exist; did you " +
			"mean us?"},
		{"a service that there is not", pool("x", "{service: wib}"), "",
			"spec.depends[0].service: shop/Service/wib does not exist; did you mean web?"},
		{"what is deleted", pool("x", "{service: web}"), "shop/Service/web",
			"spec.depends[0].service: shop/Service/web is deleted by the same"},
		{"itself", pool("x", "{pool: x}"), "", "spec.depends: depends on itself: pool x -> pool x"},
		{"by two", pool("x", "{pool: y}") + pool("y", "{pool: x}"), "", "depends on itself: pool x -> pool y -> pool x"},
		{"by a service", pool("us", "{service: web}"), "", "depends on itself: pool us -> service web -> pool us"},
		{"by a service that changes", pool("x", "{service: new}") + service("new", "rules: [{pools: [x, us]}]"), "",
			"depends on itself: pool x -> service new -> pool x"},
		{"lastResort does not count", pool("x", "{service: new}") + service("new", "rules: [{pools: [us]}], lastResort: [x]"), "", ""},
		{"an alias", pool("x", "{service: new}") + service("new", "alias: {to: web.shop.gtm.example.}"), "",
			"spec.depends[0].service: service new is an alias, which has no pools; name what it leads to"},
		{"eight in a chain", chain[len(pool("p0", "{pool: p1}")):] + pool("p8"), "", ""},
		{"nine", chain + pool("p8"), "", "is the first of a chain of 9 pools that depend on each other: it can be 8; name what it needs"},
		{"many ways to the same", pool("x", "{pool: y}", "{pool: z}") + pool("y", "{pool: z}") + pool("z"), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := Set{}
			add := func(text string) (list []*Resource) {
				list, err := Decode("s.yaml", []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range list {
					set[r.Key] = r
				}
				return list
			}
			add(base)
			var deleted []Key
			changed := add(strings.TrimPrefix(c.put, "---\n"))
			if c.del != "" {
				deleted = append(deleted, Key{"shop", KindService, "web"})
				delete(set, deleted[0])
			}
			_, err := ValidateSet(set, changed, deleted)
			if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}
