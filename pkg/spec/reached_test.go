package spec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Only a rule behind one without when was told; one behind a wider place, network or map was taken without a word.
func TestRulesThatAreNeverReachedAreTold(t *testing.T) {
	const maps = "kind: Map\ntenant: platform\nname: wide\nspec: {networks: [192.0.0.0/16, \"2001:db8::/32\"]}\n---\n" +
		"kind: Map\ntenant: platform\nname: narrow\nspec: {networks: [192.0.2.0/24, \"2001:db8:1::/48\"]}\n---\n" +
		"kind: Map\ntenant: platform\nname: beside\nspec: {networks: [192.0.2.0/24, 198.51.100.0/24]}\n---\n" +
		"kind: Map\ntenant: platform\nname: large\nspec: {fromFiles: true}\n---\n" +
		"kind: Map\ntenant: platform\nname: larger\nspec: {fromFiles: true}\n---\n"
	for _, c := range []struct{ name, rules, want string }{
		{"a country behind its continent", "{name: eu, when: {geo: [EU]}}, {name: de, when: {geo: [EU-DE]}}, {name: rest}",
			"spec.rules[1]: is never reached: rule eu before it takes all of its clients; put it before rule eu"},
		{"the same place twice", "{name: x, when: {geo: [EU-DE]}}, {name: y, when: {geo: [EU-DE]}}, {name: rest}",
			"spec.rules[1]: is never reached: rule x before it takes all of its clients; put it before rule x"},
		{"the narrow one first", "{name: de, when: {geo: [EU-DE]}}, {name: eu, when: {geo: [EU]}}, {name: rest}", ""},
		{"a place whose name begins alike", "{name: de, when: {geo: [EU-DE-B]}}, {name: be, when: {geo: [EU-DE-BE]}}, {name: rest}", ""},
		{"one place of two", "{name: eu, when: {geo: [EU]}}, {name: x, when: {geo: [EU-DE, AS]}}, {name: rest}", ""},
		{"two rules together", "{name: eu, when: {geo: [EU]}}, {name: as, when: {geo: [AS]}}, {name: x, when: {geo: [AS-SG, EU-DE]}}, " +
			"{name: " +
			"rest}",
			"spec.rules[2]: is never reached: rules eu, as before it take all of its clients; put it before rule eu"},
		{"a place and a network behind the place",
			"{name: eu, when: {geo: [EU]}}, {name: x, when: {geo: [EU-DE], asn: [64500]}}, {name: rest}",
			"spec.rules[1]: is never reached: rule eu before it takes all of its clients; put it before rule eu"},
		{"a place behind that place and a network",
			"{name: x, when: {geo: [EU], asn: [64500]}}, {name: eu, when: {geo: [EU-DE]}}, {name: " +
				"rest}", ""},
		{"a network behind a place", "{name: eu, when: {geo: [EU]}}, {name: x, when: {asn: [64500]}}, {name: rest}", ""},
		{"a place behind a network", "{name: x, when: {asn: [64500]}}, {name: eu, when: {geo: [EU]}}, {name: rest}", ""},
		{"network numbers behind more of them", "{name: x, when: {asn: [64500, 64501]}}, {name: y, when: {asn: [64501]}}, {name: rest}",
			"spec.rules[1]: is never reached: rule x before it takes all of its clients; put it before rule x"},
		{"network numbers behind others", "{name: x, when: {asn: [64500]}}, {name: y, when: {asn: [64501]}}, {name: rest}", ""},
		{"a map behind a wider one", "{name: w, when: {map: wide}}, {name: n, when: {map: narrow}}, {name: rest}",
			"spec.rules[1]: is never reached: rule w before it takes all of its clients; put it before rule w"},
		{"a map behind a narrower one", "{name: n, when: {map: narrow}}, {name: w, when: {map: wide}}, {name: rest}", ""},
		{"a map behind one that has a part of it", "{name: w, when: {map: wide}}, {name: b, when: {map: beside}}, {name: rest}", ""},
		{"a map and a place behind the map",
			"{name: w, when: {map: [offices, wide]}}, {name: n, when: {map: narrow, geo: [EU]}}, {name: rest}",
			"spec.rules[1]: is never reached: rule w before it takes all of its clients; put it before rule w"},
		{"maps whose networks nobody knows here",
			"{name: l, when: {map: large}}, {name: m, when: {map: larger}}, {name: w, when: {map: wide}}, {name: rest}", ""},
		{"resolvers behind their own map", "{name: w, when: {map: wide}}, {name: n, when: {resolver: narrow}}, {name: rest}",
			"spec.rules[1]: is never reached: rule w before it takes all of its clients; put it before rule w"},
		{"a map behind its resolvers", "{name: w, when: {resolver: wide}}, {name: n, when: {map: narrow}}, {name: rest}", ""},
		{"resolvers of two maps behind those of one",
			"{name: w, when: {resolver: wide}}, {name: n, when: {resolver: [offices, beside], map: narrow}}, {name: rest}",
			"spec.rules[1]: is never reached: rule w before it takes all of its clients; put it before rule w"},
		{"resolvers, and a part of them", "{name: w, when: {resolver: wide}}, {name: n, when: {resolver: beside}}, {name: rest}", ""},
		{"all clients", "{name: rest}, {name: eu, when: {geo: [EU]}}, {name: de, when: {geo: [EU-DE]}}",
			"spec.rules[1]: is never reached: rule rest before it takes every client; put it before rule rest"},
		{"two of them", "{name: eu, when: {geo: [EU]}}, {name: de, when: {geo: [EU-DE]}}, {name: fr, when: {geo: [EU-FR]}}, {name: rest}",
			"spec.rules[1]: is never reached: rule eu before it takes all of its clients; put it before rule eu\n" +
				"spec.rules[2]: is never reached: rule eu before it takes all of its clients; put it before rule eu"},
	} {
		rules := strings.ReplaceAll(strings.ReplaceAll(c.rules, "}, {name", ", pools: [eu]}, {name"), "}}, pools", "}, pools")
		put := maps + "kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., rules: [" + rules[:len(rules)-1] + ", " +
			"pools: [eu]}]}\n"
		warnings, err := validateAfter(t, put, "")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := strings.ReplaceAll(warnings.Error(), "s.yaml:29: shop/Service/web: ", "")
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// The search is of warnings, and costs the square of what one tenant may declare: it has an end.
func TestTheSearchForHiddenRulesHasAnEnd(t *testing.T) {
	var numbers, rules []string
	for i := range 300 {
		numbers = append(numbers, fmt.Sprint(64500+i))
	}
	for i := range 200 {
		rules = append(rules, fmt.Sprintf("{name: r%d, when: {asn: [%s]}, pools: [eu]}", i,
			strings.Join(numbers[i%7:len(numbers)-i%5], ", ")))
	}
	put := "kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., rules: [" + strings.Join(rules,
		", ") + ", {name: rest, pools: [eu]}]}\n"
	resources, err := Decode("s.yaml", []byte(put))
	if err != nil {
		t.Fatal(err)
	}
	before, err := Decode("", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	set := setOf(before)
	set[resources[0].Key] = resources[0]
	v := &setChecker{after: set}
	v.unreachable(resources[0], resources[0].Spec.(*Service).Rules)
	if most := maxHiddenWork + 301; v.hiddenWork > most {
		t.Errorf("it compared %d times, want at most %d", v.hiddenWork, most)
	}
	if len(v.warnings) > maxHiddenReports+1 {
		t.Errorf("%d warnings of one service", len(v.warnings))
	}

	few := strings.Repeat("{when: {geo: [EU]}, pools: [eu]}, ", maxHiddenReports+5)
	warnings, err := validateAfter(t, "kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., rules: ["+few+"{pools: "+
		"[eu]}]}\n", "")
	if err != nil || len(warnings) != maxHiddenReports+1 || !strings.Contains(warnings[maxHiddenReports].Msg, "there are more") {
		t.Errorf("%d warnings, the last of which must say that there are more: %v, %v", len(warnings), warnings, err)
	}
}

// A plan told a rule that came as if its place meant nothing; the first rule that matches decides.
func TestAPlanTellsWhereARuleIsPut(t *testing.T) {
	service := func(rules string) *Resource {
		return one(t, KindService, "shop", "web", "host: w.example., rules: ["+rules+"]")
	}
	eu, as, rest := "{name: eu, when: {geo: [EU]}, pools: [p]}", "{name: as, when: {geo: [AS]}, pools: [p]}", "{name: rest, pools: [p]}"
	for _, c := range []struct{ old, new, want string }{
		{eu + "," + rest, eu + "," + as + "," + rest, "spec.rules[as]: 2 of 3, behind eu, before rest"},
		{eu + "," + rest, as + "," + eu + "," + rest, "spec.rules[as]: 1 of 3, before eu"},
		{eu + "," + as, eu + "," + as + "," + rest, "spec.rules[rest]: 3 of 3, behind as"},
		{rest, as + "," + eu + "," + rest, "spec.rules[as]: 1 of 3, before eu\nspec.rules[eu]: 2 of 3, behind as, before rest"},
		{eu + "," + as + "," + rest, eu + "," + rest, ""},
	} {
		var got []string
		for _, ch := range Diff(service(c.old), service(c.new)) {
			if ch.Place != "" {
				got = append(got, ch.Path+": "+ch.Place)
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
			t.Error(diff)
		}
	}
	pool := func(body string) *Resource { return one(t, KindPool, "shop", "eu", body) }
	for _, ch := range Diff(pool(`endpoints: [{name: a, host: x.}]`), pool(`endpoints: [{name: b, host: y.}, {name: a, host: x.}]`)) {
		if ch.Place != "" {
			t.Errorf("the order of endpoints means nothing, and %s has a place: %s", ch.Path, ch.Place)
		}
	}
}
