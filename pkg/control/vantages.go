package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

type vantageInput struct {
	ID string `path:"id" maxLength:"255"`
}

func (s *Server) routeVantages(h huma.API) {
	huma.Register(h, operation("list-vantages", need{access.Read, ofAllSeen}, http.MethodGet, "/vantages",
		"The probers: who is alive, who is silent"), s.vantages)
	huma.Register(h, operation("forget-vantage", need{access.Operate, ofPlatform}, http.MethodDelete, "/vantages/{id}",
		"Forget what a prober that is no more has seen"), s.forget)
}

func (s *Server) vantages(ctx context.Context, _ *struct{}) (*reply[api.Vantages], error) {
	known, err := s.knownVantages(ctx)
	if err != nil {
		return nil, problemOf(err)
	}
	return &reply[api.Vantages]{api.Vantages{Vantages: known}}, nil
}

// knownVantages lists the vantages that the store or a monitor knows, sorted. Where the store cannot be asked, they are those that
// it told last, beside the error.
func (s *Server) knownVantages(ctx context.Context) ([]api.Vantage, error) {
	ctx, cancel := context.WithTimeout(ctx, edgeTime)
	defer cancel()
	stored, err := s.cfg.Store.Vantages(ctx)
	s.mu.Lock()
	if err == nil {
		s.lastVantages, s.vantagesAt = stored, s.cfg.Now()
	}
	stored, heard := s.lastVantages, s.vantagesAt.UTC()
	s.mu.Unlock()

	named := s.vantagesNamed(ctx)
	all := make([]api.Vantage, 0, len(stored))
	for _, v := range stored {
		known := api.Vantage{ID: v.ID, State: api.VantageSilent, Region: v.Region, Network: v.Network, Pools: v.Pools,
			Monitors: named[v.ID]}
		switch {
		case v.Alive && err != nil:
			known.State, known.Heard = api.VantageUnknown, &heard
		case v.Alive:
			known.State = api.VantageAlive
		}
		all = append(all, known)
		delete(named, v.ID)
	}
	for id, monitors := range named {
		all = append(all, api.Vantage{ID: id, State: api.VantageAbsent, Monitors: monitors})
	}
	slices.SortFunc(all, func(a, b api.Vantage) int { return cmp.Compare(a.ID, b.ID) })
	if !grantsOf(ctx).SeesAll() {
		for i := range all {
			all[i].Pools = 0 // it would tell how much others have
		}
	}
	return all, err
}

// vantagesNamed gives the monitors that name each vantage, sorted.
func (s *Server) vantagesNamed(ctx context.Context) map[string][]spec.Key {
	named := map[string][]spec.Key{}
	for _, tenant := range s.tenants(ctx) {
		for _, v := range sorted(s.cfg.Mirror.Tenant(tenant)) {
			if m, ok := v.Resource.Spec.(*spec.Monitor); ok {
				for _, id := range m.Vantages {
					named[id] = append(named[id], v.Resource.Key)
				}
			}
		}
	}
	return named
}

// vantageWarnings tells of monitors in a plan that ask vantages of which nobody has ever heard: such a monitor checks nothing, and
// what it is to check answers as if it were well. Where the store cannot be asked, there are none.
func (s *Server) vantageWarnings(ctx context.Context, plan *change.Plan) (warnings spec.Errors) {
	monitors := monitorsOf(plan)
	if len(monitors) == 0 {
		return nil
	}
	known, err := s.knownVantages(ctx)
	if err != nil {
		return nil
	}
	var seen []string
	for _, v := range known {
		if v.State != api.VantageAbsent {
			seen = append(seen, v.ID)
		}
	}
	for _, r := range monitors {
		for _, w := range neverSeen(r.Spec.(*spec.Monitor).Vantages, seen) {
			w.Resource = r.Key.String()
			warnings = append(warnings, w)
		}
	}
	return warnings
}

// monitorsOf gives the monitors that a plan writes and that name vantages.
func monitorsOf(plan *change.Plan) (list []*spec.Resource) {
	for _, part := range plan.Parts {
		for _, step := range part.Steps {
			if r := step.Resource(); r != nil && step.Key.Kind == spec.KindMonitor && len(r.Spec.(*spec.Monitor).Vantages) > 0 {
				list = append(list, r)
			}
		}
	}
	return list
}

