// Package identity finds out who asks: the admin token of this machine, service tokens, tokens of an OIDC issuer, client certificates.
package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// AdminToken names who comes with the token of this machine.
const AdminToken = "admin-token"

// Who is somebody who was authenticated.
type Who struct {
	// Name stands in history and logs: token:shop/ci, user:alice@example.org, spiffe://example.org/deploy, or AdminToken.
	Name string
	// Subjects are what an Access names; a user's groups are among them.
	Subjects []string
	// Tenant is whose service token it is; empty: it is none.
	Tenant string
	// Expires is when that is over; zero: no time is known.
	Expires time.Time

	own   access.Grants     // that it brings itself
	admin [sha256.Size]byte // of the admin token, whose it is
}

// Config is what a Book needs.
type Config struct {
	// Token gives the admin token of this machine, as of now; empty: there is none.
	Token func() string
	// Mirror holds the Access of all tenants.
	Mirror *state.Mirror
	// Tokens are the service tokens; nil: there are none.
	Tokens *Tokens
	// OIDC verifies tokens of an issuer; nil: there is none.
	OIDC   *OIDC
	Logger *slog.Logger
	Now    func() time.Time
}

// Book knows who asks, and what is granted to them. It is safe for concurrent use.
type Book struct {
	cfg      Config
	bindings bindings
}

// NewBook makes a book.
func NewBook(cfg Config) *Book { return &Book{cfg: cfg} }

// Tokens are the service tokens; nil: there are none.
func (b *Book) Tokens() *Tokens { return b.cfg.Tokens }

// OIDC is the issuer; nil: there is none.
func (b *Book) OIDC() *OIDC { return b.cfg.OIDC }

// ErrUnknown: whoever asks has shown nothing that is known here. It does not tell what was wrong.
var ErrUnknown = errors.New("the token is missing or wrong")

// Of tells who asks. A request with a token is by that; without one, a client certificate counts. Errors beside ErrUnknown tell what is
// wrong with a token that was good once, or why it cannot be known now.
func (b *Book) Of(r *http.Request) (*Who, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			return ofCertificate(r.TLS.VerifiedChains[0][0])
		}
		return nil, ErrUnknown
	}
	scheme, given, _ := strings.Cut(header, " ")
	given = strings.TrimSpace(given)
	if !strings.EqualFold(scheme, "Bearer") || given == "" {
		return nil, ErrUnknown
	}
	return b.ofToken(r.Context(), given)
}

func (b *Book) ofToken(ctx context.Context, given string) (*Who, error) {
	if sum := sha256.Sum256([]byte(given)); b.isAdmin(sum) {
		own := access.Grants{}
		own.Add(spec.Platform, spec.RoleAdmin)
		return &Who{Name: AdminToken, own: own, admin: sum}, nil
	}
	switch {
	case b.cfg.Tokens != nil && strings.HasPrefix(given, tokenPrefix):
		return b.cfg.Tokens.find(given, b.cfg.Now())
	case b.cfg.OIDC != nil && strings.Count(given, ".") == 2:
		return b.cfg.OIDC.verify(ctx, given)
	}
	return nil, ErrUnknown
}

// isAdmin reports whether something is the hash of the admin token as it is now.
func (b *Book) isAdmin(sum [sha256.Size]byte) bool {
	admin := b.cfg.Token()
	return admin != "" && same(sum, sha256.Sum256([]byte(admin)))
}

func same(a, b [sha256.Size]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// Grants gives what is granted to somebody at present.
func (b *Book) Grants(w *Who) access.Grants { return b.bindings.grants(b.cfg.Mirror, w) }

// Still reports whether somebody is who they were when their request began, for what goes on for long.
func (b *Book) Still(w *Who) bool {
	if !w.Expires.IsZero() && !b.cfg.Now().Before(w.Expires) {
		return false
	}
	if w.Name == AdminToken {
		return b.isAdmin(w.admin)
	}
	return w.Tenant == "" || b.cfg.Tokens != nil && b.cfg.Tokens.still(w)
}

// Holds tells whether somebody who is known by a name alone may still do something in a tenant; known is false where groups that they
// may be in decide that.
func (b *Book) Holds(name string, a access.Action, tenant string) (holds, known bool) {
	switch {
	case name == AdminToken:
		return true, true
	case b.Grants(&Who{Subjects: []string{name}}).Allow(a, tenant):
		return true, true
	}
	if of, is := strings.CutPrefix(name, spec.SubjectToken); is {
		return b.cfg.Tokens != nil && b.cfg.Tokens.allows(of, a, tenant), true
	}
	return false, !strings.HasPrefix(name, spec.SubjectUser)
}

// ofCertificate reads who a verified certificate is for: its SPIFFE ID, or else its subject.
func ofCertificate(leaf *x509.Certificate) (*Who, error) {
	for _, u := range leaf.URIs {
		if id := u.String(); u.Scheme == "spiffe" {
			if len(leaf.URIs) > 1 { // SPIFFE X.509-SVID, 2: just one
				return nil, fmt.Errorf("the client certificate has %d URIs: one with a SPIFFE ID has no other", len(leaf.URIs))
			}
			return &Who{Name: id, Subjects: []string{id}, Expires: leaf.NotAfter}, nil
		}
	}
	subject := leaf.Subject.String()
	if subject == "" || strings.ContainsFunc(subject, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, errors.New("the client certificate has neither a SPIFFE ID nor a subject that could name anybody")
	}
	name := spec.SubjectCert + subject
	return &Who{Name: name, Subjects: []string{name}, Expires: leaf.NotAfter}, nil
}
