package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/tokens"
)

// Of service tokens.
const (
	tokenTime     = 90 * 24 * time.Hour // that one holds, if nothing is said
	mostTokenTime = 5 * 365 * 24 * time.Hour
)

type tokensInput struct {
	Tenant string `query:"tenant" doc:"only of this tenant"`
}

type tokenInput struct {
	Tenant string `path:"tenant"`
	Name   string `path:"name" maxLength:"63"`
}

type newTokenInput struct {
	Tenant string `path:"tenant"`
	Body   api.TokenRequest
}

func (s *Server) routeAccess(h huma.API) {
	huma.Register(h, operation("login", need{access.Read, ofNobody}, http.MethodGet, strings.TrimPrefix(loginPath, api.Version),
		"Where to log in"), s.login)
	huma.Register(h, operation("whoami", need{access.Read, ofThemselves}, http.MethodGet, "/whoami",
		"Who you are here, and what is granted to you"), s.whoami)
	huma.Register(h, operation("list-tokens", need{access.Administer, inQuery}, http.MethodGet, "/tokens", "The service tokens"), s.tokens)
	huma.Register(h, operation("create-token", need{access.Administer, inPath}, http.MethodPost, "/tokens/{tenant}",
		"Make a service token, which is told this once"), s.newToken)
	huma.Register(h, operation("revoke-token", need{access.Administer, inPath}, http.MethodDelete, "/tokens/{tenant}/{name}",
		"Take a service token away"), s.revokeToken)
}

func (s *Server) login(context.Context, *struct{}) (*reply[api.Login], error) {
	o := s.book.OIDC()
	if o == nil {
		return nil, problemf(http.StatusNotFound, "nobody can log in here: gtmd has no --oidc-issuer; use a token (--token-file)")
	}
	cfg := o.Config()
	return &reply[api.Login]{api.Login{Issuer: cfg.Issuer, ClientID: cfg.ClientID, Scopes: cfg.Scopes}}, nil
}

func (s *Server) whoami(ctx context.Context, _ *struct{}) (*reply[api.Whoami], error) {
	c := callerOf(ctx)
	out := api.Whoami{Name: c.who.Name, Subjects: c.who.Subjects, Expires: c.who.Expires, Roles: map[string]string{}}
	for _, tenant := range c.grants.Tenants() {
		out.Roles[tenant] = c.grants.Role(tenant)
	}
	return &reply[api.Whoami]{out}, nil
}

// serviceTokens gives them, or says that there are none here.
func (s *Server) serviceTokens() (*identity.Tokens, error) {
	if t := s.book.Tokens(); t != nil {
		return t, nil
	}
	return nil, problemf(http.StatusNotFound, "this control keeps no service tokens")
}

func (s *Server) tokens(ctx context.Context, in *tokensInput) (*reply[api.Tokens], error) {
	all, err := s.serviceTokens()
	if err != nil {
		return nil, err
	}
	grants := grantsOf(ctx)
	out := api.Tokens{Tokens: []api.Token{}}
	for _, t := range all.List(func(tenant string) bool {
		return (in.Tenant == "" || in.Tenant == tenant) && grants.Allow(access.Administer, tenant)
	}) {
		out.Tokens = append(out.Tokens, s.tokenOf(t))
	}
	return &reply[api.Tokens]{out}, nil
}

func (s *Server) tokenOf(t tokens.Token) api.Token {
	out := api.Token{Tenant: t.Tenant, Name: t.Name, ID: t.ID, Role: t.Role, By: t.By, Maker: api.MakerLost, Created: t.Created,
		Expires: t.Expires, Used: t.Used, Expired: !t.Expires.IsZero() && !s.cfg.Now().Before(t.Expires)}
	switch holds, known := s.book.Holds(t.By, access.Administer, t.Tenant); {
	case holds:
		out.Maker = api.MakerHolds
	case !known:
		out.Maker = api.MakerUnknown
	}
	return out
}

