// Package spec holds the declared resources of gtm: their types, their strict decoding from YAML and
// JSON, their defaults, what makes them valid alone and together, and how two sets of them differ.
//
// It is pure: it reads no file, no clock and no network.
package spec

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// Kind names a type of resource.
type Kind string

// The kinds. Zones, sites and maps belong to the platform tenant, the rest to whoever declares it.
const (
	KindZone     Kind = "Zone"
	KindSite     Kind = "Site"
	KindMap      Kind = "Map"
	KindMonitor  Kind = "Monitor"
	KindPool     Kind = "Pool"
	KindPolicy   Kind = "Policy"
	KindService  Kind = "Service"
	KindOverride Kind = "Override"
	KindTenant   Kind = "Tenant"
	KindAccess   Kind = "Access"
	KindRollout  Kind = "Rollout"
	KindGuard    Kind = "Guard"
)

// Kinds lists every kind, dependencies first: a resource refers only to kinds that stand before its own.
var Kinds = []Kind{KindZone, KindSite, KindMap, KindMonitor, KindPool, KindPolicy, KindService, KindOverride, KindTenant, KindAccess,
	KindRollout, KindGuard}

// Platform is the tenant that owns zones, sites and maps.
const Platform = "platform"

// Key names one resource. Keys are comparable and ordered by tenant, kind (as in Kinds), name.
type Key struct {
	Tenant string `json:"tenant"`
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
}

// String gives the form that people read and type: tenant/Kind/name.
func (k Key) String() string { return k.Tenant + "/" + string(k.Kind) + "/" + k.Name }

// Compare orders keys by tenant, kind (as in Kinds, unknown ones last), name.
func (k Key) Compare(o Key) int {
	if c := strings.Compare(k.Tenant, o.Tenant); c != 0 {
		return c
	}
	if k.Kind != o.Kind {
		return cmp.Or(cmp.Compare(k.Kind.rank(), o.Kind.rank()), strings.Compare(string(k.Kind), string(o.Kind)))
	}
	return strings.Compare(k.Name, o.Name)
}

// rank is the kind's place in Kinds.
func (k Kind) rank() int {
	if i := slices.Index(Kinds, k); i >= 0 {
		return i
	}
	return len(Kinds)
}

// Resource is one declared resource. Spec is never nil and is the pointer type of its kind
// (*Zone, *Site, *Map, *Monitor, *Pool, *Policy, *Service, *Override, *Tenant, *Access, *Rollout, *Guard), or an *Opaque. A Resource is
// immutable once shared.
type Resource struct {
	Key
	Spec Spec
	// Generation is that of the version which a declaration was made from, so that it replaces no other; 0: whatever is there. It is
	// not stored.
	Generation uint64
	// Unknown is what this program does not understand of a stored form; nil: nothing.
	Unknown *Unknown
	// Origin is where it was declared, for messages only; it is neither stored nor compared.
	Origin Origin
}

// Spec is what a resource declares beside its key.
type Spec interface{ kind() Kind }

// Origin is a place in a file.
type Origin struct {
	File string
	Line int
	// Fields gives the line of each field by its path, as in spec.rules[1].when.geo[0]. It may lack some.
	Fields map[string]int
}

// blockMark marks, in Fields, the line above the first one of a text that stands there line by line.
const blockMark = "|"

// LineIn gives the line of the n-th line of a text. ok is false where it does not stand in the file line by line.
func (o *Origin) LineIn(field string, n int) (line int, ok bool) {
	above, ok := o.Fields[field+blockMark]
	return above + n, ok && n > 0
}

// LineOf gives the line of a field, or of the nearest known part of the resource that holds it.
func (o *Origin) LineOf(field string) int {
	for field != "" {
		if line, ok := o.Fields[field]; ok {
			return line
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return o.Line
}

// Lookup is a set of resources of all tenants, as change, tools and tests hold it.
type Lookup interface {
	// Get gives the resource of that key, or nil.
	Get(Key) *Resource
	// Of gives every resource of that kind, in any order.
	Of(Kind) iter.Seq[*Resource]
}

// Near is a Lookup that knows what a change can have something to do with, so that ValidateSet need not look for it among
// everything: of a kind, at least all that was changed, all that refers to what was changed or deleted and notices, services
// that have a host of those, and what aliases join to them.
type Near interface {
	Lookup
	Near(Kind) iter.Seq[*Resource]
}

// Set is the plain Lookup.
type Set map[Key]*Resource

// Get gives the resource of that key, or nil.
func (s Set) Get(k Key) *Resource { return s[k] }

// Of gives every resource of that kind.
func (s Set) Of(kind Kind) iter.Seq[*Resource] {
	return func(yield func(*Resource) bool) {
		for k, r := range s {
			if k.Kind == kind && !yield(r) {
				return
			}
		}
	}
}
