package spec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSplit(t *testing.T) {
	const endpoints = `endpoints: [{name: a, addresses: ["2001:db8::1", 192.0.2.1, 192.0.2.2], weight: 3}, ` +
		`{name: b, addresses: [192.0.2.3]}, {name: c, addresses: [192.0.2.4, "2001:db8::4"], probe: 192.0.2.9}]`
	whole := one(t, KindPool, "shop", "p", endpoints).Spec.(*Pool)
	if whole.Split() != whole {
		t.Error("a pool that is not apart is split")
	}
	apart := one(t, KindPool, "shop", "p", "apart: true, "+endpoints).Spec.(*Pool)
	want := one(t, KindPool, "shop", "p", `endpoints: [{name: a, addresses: [192.0.2.1, 192.0.2.2], weight: 3}, `+
		`{name: x, addresses: ["2001:db8::1"], weight: 3}, {name: b, addresses: [192.0.2.3]}, `+
		`{name: c, addresses: [192.0.2.4, "2001:db8::4"], probe: 192.0.2.9}]`).Spec.(*Pool)
	want.Endpoints[0].Name, want.Endpoints[1].Name = "a/ipv4", "a/ipv6"
	split := apart.Split()
	if d := cmp.Diff(want.Endpoints, split.Endpoints, cmpopts.EquateComparable(split.Endpoints[0].Addresses[0])); d != "" {
		t.Error(d)
	}
	if split.Split() != split {
		t.Error("what is split is split again")
	}
	if len(apart.Endpoints) != 3 || apart.Endpoints[0].Name != "a" {
		t.Error("the declaration was changed")
	}
	for name, declared := range map[string]string{"a/ipv6": "a", "a": "a"} {
		if got := DeclaredName(name); got != declared {
			t.Errorf("%s: %s", name, got)
		}
	}
}
