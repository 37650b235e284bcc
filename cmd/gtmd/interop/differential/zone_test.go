//go:build interop

package differential

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// zoneWriter makes the text of one zone, which every server should load.
type zoneWriter struct {
	*generator
	origin string
	types  map[string][]uint16 // what stands at each name, by canonical name
	b      strings.Builder
}

// The types of plain data.
var dataTypes = []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeSRV, dns.TypeSVCB, dns.TypeHTTPS, dns.TypePTR,
	dns.TypeCAA, dns.TypeHINFO, dns.TypeNAPTR, dns.TypeLOC, dns.TypeRP, dns.TypeSSHFP, dns.TypeTLSA, dns.TypeURI, dns.TypeAFSDB,
	dns.TypeKX, 65280}

func (z *zoneWriter) write() string {
	fmt.Fprintf(&z.b, "%s 300 IN SOA %s host.%s %d 7200 1800 1209600 %d\n", z.origin, z.target(), z.origin, 1+z.IntN(1000),
		pick(z.generator, []int{0, 60, 3600}))
	z.note(z.origin, dns.TypeSOA)
	z.set(z.origin, dns.TypeNS, 1+z.IntN(2))
	if z.chance(8) {
		z.set(z.origin, dns.TypeDNAME, 1)
	} else if z.chance(50) {
		z.data(z.origin)
	}
	for _, child := range z.origins {
		if child != z.origin && dns.IsSubDomain(z.origin, child) && (!z.odd || z.chance(70)) && z.open(child) {
			z.delegate(child)
		}
	}
	for _, owner := range z.owners[z.origin] {
		if !z.open(owner) {
			continue
		}
		switch n := z.IntN(100); {
		case n < 50 || z.has(owner):
			z.data(owner)
		case n < 70:
			z.set(owner, dns.TypeCNAME, 1)
		case n < 82 && !z.above(owner):
			z.set(owner, dns.TypeDNAME, 1)
			if z.chance(30) {
				z.data(owner)
			}
		default:
			z.delegate(owner)
		}
	}
	return z.b.String()
}

// delegate writes a delegation, sometimes with glue, DS and data that it hides.
func (z *zoneWriter) delegate(owner string) {
	if z.has(owner) || !z.odd && strings.HasPrefix(key(owner), "*.") {
		return
	}
	count := 1 + z.IntN(2)
	var hosts []string
	for range count {
		host := z.target()
		if z.chance(50) {
			host = z.under("ns", owner)
		}
		hosts = append(hosts, host)
		fmt.Fprintf(&z.b, "%s 600 IN NS %s\n", owner, host)
	}
	z.note(owner, dns.TypeNS)
	if z.chance(40) {
		fmt.Fprintf(&z.b, "%s 600 IN DS 12345 13 2 %s\n", owner, strings.Repeat("ab", 32))
	}
	if z.chance(10) {
		z.set(owner, pick(z.generator, []uint16{dns.TypeA, dns.TypeTXT, dns.TypeMX}), 1) // occluded
	}
	for _, host := range hosts {
		if dns.IsSubDomain(owner, host) && !z.has(host) && z.chance(75) {
			z.set(host, dns.TypeA, 1)
			if z.chance(50) {
				z.set(host, dns.TypeAAAA, 1)
			}
		}
	}
}

// data writes one to three sets of plain data.
func (z *zoneWriter) data(owner string) {
	for range 1 + z.IntN(3) {
		z.set(owner, pick(z.generator, dataTypes), 1+z.IntN(3)/2)
	}
}

// key gives a name in one way of writing it.
func key(name string) string {
	var wire [256]byte
	n, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil {
		return name
	}
	name, _, err = dns.UnpackDomainName(wire[:n], 0)
	if err != nil {
		return name
	}
	return dns.CanonicalName(name)
}

func (z *zoneWriter) has(name string) bool { return len(z.types[key(name)]) > 0 }

func (z *zoneWriter) note(name string, typ uint16) {
	z.types[key(name)] = append(z.types[key(name)], typ)
}

// open reports whether more may stand at a name: no CNAME is there, and no DNAME above.
func (z *zoneWriter) open(name string) bool {
	for _, other := range z.origins {
		if !z.odd && other != z.origin && dns.IsSubDomain(z.origin, other) && dns.IsSubDomain(other, name) && other != name {
			return false
		}
	}
	if slices.Contains(z.types[key(name)], dns.TypeCNAME) || !dns.IsSubDomain(z.origin, name) {
		return false
	}
	for name = key(name); name != key(z.origin); {
		i, _ := dns.NextLabel(name, 0)
		if name = name[i:]; slices.Contains(z.types[name], dns.TypeDNAME) {
			return false
		}
	}
	return true
}

// above reports whether something stands below the name.
func (z *zoneWriter) above(name string) bool {
	for other := range z.types {
		if other != key(name) && dns.IsSubDomain(key(name), other) {
			return true
		}
	}
	return false
}

// set writes one set where it may stand.
func (z *zoneWriter) set(owner string, typ uint16, count int) {
	if !z.open(owner) || slices.Contains(z.types[key(owner)], typ) || typ == dns.TypeCNAME && z.has(owner) {
		return
	}
	z.note(owner, typ)
	ttl := pick(z.generator, []int{0, 60, 3600})
	for range count {
		fmt.Fprintf(&z.b, "%s %d IN %s %s\n", owner, ttl, dns.Type(typ), z.rdata(typ))
	}
}

func (z *zoneWriter) rdata(typ uint16) string {
	n := z.IntN(200)
	switch typ {
	case dns.TypeA:
		return fmt.Sprintf("192.0.2.%d", n)
	case dns.TypeAAAA:
		return fmt.Sprintf("2001:db8::%x", n)
	case dns.TypeTXT:
		return pick(z.generator, []string{`"Text" "two"`, `""`, `"a\"b\\c\000\255;"`, `"` + strings.Repeat("z", 255) + `" b`})
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeKX:
		return fmt.Sprintf("%d %s", n, z.target())
	case dns.TypeSRV:
		return fmt.Sprintf("%d 1 443 %s", n, z.target())
	case dns.TypeSVCB, dns.TypeHTTPS:
		return pick(z.generator, []string{"0 ", "1 ", "2 "}) + z.target() + pick(z.generator, []string{"", "", ""})
	case dns.TypeCAA:
		return `0 issue "ca.example"`
	case dns.TypeHINFO:
		return `"Cpu" Os`
	case dns.TypeNAPTR:
		return fmt.Sprintf(`%d 10 "u" "sip+E2U" "!^.*$!x!" %s`, n, z.target())
	case dns.TypeLOC:
		return "52 22 23.000 N 4 53 32.000 E -2.00m 1.00m 10000.00m 10.00m"
	case dns.TypeRP:
		return z.target() + " " + z.target()
	case dns.TypeSSHFP:
		return "4 2 " + strings.Repeat("0f", 32)
	case dns.TypeTLSA:
		return "3 1 1 " + strings.Repeat("0f", 32)
	case dns.TypeURI:
		return `1 2 "https://example/"`
	case 65280:
		return fmt.Sprintf(`\# 3 01%02x41`, n)
	}
	return z.target() // NS, CNAME, DNAME, PTR
}
