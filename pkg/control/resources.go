package control

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// reply is the form in which huma wants answers.
type reply[T any] struct{ Body T }

// resourceReply is that of one resource. Its version is an entity tag (RFC 9110, 8.8.3).
type resourceReply struct {
	ETag string `header:"ETag"`
	Body api.Resource
}

// etagOf is the entity tag of what a generation wrote.
func etagOf(tenant string, g uint64) string {
	return fmt.Sprintf("%q", fmt.Sprintf("%s@%d", tenant, g))
}

type listInput struct {
	Kind   string `query:"kind" maxLength:"63" doc:"only of this kind: Zone, Site and so on, or another that stands in the store"`
	Tenant string `query:"tenant" doc:"only of this tenant"`
	Prefix string `query:"prefix" maxLength:"1024" doc:"only those whose names begin so"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100000" doc:"how many at most; absent: all"`
	After  string `query:"after" maxLength:"1200" doc:"what next was in the page before"`
}

type keyInput struct {
	Tenant string    `path:"tenant"`
	Kind   spec.Kind `path:"kind" maxLength:"63"`
	Name   string    `path:"name" maxLength:"1024"`
}

func (in *keyInput) key() spec.Key { return spec.Key{Tenant: in.Tenant, Kind: in.Kind, Name: in.Name} }

func (s *Server) routeResources(h huma.API) {
	list := operation("list-resources", need{access.Read, inQuery}, http.MethodGet, "/resources", "List resources")
	list.Responses = map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK), Content: map[string]*huma.MediaType{
		"application/json": {Schema: schemaOf[api.ResourceList](h)}}}}
	huma.Register(h, list, s.list)
	huma.Register(h, operation("get-resource", need{access.Read, inPathOrShared}, http.MethodGet, "/resources/{tenant}/{kind}/{name}",
		"Get a resource"), s.get)
	huma.Register(h, operation("describe-resource", need{access.Read, inPathOrShared}, http.MethodGet,
		"/resources/{tenant}/{kind}/{name}/describe",
		"Get a resource with its health, its overrides and its neighbours"), s.describe)
}

// list writes an api.ResourceList as it goes: a whole state in memory, once as resources and once as JSON, is for nobody to ask for.
func (s *Server) list(ctx context.Context, in *listInput) (*huma.StreamResponse, error) {
	tenants, grants := s.tenants(ctx), grantsOf(ctx)
	if !slices.Contains(tenants, spec.Platform) && slices.Contains(s.cfg.Mirror.Tenants(), spec.Platform) {
		tenants = append(tenants, spec.Platform) // for what it shares
		slices.Sort(tenants)
	}
	if in.Tenant != "" {
		if !slices.Contains(tenants, in.Tenant) {
			return nil, noTenant(in.Tenant, tenants)
		}
		tenants = []string{in.Tenant}
	}
	kind, err := s.kindOf(ctx, in.Kind)
	if err != nil {
		return nil, err
	}
	after, err := keyAfter(in.After)
	if err != nil {
		return nil, err
	}
	states := make([]state.TenantState, len(tenants))
	heads := map[string]uint64{}
	for i, tenant := range tenants {
		states[i] = s.cfg.Mirror.Tenant(tenant)
		if grants.Sees(tenant) {
			heads[tenant] = uint64(states[i].Head)
		} else {
			states[i].Broken = nil
		}
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "application/json")
		w := &listWriter{to: bufio.NewWriterSize(c.BodyWriter(), listBuffer), in: in, after: after, kind: kind, grants: grants}
		w.text(`{"resources":[`)
		for i := range states {
			if tenants[i] >= after.Tenant && w.next == "" {
				w.state(&states[i])
			}
		}
		w.text(`],"heads":`)
		w.json(heads)
		if w.next != "" {
			w.text(`,"next":`)
			w.json(w.next)
		}
		w.text("}\n")
		_ = w.to.Flush() // the client is gone; nobody is left to tell
	}}, nil
}

