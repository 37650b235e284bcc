package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// voteless gives the monitors in use of which so few vantages are alive that no endpoint can turn down or up. One line tells of all
// that lack the same. Where nobody was ever seen, endpoints are unknown, and say so themselves.
func (s *Server) voteless(known []api.Vantage) []api.Voteless {
	byWhy := map[string][]spec.Key{}
	for _, m := range s.monitorsInUse() {
		if why := whyVoteless(m.Spec.(*spec.Monitor), known); why != "" {
			byWhy[why] = append(byWhy[why], m.Key)
		}
	}
	var all []api.Voteless
	for _, why := range slices.Sorted(maps.Keys(byWhy)) {
		all = append(all, api.Voteless{Monitors: byWhy[why], Why: why})
	}
	return all
}

// monitorsInUse gives the monitors that pools name, sorted.
func (s *Server) monitorsInUse() (list []*spec.Resource) {
	for _, tenant := range s.cfg.Mirror.Tenants() {
		used, all := map[string]bool{}, sorted(s.cfg.Mirror.Tenant(tenant))
		for _, v := range all {
			if p, ok := v.Resource.Spec.(*spec.Pool); ok {
				used[p.Monitor] = true
			}
		}
		for _, v := range all {
			if _, ok := v.Resource.Spec.(*spec.Monitor); ok && used[v.Resource.Name] {
				list = append(list, v.Resource)
			}
		}
	}
	return list
}

// whyVoteless tells who is away if those that are alive cannot be a quorum; empty: they can.
func whyVoteless(m *spec.Monitor, known []api.Vantage) string {
	voters, alive := 0, 0
	var away []string
	next := "start that prober, or change the monitor"
	for _, v := range known {
		named := slices.Contains(m.Vantages, v.ID)
		switch {
		case len(m.Vantages) > 0 && !named, len(m.Vantages) == 0 && v.State == api.VantageAbsent:
			continue
		case v.State == api.VantageAlive:
			alive++
		case v.State == api.VantageAbsent:
			away = append(away, v.ID+" was never seen")
		default:
			away = append(away, v.ID+" is "+v.State)
			if !named {
				next = "if that prober is gone for good: gtmctl vantage forget " + v.ID
			}
		}
		voters++
	}
	quorum := m.Quorum
	if quorum < 1 {
		quorum = voters/2 + 1
	}
	if voters == 0 || alive >= quorum {
		return ""
	}
	return fmt.Sprintf("endpoints stay as they are, whatever happens to them: %d of %d vantages alive, %d must agree; %s; %s",
		alive, voters, quorum, strings.Join(away, ", "), next)
}
