// Package compile compiles declared resources, static zones, geography and verdicts into the View of pkg/table that answers are read
// from, and keeps compiling as they change.
//
// One Compiler (one goroutine) writes; any number of goroutines read the Views that it gave, which never change.
package compile

import (
	"net/netip"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// Change is news for a Compiler: resources, heads and verdicts. What is in it is not changed, and must not be later.
type Change struct {
	Full            bool // everything there is: what is not mentioned does not exist
	Tenants         []TenantChange
	Verdicts        []health.Verdict
	VerdictsDeleted []health.PoolID
	VerdictsBroken  []health.PoolID // in a full change: could not be read; the last one holds
}

// TenantChange is one tenant's step to a generation.
type TenantChange struct {
	Tenant  string
	Head    uint64
	Put     []Item
	Deleted []spec.Key
	Broken  []Broken // could not be read: their last good form stays
}

// Item is one version of a resource.
type Item struct {
	Resource   *spec.Resource
	Generation uint64
}

// Broken is a resource that is not served as declared, and why.
type Broken struct {
	Key    spec.Key
	Err    error
	Serves Form // what is served in its place; a Compiler tells it
}

// Form is what is served of a resource that is broken.
type Form uint8

// The forms.
const (
	Nothing  Form = iota // it never had a good form, or that has lost its place
	LastGood             // the form before it
	TheRest              // itself, but for what the error says
)

// String gives the form as a word.
func (f Form) String() string { return [...]string{"nothing", "lastGood", "theRest"}[f] }

// Target is a host outside of our zones that aliases lead to.
type Target struct {
	Host string // canonical
	By   string // spec.ByContinent, spec.ByCountry, or empty: the same for all clients
}

// Resolved is what a Target was resolved to. Each answer has all addresses of its family.
type Resolved struct {
	TTL       uint32        // seconds; the longest that answers may have
	Addresses []netip.Addr  // where nothing else is said; without one of a family, that family is not served at all
	Places    []PlaceResult // with Target.By: every place that is told apart, in a fixed order
}

// PlaceResult is what clients of a place get. In a family without addresses they get those of Resolved.
type PlaceResult struct {
	Place     string // as in EU or EU-DE
	Addresses []netip.Addr
}

// Name is a name that a generation touched: the host of a service, or the apex of a zone.
type Name struct {
	Key  spec.Key // whose it is
	Host string
	Apex bool
	// MayFail: what is declared may have it answer SERVFAIL.
	MayFail bool
}