// neverSeen warns of the vantages that are not among those seen.
func neverSeen(vantages, seen []string) (warnings spec.Errors) {
	hint := ""
	for i, id := range vantages {
		if slices.Contains(seen, id) {
			continue
		}
		w := &spec.Error{Field: fmt.Sprintf("spec.vantages[%d]", i), Msg: "vantage " + id + " was never seen"}
		if near := spec.Closest(id, seen); near != "" {
			w.Hint = "did you mean " + near + "?"
			hint = cmp.Or(hint, w.Hint)
		}
		warnings = append(warnings, w)
	}
	if len(warnings) < len(vantages) {
		return warnings
	}
	return spec.Errors{{Field: "spec.vantages", Msg: "none of its vantages (" + strings.Join(vantages, ", ") +
		") was ever seen: nothing is checked until a prober of that name runs",
		Hint: cmp.Or(hint, "gtmctl vantage list shows those that there are")}}
}

func (s *Server) forget(ctx context.Context, in *vantageInput) (*reply[api.Forgotten], error) {
	ended, err := s.cfg.Audit.Ask(chain.ActForget, authorOf(ctx), "", "vantage/"+in.ID, "")
	if err != nil {
		return nil, problemOf(err)
	}
	pools, err := s.cfg.Store.ForgetVantage(ctx, in.ID)
	ended(err)
	switch {
	case errors.Is(err, store.ErrVantageAlive):
		return nil, problemf(http.StatusConflict, "%s", err)
	case errors.Is(err, store.ErrNotFound):
		return nil, s.noEvidence(ctx, in.ID)
	case err != nil:
		return nil, problemOf(err)
	}
	s.cfg.Logger.Warn("the evidence of a vantage was forgotten", "vantage", in.ID, "pools", pools, "author", authorOf(ctx))
	return &reply[api.Forgotten]{api.Forgotten{ID: in.ID, Pools: pools, Monitors: s.vantagesNamed(ctx)[in.ID]}}, nil
}

// noEvidence says that there is nothing to forget, and what else there is.
func (s *Server) noEvidence(ctx context.Context, id string) error {
	known, _ := s.knownVantages(ctx) // without them the answer is only shorter
	var ids []string
	for _, v := range known {
		if v.ID == id {
			return problemf(http.StatusNotFound, "there is no evidence of vantage %s; the monitors that name it are %s", id,
				keyWords(v.Monitors))
		}
		ids = append(ids, v.ID)
	}
	return problemf(http.StatusNotFound, "there is no evidence of vantage %s%s", id, didYouMean(id, ids))
}

func keyWords(keys []spec.Key) string {
	words := make([]string, len(keys))
	for i, key := range keys {
		words[i] = key.String()
	}
	return strings.Join(words, ", ")
}

// voteless gives the monitors in use of which so few vantages are alive that no endpoint can turn down or up. One line tells of all
// that lack the same. Where nobody was ever seen, endpoints are unknown, and say so themselves.
func (s *Server) voteless(ctx context.Context, known []api.Vantage) []api.Voteless {
	byWhy := map[string][]spec.Key{}
	for _, m := range s.monitorsInUse(ctx) {
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
func (s *Server) monitorsInUse(ctx context.Context) (list []*spec.Resource) {
	for _, tenant := range s.tenants(ctx) {
		used, all := map[string]bool{}, sorted(s.cfg.Mirror.Tenant(tenant))
		for _, v := range all {
			if p, ok := v.Resource.Spec.(*spec.Pool); ok {
				for _, name := range p.Monitors() {
					used[name] = true
				}
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
	if voters == 0 {
		return ""
	}
	if alive >= quorum {
		return whyDisagree(m, known)
	}
	return fmt.Sprintf("endpoints stay as they are, whatever happens to them: %d of %d vantages alive, %d must agree; %s; %s",
		alive, voters, quorum, strings.Join(away, ", "), next)
}

// whyDisagree tells of which region too few vantages are alive for a monitor that asks for some; empty: there are enough.
func whyDisagree(m *spec.Monitor, known []api.Vantage) string {
	for _, region := range slices.Sorted(maps.Keys(m.Agree)) {
		alive := 0
		for _, v := range known {
			asked := len(m.Vantages) == 0 || slices.Contains(m.Vantages, v.ID)
			if asked && v.State == api.VantageAlive && health.Within(v.Region, region) {
				alive++
			}
		}
		if alive < m.Agree[region] {
			return fmt.Sprintf("endpoints stay as they are, whatever happens to them: %d vantages of %s alive, %d must agree; start a "+
				"prober there (--vantage-region), or change the monitor", alive, region, m.Agree[region])
		}
	}
	return ""
}
