package spec

import (
	"net/netip"
	"slices"
	"strings"
)

// Transfer says who may copy a zone (AXFR and IXFR), and who is told when it has changed (NOTIFY).
type Transfer struct {
	// Allow lists who may copy: whoever fits one of the entries. Nobody else may.
	Allow []Admission `json:"allow,omitempty" yaml:"allow,omitempty"`
	// Notify lists the secondaries that are told of each change.
	Notify []Peer `json:"notify,omitempty" yaml:"notify,omitempty"`
}

// Admission is one way of being let in. Where both fields are given, both must fit.
type Admission struct {
	// Key names a TSIG key. Its secret stands in the files of the servers (gtmd --tsig-keys), never here.
	Key string `json:"key,omitempty" yaml:"key,omitempty"`
	// Network is where the client's address must lie.
	Network netip.Prefix `json:"network,omitzero" yaml:"network,omitempty"`
}

// Peer is another name server.
type Peer struct {
	// Address is 192.0.2.1, or with a port as in 192.0.2.1:5353 or [2001:db8::1]:5353. Default port: 53.
	Address string `json:"address" yaml:"address"`
	// Key names the TSIG key that messages to the peer, and from it, are signed with. Absent: they are not signed.
	Key string `json:"key,omitempty" yaml:"key,omitempty"`
}

// UpdateRule lets the holder of a key change some records.
type UpdateRule struct {
	// Key names the TSIG key.
	Key string `json:"key" yaml:"key"`
	// Names are what may be changed, each with all that is below it. Absent: the whole zone.
	Names []string `json:"names,omitempty" yaml:"names,omitempty"`
	// Types are the types that may be changed, as in TXT. Absent: all but SOA, and NS at the apex.
	Types []string `json:"types,omitempty" yaml:"types,omitempty"`
}

// Members is what the zones of a catalog have in common.
type Members struct {
	Primaries []Peer    `json:"primaries" yaml:"primaries"`
	Transfer  *Transfer `json:"transfer,omitempty" yaml:"transfer,omitempty"`
}

// Moving tells that the zone's content comes by other ways than declarations.
func (z *Zone) Moving() bool { return len(z.Primaries) > 0 || len(z.Update) > 0 }

// AddrPort gives the address with its port.
func (p Peer) AddrPort() (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(p.Address); err == nil {
		return netip.AddrPortFrom(a.Unmap(), 53), nil
	}
	return netip.ParseAddrPort(p.Address)
}

// KeyName gives the canonical form of a TSIG key's name, which is a domain name.
func KeyName(name string) string { return canonicalOr(name) }

func (c *checker) catalog(z *Zone) {
	for path, name := range map[string]string{"spec.catalog": z.Catalog, "spec.memberOf": z.MemberOf} {
		if name == "" {
			continue
		}
		if c.zoneName(path, name) == c.r.Name {
			c.fail(path, "", "a catalog does not list itself")
		}
	}
	if z.Members == nil {
		return
	}
	if len(z.Primaries) == 0 {
		c.fail("spec.members", "give primaries", "belongs to a catalog that is copied from elsewhere")
	}
	if len(z.Members.Primaries) == 0 {
		c.fail("spec.members.primaries", "", "is missing")
	}
	c.peers("spec.members.primaries", z.Members.Primaries)
	c.transfer("spec.members.transfer", z.Members.Transfer)
}

func (c *checker) transfer(at string, t *Transfer) {
	if t == nil {
		return
	}
	for i, a := range t.Allow {
		path := indexed(at+".allow", i)
		c.keyName(path+".key", a.Key)
		if a.Key == "" && !a.Network.IsValid() {
			c.fail(path, "give key, network or both", "lets nobody in")
		}
		if a.Network.IsValid() && a.Network != a.Network.Masked() {
			c.fail(path+".network", "write "+a.Network.Masked().String(), "%s has bits set behind its length", a.Network)
		}
	}
	c.peers(at+".notify", t.Notify)
}

func (c *checker) updates(z *Zone) {
	c.peers("spec.primaries", z.Primaries)
	if len(z.Primaries) > 0 && len(z.Update) > 0 {
		c.fail("spec.update", "send updates to the primaries", "cannot stand in a zone that is a copy")
	}
	if len(z.Primaries) > 0 && len(z.Grants) > 0 {
		c.fail("spec.grants", "delegate a zone of its own for steered names", "cannot stand in a zone that is a copy")
	}
	c.catalog(z)
	for i, u := range z.Update {
		path := indexed("spec.update", i)
		c.hostName(path+".key", u.Key)
		for j, n := range u.Names {
			at := indexed(path+".names", j)
			if name := c.zoneName(at, n); name != "" && !Under(name, c.r.Name) {
				c.fail(at, "", "%s is not in the zone %s", name, c.r.Name)
			}
		}
		for j, t := range u.Types {
			if t == "" || strings.ToUpper(t) != t || strings.ContainsAny(t, " \t.") {
				c.fail(indexed(path+".types", j), "", "wants a type as in TXT, not %q", shorten(t))
			}
		}
	}
}

func (c *checker) peers(path string, peers []Peer) {
	for i, p := range peers {
		at := indexed(path, i)
		addr, err := p.AddrPort()
		switch {
		case err != nil || addr.Port() == 0:
			c.fail(at+".address", "", "wants an address, or one with a port as in 192.0.2.1:5353, not %q", shorten(p.Address))
		default:
			c.address(at+".address", addr.Addr())
		}
		if slices.ContainsFunc(peers[:i], func(o Peer) bool { return o.Address == p.Address }) {
			c.fail(at+".address", "", "%s stands twice", p.Address)
		}
		c.keyName(at+".key", p.Key)
	}
}

func (c *checker) keyName(path, name string) {
	if name != "" {
		c.hostName(path, name)
	}
}
