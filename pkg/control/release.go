package control

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// How long the judge has for a release, and how long the word stays in the store where nobody withdraws it.
const (
	releaseTime = 15 * time.Second
	releaseTTL  = time.Minute
	releasePoll = 100 * time.Millisecond
)

type releaseInput struct {
	Tenant string `path:"tenant"`
	Body   api.ReleaseRequest
}

func (s *Server) routeHealth(h huma.API) {
	huma.Register(h, operation("health-release", need{access.Operate, inPath}, http.MethodPost, "/health/{tenant}/release",
		"Let down what the brake holds: it has really failed"), s.release)
	huma.Register(h, operation("resume", need{access.Operate, inPath}, http.MethodPost, "/pools/{tenant}/{pool}/resume",
		"Let a pool that failed and is kept out answer again"), s.resume)
}

type resumeInput struct {
	Tenant string `path:"tenant"`
	Pool   string `path:"pool"`
	Body   api.ResumeRequest
}

// resume has the judge let a pool in that failed, and answers when that is seen here.
func (s *Server) resume(ctx context.Context, in *resumeInput) (*reply[api.Resumed], error) {
	if strings.TrimSpace(in.Body.Reason) == "" {
		return nil, problemf(http.StatusUnprocessableEntity, "to resume a pool needs a reason, so that others know (--reason)")
	}
	if err := s.known(ctx, in.Tenant, in.Pool); err != nil {
		return nil, err
	}
	if err := s.mayChange(ctx); err != nil {
		return nil, err
	}
	key := spec.Key{Tenant: in.Tenant, Kind: spec.KindPool, Name: in.Pool}
	before, _ := s.pool(key)
	if before.Out == nil {
		return &reply[api.Resumed]{api.Resumed{Up: before.Up, Why: before.Why}}, s.heard(ctx)
	}
	if !before.Out.Ready {
		return nil, problemf(http.StatusConflict, "%s/%s cannot be resumed while its endpoints are down: %s", in.Tenant, in.Pool,
			before.Why)
	}
	word := store.Release{Tenant: in.Tenant, Pool: in.Pool, Resume: true, Time: s.cfg.Now().UTC(), Author: authorOf(ctx),
		Reason: in.Body.Reason}
	if err := s.putRelease(ctx, word); err != nil {
		return nil, problemOf(err)
	}
	s.cfg.Logger.Warn("a pool that is kept out is to be resumed", "tenant", word.Tenant, "pool", word.Pool, "author", word.Author,
		"reason", word.Reason)
	if err := s.untilTaken(ctx, word); err != nil {
		return nil, err
	}
	after := s.untilIn(ctx, key)
	if after.Out != nil {
		return nil, problemf(http.StatusConflict, "%s/%s stays out, since it has failed again: %s", in.Tenant, in.Pool, after.Why)
	}
	return &reply[api.Resumed]{api.Resumed{Out: before.Out, Up: after.Up, Why: after.Why}}, nil
}

// putRelease tells the judge a person's word.
func (s *Server) putRelease(ctx context.Context, word store.Release) error {
	ended, err := s.cfg.Audit.Ask(chain.ActRelease, word.Author, word.Tenant, word.Pool, word.Reason)
	if err != nil {
		return err
	}
	err = s.cfg.Store.PutRelease(ctx, word, releaseTTL)
	ended(err)
	return err
}

// untilIn waits a while to see that a pool is kept out no more, and gives it.
func (s *Server) untilIn(ctx context.Context, key spec.Key) api.Pool {
	ctx, cancel := context.WithTimeout(ctx, mirrorTime)
	defer cancel()
	for {
		changed := s.cfg.Mirror.Changed()
		pool, _ := s.pool(key)
		if pool.Out == nil {
			return pool
		}
		select {
		case <-ctx.Done():
			return pool
		case <-changed:
		}
	}
}

// release has the judge let down what the brake holds, and answers when that is seen here.
func (s *Server) release(ctx context.Context, in *releaseInput) (*reply[api.Released], error) {
	if strings.TrimSpace(in.Body.Reason) == "" {
		return nil, problemf(http.StatusUnprocessableEntity, "a release needs a reason, so that others know (--reason)")
	}
	if err := s.known(ctx, in.Tenant, in.Body.Pool); err != nil {
		return nil, err
	}
	if err := s.mayChange(ctx); err != nil {
		return nil, err
	}
	word := store.Release{Tenant: in.Tenant, Pool: in.Body.Pool, Time: s.cfg.Now().UTC(), Author: authorOf(ctx), Reason: in.Body.Reason}
	held := s.held(word)
	out := api.Released{Held: targetNames(held), Down: []string{}}
	if len(held) == 0 {
		return &reply[api.Released]{out}, s.heard(ctx)
	}
	if err := s.putRelease(ctx, word); err != nil {
		return nil, problemOf(err)
	}
	s.cfg.Logger.Warn("a release of what the brake holds was asked for", "tenant", word.Tenant, "pool", word.Pool,
		"author", word.Author, "reason", word.Reason)
	if err := s.untilTaken(ctx, word); err != nil {
		return nil, err
	}
	out.Down = targetNames(s.untilDown(ctx, word, held))
	return &reply[api.Released]{out}, nil
}

