package canned

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/chunks"
	"github.com/gti/gtm/pkg/table/names"
)

// What Speed asks: some names of a tenant, from everywhere, a few times.
const (
	speedNames = 16
	speedTimes = 3
)

// Speed measures how long the view takes for an answer about a tenant's steered names, on the mean; of the platform, about those of all. It
// is the least of a few rounds, so that what else the machine does counts little. 0: there are none.
func Speed(v *table.View, tenant string) time.Duration {
	asked := hostsOf(v, tenant)
	if len(asked) == 0 {
		return 0
	}
	a, least := newAsker(v), time.Duration(0)
	for range speedTimes {
		began, n := time.Now(), 0
		for _, h := range asked {
			for _, from := range clients {
				a.ask(h.wire, h.qtype, from)
				n++
			}
		}
		if took := time.Since(began) / time.Duration(n); least == 0 || took < least {
			least = took
		}
	}
	return max(least, 1)
}

// hostType is one question.
type hostType struct {
	wire  string
	qtype uint16
}

// hostsOf gives questions about names of a tenant, the same of every view that has the same names: the first by name, and of each its first
// type.
func hostsOf(v *table.View, tenant string) (list []hostType) {
	var first []*table.Service // sorted; there may be a million, of which this is asked each second
	for s := range v.Services.Since(&chunks.List[table.Service]{}) {
		if s.ServiceInfo == nil || s.Spec == nil || tenant != spec.Platform && s.Tenant != tenant ||
			len(first) == speedNames && s.Spec.Host >= first[speedNames-1].Spec.Host || len(s.Families()) == 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(first, s.Spec.Host,
			func(x *table.Service, host string) int { return cmp.Compare(x.Spec.Host, host) })
		first = slices.Insert(first[:min(len(first), speedNames-1)], min(at, speedNames-1), s)
	}
	for _, s := range first {
		host := s.Spec.Host
		if strings.HasPrefix(host, "*.") {
			host = "canned" + host[1:]
		}
		if wire, err := names.Wire(host); err == nil {
			list = append(list, hostType{wire, typeOf[s.Families()[0]]})
		}
	}
	return list
}
