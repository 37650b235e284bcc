package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// rebuildInput lacks the body: see readDeclared.
type rebuildInput struct {
}

// rebuild fills a store that is empty, or older than what edges serve, and lets it be taken only when it is whole: who knew the old
// one refuses it meanwhile, and serves on.
func (s *Server) rebuild(ctx context.Context, in *rebuildInput) (*reply[api.RebuildReply], error) {
	var rest api.RebuildRequest
	d, err := readDeclared(bodyOf(ctx), func(name string) any {
		switch name {
		case "fromMemory":
			return &rest.FromMemory
		case "dropUnknown":
			return &rest.DropUnknown
		case "dryRun":
			return &rest.DryRun
		case "message":
			return &rest.Message
		}
		return nil
	})
	if err != nil {
		return nil, problemOf(err)
	}
	if err := s.mayRebuild(ctx, rest.FromMemory); err != nil {
		return nil, err
	}
	r := &rebuilding{s: s, memory: s.memory(ctx)}
	if err := r.want(rest.FromMemory, d.put); err != nil {
		return nil, problemOf(err)
	}
	// By what the store holds now, whatever control follows.
	changer := change.New(change.Config{Store: s.cfg.Store, Now: s.cfg.Now, Journal: s.cfg.Audit})
	plan, err := changer.Plan(ctx, change.Input{Put: r.put, DropUnknown: rest.DropUnknown, Unbounded: true,
		Author: authorOf(ctx), Message: rest.Message})
	if err != nil {
		return nil, problemOf(err)
	}
	out := api.RebuildReply{ApplyReply: api.ApplyReply{Plan: itemsOf(plan), Warnings: api.Issues(plan.Warnings),
		Heads: map[string]uint64{}}}
	if out.Kept, out.Lost, err = r.beside(ctx); err != nil {
		return nil, problemOf(err)
	}
	if rest.DryRun {
		return &reply[api.RebuildReply]{out}, nil
	}
	ended, err := s.cfg.Audit.Ask(chain.ActRebuild, plan.Author, "", "", plan.Message)
	if err != nil {
		return nil, problemOf(err)
	}
	err = r.carryOut(ctx, changer, plan, &out)
	if ended(err); err != nil {
		return nil, r.halfway(err)
	}
	return &reply[api.RebuildReply]{out}, nil
}

// mayRebuild refuses where apply is the way.
func (s *Server) mayRebuild(ctx context.Context, fromMemory bool) error {
	refused := s.mayChange(ctx) != nil
	remembers := len(s.cfg.Mirror.Tenants()) > 0
	if f := s.cfg.Following; fromMemory && remembers && !refused && f != nil && f().State != state.Current {
		return problemf(http.StatusServiceUnavailable,
			"control has not read the store since it lost it, and cannot tell yet whether it remembers "+
				"another state: try again in some seconds")
	}
	if fromMemory && (!refused || !remembers) {
		return problemf(http.StatusConflict, "control remembers no other state than the store's (it was started since): name the files, "+
			"gtmctl store rebuild -f DIR")
	}
	if refused {
		return nil
	}
	heads, err := s.cfg.Store.Heads(ctx)
	if err != nil {
		return problemOf(err)
	}
	if len(heads) == 0 {
		return nil
	}
	edges, err := s.registered(ctx)
	if err != nil {
		return problemOf(err)
	}
	for _, e := range s.askAll(ctx, edges) {
		if e.Status != nil && e.Status.Source.State == state.Refused {
			return nil
		}
	}
	return problemf(http.StatusConflict, "the store is neither empty nor refused by anybody: gtmctl apply -f DIR changes it")
}

// memory gives what control still holds of a store that it refuses now; nothing where it follows the present one.
func (s *Server) memory(ctx context.Context) map[spec.Key]state.Version {
	all := map[spec.Key]state.Version{}
	if s.mayChange(ctx) == nil {
		return all
	}
	for _, tenant := range s.cfg.Mirror.Tenants() {
		maps.Insert(all, s.cfg.Mirror.Tenant(tenant).Resources.All())
	}
	return all
}

// rebuilding is one rebuild.
type rebuilding struct {
	s      *Server
	memory map[spec.Key]state.Version
	put    []*spec.Resource
	asked  map[spec.Key]bool
}

// want works out what is to be in the store.
func (r *rebuilding) want(fromMemory bool, put []*spec.Resource) error {
	if r.put = put; fromMemory {
		r.put = nil
		for _, v := range r.memory {
			r.put = append(r.put, v.Resource)
		}
		slices.SortFunc(r.put, func(a, b *spec.Resource) int { return a.Key.Compare(b.Key) })
	}
	if len(r.put) == 0 {
		return problemf(http.StatusUnprocessableEntity, "there is nothing to rebuild the store from: resources is empty")
	}
	r.asked = make(map[spec.Key]bool, len(r.put))
	for i, res := range r.put {
		r.asked[res.Key] = true
		r.put[i] = r.remembered(res)
	}
	for key, v := range r.memory { // zones that control made by itself, as a catalog of those asked for lists them
		z, ok := v.Resource.Spec.(*spec.Zone)
		if ok && z.MemberOf != "" && !r.asked[key] && r.asked[spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: z.MemberOf}] {
			r.asked[key] = true
			r.put = append(r.put, v.Resource)
		}
	}
	return nil
}

