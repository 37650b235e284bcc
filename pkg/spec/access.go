package spec

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Access says who may do what in its tenant: each subject gets the role. One of the platform is for zones, sites, maps and settings; the
// platform's admins are admins of every tenant.
type Access struct {
	// Role is viewer, operator, editor or admin; each may do what those before it may.
	Role string `json:"role,omitempty" yaml:"role,omitempty"`
	// Subjects are as in group:shop-team, user:alice@example.org, token:ci, spiffe://example.org/shop/deploy, cert:CN=deploy,O=Shop.
	Subjects []string `json:"subjects,omitempty" yaml:"subjects,omitempty"`
	// Tenants is all where the role is one in every tenant but the platform. The platform's alone have it.
	Tenants string `json:"tenants,omitempty" yaml:"tenants,omitempty"`
}

// AllTenants is the value of Access.Tenants.
const AllTenants = "all"

// The roles of an Access.
const (
	RoleViewer   = "viewer"   // sees
	RoleOperator = "operator" // weights, shifts, drains, overrides, signals, releases of the brake
	RoleEditor   = "editor"   // all resources but Access
	RoleAdmin    = "admin"    // Access and tokens, too
)

// AccessRoles lists the roles, the least first.
var AccessRoles = []string{RoleViewer, RoleOperator, RoleEditor, RoleAdmin}

// What subjects begin with.
const (
	SubjectToken  = "token:"    // a service token, of this tenant or as in token:shop/ci of another
	SubjectUser   = "user:"     // who the OIDC issuer says it is
	SubjectGroup  = "group:"    // a group of the OIDC token
	SubjectSPIFFE = "spiffe://" // the URI of a client certificate
	SubjectCert   = "cert:"     // the subject of a client certificate, as in cert:CN=deploy,O=Shop
)

const (
	maxSubjects = 1000
	maxSubject  = 512 // bytes
)

func (*Access) kind() Kind { return KindAccess }

func (c *checker) access(a *Access) {
	if a.Tenants != "" {
		c.oneOf("spec.tenants", a.Tenants, AllTenants)
		switch {
		case c.r.Tenant != Platform:
			c.fail("spec.tenants", "leave it out", "goes with the tenant %s", Platform)
		case a.Role == RoleAdmin:
			c.fail("spec.tenants", "leave it out", "an admin of %s is admin of every tenant", Platform)
		}
	}
	if a.Role == "" {
		c.fail("spec.role", "it can be "+strings.Join(AccessRoles, ", "), "is missing")
	} else {
		c.oneOf("spec.role", a.Role, AccessRoles...)
	}
	switch n := len(a.Subjects); {
	case n == 0:
		c.fail("spec.subjects", "name somebody, as in group:shop-team, or delete the Access", "is empty")
	case n > maxSubjects:
		c.fail("spec.subjects", "give the role to a group", "has %d subjects: it can have at most %d", n, maxSubjects)
	}
	for i, s := range a.Subjects {
		path := indexed("spec.subjects", i)
		if err := checkSubject(s); err != nil {
			c.fail(path, "write it as in group:shop-team, user:alice@example.org, token:ci, spiffe://example.org/deploy, cert:CN=deploy",
				"%v", err)
		} else if slices.Contains(a.Subjects[:i], s) {
			c.fail(path, "keep one of them", "%q stands twice", shorten(s))
		}
	}
}

// checkSubject tells what is wrong with a subject.
func checkSubject(s string) error {
	switch {
	case len(s) > maxSubject:
		return fmt.Errorf("has %d bytes: it can have at most %d", len(s), maxSubject)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%q has letters that cannot be seen", shorten(s))
	}
	if name, ok := strings.CutPrefix(s, SubjectToken); ok {
		tenant, of, other := strings.Cut(name, "/")
		if !other {
			tenant, of = Platform, name
		}
		for _, label := range []string{tenant, of} {
			if err := checkLabel(label, ""); err != nil {
				return fmt.Errorf("%q %w", shorten(s), err)
			}
		}
		return nil
	}
	if strings.HasPrefix(s, SubjectSPIFFE) {
		if u, err := url.Parse(s); err != nil || u.Host == "" || u.Path == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("%q is not a SPIFFE ID", shorten(s))
		}
		return nil
	}
	for _, prefix := range []string{SubjectUser, SubjectGroup, SubjectCert} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			if strings.TrimSpace(rest) != rest || rest == "" {
				return fmt.Errorf("%q names nobody", shorten(s))
			}
			return nil
		}
	}
	return fmt.Errorf("%q is not a subject", shorten(s))
}

// SubjectIn gives a subject of an Access of a tenant as it is the same everywhere: a token's says whose it is.
func SubjectIn(tenant, subject string) string {
	if name, ok := strings.CutPrefix(subject, SubjectToken); ok && !strings.Contains(name, "/") {
		return SubjectToken + tenant + "/" + name
	}
	return subject
}

// CheckName tells what is wrong with a name of a resource, or of what is named as those are.
func CheckName(name string) error {
	if name == "" {
		return fmt.Errorf("is missing")
	}
	if err := checkLabel(name, ""); err != nil {
		return fmt.Errorf("%q %w; a name is of a-z, 0-9 and -, at most 63 letters", shorten(name), err)
	}
	return nil
}
