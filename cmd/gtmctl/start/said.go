package start

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/spec"
)

// Said is what was said beforehand of a first service; what is empty is asked for.
type Said struct {
	Zone, Tenant, Host, Check, Edge string
	Pools                           []string
}

// Answers takes what was said, and asks for the rest. What was said is not compared with what is there: whoever applies it does that, once
// for all of it.
func (f *Said) Answers(person *Person, known Known) (*Answers, error) {
	out, zones := &Answers{}, known.Zones
	ask := func(question, said, otherwise string, take func(string) error) error {
		if said != "" {
			return take(said)
		}
		return person.Ask(question, otherwise, take)
	}
	first := ""
	if names := slices.Sorted(maps.Keys(zones)); len(names) > 0 {
		first = strings.TrimSuffix(names[0], ".")
	}
	domain := func(to *string) func(string) error {
		return func(text string) (err error) { *to, err = ParseDomain(text); return err }
	}
	if err := ask("Zone, in which the name stands", f.Zone, first, domain(&out.Zone)); err != nil {
		return nil, err
	}
	grants, there := zones[out.Zone]
	out.NewZone = !there
	mine := ""
	if names := slices.Sorted(maps.Keys(grants)); len(names) > 0 {
		mine = names[0]
	}
	err := ask("Tenant, whose it is", f.Tenant, mine, func(text string) error {
		if out.Tenant = text; !IsName(text) {
			return fmt.Errorf("%q is not a name: names are of a-z, 0-9 and -", text)
		}
		if len(grants[text]) == 0 && !out.NewZone {
			return fmt.Errorf("zone %s grants %s no name: whoever owns the zone gives one with gtmctl edit Zone/%[1]s "+
				"(grants: {%[2]s: [...]})", out.Zone, text)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	below := []string{out.Zone}
	if !out.NewZone {
		below = grants[out.Tenant]
	}
	err = ask("Host, which clients ask", f.Host, "www."+strings.TrimSuffix(below[0], "."), func(text string) error {
		if err := domain(&out.Host)(text); err != nil {
			return err
		}
		if !slices.ContainsFunc(below, func(name string) bool { return Below(out.Host, name) }) {
			return fmt.Errorf("%s does not stand below %s", out.Host, strings.Join(below, " or "))
		}
		if f.Host != "" {
			return nil
		}
		return known.free(out.Tenant, spec.KindService, out.Label())
	})
	if err != nil {
		return nil, err
	}
	if err := f.askPools(person, out, &known); err != nil {
		return nil, err
	}
	err = ask("Check of the endpoints: http, https or tcp, with :PORT and /PATH, or none", f.Check, "http/",
		func(text string) (err error) { out.Check, err = ParseCheck(text); return err })
	if err != nil || !out.NewZone {
		return out, err
	}
	return out, ask("Address at which resolvers reach an edge", f.Edge, "127.0.0.1",
		func(text string) (err error) { out.Edge, err = netip.ParseAddr(text); return err })
}

func (f *Said) askPools(person *Person, out *Answers, known *Known) error {
	take := func(text string, asked bool) error {
		p, err := ParsePool(text)
		if err == nil && slices.ContainsFunc(out.Pools, func(q Pool) bool { return q.Name == p.Name }) {
			err = fmt.Errorf("pool %s stands there already", p.Name)
		}
		if err == nil && asked {
			err = known.free(out.Tenant, spec.KindPool, p.Name)
		}
		if err == nil {
			out.Pools = append(out.Pools, p)
		}
		return err
	}
	for _, said := range f.Pools {
		if err := take(said, false); err != nil {
			return err
		}
	}
	for i, question := range []string{"Pool that takes clients, as in eu=192.0.2.10,192.0.2.11",
		"Pool that steps in when that is down, as in us=198.51.100.10"} {
		if len(out.Pools) <= i {
			if err := person.Ask(question, "", func(text string) error { return take(text, true) }); err != nil {
				return err
			}
		}
	}
	return nil
}