// listBuffer is how much of a list is written at once, in bytes.
const listBuffer = 32 << 10

// keyAfter reads the key behind which a page begins; the zero value: the first one.
func keyAfter(text string) (spec.Key, error) {
	parts := strings.SplitN(text, "/", 3)
	if text == "" {
		return spec.Key{}, nil
	}
	if len(parts) < 3 {
		return spec.Key{}, problemf(http.StatusBadRequest, "after is not what next was in the page before, as in shop/Pool/eu: %q", text)
	}
	return spec.Key{Tenant: parts[0], Kind: spec.Kind(parts[1]), Name: parts[2]}, nil
}

// listWriter writes one resource after the other, and at most a page. Behind an error it writes no more.
type listWriter struct {
	to     *bufio.Writer
	in     *listInput
	after  spec.Key
	kind   spec.Kind // empty: of every kind
	grants access.Grants
	wrote  int
	last   spec.Key // that was written
	next   string   // where the next page begins; empty: there is none, so far
	err    error
}

func (w *listWriter) text(s string) {
	if w.err == nil {
		_, w.err = w.to.WriteString(s)
	}
}

func (w *listWriter) json(v any) {
	if w.err == nil {
		w.err = json.NewEncoder(w.to).Encode(v)
	}
}

func (w *listWriter) resource(r api.Resource) {
	if w.wrote > 0 {
		w.text(",")
	}
	w.wrote++
	w.json(r)
}

// lists reports whether a resource belongs to the page, and notes what is left for the next one.
func (w *listWriter) lists(key spec.Key) bool {
	switch {
	case w.err != nil || w.next != "" || w.kind != "" && key.Kind != w.kind || !strings.HasPrefix(key.Name, w.in.Prefix),
		w.after != spec.Key{} && key.Compare(w.after) <= 0:
		return false
	case w.in.Limit > 0 && w.wrote == w.in.Limit:
		w.next = w.last.String()
		return false
	}
	w.last = key
	return true
}

// state writes those of a tenant that are seen, by key.
func (w *listWriter) state(state *state.TenantState) {
	broken := unread(*state)
	for _, v := range sorted(*state) {
		for len(broken) > 0 && broken[0].Key.Compare(v.Resource.Key) < 0 {
			broken = w.unread(broken)
		}
		if !w.grants.SeesResource(v.Resource) || !w.lists(v.Resource.Key) {
			continue
		}
		r, err := wire(*state, v)
		if err != nil {
			r = api.Resource{Kind: v.Resource.Kind, Tenant: v.Resource.Tenant, Name: v.Resource.Name, Generation: uint64(v.Generation),
				Error: err.Error()}
		}
		w.resource(r)
	}
	for len(broken) > 0 {
		broken = w.unread(broken)
	}
}

// unread writes the first of what cannot be read, and gives the rest.
func (w *listWriter) unread(broken []state.BrokenResource) []state.BrokenResource {
	if w.lists(broken[0].Key) {
		w.resource(unreadOne(broken[0]))
	}
	return broken[1:]
}

// sorted gives the resources of a tenant by kind (dependencies first) and name.
func sorted(now state.TenantState) []state.Version {
	all := make([]state.Version, 0, now.Resources.Len())
	for _, v := range now.Resources.All() {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b state.Version) int { return a.Resource.Key.Compare(b.Resource.Key) })
	return all
}

func wire(state state.TenantState, v state.Version) (api.Resource, error) {
	r, err := api.FromSpec(v.Resource)
	r.Generation = uint64(v.Generation)
	if b, broken := state.Broken[v.Resource.Key]; broken {
		r.Error = brokenText(b)
	}
	return r, err
}

func brokenText(b state.BrokenResource) string {
	return fmt.Sprintf("what %s@%d wrote cannot be read: %v", b.Key.Tenant, b.Generation, b.Err)
}

