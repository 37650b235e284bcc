package state

import (
	"maps"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

// TestBrokenResourcesEndWithWhatReplacesOrDeletesThem: those were told as broken for ever.
func TestBrokenResourcesEndWithWhatReplacesOrDeletesThem(t *testing.T) {
	site := func(name string) *spec.Resource {
		return &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindSite, Name: name}, Spec: &spec.Site{}}
	}
	a, b, c := site("a"), site("b"), site("c")
	was := map[spec.Key]BrokenResource{a.Key: {Key: a.Key}, b.Key: {Key: b.Key}}
	for _, tc := range []struct {
		what string
		tu   TenantUpdate
		want []spec.Key
	}{
		{"nothing", TenantUpdate{}, []spec.Key{a.Key, b.Key}},
		{"replaced", TenantUpdate{Put: []Version{{Resource: a}}}, []spec.Key{b.Key}},
		{"deleted", TenantUpdate{Deleted: []spec.Key{b.Key}}, []spec.Key{a.Key}},
		{"another one", TenantUpdate{Broken: []BrokenResource{{Key: c.Key}}}, []spec.Key{a.Key, b.Key, c.Key}},
	} {
		now := brokenAfter(was, tc.tu)
		if got := slices.SortedFunc(maps.Keys(now), spec.Key.Compare); !slices.Equal(got, tc.want) || len(was) != 2 {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
		}
	}
}
