package identity

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/gti/gtm/pkg/spec"
)

// Bounds of what is asked of an issuer, and believed of it.
const (
	issuerTime   = 10 * time.Second
	issuerEvery  = 2 * time.Second // requests for its keys, however many tokens of unknown keys come
	issuerAgain  = 10 * time.Second
	mostVerified = 10_000 // tokens that are remembered as good
	mostGroups   = 200
	mostIssuer   = 1 << 20 // bytes of one of its answers
)

// OIDCConfig says whose tokens are taken, and how they are read.
type OIDCConfig struct {
	Issuer   string
	ClientID string
	// Audiences are those for which a token may be beside ClientID.
	Audiences []string
	// UserClaim names a user; of email, email_verified must be true. GroupsClaim is a list of groups, or one.
	UserClaim, GroupsClaim string
	// Scopes are what gtmctl login asks for.
	Scopes []string
	Client *http.Client // nil: of its own
	Logger *slog.Logger
	Now    func() time.Time
}

// OIDC verifies ID tokens of an issuer, whose keys it reads when the first one comes. It is safe for concurrent use.
type OIDC struct {
	cfg    OIDCConfig
	client *http.Client

	connecting sync.Mutex
	verifier   *oidc.IDTokenVerifier // nil: the issuer was not reached yet
	tried      time.Time
	fault      error

	mu   sync.Mutex
	good map[[sha256.Size]byte]*Who
}

// NewOIDC makes an OIDC; it asks nobody yet.
func NewOIDC(cfg OIDCConfig) *OIDC {
	client := http.Client{Timeout: issuerTime}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	base := client.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	client.Transport = &sparing{base: base, now: cfg.Now}
	return &OIDC{cfg: cfg, client: &client, good: map[[sha256.Size]byte]*Who{}}
}

// Config gives what a client needs to log in.
func (o *OIDC) Config() OIDCConfig { return o.cfg }

// sparing asks an issuer seldom: tokens that anybody may make up name keys that it does not have.
type sparing struct {
	base http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex
	last map[string]time.Time // by URL, of which an issuer has two
}

func (s *sparing) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	now, url := s.now(), r.URL.String()
	if s.last == nil || len(s.last) > 8 {
		s.last = map[string]time.Time{}
	}
	early := now.Sub(s.last[url]) < issuerEvery
	if !early {
		s.last[url] = now
	}
	s.mu.Unlock()
	if early {
		return nil, fmt.Errorf("%s was asked within the last %s", r.URL.Redacted(), issuerEvery)
	}
	resp, err := s.base.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, mostIssuer)
	}
	return resp, err
}

// verify tells who a token is of.
func (o *OIDC) verify(ctx context.Context, raw string) (*Who, error) {
	hash := sha256.Sum256([]byte(raw))
	o.mu.Lock()
	w := o.good[hash]
	o.mu.Unlock()
	if w != nil && o.cfg.Now().Before(w.Expires) {
		return w, nil
	}
	verifier, err := o.connect()
	if err != nil {
		return nil, err
	}
	token, err := verifier.Verify(oidc.ClientContext(ctx, o.client), raw)
	var expired *oidc.TokenExpiredError
	switch {
	case errors.As(err, &expired):
		return nil, errors.New("the login has expired: run gtmctl login again")
	case err != nil:
		o.cfg.Logger.Debug("a token was not taken", "issuer", o.cfg.Issuer, "error", err)
		return nil, ErrUnknown
	}
	if !slices.ContainsFunc(token.Audience, func(a string) bool {
		return a == o.cfg.ClientID || slices.Contains(o.cfg.Audiences, a)
	}) {
		return nil, ErrUnknown
	}
	if w, err = o.who(token); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.good) >= mostVerified {
		clear(o.good)
	}
	o.good[hash] = w
	return w, nil
}

// connect reads what the issuer says of itself, again and again until it could be reached.
func (o *OIDC) connect() (*oidc.IDTokenVerifier, error) {
	o.connecting.Lock()
	defer o.connecting.Unlock()
	now := o.cfg.Now()
	if o.verifier != nil {
		return o.verifier, nil
	}
	if o.fault != nil && now.Sub(o.tried) < issuerAgain {
		return nil, o.fault
	}
	o.tried = now
	// Keys are read later by this context, too: it has no end.
	ctx := oidc.ClientContext(context.Background(), o.client)
	provider, err := oidc.NewProvider(ctx, o.cfg.Issuer)
	if err != nil {
		o.cfg.Logger.Error("the OIDC issuer cannot be asked; nobody can log in by it until it can", "issuer", o.cfg.Issuer, "error", err)
		o.fault = &UnreachableError{}
		return nil, o.fault
	}
	o.verifier, o.fault = provider.Verifier(&oidc.Config{SkipClientIDCheck: true, Now: o.cfg.Now}), nil
	return o.verifier, nil
}

// UnreachableError: the issuer could not be asked, so that nothing is known of its tokens.
type UnreachableError struct{}

func (*UnreachableError) Error() string {
	return "the OIDC issuer cannot be reached by gtmd, so that no login can be checked: try again later; service tokens and the admin " +
		"token work meanwhile"
}

// who reads the claims of a token.
func (o *OIDC) who(token *oidc.IDToken) (*Who, error) {
	var claims map[string]json.RawMessage
	if err := token.Claims(&claims); err != nil {
		return nil, ErrUnknown
	}
	var user string
	if json.Unmarshal(claims[o.cfg.UserClaim], &user) != nil || !nameable(user) {
		return nil, fmt.Errorf("the login has no claim %s that could name anybody", o.cfg.UserClaim)
	}
	if o.cfg.UserClaim == "email" {
		var verified bool
		if json.Unmarshal(claims["email_verified"], &verified) != nil || !verified {
			return nil, errors.New("the issuer has not verified the email address of this login (email_verified)")
		}
	}
	w := &Who{Name: spec.SubjectUser + user, Subjects: []string{spec.SubjectUser + user}, Expires: token.Expiry}
	for _, g := range groupsOf(claims[o.cfg.GroupsClaim]) {
		if len(w.Subjects) > mostGroups {
			break
		}
		if nameable(g) {
			w.Subjects = append(w.Subjects, spec.SubjectGroup+g)
		}
	}
	return w, nil
}

func groupsOf(claim json.RawMessage) (groups []string) {
	if json.Unmarshal(claim, &groups) == nil {
		return groups
	}
	var one string
	if json.Unmarshal(claim, &one) == nil {
		return []string{one}
	}
	return nil
}

func nameable(s string) bool {
	return s != "" && len(s) <= 256 && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
