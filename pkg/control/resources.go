package control

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// reply is the form in which huma wants answers.
type reply[T any] struct{ Body T }

type listInput struct {
	Kind   spec.Kind `query:"kind" enum:"Zone,Site,Map,Monitor,Pool,Service,Override,Tenant" doc:"only of this kind"`
	Tenant string    `query:"tenant" doc:"only of this tenant"`
}

type keyInput struct {
	Tenant string    `path:"tenant"`
	Kind   spec.Kind `path:"kind" enum:"Zone,Site,Map,Monitor,Pool,Service,Override,Tenant"`
	Name   string    `path:"name" maxLength:"255"`
}

func (in *keyInput) key() spec.Key { return spec.Key{Tenant: in.Tenant, Kind: in.Kind, Name: in.Name} }

func (s *Server) routeResources(h huma.API) {
	huma.Register(h, operation("list-resources", http.MethodGet, "/resources", "List resources", maxSmallBody), s.list)
	huma.Register(h, operation("get-resource", http.MethodGet, "/resources/{tenant}/{kind}/{name}", "Get a resource", maxSmallBody), s.get)
	huma.Register(h, operation("describe-resource", http.MethodGet, "/resources/{tenant}/{kind}/{name}/describe",
		"Get a resource with its health, its overrides and its neighbours", maxSmallBody), s.describe)
}

func (s *Server) list(_ context.Context, in *listInput) (*reply[api.ResourceList], error) {
	tenants := s.cfg.Mirror.Tenants()
	if in.Tenant != "" {
		if !slices.Contains(tenants, in.Tenant) {
			return nil, noTenant(in.Tenant, tenants)
		}
		tenants = []string{in.Tenant}
	}
	list := api.ResourceList{Resources: []api.Resource{}, Heads: map[string]uint64{}}
	for _, tenant := range tenants {
		state := s.cfg.Mirror.Tenant(tenant)
		list.Heads[tenant] = uint64(state.Head)
		for _, v := range sorted(state) {
			if in.Kind != "" && v.Resource.Kind != in.Kind {
				continue
			}
			r, err := wire(v)
			if err != nil {
				return nil, problemOf(err)
			}
			list.Resources = append(list.Resources, r)
		}
	}
	return &reply[api.ResourceList]{list}, nil
}

// sorted gives the resources of a tenant by kind (dependencies first) and name.
func sorted(state store.TenantState) []store.Version {
	all := make([]store.Version, 0, state.Resources.Len())
	for _, v := range state.Resources.All() {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b store.Version) int { return a.Resource.Key.Compare(b.Resource.Key) })
	return all
}

func wire(v store.Version) (api.Resource, error) {
	r, err := api.FromSpec(v.Resource)
	r.Generation = uint64(v.Generation)
	return r, err
}

func noTenant(name string, tenants []string) error {
	return problemf(http.StatusNotFound, "there is no tenant %s%s", name, didYouMean(name, tenants))
}

func didYouMean(word string, candidates []string) string {
	if near := spec.Closest(word, candidates); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// find gives a resource's present version, or a problem that names the nearest.
func (s *Server) find(key spec.Key) (store.Version, error) {
	tenants := s.cfg.Mirror.Tenants()
	if !slices.Contains(tenants, key.Tenant) {
		return store.Version{}, noTenant(key.Tenant, tenants)
	}
	state := s.cfg.Mirror.Tenant(key.Tenant)
	if v, ok := state.Resources.Get(key); ok {
		return v, nil
	}
	var names []string
	for other := range state.Resources.All() {
		if other.Kind == key.Kind {
			names = append(names, other.Name)
		}
	}
	slices.Sort(names)
	return store.Version{}, problemf(http.StatusNotFound, "%s does not exist%s", key, didYouMean(key.Name, names))
}

func (s *Server) get(_ context.Context, in *keyInput) (*reply[api.Resource], error) {
	v, err := s.find(in.key())
	if err != nil {
		return nil, err
	}
	r, err := wire(v)
	return &reply[api.Resource]{r}, problemOf(err)
}

func (s *Server) describe(ctx context.Context, in *keyInput) (*reply[api.Description], error) {
	v, err := s.find(in.key())
	if err != nil {
		return nil, err
	}
	d := api.Description{RefersTo: s.refersTo(v.Resource), ReferredBy: s.referredBy(in.key())}
	if d.Resource, err = wire(v); err != nil {
		return nil, problemOf(err)
	}
	if d.Record, err = s.recordOf(ctx, in.Tenant, v.Generation); err != nil {
		s.cfg.Logger.Warn("the history of a resource cannot be read", "resource", in.key().String(), "error", err)
	}
	for _, key := range append([]spec.Key{in.key()}, d.RefersTo...) {
		if pool, ok := s.pool(key); ok {
			d.Pools = append(d.Pools, pool)
		}
	}
	return &reply[api.Description]{d}, nil
}

// recordOf looks for the change that made a generation; nil: history is shorter.
func (s *Server) recordOf(ctx context.Context, tenant string, generation store.Generation) (*api.Record, error) {
	head := s.cfg.Mirror.Tenant(tenant).Head
	records, err := s.cfg.Store.History(ctx, tenant, min(historyAtMost, int(head-generation)+1))
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", tenant, err)
	}
	for _, r := range records {
		if r.Generation == generation {
			record := wireRecord(r)
			return &record, nil
		}
	}
	return nil, nil
}

func wireRecord(r store.Record) api.Record {
	return api.Record{Tenant: r.Tenant, Generation: uint64(r.Generation), Time: r.Time, Author: r.Author, Message: r.Message, Put: r.Put, Deleted: r.Deleted}
}