// unread lists what stands there and cannot be read, by key.
func unread(now state.TenantState) []state.BrokenResource {
	var out []state.BrokenResource
	for _, key := range slices.SortedFunc(maps.Keys(now.Broken), spec.Key.Compare) {
		if _, readable := now.Resources.Get(key); !readable {
			out = append(out, now.Broken[key])
		}
	}
	return out
}

func unreadOne(b state.BrokenResource) api.Resource {
	return api.Resource{Kind: b.Key.Kind, Tenant: b.Key.Tenant, Name: b.Key.Name, Generation: uint64(b.Generation), Error: brokenText(b)}
}

// kindOf reads a kind in any letter case: one that is known, or one that stands in the store all the same. Empty stays empty.
func (s *Server) kindOf(ctx context.Context, word string) (spec.Kind, error) {
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
	for _, tenant := range s.tenants(ctx) {
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

func noTenant(name string, tenants []string) *api.Problem {
	return problemf(http.StatusNotFound, "there is no tenant %s%s", name, didYouMean(name, tenants))
}

func didYouMean(word string, candidates []string) string {
	if near := spec.Closest(word, candidates); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// find gives a resource's present version, or a problem that names the nearest.
func (s *Server) find(ctx context.Context, key *spec.Key) (state.Version, error) {
	kind, err := s.kindOf(ctx, string(key.Kind))
	if err != nil {
		return state.Version{}, err
	}
	key.Kind = kind
	tenants, grants := s.tenants(ctx), grantsOf(ctx)
	if !slices.Contains(tenants, key.Tenant) && key.Tenant != spec.Platform {
		return state.Version{}, noTenant(key.Tenant, tenants)
	}
	now := s.cfg.Mirror.Tenant(key.Tenant)
	if v, ok := now.Resources.Get(*key); ok && grants.SeesResource(v.Resource) {
		return v, nil
	}
	if b, ok := now.Broken[*key]; ok && grants.Sees(key.Tenant) {
		return state.Version{}, problemf(http.StatusNotFound, "%s: %s; apply it anew, or delete it", *key, brokenText(b))
	}
	var names []string
	for other, v := range now.Resources.All() {
		if other.Kind == key.Kind && grants.SeesResource(v.Resource) {
			names = append(names, other.Name)
		}
	}
	slices.Sort(names)
	return state.Version{}, problemf(http.StatusNotFound, "%s does not exist%s", *key, didYouMean(key.Name, names))
}

func (s *Server) get(ctx context.Context, in *keyInput) (*resourceReply, error) {
	key := in.key()
	v, err := s.find(ctx, &key)
	state := s.cfg.Mirror.Tenant(key.Tenant)
	if b, broken := state.Broken[key]; err != nil && broken && grantsOf(ctx).Sees(key.Tenant) {
		return &resourceReply{etagOf(key.Tenant, uint64(b.Generation)), unreadOne(b)}, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := wire(state, v)
	return &resourceReply{etagOf(key.Tenant, r.Generation), r}, problemOf(err)
}

func (s *Server) describe(ctx context.Context, in *keyInput) (*reply[api.Description], error) {
	key := in.key()
	v, err := s.find(ctx, &key)
	if err != nil {
		return nil, err
	}
	d := api.Description{RefersTo: s.refersTo(v.Resource), ReferredBy: s.referredBy(ctx, key)}
	if d.Resource, err = wire(s.cfg.Mirror.Tenant(key.Tenant), v); err != nil {
		return nil, problemOf(err)
	}
	if !grantsOf(ctx).Sees(key.Tenant) { // it is shared: who changed what beside it is not
		return &reply[api.Description]{d}, nil
	}
	if d.Record, err = s.recordOf(ctx, in.Tenant, v.Generation); err != nil {
		s.cfg.Logger.Warn("the history of a resource cannot be read", "resource", key.String(), "error", err)
	}
	for _, key := range append([]spec.Key{key}, d.RefersTo...) {
		if pool, ok := s.pool(key); ok {
			d.Pools = append(d.Pools, pool)
		}
	}
	s.addSignals(d.Pools)
	if s.addChanges(d.Pools); len(d.Pools) > 0 {
		d.Health = s.health()
	}
	return &reply[api.Description]{d}, nil
}

// recordOf looks for the change that made a generation; nil: history is shorter.
func (s *Server) recordOf(ctx context.Context, tenant string, generation state.Generation) (*api.Record, error) {
	head := s.cfg.Mirror.Tenant(tenant).Head
	records, _, err := s.records(ctx, tenant, min(historyAtMost, int(head-generation)+1))
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

// historyKeys bounds the resources that the records of one answer name: a record may have thousands.
const historyKeys = 1 << 16

// records gives a tenant's last changes, newest first: so many, or fewer where they name too many resources, which more tells.
func (s *Server) records(ctx context.Context, tenant string, limit int) (records []state.Record, more bool, err error) {
	for n := min(limit, 16); ; n = min(limit, 2*n) { // a record's size is known when it has been read
		if records, err = s.cfg.Store.History(ctx, tenant, n); err != nil {
			return nil, false, err
		}
		keys := 0
		for i := range records {
			if keys += len(records[i].Put) + len(records[i].Deleted); keys > historyKeys {
				return records[:max(i, 1)], true, nil
			}
		}
		if n == limit || len(records) < n {
			return records, false, nil
		}
	}
}

func wireRecord(r state.Record) api.Record {
	return api.Record{Tenant: r.Tenant, Generation: uint64(r.Generation), Time: r.Time, Author: r.Author,
		Message: r.Message, Put: r.Put, Deleted: r.Deleted, BreakGlass: r.BreakGlass, Approved: r.Approved}
}

// refersTo names the resources that r refers to, each once: those that it names, in the order of its fields, and the zone in
// which a service stands.
func (s *Server) refersTo(r *spec.Resource) []spec.Key {
	var keys []spec.Key
	for _, key := range spec.References(r) {
		// A policy may be the tenant's or the platform's: that it is which exists.
		if !slices.Contains(keys, key) && (key.Kind != spec.KindPolicy || (lookup{s.cfg.Mirror}).Get(key) != nil) {
			keys = append(keys, key)
		}
	}
	if service, ok := r.Spec.(*spec.Service); ok {
		if host, err := spec.CanonicalHost(service.Host); err == nil {
			if zone := spec.ZoneOf(lookup{s.cfg.Mirror}, host); zone != nil {
				keys = append(keys, zone.Key)
			}
		}
	}
	return keys
}

// lookup is the mirror as a spec.Lookup.
type lookup struct{ *state.Mirror }

func (l lookup) Get(k spec.Key) *spec.Resource {
	v, _ := l.Tenant(k.Tenant).Resources.Get(k)
	return v.Resource
}

// joinedLookup is lookup, its pools with what their sources found.
type joinedLookup struct{ lookup }

func (l joinedLookup) Get(k spec.Key) *spec.Resource { return l.Join(l.lookup.Get(k)) }

func (l lookup) Of(kind spec.Kind) iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		for _, tenant := range l.Tenants() {
			for key, v := range l.Tenant(tenant).Resources.All() {
				if key.Kind == kind && !yield(v.Resource) {
					return
				}
			}
		}
	}
}

// referredBy names the resources of all tenants that are seen and refer to key, sorted.
func (s *Server) referredBy(ctx context.Context, key spec.Key) []spec.Key {
	var keys []spec.Key
	for _, tenant := range s.tenants(ctx) {
		if tenant != key.Tenant && key.Tenant != spec.Platform {
			continue // a tenant refers to itself and to the platform only
		}
		for other, v := range s.cfg.Mirror.Tenant(tenant).Resources.All() {
			if slices.Contains(s.refersTo(v.Resource), key) {
				keys = append(keys, other)
			}
		}
	}
	slices.SortFunc(keys, spec.Key.Compare)
	return keys
}
