// Package start makes the resources of a first service of what a person answers.
package start

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gti/gtm/pkg/spec"
)

// Answers are what a first service is made of.
type Answers struct {
	Zone    string // with its final dot
	Tenant  string
	Host    string // likewise
	Pools   []Pool // in the order of failover
	Check   Check
	NewZone bool       // the zone is to be declared
	Edge    netip.Addr // of the name server of a new zone
}

// Pool is a name with addresses.
type Pool struct {
	Name      string
	Addresses []netip.Addr
}

// Check is how endpoints are checked; the zero Check: not at all.
type Check struct {
	Type string // http, https or tcp
	Port int    // 0: that of the type
	Path string // of http and https
}

// ParsePool reads NAME=ADDRESS[,ADDRESS...].
func ParsePool(text string) (p Pool, err error) {
	before, list, _ := strings.Cut(text, "=")
	p.Name = strings.TrimSpace(before)
	if !IsName(p.Name) {
		return p, fmt.Errorf("%q is not NAME=ADDRESS[,ADDRESS...], as in eu=192.0.2.1,2001:db8::1; names are of a-z, 0-9 and -", text)
	}
	p.Addresses, err = ParseAddresses(list)
	return p, err
}

// ParseAddresses reads addresses with commas or spaces between them.
func ParseAddresses(text string) (all []netip.Addr, err error) {
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' }) {
		a, err := netip.ParseAddr(word)
		switch {
		case err != nil || a.Zone() != "":
			return nil, fmt.Errorf("%q is not an IP address, as in 192.0.2.1 or 2001:db8::1", word)
		case slices.Contains(all, a):
			return nil, fmt.Errorf("%s stands there twice", a)
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no address in %q", text)
	}
	return all, nil
}

// ParseCheck reads TYPE[:PORT][/PATH], as in http, https:8443/healthz, tcp:5222; or none.
func ParseCheck(text string) (c Check, err error) {
	wrong := fmt.Errorf("%q is not a check: it can be http, https or tcp, with a port and a path, as in https:8443/healthz; or none", text)
	rest, path, has := strings.Cut(text, "/")
	kind, port, ported := strings.Cut(rest, ":")
	if has {
		c.Path = "/" + path
	}
	if ported {
		if c.Port, err = strconv.Atoi(port); err != nil || c.Port < 1 || c.Port > 65535 {
			return Check{}, wrong
		}
	}
	switch c.Type = kind; kind {
	case "none":
		if text != "none" {
			return Check{}, wrong
		}
		return Check{}, nil
	case "tcp":
		if has || !ported {
			return Check{}, fmt.Errorf("%q: tcp needs a port, as in tcp:5222, and has no path", text)
		}
	case "http", "https":
		if !has {
			c.Path = "/"
		}
	default:
		return Check{}, wrong
	}
	return c, nil
}

// ParseDomain reads the name of a zone or a host, and ends it with a dot.
func ParseDomain(text string) (string, error) {
	domain, err := spec.CanonicalName(strings.TrimSpace(text))
	if err != nil {
		return "", fmt.Errorf("%q is not a domain name, as in www.example.org: it %w", text, err)
	}
	return domain, nil
}

var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// IsName reports whether a tenant or a resource can have that name.
func IsName(text string) bool { return name.MatchString(text) }

// Below reports whether a host stands at or below a name.
func Below(host, name string) bool { return host == name || strings.HasSuffix(host, "."+name) }

// YAML writes the resources as a file that is meant to be read and changed.
func (a *Answers) YAML() string {
	var b strings.Builder
	b.WriteString("# A first service, made by gtmctl init. Change it and: gtmctl apply -f FILE --wait\n")
	if a.NewZone {
		ns, kind := "ns1."+a.Zone, "A"
		if a.Edge.Is6() {
			kind = "AAAA"
		}
		b.WriteString(doc("Zone", spec.Platform, a.Zone, "what is yours, and who may steer names in it"))
		fmt.Fprintf(&b, "  nameservers: [%s]\n  contact: hostmaster.%s\n  content: |\n    ns1 %s %s\n  grants: {%s: [%s]}\n", ns, a.Zone,
			kind, a.Edge, a.Tenant, a.Zone)
	}
	monitor := ""
	if a.Check.Type != "" {
		monitor = "  monitor: " + a.monitor() + "\n"
		b.WriteString(doc("Monitor", a.Tenant, a.monitor(), "how probers see whether an endpoint is well"))
		fmt.Fprintf(&b, "  type: %s\n", a.Check.Type)
		if a.Check.Port != 0 {
			fmt.Fprintf(&b, "  port: %d\n", a.Check.Port)
		}
		if a.Check.Path != "" {
			fmt.Fprintf(&b, "  path: %q\n", a.Check.Path)
		}
		b.WriteString("  interval: 5s\n")
	}
	var names []string
	for _, p := range a.Pools {
		names = append(names, p.Name)
		b.WriteString(doc("Pool", a.Tenant, p.Name, "what serves the same at one place"))
		b.WriteString(monitor + "  endpoints:\n")
		for i, address := range p.Addresses {
			fmt.Fprintf(&b, "    - {name: e%d, addresses: [%q]}\n", i+1, address)
		}
	}
	b.WriteString(doc("Service", a.Tenant, a.Label(), "the name that clients ask, and who goes where"))
	fmt.Fprintf(&b, "  host: %s\n  ttl: 30s\n  rules:\n    - {name: all, pools: [%s]}  # the order of failover\n", a.Host,
		strings.Join(names, ", "))
	return b.String()
}

func doc(kind, tenant, name, why string) string {
	return fmt.Sprintf("---\nkind: %-10s # %s\ntenant: %s\nname: %s\nspec:\n", kind, why, tenant, name)
}

// Label names the service: the host's first label, where that is a name.
func (a *Answers) Label() string {
	label, _, _ := strings.Cut(a.Host, ".")
	if IsName(label) {
		return label
	}
	return "first"
}

// monitor names the monitor after the service: another service of the tenant has another.
func (a *Answers) monitor() string {
	const end, most = "-alive", 63 // most of a name, in bytes
	label := a.Label()
	return strings.TrimRight(label[:min(len(label), most-len(end))], "-") + end
}
