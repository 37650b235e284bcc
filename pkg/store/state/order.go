package state

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// sortKeys sorts by tenant, kind (dependencies first) and name.
func SortKeys(keys []spec.Key) { slices.SortFunc(keys, CompareKeys) }

func CompareKeys(a, b spec.Key) int {
	if d := strings.Compare(a.Tenant, b.Tenant); d != 0 {
		return d
	}
	if a.Kind != b.Kind {
		return cmp.Or(kindRank(a.Kind)-kindRank(b.Kind), strings.Compare(string(a.Kind), string(b.Kind)))
	}
	return strings.Compare(a.Name, b.Name)
}

// kindRank orders unknown kinds last.
func kindRank(k spec.Kind) int {
	if i := slices.Index(spec.Kinds, k); i >= 0 {
		return i
	}
	return len(spec.Kinds)
}

func ComparePools(a, b health.PoolID) int {
	if d := strings.Compare(a.Tenant, b.Tenant); d != 0 {
		return d
	}
	return strings.Compare(a.Pool, b.Pool)
}

func (tu *TenantUpdate) Sort() {
	slices.SortFunc(tu.Put, func(a, b Version) int { return CompareKeys(a.Resource.Key, b.Resource.Key) })
	SortKeys(tu.Deleted)
	slices.SortFunc(tu.Broken, func(a, b BrokenResource) int { return CompareKeys(a.Key, b.Key) })
}
