package spec

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/geo"
)

// Validate checks one resource by itself. The error is an Errors with everything that was found.
// What its references need is checked by ValidateSet.
func Validate(r *Resource) error {
	c := &checker{r: r}
	c.envelope()
	switch s := r.Spec.(type) {
	case *Zone:
		c.zone(s)
	case *Site:
		c.site(s)
	case *Map:
		c.networks(s)
	case *Monitor:
		c.monitor(s)
	case *Pool:
		c.pool(s)
	case *Service:
		c.service(s)
	case *Policy:
		c.policy(s)
	case *Override:
		c.override(s)
	case *Tenant:
		c.tenant(s)
	case *Access:
		c.access(s)
	case *Rollout:
		c.rollout(s)
	case *Guard:
		c.guard(s)
	}
	return c.errs.orNil()
}

// checker gathers the faults of one resource.
type checker struct {
	r     *Resource
	errs  Errors
	total int // targets that were looked at
}

func (c *checker) fail(path, hint, format string, args ...any) {
	c.errs.add(faultOf(c.r, path, hint, format, args...))
}

// faultOf makes the fault of a field with its place in the file.
func faultOf(r *Resource, path, hint, format string, args ...any) *Error {
	return &Error{File: r.Origin.File, Line: r.Origin.LineOf(path), Resource: r.Key.String(), Field: path,
		Msg: fmt.Sprintf(format, args...), Hint: hint}
}

func (c *checker) envelope() {
	r := c.r
	c.label("tenant", r.Tenant)
	if r.Kind == KindZone {
		if name := c.zoneName("name", r.Name); name != "" && name != r.Name {
			c.fail("name", "", "must be written as %s", name)
		}
	} else {
		c.label("name", r.Name)
	}
	switch r.Kind {
	case KindZone, KindSite, KindMap:
		if r.Tenant != Platform {
			c.fail("tenant", "declare it there", "a %s belongs to the tenant %s", r.Kind, Platform)
		}
	}
}

// label checks the name of a resource or of a part of one.
func (c *checker) label(path, name string) {
	if name == "" {
		c.fail(path, "", "is missing")
		return
	}
	if err := checkLabel(name, ""); err != nil {
		c.fail(path, "a name is of a-z, 0-9 and -, at most 63 letters", "%q %v", shorten(name), err)
	}
}

// hostName checks a DNS name and gives its canonical form, or "" with a fault.
func (c *checker) hostName(path, name string) string { return c.named(path, name, CanonicalName) }

// named checks a name, and gives the form that canonical gives it, or "" with a fault.
func (c *checker) named(path, name string, canonical func(string) (string, error)) string {
	if name == "" {
		c.fail(path, "", "is missing")
		return ""
	}
	out, err := canonical(name)
	if err != nil {
		hint := "a host name is of letters, digits, - and _ in labels of at most 63"
		if strings.ContainsFunc(name, func(c rune) bool { return c > 0x7F }) {
			hint = "write other scripts as in xn--bcher-kva.example"
		}
		c.fail(path, hint, "%q %v", shorten(name), err)
	}
	return out
}

// zoneName checks the name of a zone, or of something in one, and gives its canonical form, or "" with a fault.
func (c *checker) zoneName(path, name string) string {
	if name == "" {
		c.fail(path, "", "is missing")
		return ""
	}
	canonical, err := CanonicalZone(name)
	if err != nil {
		hint := ""
		if strings.ContainsFunc(name, func(c rune) bool { return c > 0x7F }) {
			hint = "write other scripts as in xn--bcher-kva.example"
		}
		c.fail(path, hint, "%q %v", shorten(name), err)
	}
	return canonical
}

func (c *checker) oneOf(path, value string, words ...string) {
	for _, w := range words {
		if value == w {
			return
		}
	}
	c.fail(path, didYouMean(value, words), "%q is not possible", shorten(value))
}

func (c *checker) between(path string, value, low, high int) {
	if value < low || value > high {
		c.fail(path, "", "%d is out of range: it can be %d to %d", value, low, high)
	}
}

