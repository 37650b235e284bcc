package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/control/plans"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// Store is what control needs of a *store.Client.
type Store interface {
	change.Store
	Edges(ctx context.Context) ([]store.Edge, error)
	ForgetEdge(ctx context.Context, id string) error
	LastContact() time.Time
	Accept(ctx context.Context, author string) error
	Vantages(ctx context.Context) ([]store.Vantage, error)
	ForgetVantage(ctx context.Context, id string) (pools int, err error)
	PutRelease(ctx context.Context, r store.Release, ttl time.Duration) error
	HasRelease(ctx context.Context, r store.Release) (bool, error)
	WithdrawRelease(ctx context.Context, r store.Release) error
	PutBackEdges(ctx context.Context, edges []store.Edge) error
	PushFound(ctx context.Context, lists ...spec.Found) error
	// Oldest gives the oldest generation of a tenant that can be read.
	Oldest(ctx context.Context, tenant string) (state.Generation, error)
	HasFound(ctx context.Context, lists ...spec.Found) (bool, error)
	EditAim(ctx context.Context, tenant string, fenced bool, edit func(*state.Aim) error) (state.Aim, error)
	plans.Waiting
	Versions(ctx context.Context, key spec.Key, limit int) ([]state.Version, error)
	PutBack(ctx context.Context, keysets []dnssec.Keyset, verdicts []health.Verdict) (zones []string, err error)
}

// carryOut plans a change and, unless it is only to be shown, applies it. It answers when the mirror shows what was made, so that
// who asks next sees it. tenants are those whose heads the answer gives.
func (s *Server) carryOut(ctx context.Context, in change.Input, dryRun bool, tenants ...string) (*reply[api.ApplyReply], error) {
	if err := s.mayChange(ctx); err != nil {
		return nil, err
	}
	if err := s.mayWant(ctx, &in); err != nil {
		return nil, err
	}
	v := s.viewOf(ctx)
	in.Foresee, in.BreakGlass, in.MayBreak = true, glassOf(ctx), plans.MayBreak(grantsOf(ctx))
	plan, err := s.changer.Plan(ctx, in)
	if err != nil {
		if !dryRun {
			s.cfg.Audit.Refuse(chain.ActChange, in.Author, tenants, "", in.Message, err)
		}
		return nil, v.refused(err)
	}
	if err := s.mayMake(ctx, &in, plan, dryRun); err != nil {
		if !dryRun {
			s.cfg.Audit.Refuse(chain.ActChange, in.Author, tenants, "", in.Message, err)
		}
		return nil, err
	}
	if narrowed := narrow(ctx, &in); narrowed && !dryRun && !plan.Empty() {
		if plan, err = s.changer.Plan(ctx, in); err != nil {
			return nil, v.refused(err)
		}
	}
	warnings := append(slices.Clip(plan.Warnings), s.vantageWarnings(ctx, plan)...)
	out := api.ApplyReply{Plan: itemsOf(plan), Warnings: api.Issues(v.faults(warnings)), Heads: map[string]uint64{}}
	v.plan(&out, plan)
	if !dryRun && !plan.Empty() {
		records, err := s.changer.Apply(ctx, plan)
		s.seen(ctx, records)
		if err != nil {
			return nil, s.failed(ctx, v, plan, err)
		}
		for _, r := range records {
			out.Records = append(out.Records, wireRecord(r))
		}
	}
	for _, tenant := range tenants {
		out.Heads[tenant] = uint64(s.cfg.Mirror.Tenant(tenant).Head)
	}
	for _, r := range out.Records { // what the mirror may not have seen yet
		out.Heads[r.Tenant] = max(out.Heads[r.Tenant], r.Generation)
	}
	return &reply[api.ApplyReply]{out}, nil
}

// mayChange refuses changes while the store is one that went back: what they would be planned on is not what it holds.
func (s *Server) mayChange(ctx context.Context) error {
	if s.cfg.Following == nil {
		return nil
	}
	f := s.cfg.Following()
	f.Err = s.viewOf(ctx).text(f.Err)
	switch {
	case f.State != state.Refused:
		return nil
	case strings.Contains(f.Err, "gtmctl store rebuild"): // it is empty, and says so itself
		return problemf(http.StatusConflict, "nothing can be changed: %s", f.Err)
	}
	return problemf(http.StatusConflict, "nothing can be changed: %s; to write files into it before, run: gtmctl store rebuild -f DIR",
		f.Err)
}

// seen logs what was made, and waits a while for the mirror to have it.
func (s *Server) seen(ctx context.Context, records []state.Record) {
	ctx, cancel := context.WithTimeout(ctx, mirrorTime)
	defer cancel()
	for _, r := range records {
		s.cfg.Logger.Info("configuration changed", "tenant", r.Tenant, "generation", r.Generation, "author", r.Author, "message", r.Message,
			"written", len(r.Put), "deleted", len(r.Deleted))
		if r.BreakGlass != "" {
			s.cfg.Logger.Warn("guards were passed over", "tenant", r.Tenant, "generation", r.Generation, "author", r.Author,
				"reason", r.BreakGlass)
		}
		if err := s.cfg.Mirror.WaitGeneration(ctx, r.Tenant, r.Generation); err != nil {
			s.cfg.Logger.Warn("a change is in the store, but not seen here yet", "tenant", r.Tenant, "generation", r.Generation,
				"error", err)
		}
	}
}

// What the plan of one reply tells of fields at most.
const (
	planFields = 10_000
	planBytes  = 16 << 20
)

func itemsOf(plan *change.Plan) []api.PlanItem {
	items := []api.PlanItem{}
	fields, bytes := 0, 0
	for _, part := range plan.Parts {
		for _, step := range part.Steps {
			item := api.PlanItem{Key: step.Key, Action: string(step.Action)}
			if step.Action == change.Update {
				n := 0
				for ; n < len(step.Changes) && fields < planFields && bytes < planBytes; n++ {
					f := &step.Changes[n]
					fields, bytes = fields+1, bytes+len(f.Path)+len(f.Old)+len(f.New)
				}
				item.Fields, item.More = step.Changes[:n:n], len(step.Changes)-n
			}
			items = append(items, item)
		}
	}
	return items
}

func expected(pins map[string]uint64) map[string]state.Generation {
	expect := make(map[string]state.Generation, len(pins))
	for tenant, generation := range pins {
		expect[tenant] = state.Generation(generation)
	}
	return expect
}

// changeProblem gives the status of an error of pkg/change; 0: it is none of those.
func changeProblem(err error) int {
	var pinned *change.ConflictError
	var moved *store.ConflictError
	var back *state.WentBackError
	var large *store.TooLargeError
	var ask *change.AskError
	var full *store.PendingError
	var removed *store.RemovedError
	switch {
	case errors.As(err, &removed):
		return http.StatusGone
	case errors.As(err, &full), errors.As(err, &pinned), errors.As(err, &moved),
		errors.As(err, &back), errors.As(err, &ask):
		return http.StatusConflict
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	}
	return 0
}

// printable makes a foreign text fit for people, with at most that many characters.
func printable(given string, most int) string {
	clean := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, given))
	if runes := []rune(clean); len(runes) > most {
		clean = string(runes[:most])
	}
	return clean
}