// newToken makes a token. It can give no more than its maker has, who is an admin of the tenant.
func (s *Server) newToken(ctx context.Context, in *newTokenInput) (*reply[api.NewToken], error) {
	all, err := s.serviceTokens()
	if err != nil {
		return nil, err
	}
	if tenants := s.cfg.Mirror.Tenants(); !slices.Contains(tenants, in.Tenant) && in.Tenant != spec.Platform {
		p := noTenant(in.Tenant, tenants)
		p.Detail += "; a new tenant is there once a resource of it is: apply an Access of role admin in it, for those who are to " +
			"make its tokens"
		return nil, p
	}
	b := &in.Body
	if err := spec.CheckName(b.Name); err != nil {
		return nil, problemf(http.StatusUnprocessableEntity, "name %s", err)
	}
	long, err := durationOf("for", b.For)
	switch {
	case err != nil:
		return nil, problemf(http.StatusUnprocessableEntity, "for: %q is not a time as in 12h or 90d; it can be up to %dd (five years), "+
			"or leave out for, and say forever, for a token without an end", b.For, mostTokenTime/(24*time.Hour))
	case long > mostTokenTime:
		return nil, problemf(http.StatusUnprocessableEntity, "for: %s is more than %dd (five years); leave out for, and say "+
			"forever, for a token without an end", b.For, mostTokenTime/(24*time.Hour))
	case long > 0 && b.Forever:
		return nil, problemf(http.StatusUnprocessableEntity, "for and forever cannot both be given")
	case long == 0:
		long = tokenTime
	}
	one := tokens.Token{Tenant: in.Tenant, Name: b.Name, Role: b.Role, By: authorOf(ctx)}
	if !b.Forever {
		one.Expires = s.cfg.Now().UTC().Add(long).Truncate(time.Second)
	}
	ended, err := s.cfg.Audit.Ask(chain.ActToken, one.By, one.Tenant, "make "+one.Name+" as "+one.Role, "")
	if err != nil {
		return nil, problemOf(err)
	}
	secret, err := all.Create(ctx, one)
	ended(err)
	switch {
	case errors.Is(err, tokens.ErrExists):
		return nil, problemf(http.StatusConflict, "there is a token %s/%s already: choose another name, or run gtmctl token revoke %s/%s "+
			"first", in.Tenant, b.Name, in.Tenant, b.Name)
	case errors.Is(err, tokens.ErrFull):
		return nil, problemf(http.StatusConflict, "%s has %d tokens, as many as a tenant may have: revoke those that are not used "+
			"(gtmctl token list)", in.Tenant, identity.MostTokens)
	case err != nil:
		return nil, problemOf(err)
	}
	s.cfg.Logger.Warn("a service token was made", "tenant", one.Tenant, "name", one.Name, "role", one.Role, "expires", one.Expires,
		"author", one.By)
	out := api.NewToken{Secret: secret}
	out.Tenant, out.Name, out.Role, out.By, out.Expires = one.Tenant, one.Name, one.Role, one.By, one.Expires
	return &reply[api.NewToken]{out}, nil
}

func (s *Server) revokeToken(ctx context.Context, in *tokenInput) (*reply[api.RevokedToken], error) {
	all, err := s.serviceTokens()
	if err != nil {
		return nil, err
	}
	ended, err := s.cfg.Audit.Ask(chain.ActToken, authorOf(ctx), in.Tenant, "revoke "+in.Name, "")
	if err != nil {
		return nil, problemOf(err)
	}
	err = all.Revoke(ctx, tokens.Key{Tenant: in.Tenant, Name: in.Name})
	ended(err)
	switch {
	case errors.Is(err, tokens.ErrAbsent):
		var names []string
		for _, t := range all.List(func(tenant string) bool { return tenant == in.Tenant }) {
			names = append(names, t.Name)
		}
		return nil, problemf(http.StatusNotFound, "there is no token %s/%s%s", in.Tenant, in.Name, didYouMean(in.Name, names))
	case err != nil:
		return nil, problemOf(err)
	}
	s.cfg.Logger.Warn("a service token was revoked", "tenant", in.Tenant, "name", in.Name, "author", authorOf(ctx))
	return &reply[api.RevokedToken]{api.RevokedToken{Tenant: in.Tenant, Name: in.Name}}, nil
}

// mostMakers is how far back it is looked for who made a token that made a token.
const mostMakers = 10

// maySamePerson reports whether two authors may be one person: also where one holds a token that the other made. What the admin token of a
// machine made is for others: it makes the first ones.
func (s *Server) maySamePerson(a, b string) bool {
	return change.SamePerson(a, b) || s.madeBy(a, b) || s.madeBy(b, a)
}

// madeBy reports whether a service token may be of somebody's making, at first or second hand. Of one that is gone, nobody knows.
func (s *Server) madeBy(token, who string) bool {
	for range mostMakers {
		name, is := strings.CutPrefix(token, spec.SubjectToken)
		all := s.book.Tokens()
		if !is || all == nil {
			return false
		}
		list := all.List(func(tenant string) bool { return strings.HasPrefix(name, tenant+"/") })
		i := slices.IndexFunc(list, func(t tokens.Token) bool { return t.Tenant+"/"+t.Name == name })
		switch {
		case i < 0, list[i].By == who && who != identity.AdminToken:
			return true
		}
		token = list[i].By
	}
	return true
}
