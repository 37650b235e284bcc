package edge

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/alias"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/resolve"
	"github.com/gti/gtm/pkg/table/compile"
)

const systemResolvers = "/etc/resolv.conf"

// resolved is news of a host outside.
type resolved struct {
	target compile.Target
	result *compile.Resolved
}

// newAliases makes what resolves the hosts outside that aliases lead to.
func (e *Edge) newAliases() (*alias.Keeper, error) {
	cfg := e.cfg.Aliases
	if cfg.Resolvers == nil {
		var err error
		if cfg.Resolvers, err = resolve.System(systemResolvers); err != nil {
			e.log.Warn("aliases of hosts outside cannot be resolved", "error", err)
		}
	}
	if e.cfg.Dir != "" {
		cfg.File = filepath.Join(e.cfg.Dir, "aliases.json")
	}
	cfg.Logger, cfg.Registerer, cfg.Now = e.cfg.Logger, e.cfg.Registerer, e.cfg.Now
	cfg.Deliver = func(ctx context.Context, t compile.Target, r *compile.Resolved) {
		_ = e.tell(ctx, news{resolved: &resolved{t, r}}) // at the end it is not needed
	}
	return alias.New(cfg)
}

// takeResolved gives a result to the compiler, if it is still wanted.
func (e *Edge) takeResolved(c *compile.Compiler, r *resolved) {
	if r != nil && slices.Contains(c.Targets(), r.target) {
		c.SetResolved(r.target, r.result)
	}
}

// takeKept gives the compiler the results of before the start.
func (e *Edge) takeKept(c *compile.Compiler) {
	for t, r := range e.aliases.Kept() {
		c.SetResolved(t, r)
	}
}

// wantAliases has what the compiler needs resolved, and forgets what it no longer needs.
func (e *Edge) wantAliases(c *compile.Compiler, atlas *geo.Atlas) {
	for _, t := range e.aliases.Want(c.Targets(), atlas) {
		c.SetResolved(t, nil)
	}
}

// aliasStates tells of the hosts outside.
func (e *Edge) aliasStates() (out []api.AliasState) {
	for _, s := range e.aliases.States() {
		a := api.AliasState{Host: s.Host, By: s.By, Failing: s.Failing, Error: s.Error}
		for _, addr := range s.Addresses {
			a.Addresses = append(a.Addresses, addr.String())
		}
		if !s.Resolved.IsZero() {
			at := s.Resolved.UTC().Truncate(time.Second)
			a.Resolved = &at
		}
		out = append(out, a)
	}
	return out
}