// address checks an address that clients are sent to.
func (c *checker) address(path string, a netip.Addr) {
	switch {
	case !a.IsValid():
		c.fail(path, "", "is not an address")
	case a.Is4In6():
		c.fail(path, "write "+a.Unmap().String(), "%s is an IPv4 address in IPv6 form", a)
	case a.Zone() != "":
		c.fail(path, "", "%s has a zone, which means nothing elsewhere", a)
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		c.fail(path, "", "%s is not the address of a server", a)
	}
}

func (c *checker) place(path, place string) {
	if _, err := geo.ParsePlace(place); err != nil {
		c.fail(path, "", "%v", err)
	}
}

func (c *checker) zone(z *Zone) {
	for i, n := range z.Nameservers {
		c.hostName(indexed("spec.nameservers", i), n)
	}
	if z.Contact != "" {
		user, host, hasUser := strings.Cut(z.Contact, "@")
		if !hasUser {
			host = z.Contact
		} else if user == "" || strings.ContainsAny(user, " \t\n\"\\@") {
			c.fail("spec.contact", "", "wants hostmaster@example.org or hostmaster.example.org., not %q", shorten(z.Contact))
		}
		c.hostName("spec.contact", host)
	}
	if z.File != "" && z.Content == "" {
		c.fail("spec.file", "gtmctl sends the file's content as spec.content", "the content of %s was not sent", shorten(z.File))
	}
	c.transfer("spec.transfer", z.Transfer)
	c.updates(z)
	if z.DNSSEC != nil {
		c.dnssec(z.DNSSEC)
	}
	c.zoneAliases(z)
	for _, tenant := range slices.Sorted(maps.Keys(z.Grants)) {
		path := joinPath("spec.grants", tenant)
		if err := checkLabel(tenant, ""); err != nil {
			c.fail(path, "", "the tenant %q %v", shorten(tenant), err)
		}
		for i, n := range z.Grants[tenant] {
			if name := c.zoneName(indexed(path, i), n); name != "" && !Under(name, c.r.Name) {
				c.fail(indexed(path, i), "", "%s is not in the zone %s", name, c.r.Name)
			}
		}
	}
}

func (c *checker) site(s *Site) {
	c.location(s.Location)
	if s.Region != "" {
		c.place("spec.region", s.Region)
	}
}

// location checks a location, which may be nil.
func (c *checker) location(l *Location) {
	if l == nil {
		return
	}
	if !(l.Lat >= -90 && l.Lat <= 90) {
		c.fail("spec.location.lat", "", "%v is out of range: it can be -90 to 90 degrees", l.Lat)
	}
	if !(l.Lon >= -180 && l.Lon <= 180) {
		c.fail("spec.location.lon", "", "%v is out of range: it can be -180 to 180 degrees", l.Lon)
	}
}

func (c *checker) networks(m *Map) {
	switch {
	case m.FromFiles && len(m.Networks) > 0:
		c.fail("spec.networks", "remove it, or fromFiles", "goes not with fromFiles: the networks come from the files of the edges")
	case !m.FromFiles && len(m.Networks) == 0:
		c.fail("spec.networks", "", "needs at least one network")
	}
	seen := make(map[netip.Prefix]int, len(m.Networks))
	for i, p := range m.Networks {
		path := indexed("spec.networks", i)
		switch {
		case !p.IsValid():
			c.fail(path, "", "is not a network")
		case p.Addr().Is4In6():
			hint := "write it in IPv4 form"
			if p.Bits() >= 96 {
				hint = "write " + netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked().String()
			}
			c.fail(path, hint, "%s is an IPv4 network in IPv6 form", p)
		case p != p.Masked():
			c.fail(path, "write "+p.Masked().String(), "%s has bits set behind its length", p)
		}
		if first, twice := seen[p]; twice {
			c.fail(path, "", "%s stands twice, first at %s", p, indexed("spec.networks", first))
		}
		seen[p] = i
	}
	if m.Place != "" {
		c.place("spec.place", m.Place)
	} else if m.Location != nil {
		c.fail("spec.location", "give place, too, as in EU-DE", "says where a place is, and there is none")
	}
	c.location(m.Location)
}

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
