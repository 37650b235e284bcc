package spec

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func poolOf(t *testing.T, text string) *Pool {
	t.Helper()
	rs, err := Decode("test.yaml", []byte("kind: Pool\ntenant: shop\nname: p\nspec: "+text))
	if err != nil {
		t.Fatal(err)
	}
	return rs[0].Spec.(*Pool)
}

func TestSourcesAreChecked(t *testing.T) {
	many := make([]string, maxSources+1)
	for i := range many {
		many[i] = fmt.Sprintf("{name: s%d, pushed: true}", i)
	}
	for _, tc := range []struct{ pool, want string }{
		{"{discover: [{name: a, dns: edge.example}]}", ""},
		{"{discover: [{name: a, dns: edge.example, families: [ipv6], resolver: '192.0.2.53', interval: 5s, weight: 0, most: 1024, " +
			"empty: take}]}", ""},
		{"{discover: [{name: a, srv: _a._tcp.example, resolver: '[2001:db8::53]:5353'}, {name: b, file: f}, " +
			"{name: c, pushed: true, empty: keep}]}", ""},
		{"{discover: [{name: a, pushed: true}], modes: {discover: observe}, minHealthy: '64'}", ""},
		{"{discover: [{name: a, pushed: true, most: 3}], minHealthy: '4'}", "spec.minHealthy: 4 of 3 endpoints"},
		{"{}", "spec.endpoints: wants 1 to 4096 endpoints, not 0"},
		{"{discover: [{name: a}]}", "spec.discover[0]: wants one of dns, srv, file and pushed"},
		{"{discover: [{name: a, dns: b.example, file: f}]}", "spec.discover[0]: has dns and file"},
		{"{discover: [{dns: b.example}]}", "spec.discover[0].name: is missing"},
		{"{discover: [{name: a, dns: b.example}, {name: a, file: f}]}", `spec.discover[1].name: "a" stands twice`},
		{"{discover: [{name: a, dns: 'b..example'}]}", "spec.discover[0].dns"},
		{"{discover: [{name: a, srv: 'a b'}]}", "spec.discover[0].srv"},
		{"{discover: [{name: a, file: ../../etc/passwd}]}", "spec.discover[0].file"},
		{"{discover: [{name: a, dns: b.example, resolver: ns.example}]}", "spec.discover[0].resolver: wants an address"},
		{"{discover: [{name: a, file: f, resolver: 192.0.2.53}]}", "spec.discover[0].resolver: is who is asked for names"},
		{"{discover: [{name: a, dns: b.example, interval: 4s}]}", "spec.discover[0].interval: 4s is out of range"},
		{"{discover: [{name: a, dns: b.example, interval: 2h}]}", "spec.discover[0].interval: 2h is out of range"},
		{"{discover: [{name: a, pushed: true, interval: 10s}]}", "spec.discover[0].interval: nobody looks at"},
		{"{discover: [{name: a, pushed: true, families: [ipv5]}]}", `spec.discover[0].families[0]: "ipv5"`},
		{"{discover: [{name: a, pushed: true, families: []}]}", "spec.discover[0].families: has none"},
		{"{discover: [{name: a, dns: 192.0.2.1}]}", "spec.discover[0].dns: 192.0.2.1 is an address, and no name"},
		{"{discover: [{name: a, dns: b.example, pushed: true}]}", "spec.discover[0]: has dns and pushed: it can have one of"},
		{"{discover: [{name: a, pushed: true, families: [ipv4, ipv4]}]}", "spec.discover[0].families[1]: ipv4 stands twice"},
		{"{discover: [{name: a, pushed: true, weight: 70000}]}", "spec.discover[0].weight"},
		{"{discover: [{name: a, pushed: true, most: 1025}]}", "spec.discover[0].most"},
		{"{discover: [{name: a, pushed: true, most: -1}]}", "spec.discover[0].most"},
		{"{discover: [{name: a, pushed: true, empty: never}]}", "spec.discover[0].empty"},
		{"{discover: [" + strings.Join(many, ", ") + "]}", "spec.discover: has 17 sources"},
		{"{discover: [{name: a, pushed: true, most: 1024}, {name: b, pushed: true, most: 1024}, {name: c, pushed: true, most: 1024}, " +
			"{name: d, pushed: true, most: 1024}], endpoints: [{name: x, addresses: [192.0.2.1]}]}", "the pool would have 4097 endpoints"},
		{"{discover: [{name: a, pushed: true}], endpoints: [{name: ip-1, addresses: [192.0.2.1]}]}",
			`spec.endpoints[0].name: "ip-1" is as`},
		{"{endpoints: [{name: ip-1, addresses: [192.0.2.1]}]}", ""},
		{"{discover: [{name: a, pushed: true}], endpoints: [{name: x, host: b.example}]}",
			"spec.endpoints[0].host: goes not with discover"},
		{"{endpoints: [{name: x, addresses: [192.0.2.1]}], modes: {discover: off}}", "spec.modes.discover: is how discover acts"},
	} {
		rs, err := Decode("test.yaml", []byte("kind: Pool\ntenant: shop\nname: p\nspec: "+tc.pool))
		if err == nil {
			err = Validate(rs[0])
		}
		if got := fmt.Sprint(err); (tc.want == "") != (err == nil) || !strings.Contains(got, tc.want) {
			t.Errorf("%s:\n%s, want %q", tc.pool, got, tc.want)
		}
	}
}

