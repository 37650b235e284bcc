package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/spec"
)

// need is what an operation asks of who calls it. Every operation is registered with one, and enforce is the one place that looks at it.
type need struct {
	action access.Action
	of     where
}

// where says whose an operation is.
type where int

const (
	inPath         where = iota + 1 // the tenant in the path
	inPathOrShared                  // likewise; what the platform shares is for everybody, and the operation looks at that
	inQuery                         // the tenant in the query; absent: the operation tells of those that the caller sees
	inBody                          // each resource in the body: see mayWant and mayMake
	ofPlatform                      // the platform
	ofAllSeen                       // the operation tells of what the caller sees
	ofThemselves                    // of nobody but the caller
	ofNobody                        // for everybody, known or not
)

// needKey is under what an operation's need stands in its metadata.
const needKey = "need"

func needOf(op *huma.Operation) (need, bool) {
	n, ok := op.Metadata[needKey].(need)
	return n, ok
}

// caller is who asks, and what is granted to them.
type caller struct {
	who    identity.Who
	grants access.Grants
}

type callerKey struct{}

// callerOf gives who asks; without anybody, one to whom nothing is granted.
func callerOf(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c
	}
	return &caller{}
}

func grantsOf(ctx context.Context) access.Grants { return callerOf(ctx).grants }

// authorOf names who asks, for history and logs.
func authorOf(ctx context.Context) string { return callerOf(ctx).who.Name }

// share names those who take turns together: the service tokens of a tenant are one.
func (c *caller) share() string {
	if c.who.Tenant != "" {
		return spec.SubjectToken + c.who.Tenant
	}
	return c.who.Name
}

// grantsNow gives what is granted to the caller by now, of a request that goes on for long.
func (s *Server) grantsNow(ctx context.Context) access.Grants {
	return s.book.Grants(&callerOf(ctx).who)
}

// tenants gives those that the caller sees, sorted.
func (s *Server) tenants(ctx context.Context) []string {
	all, grants := s.cfg.Mirror.Tenants(), grantsOf(ctx)
	return slices.DeleteFunc(all, func(tenant string) bool { return !grants.Sees(tenant) })
}

// loginPath is for those who are not known yet.
const loginPath = api.Version + "/login"

// recognize finds out who asks.
func (s *Server) recognize(r *http.Request) (*http.Request, error) {
	who, err := s.book.Of(r)
	switch {
	case err == nil:
	case r.URL.Path == loginPath:
		who = &identity.Who{}
	default:
		return r, err
	}
	c := &caller{who: *who, grants: s.book.Grants(who)}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c)), nil
}

