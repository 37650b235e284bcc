package rr

import "github.com/gti/gtm/pkg/dnswire"

// Family is what a steered name is asked for.
type Family uint8

// The families. A service of addresses has IPv4, IPv6 and what it asks for of HTTPS and SVCB, one of host names has CNAME alone,
// or SRV and MX in its place.
const (
	IPv4 Family = iota
	IPv6
	CNAME
	HTTPS
	SVCB
	SRV
	MX
	Families // how many there are
)

// Type gives the RR type that carries the family.
func (f Family) Type() uint16 {
	return [Families]uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeCNAME, dnswire.TypeHTTPS, dnswire.TypeSVCB, dnswire.TypeSRV,
		dnswire.TypeMX}[f]
}

// Noun says for people what answers of the family name.
func (f Family) Noun() string {
	return [Families]string{"IPv4 addresses", "IPv6 addresses", "host names", "addresses", "addresses", "host names", "host names"}[f]
}

// FamilySet is a set of families: bit f stands for family f.
type FamilySet uint8

// Holds tells whether every family of need is in the set.
func (s FamilySet) Holds(need FamilySet) bool { return s&need == need }

// Has tells whether the set has family f.
func (s FamilySet) Has(f Family) bool { return s>>f&1 == 1 }