// Names are those of endpoints, and no two addresses have the same.
func TestFoundNames(t *testing.T) {
	seen := map[string]string{}
	for _, a := range []string{"0.0.0.0", "192.0.2.1", "19.20.2.1", "255.255.255.255", "::", "::1", "2001:db8::", "2001:db8::1",
		"2001:db8:0:1::", "1:9:2::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:192.0.2.1"} {
		name := FoundName(netip.MustParseAddr(a))
		if err := checkLabel(name, ""); err != nil {
			t.Errorf("%s: %q %v", a, name, err)
		}
		if other, twice := seen[name]; twice {
			t.Errorf("%s and %s are both %s", a, other, name)
		}
		seen[name] = a
	}
	if got := FoundName(netip.MustParseAddr("2001:db8::a:1")); got != "ip-2001-db8-0-0-0-0-a-1" {
		t.Error(got)
	}
}

// names gives what a pool has, as in "a ip-192-0-2-1*3@192.0.2.1:80".
func namesOf(p *Pool) string {
	var words []string
	for _, e := range p.Endpoints {
		word := e.Name
		if e.Weight != nil {
			word += fmt.Sprintf("*%d", *e.Weight)
		}
		if e.Probe != "" {
			word += "@" + e.Probe
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestPoolsWithWhatWasFound(t *testing.T) {
	three := 3
	found := map[string]*Found{
		"one": {Endpoints: []FoundEndpoint{{Address: netip.MustParseAddr("192.0.2.1")},
			{Address: netip.MustParseAddr("192.0.2.2"), Port: 80},
			{Address: netip.MustParseAddr("2001:db8::1")}}},
		"two": {Endpoints: []FoundEndpoint{{Address: netip.MustParseAddr("192.0.2.2"), Weight: &three},
			{Address: netip.MustParseAddr("192.0.2.3"), Weight: &three}}},
	}
	get := func(source string) *Found { return found[source] }
	for _, tc := range []struct{ pool, want, by string }{
		{"{discover: [{name: one, pushed: true}]}", "ip-192-0-2-1 ip-192-0-2-2@192.0.2.2:80", "one one"},
		{"{discover: [{name: one, pushed: true, families: [ipv4, ipv6], weight: 7}]}",
			"ip-192-0-2-1*7 ip-192-0-2-2*7@192.0.2.2:80 ip-2001-db8-0-0-0-0-0-1*7", "one one one"},
		{"{discover: [{name: one, pushed: true, families: [ipv6]}]}", "ip-2001-db8-0-0-0-0-0-1", "one"},
		{"{discover: [{name: one, pushed: true, most: 1}]}", "ip-192-0-2-1", "one"},
		{"{discover: [{name: one, pushed: true}, {name: two, pushed: true}]}",
			"ip-192-0-2-1 ip-192-0-2-2@192.0.2.2:80 ip-192-0-2-3*3", "one one two"},
		{"{discover: [{name: two, pushed: true}, {name: one, pushed: true}]}", "ip-192-0-2-2*3 ip-192-0-2-3*3 ip-192-0-2-1", "two two one"},
		{"{discover: [{name: one, pushed: true}], endpoints: [{name: a, addresses: [192.0.2.1]}]}", "a ip-192-0-2-2@192.0.2.2:80", "- one"},
		{"{discover: [{name: one, pushed: true}], endpoints: [{name: a, addresses: [192.0.2.1]}], modes: {discover: observe}}", "a", "-"},
		{"{discover: [{name: none, pushed: true}], endpoints: [{name: a, addresses: [192.0.2.1]}]}", "a", "-"},
		{"{endpoints: [{name: a, addresses: [192.0.2.9]}]}", "a", "-"},
	} {
		declared := poolOf(t, tc.pool)
		before := namesOf(declared)
		with := declared.With(get)
		if got := namesOf(with); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.pool, got, tc.want)
		}
		if namesOf(declared) != before || (with == declared) != (tc.want == before) {
			t.Errorf("%s: the declaration has changed, or is another one", tc.pool)
		}
		for _, p := range []*Pool{declared, with} {
			by, got := p.FoundBy(get), []string{}
			for _, e := range with.Endpoints {
				got = append(got, orDefault(by[e.Name], "-"))
			}
			if text := strings.Join(got, " "); text != tc.by && declared.DiscoverMode() == ModeEnforce {
				t.Errorf("%s: by %s, want %s", tc.pool, text, tc.by)
			}
		}
	}
}

// Types belong to the declaration: what is found, or not, changes none.
func TestFamiliesOfSources(t *testing.T) {
	for _, tc := range []struct {
		pool string
		want Families
	}{
		{"{discover: [{name: a, pushed: true}]}", Families{V4: true}},
		{"{discover: [{name: a, pushed: true, families: [ipv6]}]}", Families{V6: true}},
		{"{discover: [{name: a, pushed: true, families: [ipv6]}], endpoints: [{name: a, addresses: [192.0.2.9]}]}",
			Families{V4: true, V6: true}},
		{"{discover: [{name: a, pushed: true, families: [ipv6]}], endpoints: [{name: a, addresses: [192.0.2.9]}], " +
			"modes: {discover: observe}}",
			Families{V4: true}},
	} {
		if got := poolOf(t, tc.pool).Families(); got != tc.want {
			t.Errorf("%s: %+v", tc.pool, got)
		}
	}
}

func TestAtMost(t *testing.T) {
	p := poolOf(t, "{discover: [{name: a, pushed: true, most: 3, families: [ipv4, ipv6]}, {name: b, file: f, most: 2}], "+
		"endpoints: [{name: x, addresses: [192.0.2.9]}]}")
	if all := p.AtMost(); len(all) != 6 || len(all[1].Addresses) != 2 || len(all[5].Addresses) != 1 || len(p.Endpoints) != 1 {
		t.Errorf("%+v", all)
	}
	if !p.MayFind("ip-192-0-2-1") || p.MayFind("x") || poolOf(t, "{endpoints: [{name: ip-x, addresses: [192.0.2.9]}]}").MayFind("ip-x") {
		t.Error("MayFind")
	}
}

// A service that names all endpoints is refused where as many as can be found fit no message.
func TestWhatCanBeFoundFits(t *testing.T) {
	for most, want := range map[int]bool{900: true, 1024: false} {
		rs, err := Decode("test.yaml", fmt.Appendf(nil, "%s---\nkind: Pool\ntenant: shop\nname: found\nspec:\n  "+
			"discover: [{name: a, pushed: true, most: %d}, "+
			"{name: b, pushed: true, most: 1024}, {name: c, pushed: true, most: 1024}, {name: d, pushed: true, most: 892}]\n---\n"+
			"kind: Service\ntenant: shop\nname: all\nspec: {host: all.shop.gtm.example, pick: all, rules: [{pools: [found]}]}\n", base,
			most))
		if err != nil {
			t.Fatal(err)
		}
		set := Set{}
		for _, r := range rs {
			set[r.Key] = r
		}
		_, err = ValidateSet(set, rs, nil)
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "fit a message") {
			t.Errorf("%d: %v", most, err)
		}
	}
}

