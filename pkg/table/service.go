package table

import (
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
)

// Service is one compiled steered name. It is immutable but for its counters.
//
// What every query reads of it is one cache line; a view holds the lines of its services side by side.
type Service struct {
	*ServiceInfo
	Layout *Layout // nil: each class has a row of the same number
	Steps  []Step  // of all rows, one after the other; or as Layout has them
	Part   uint32  // of View.PartList, for clients' networks
	// ResolverPart is that for the addresses of resolvers, where the client's network is not known: mostly the same.
	ResolverPart uint32
	// rules is how many; each has a row of the same number, and the row behind the last one is lastResort's. Of a service that goes by a
	// policy and does not steer, it is how many classes.
	rules  uint16
	starts [fewRows]uint8 // as ServiceInfo.Index, where that has no more, nor larger ones

	Served rr.FamilySet // what exists at the name
	Need   rr.FamilySet // a pool must give it to be chosen: Served where all families come from one pool, else nothing more
	Tiers  uint8        // how many of tiers are tried
	Is     Traits
}

// Traits are what few services have.
type Traits uint8

// The traits.
const (
	Steers  Traits = 1 << iota // Layout is there, and Steering
	Indexed                    // Index is there
	Pending                    // an alias of what was never resolved: SERVFAIL
	Metrics                    // Counting is there
	Keyed                      // Client.Label and Client.Now are asked for
	Grouped                    // Steering has weights that queries ask for
)

// Has reports whether a trait is among them.
func (t Traits) Has(trait Traits) bool { return t&trait != 0 }

// Step is what failover goes to next. It has the TTL of its row, so that a query need not ask whether the rule has one.
type Step struct {
	Node uint32 // of View.Nodes
	TTL  uint32 // seconds, which an answer from here has at most; the node may have less
}

// ServiceInfo is what few queries read of a Service.
type ServiceInfo struct {
	Sigs     *zones.SteeredSigs // nil: its zone is not signed
	Steering *Steering          // nil: one row for each rule; without Steers: one for each class
	Tenant   string
	Name     string
	Spec     *spec.Service // with defaults filled in
	// AliasOf is what the service's answers are taken from, for people; empty: it is no alias.
	AliasOf string
	Pick    draws.Pick
	// Order has the pools of each rule as they are declared, where overrides of their weights may have put them in another order: default
	// answers go by it. nil: none has.
	Order    [][]string
	Index    []uint32       // row i has Steps[Index[i]:Index[i+1]]; nil once InlineIndex has put it elsewhere
	Counting *ServiceCounts // see Counts
}

// TTLs hashes the TTLs that steps of the service have, each once, in whatever order; and that of its unsure pools.
func (s *Service) TTLs() (sum uint64) {
	var seen []uint32
	for _, at := range s.Steps {
		if !slices.Contains(seen, at.TTL) {
			seen = append(seen, at.TTL)
			sum += steer.Hash(0, uint64(at.TTL))
		}
	}
	if s.ServiceInfo != nil && s.Spec != nil && s.Spec.TTLUnsure != nil {
		sum += steer.Hash(1, uint64(s.Spec.TTLUnsure.WholeSeconds()))
	}
	return sum
}

// fewRows is so many entries as fill the line.
const fewRows = 10

// InlineIndex puts the index in its place, once it is complete.
func (s *Service) InlineIndex() {
	s.rules = uint16(len(s.Index) - 2)
	if len(s.Index) > fewRows || s.Index[len(s.Index)-1] > math.MaxUint8 {
		s.Is |= Indexed
		return
	}
	for i, at := range s.Index {
		s.starts[i] = uint8(at)
	}
	s.Index = nil
}

// Row gives the range of a row's steps.
func (s *Service) Row(i int) (from, to int) {
	if !s.Is.Has(Indexed) {
		return int(s.starts[i]), int(s.starts[i+1])
	}
	return int(s.Index[i]), int(s.Index[i+1])
}

// Serves tells whether the family exists at the service's name, for whichever client.
func (s *Service) Serves(f rr.Family) bool { return s.Served.Has(f) }

// FamilyOf tells in which family, if any, the service answers a query type.
func (s *Service) FamilyOf(qtype uint16) (rr.Family, bool) {
	f := rr.CNAME
	switch {
	case s.Serves(rr.CNAME):
	case qtype == dnswire.TypeA:
		f = rr.IPv4
	case qtype == dnswire.TypeAAAA:
		f = rr.IPv6
	case qtype == dnswire.TypeHTTPS:
		f = rr.HTTPS
	case qtype == dnswire.TypeSVCB:
		f = rr.SVCB
	case qtype == dnswire.TypeSRV:
		f = rr.SRV
	case qtype == dnswire.TypeMX:
		f = rr.MX
	}
	return f, s.Serves(f)
}

// Label hashes what a wildcard stands for in q's name, which was found as m says: all labels before those of the wildcard, whatever their
// case.
func Label(q *dnswire.Query, m zones.Match) uint64 {
	at := max(m.Label, 1) // of the wildcard itself, its asterisk
	if at >= q.Labels {
		return steer.HashLabels(q.Name[:q.NameLen-1])
	}
	return steer.HashLabels(q.Name[:q.LabelOff[at]])
}

// LabelOf is Label for a host name, and the service that stands there.
func (s *Service) LabelOf(host string) uint64 {
	wire, err := names.Wire(host)
	if err != nil {
		return 0
	}
	above, err := names.Wire(strings.TrimPrefix(s.Spec.Host, "*."))
	if err != nil {
		return 0
	}
	return steer.HashLabels([]byte(strings.TrimSuffix(wire, above)))
}

// Families lists what the service serves, in the order of the families.
func (s *Service) Families() []rr.Family {
	var out []rr.Family
	for f := range rr.Families {
		if s.Serves(f) {
			out = append(out, f)
		}
	}
	return out
}

// Counts gives the service's own counters, nil unless it asks for them.
func (s *Service) Counts() *ServiceCounts {
	if !s.Is.Has(Metrics) {
		return nil
	}
	return s.Counting
}

// ServiceCounts counts the answers of a service by pool. Safe for concurrent use.
type ServiceCounts struct {
	Tenant, Service string
	Pools           []string // sorted
	Answers         []atomic.Uint64
}

// Add counts one answer from a pool.
func (c *ServiceCounts) Add(pool string) {
	if i, ok := slices.BinarySearch(c.Pools, pool); ok {
		c.Answers[i].Add(1)
	}
}

// Class is what the rules of a service make of a client.
type Class struct {
	Index    uint16 // of the rule that matches; NoRule when none does
	Scope    uint8  // length of the widest network around the client's subnet that is of the same class
	Resolver bool   // the resolver's address decided
}

// NoRule stands for the rule of a client that none matches; lastResort answers it.
const NoRule = 0xFFFF

// partFor gives the partition in which a client is looked up first.
func (s *Service) partFor(c *Client) uint32 {
	if c.Has {
		return s.Part
	}
	return s.ResolverPart
}

// rowFor gives the row for a class.
func (s *Service) rowFor(c Class) int {
	if s.Is.Has(Steers) {
		return s.Layout.of.at(int(c.Index))
	}
	if c.Index == NoRule {
		return int(s.rules)
	}
	return int(c.Index)
}

// lastFor gives lastResort's row for clients of a row.
func (s *Service) lastFor(row int) int {
	if s.Is.Has(Steers) {
		return s.Layout.last.at(row)
	}
	return int(s.rules)
}