// heard tells that the store is not heard at present, so that what is held now cannot be known.
func (s *Server) heard(ctx context.Context) error {
	if s.cfg.Following == nil {
		return nil
	}
	if f := s.cfg.Following(); f.State == state.Stale || f.State == state.Connecting {
		return problemf(http.StatusServiceUnavailable, "nothing is known to be held, but the store is not heard, so that may be old: %s; "+
			"try again when gtmctl status says that the store is current", s.viewOf(ctx).text(f.Err))
	}
	return nil
}

// known tells of a tenant, or a pool of it, that is not there.
func (s *Server) known(ctx context.Context, tenant, pool string) error {
	if pool != "" {
		_, err := s.find(ctx, &spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: pool})
		return err
	}
	if tenants := s.tenants(ctx); !slices.Contains(tenants, tenant) {
		return noTenant(tenant, tenants)
	}
	return nil
}

// target is one endpoint of a pool.
type target struct {
	pool     health.PoolID
	endpoint string
}

// held gives what the brake holds of that which a release covers.
func (s *Server) held(word store.Release) (held []target) {
	for id, v := range s.cfg.Mirror.Verdicts() {
		if !v.Frozen || !word.Covers(id) {
			continue
		}
		for name, f := range v.Endpoints {
			if f.Held() != "" {
				held = append(held, target{id, name})
			}
		}
	}
	return held
}

func targetNames(targets []target) []string {
	words := make([]string, 0, len(targets))
	for _, t := range targets {
		words = append(words, t.pool.String()+"/"+t.endpoint)
	}
	slices.Sort(words)
	return words
}

// untilTaken waits for the judge to have followed a release. One that it does not take is withdrawn. While the store does not answer,
// the judge may hear it all the same.
func (s *Server) untilTaken(ctx context.Context, word store.Release) error {
	waiting, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var unheard error // why it is not known whether the release waits still
	for {
		waits, err := s.cfg.Store.HasRelease(waiting, word)
		if err == nil && !waits {
			return nil
		}
		if err == nil || waiting.Err() == nil { // else the time is up, which says nothing of the store
			unheard = err
		}
		select {
		case <-waiting.Done():
			return s.notTaken(context.WithoutCancel(ctx), word, unheard)
		case <-time.After(releasePoll):
		}
	}
}

// notTaken withdraws a release that nobody is known to have followed, and says so.
func (s *Server) notTaken(ctx context.Context, word store.Release, unheard error) error {
	withdrawn := "it is withdrawn"
	if err := s.cfg.Store.WithdrawRelease(ctx, word); err != nil {
		withdrawn = "it runs out in a minute"
	}
	if unheard != nil {
		return problemf(http.StatusGatewayTimeout, "whether a judge followed the release is not known, and %s; look at gtmctl status: %s",
			withdrawn, unheard)
	}
	return problemf(http.StatusGatewayTimeout, "nothing changed: no judge followed the release within %s, and %s; "+
		"is a prober alive? gtmctl status tells", s.patience, withdrawn)
}

// untilDown waits a while to see what became of what was held, and gives what is down.
func (s *Server) untilDown(ctx context.Context, word store.Release, held []target) (down []target) {
	ctx, cancel := context.WithTimeout(ctx, mirrorTime)
	defer cancel()
	for {
		changed := s.cfg.Mirror.Changed()
		still := s.held(word)
		if !slices.ContainsFunc(held, func(t target) bool { return slices.Contains(still, t) }) {
			break
		}
		select {
		case <-ctx.Done():
		case <-changed:
			continue
		}
		break
	}
	verdicts := s.cfg.Mirror.Verdicts()
	for _, t := range held {
		if verdicts[t.pool].Endpoints[t.endpoint].State == health.Down {
			down = append(down, t)
		}
	}
	return down
}

// brakeText tells why the brake holds a pool, and what to do.
func brakeText(v health.Verdict) string {
	if !v.Frozen {
		return ""
	}
	cause := v.Cause
	of, _ := v.Pool.Declared()
	if cause == "" {
		cause = "more endpoints failed at once than is likely"
	}
	look := "look at the probers"
	if strings.HasSuffix(cause, health.SignalAlone) {
		look = "ask the owners who say so (gtmctl signal list " + of.String() + ")"
	}
	return "held by the brake: " + cause +
		"; " + look + "; if they really failed: gtmctl health release " + of.String() + " --reason '...'"
}
