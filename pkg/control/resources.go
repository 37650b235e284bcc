package control

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// reply is the form in which huma wants answers.
type reply[T any] struct{ Body T }

type listInput struct {
	Kind   string `query:"kind" maxLength:"63" doc:"only of this kind: Zone, Site and so on, or another that stands in the store"`
	Tenant string `query:"tenant" doc:"only of this tenant"`
}

type keyInput struct {
	Tenant string    `path:"tenant"`
	Kind   spec.Kind `path:"kind" maxLength:"63"`
	Name   string    `path:"name" maxLength:"1024"`
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
	kind, err := s.kindOf(in.Kind)
	if err != nil {
		return nil, err
	}
	list := api.ResourceList{Resources: []api.Resource{}, Heads: map[string]uint64{}}
	for _, tenant := range tenants {
		state := s.cfg.Mirror.Tenant(tenant)
		list.Heads[tenant] = uint64(state.Head)
		for _, v := range sorted(state) {
			if kind != "" && v.Resource.Kind != kind {
				continue
			}
			r, err := wire(state, v)
			if err != nil {
				return nil, problemOf(err)
			}
			list.Resources = append(list.Resources, r)
		}
		list.Resources = append(list.Resources, unread(state, kind)...)
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

func wire(state store.TenantState, v store.Version) (api.Resource, error) {
	r, err := api.FromSpec(v.Resource)
	r.Generation = uint64(v.Generation)
	if b, broken := state.Broken[v.Resource.Key]; broken {
		r.Error = brokenText(b)
	}
	return r, err
}

func brokenText(b store.BrokenResource) string {
	return fmt.Sprintf("what %s@%d wrote cannot be read: %v", b.Key.Tenant, b.Generation, b.Err)
}

// unread gives the resources of a kind (empty: of all) of which nothing could ever be read, sorted.
func unread(state store.TenantState, kind spec.Kind) []api.Resource {
	var out []api.Resource
	for _, key := range slices.SortedFunc(maps.Keys(state.Broken), spec.Key.Compare) {
		if _, readable := state.Resources.Get(key); readable || kind != "" && key.Kind != kind {
			continue
		}
		out = append(out, unreadOne(state.Broken[key]))
	}
	return out
}

func unreadOne(b store.BrokenResource) api.Resource {
	return api.Resource{Kind: b.Key.Kind, Tenant: b.Key.Tenant, Name: b.Key.Name, Generation: uint64(b.Generation), Error: brokenText(b)}
}

// kindOf reads a kind in any letter case: one that is known, or one that stands in the store all the same. Empty stays empty.
func (s *Server) kindOf(word string) (spec.Kind, error) {
	if word == "" {
		return "", nil
	}
	names := map[string]bool{}
	for _, k := range spec.Kinds {
		if strings.EqualFold(word, string(k)) {
			return k, nil
		}
		names[string(k)] = true
	}
	for _, tenant := range s.cfg.Mirror.Tenants() {
		state := s.cfg.Mirror.Tenant(tenant)
		for k := range state.Resources.All() {
			names[string(k.Kind)] = true
		}
		for k := range state.Broken {
			names[string(k.Kind)] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(names))
	for _, name := range sorted {
		if strings.EqualFold(word, name) {
			return spec.Kind(name), nil
		}
	}
	return "", problemf(http.StatusUnprocessableEntity, "there is no kind %q%s", word, didYouMean(word, sorted))
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
func (s *Server) find(key *spec.Key) (store.Version, error) {
	kind, err := s.kindOf(string(key.Kind))
	if err != nil {
		return store.Version{}, err
	}
	key.Kind = kind
	tenants := s.cfg.Mirror.Tenants()
	if !slices.Contains(tenants, key.Tenant) {
		return store.Version{}, noTenant(key.Tenant, tenants)
	}
	state := s.cfg.Mirror.Tenant(key.Tenant)
	if v, ok := state.Resources.Get(*key); ok {
		return v, nil
	}
	if b, ok := state.Broken[*key]; ok {
		return store.Version{}, problemf(http.StatusNotFound, "%s: %s; apply it anew, or delete it", *key, brokenText(b))
	}
	var names []string
	for other := range state.Resources.All() {
		if other.Kind == key.Kind {
			names = append(names, other.Name)
		}
	}
	slices.Sort(names)
	return store.Version{}, problemf(http.StatusNotFound, "%s does not exist%s", *key, didYouMean(key.Name, names))
}

func (s *Server) get(_ context.Context, in *keyInput) (*reply[api.Resource], error) {
	key := in.key()
	v, err := s.find(&key)
	state := s.cfg.Mirror.Tenant(key.Tenant)
	if b, broken := state.Broken[key]; err != nil && broken {
		return &reply[api.Resource]{unreadOne(b)}, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := wire(state, v)
	return &reply[api.Resource]{r}, problemOf(err)
}

func (s *Server) describe(ctx context.Context, in *keyInput) (*reply[api.Description], error) {
	key := in.key()
	v, err := s.find(&key)
	if err != nil {
		return nil, err
	}
	d := api.Description{RefersTo: s.refersTo(v.Resource), ReferredBy: s.referredBy(key)}
	if d.Resource, err = wire(s.cfg.Mirror.Tenant(key.Tenant), v); err != nil {
		return nil, problemOf(err)
	}
	if d.Record, err = s.recordOf(ctx, in.Tenant, v.Generation); err != nil {
		s.cfg.Logger.Warn("the history of a resource cannot be read", "resource", key.String(), "error", err)
	}
	for _, key := range append([]spec.Key{key}, d.RefersTo...) {
		if pool, ok := s.pool(key); ok {
			d.Pools = append(d.Pools, pool)
		}
	}
	if len(d.Pools) > 0 {
		d.Health = s.health()
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