// An override may name what can be found, before it is and when it is gone.
func TestOverridesOfWhatIsFound(t *testing.T) {
	for endpoint, want := range map[string]bool{"ip-192-0-2-1": true, "ip-2001-db8-0-0-0-0-0-1": true, "x": true, "y": false,
		"ip-nonsense": false, "ip-192-0-2-256": false} {
		rs, err := Decode("test.yaml", []byte("kind: Pool\ntenant: shop\nname: p\nspec: {discover: [{name: a, pushed: true}], "+
			"endpoints: [{name: x, addresses: [192.0.2.9]}]}\n---\nkind: Override\ntenant: shop\nname: o\n"+
			"spec: {pool: p, endpoint: "+endpoint+", state: drain, reason: r}\n"))
		if err != nil {
			t.Fatal(err)
		}
		set := Set{}
		for _, r := range rs {
			set[r.Key] = r
		}
		if _, err := ValidateSet(set, rs, nil); (err == nil) != want {
			t.Errorf("%s: %v", endpoint, err)
		}
		if _, err := ValidateSet(set, rs[:1], nil); (err == nil) != (endpoint != "y") {
			t.Errorf("%s, which is there already: %v", endpoint, err)
		}
	}
}

func TestCheckFound(t *testing.T) {
	s := &Source{Name: "a", Pushed: true, Most: 3}
	of := func(list ...string) (out []FoundEndpoint) {
		for _, a := range list {
			out = append(out, FoundEndpoint{Address: netip.MustParseAddr(a)})
		}
		return out
	}
	taken, notes, err := s.CheckFound(of("192.0.2.2", "2001:db8::1", "192.0.2.1"))
	if err != nil || notes == "" || !slices.EqualFunc(taken, of("192.0.2.1", "192.0.2.2"), FoundEndpoint.Equal) {
		t.Errorf("%v, %q, %v", taken, notes, err)
	}
	minus := -1
	for want, list := range map[string][]FoundEndpoint{
		"more than the 3":         of("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"),
		"stands twice":            of("192.0.2.1", "192.0.2.1"),
		"is not an address":       {{}},
		"its 2 addresses is ipv4": of("2001:db8::1", "2001:db8::2"),
		"its 1 addresses is ipv4": of("2001:db8::1"),
		"in IPv6 form":            of("::ffff:192.0.2.1"),
		"has a zone":              of("fe80::1%eth0"),
		"out of range":            {{Address: netip.MustParseAddr("192.0.2.1"), Weight: &minus}},
	} {
		if taken, _, err := s.CheckFound(list); err == nil || !strings.Contains(err.Error(), want) || taken != nil {
			t.Errorf("%s: %v, %v", want, taken, err)
		}
	}
}