// unauthorized tells how to show who one is. Where the token lies on this machine is for those who know the machine: see docs/operating.md.
func unauthorized(w http.ResponseWriter, err error) {
	var away *identity.UnreachableError
	switch {
	case errors.As(err, &away):
		writeProblem(w, problemf(http.StatusServiceUnavailable, "%s", away))
		return
	case errors.Is(err, identity.ErrUnknown):
		err = errors.New("the token is missing or wrong: send what the file token in gtmd's data folder holds, or a service token, " +
			"as Authorization: Bearer TOKEN; with gtmctl, pass its file by --token-file, or run gtmctl login")
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="gtm"`)
	writeProblem(w, problemf(http.StatusUnauthorized, "%s", err))
}

// enforce lets a request through to its operation, if the caller may do that.
func (s *Server) enforce(h huma.Context, next func(huma.Context)) {
	if refused := s.refusal(h); refused != nil {
		if c := callerOf(h.Context()); c.who.Name != "" && h.Method() != http.MethodGet {
			s.cfg.Audit.Refuse(chain.ActCall, c.who.Name, nil, h.Method()+" "+h.URL().Path, "", refused)
		}
		_, w := humago.Unwrap(h)
		writeProblem(w, refused)
		return
	}
	next(h)
}

// refusal tells why the caller may not do what it asks for; nil: it may.
func (s *Server) refusal(h huma.Context) *api.Problem {
	n, known := needOf(h.Operation())
	ctx := h.Context()
	c := callerOf(ctx)
	switch {
	case !known:
		return problemf(http.StatusInternalServerError, "gtmd has a fault here: nobody has said who may do this")
	case n.of == ofNobody:
		return nil
	case c.who.Name == "":
		return problemf(http.StatusUnauthorized, "nobody is known to ask")
	case n.of == ofThemselves:
		return nil
	case len(c.grants) == 0:
		return problemf(http.StatusForbidden, "%s has no role in any tenant: ask an admin of one for an Access that names you; "+
			"gtmctl whoami tells by which subjects you are known", c.who.Name)
	}
	tenant := ""
	switch n.of {
	case inPath, inPathOrShared:
		tenant = h.Param("tenant")
	case inQuery:
		tenant = h.Query("tenant")
	case ofPlatform:
		tenant = spec.Platform
	case inBody, ofAllSeen:
		return nil
	}
	shares := n.of == inPathOrShared || n.of == inQuery && n.action == access.Read
	if tenant == "" && n.of == inQuery || tenant == spec.Platform && shares {
		return nil
	}
	return s.forbidden(ctx, n.action, tenant)
}

// forbidden tells why an action in a tenant is not allowed; nil: it is. A tenant that the caller does not see is as one that is not there.
func (s *Server) forbidden(ctx context.Context, a access.Action, tenant string) *api.Problem {
	c := callerOf(ctx)
	switch {
	case c.grants.Allow(a, tenant):
		return nil
	case !c.grants.Sees(tenant) && tenant != spec.Platform:
		return noTenant(tenant, s.tenants(ctx))
	}
	return problemf(http.StatusForbidden, "%s", c.lacks(a, tenant))
}

// lacks says which role is missing, and whom to ask.
func (c *caller) lacks(a access.Action, tenant string) string {
	has := "has no role there"
	if role := c.grants.Role(tenant); role != "" {
		has = "is " + role + " there"
	}
	return fmt.Sprintf("that needs the role %s in the tenant %s, and %s %s: ask an admin of %s for it", a.Role(), tenant, c.who.Name, has,
		tenant)
}

// mayWant refuses a change that names what the caller does not see, before anything is told of it.
func (s *Server) mayWant(ctx context.Context, in *change.Input) error {
	grants := grantsOf(ctx)
	if grants.SeesAll() {
		return nil
	}
	var faults spec.Errors
	said := map[string]bool{}
	refuse := func(e spec.Error, tenant string) {
		if grants.Sees(tenant) || said[tenant] {
			return
		}
		said[tenant] = true
		e.Field, e.Msg = "tenant", fmt.Sprintf("there is no tenant %s, or you have no role in it", tenant)
		if tenant == spec.Platform {
			e.Msg = "what belongs to the tenant " + spec.Platform + " is changed by those who have a role in it"
		}
		faults.Add(&e)
	}
	for _, r := range in.Put {
		refuse(spec.Error{File: r.Origin.File, Line: r.Origin.LineOf("tenant"), Resource: r.Key.String()}, r.Tenant)
	}
	for _, k := range in.Delete {
		refuse(spec.Error{Resource: k.String()}, k.Tenant)
	}
	for tenant := range in.Expect {
		refuse(spec.Error{}, tenant)
	}
	if len(faults) == 0 {
		return nil
	}
	p := problemf(http.StatusForbidden, "%s; nothing was changed", countFaults(faults))
	p.Errors = api.Issues(faults)
	return p
}

// mayMake refuses a plan that needs more than the caller may do. What is only to be shown, who sees the tenant may see. What an operation
// works out by itself (Edit) it has declared itself.
func (s *Server) mayMake(ctx context.Context, in *change.Input, plan *change.Plan, dryRun bool) error {
	c := callerOf(ctx)
	if dryRun || in.Edit != nil || c.grants.SeesAll() {
		return nil
	}
	var faults spec.Errors
	for _, part := range plan.Parts {
		for i := range part.Steps {
			key := part.Steps[i].Key
			a := access.Changing(key.Kind)
			if c.grants.Allow(a, key.Tenant) {
				continue
			}
			e := &spec.Error{Resource: key.String(), Msg: c.lacks(a, key.Tenant)}
			if r := part.Steps[i].Resource(); r != nil {
				e.File, e.Line = r.Origin.File, r.Origin.Line
			}
			if faults.Add(e); faults.Full() {
				break
			}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	p := problemf(http.StatusForbidden, "%s; nothing was changed", countFaults(faults))
	p.Errors = api.Issues(faults)
	return p
}

// narrow leaves out of what is wanted the resources that the caller may not change, which are as wanted: should another change them before
// this is made, they are not set back. It reports whether there were any.
func narrow(ctx context.Context, in *change.Input) bool {
	grants, before := grantsOf(ctx), len(in.Put)
	in.Put = slices.DeleteFunc(slices.Clone(in.Put), func(r *spec.Resource) bool {
		return !grants.Allow(access.Changing(r.Kind), r.Tenant)
	})
	return len(in.Put) < before
}

// isName reports whether a letter can be one of a name.
func isName(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)
}
