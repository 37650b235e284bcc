package transfer

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/spec"
)

// members reads a catalog (RFC 9432, 4): the zones that it lists, sorted. A catalog that is not of version 2, or broken, is an
// error, and nothing is done with it (5.1).
func (c *content) members() ([]string, error) {
	origin := strings.TrimPrefix(c.origin, ".") // the root is the dot alone
	version := c.sets[rrKey{name: "version." + origin, typ: dns.TypeTXT}]
	if len(version) != 1 || !slices.Equal(version[0].(*dns.TXT).Txt, []string{"2"}) {
		return nil, fmt.Errorf("%s is no catalog of version 2", c.origin)
	}
	below := ".zones." + origin
	seen := map[string]bool{}
	var names []string
	for k, set := range c.sets {
		label, is := strings.CutSuffix(k.name, below)
		if !is || k.typ != dns.TypePTR || len(dns.SplitDomainName(label)) != 1 {
			continue
		}
		if len(set) != 1 {
			return nil, fmt.Errorf("%s has %d PTR records: the catalog is broken", k.name, len(set))
		}
		name := dns.CanonicalName(set[0].(*dns.PTR).Ptr)
		if seen[name] {
			return nil, fmt.Errorf("%s is listed twice: the catalog is broken", name)
		}
		seen[name] = true
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// reconcile gives the changes that make the zones of a catalog what it lists. A zone that stands here otherwise is left alone.
func reconcile(s *change.State, catalog *spec.Resource, listed []string) (put []*spec.Resource, gone []spec.Key, err error) {
	common := catalog.Spec.(*spec.Zone).Members
	if common == nil {
		return nil, nil, errors.New("the zone consumes no catalog any more")
	}
	wanted := map[string]bool{}
	for _, name := range listed {
		wanted[name] = true
		z := &spec.Zone{Primaries: common.Primaries, Transfer: common.Transfer, MemberOf: catalog.Name}
		if old := s.Get(zoneKey(name)); old != nil {
			was := old.Spec.(*spec.Zone)
			if was.MemberOf != catalog.Name { // declared, or of another catalog (RFC 9432, 5.2)
				continue
			}
			if reflect.DeepEqual(was.Primaries, z.Primaries) && reflect.DeepEqual(was.Transfer, z.Transfer) {
				continue
			}
		}
		r := &spec.Resource{Key: zoneKey(name)}
		if old := s.Get(r.Key); old != nil {
			r = old // what is not understood of it stays
		}
		put = append(put, r.With(z))
	}
	for r := range s.Of(spec.KindZone) {
		if z := r.Spec.(*spec.Zone); z.MemberOf == catalog.Name && !wanted[r.Name] {
			gone = append(gone, r.Key)
		}
	}
	return put, gone, nil
}