// remembered gives a declaration that holds whatever is there. A zone whose content others change keeps that which control remembers.
func (r *rebuilding) remembered(res *spec.Resource) *spec.Resource {
	out := *res
	out.Generation = 0
	z, ok := res.Spec.(*spec.Zone)
	was, had := r.memory[res.Key]
	if !ok || !had || !z.Moving() || z.Content != "" || z.File != "" {
		return &out
	}
	kept := *z
	old := was.Resource.Spec.(*spec.Zone)
	kept.Content, kept.Expired = old.Content, old.Expired && len(z.Primaries) > 0
	out.Spec = &kept
	return &out
}

// beside gives what the store holds and nobody asked for, and what was known and is in neither.
func (r *rebuilding) beside(ctx context.Context) (kept, lost []spec.Key, err error) {
	now, err := change.ReadState(ctx, r.s.cfg.Store)
	if err != nil {
		return nil, nil, err
	}
	for _, tenant := range now.Tenants() {
		for _, res := range now.Tenant(tenant) {
			if !r.asked[res.Key] {
				kept = append(kept, res.Key)
			}
		}
	}
	for key := range r.memory {
		if !r.asked[key] && now.Get(key) == nil {
			lost = append(lost, key)
		}
	}
	slices.SortFunc(kept, spec.Key.Compare)
	slices.SortFunc(lost, spec.Key.Compare)
	return kept, lost, nil
}

// carryOut writes, keys first: a zone without its keys would get others, which the parent does not know. Accepting comes last.
func (r *rebuilding) carryOut(ctx context.Context, changer *change.Changer, plan *change.Plan, out *api.RebuildReply) error {
	keysets, err := r.keysets()
	if err != nil {
		return err
	}
	if out.Keys, err = r.s.cfg.Store.PutBack(ctx, keysets, nil); err != nil {
		return err
	}
	if !plan.Empty() {
		records, err := changer.Apply(ctx, plan)
		if err != nil {
			return err
		}
		for _, rec := range records {
			out.Records = append(out.Records, wireRecord(rec))
		}
	}
	if _, err := r.s.cfg.Store.PutBack(ctx, nil, r.verdicts()); err != nil {
		return err
	}
	for _, f := range r.found() {
		if err := r.s.cfg.Store.PushFound(ctx, f); err != nil {
			return err
		}
	}
	known, err := r.s.registered(ctx)
	if err != nil {
		return err
	}
	if err := r.s.cfg.Store.PutBackEdges(ctx, known); err != nil {
		return err
	}
	heads, err := r.s.cfg.Store.Heads(ctx)
	if err != nil {
		return err
	}
	for tenant, head := range heads {
		out.Heads[tenant] = uint64(head)
	}
	out.Accepted = &api.Accepted{Author: plan.Author}
	if err := r.s.cfg.Store.Accept(ctx, plan.Author); err != nil {
		return acceptError{err}
	}
	r.s.cfg.Logger.Warn("the store was rebuilt and accepted", "author", plan.Author,
		"generations", len(out.Records), "zones with their keys", out.Keys)
	r.s.untilFollowed(ctx)
	return nil
}

// keysets gives the newest known keys of the signed zones that are asked for.
func (r *rebuilding) keysets() ([]dnssec.Keyset, error) {
	known := map[string]dnssec.Keyset{}
	if r.s.cfg.Keys != nil {
		kept, err := r.s.cfg.Keys.Kept()
		if err != nil {
			return nil, err
		}
		maps.Copy(known, kept)
	}
	for zone, ks := range r.s.cfg.Mirror.Keysets() {
		if ks.Serial >= known[zone].Serial {
			known[zone] = ks
		}
	}
	var out []dnssec.Keyset
	for _, res := range r.put {
		ks, has := known[res.Name]
		if z, ok := res.Spec.(*spec.Zone); ok && has && z.DNSSEC != nil {
			out = append(out, ks)
		}
	}
	return out, nil
}

// verdicts gives what control remembers of the pools that are asked for, so that edges do not answer with what is known to be down until
// the judge has judged again.
func (r *rebuilding) verdicts() []health.Verdict {
	var out []health.Verdict
	if len(r.memory) == 0 {
		return nil
	}
	for id, v := range r.s.cfg.Mirror.Verdicts() {
		if of, _ := id.Declared(); r.asked[spec.Key{Tenant: of.Tenant, Kind: spec.KindPool, Name: of.Pool}] {
			out = append(out, v)
		}
	}
	return out
}

// found gives what control remembers of the sources of pools that are asked for: nobody may push it again soon.
func (r *rebuilding) found() (out []spec.Found) {
	if len(r.memory) == 0 {
		return nil
	}
	for id, f := range state.Discovered.All(r.s.cfg.Mirror) {
		if r.asked[spec.Key{Tenant: id.Tenant, Kind: spec.KindPool, Name: id.Pool}] {
			out = append(out, f)
		}
	}
	return out
}

// acceptError: accepting failed, or its answer was lost.
type acceptError struct{ error }

func (a acceptError) Unwrap() error { return a.error }

// halfway tells that nothing is taken yet, or may be, and what to do.
func (r *rebuilding) halfway(err error) error {
	problem, ok := problemOf(err).(*api.Problem)
	if !ok {
		return err
	}
	reply := *problem
	if errors.As(err, new(acceptError)) {
		reply.Detail = fmt.Sprintf("the store is whole, but it is not known whether it was accepted: gtmctl status tells whether it is "+
			"refused still; then run: gtmctl store accept. %s", reply.Detail)
		return &reply
	}
	reply.Detail = fmt.Sprintf("the store is not rebuilt, and was not accepted: edges serve on with what they have. %s. "+
		"The same command goes on where this one ended", reply.Detail)
	return &reply
}
