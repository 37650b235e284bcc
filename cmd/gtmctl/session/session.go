// Package session keeps, on a person's machine, who they are to a server, and what that is known by.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/private"
)

// early is how long before its end a token counts as over: clocks differ, and requests take time.
const early = 30 * time.Second

// Session is what is kept of one server.
type Session struct {
	Server string `json:"server"`
	// Pin is what its certificate is known by; empty: it is not.
	Pin   string    `json:"pin,omitempty"`
	Login api.Login `json:"login,omitzero"`
	// ID and Refresh are tokens of the issuer; empty: nobody is logged in.
	ID      string    `json:"idToken,omitempty"`
	Refresh string    `json:"refreshToken,omitempty"`
	Expires time.Time `json:"expires,omitzero"`

	path string
}

// Dir is where sessions are kept; empty: nowhere.
func Dir(getenv func(string) string) string {
	if dir := getenv("GTM_CONFIG"); dir != "" {
		return dir
	}
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "gtm")
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".config", "gtm")
	}
	return ""
}

// New makes a session of a server, which Save keeps in dir.
func New(dir, server string) *Session {
	name := server
	if u, err := url.Parse(server); err == nil {
		name = u.Host
	}
	s := &Session{Server: server}
	if dir != "" {
		s.path = filepath.Join(dir, "sessions", url.PathEscape(strings.ToLower(name))+".json")
	}
	return s
}

// Load gives what is kept of a server; nil: nothing.
func Load(dir, server string) (*Session, error) {
	s := New(dir, server)
	if s.path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = private.Check(s.path, "the login")
	}
	if err == nil {
		if err = json.Unmarshal(data, s); err != nil {
			err = fmt.Errorf("%s cannot be read: %w; remove it, and run gtmctl login", s.path, err)
		}
	}
	if err != nil {
		return nil, err
	}
	if s.Server != server { // another scheme: what is known of one is not to be sent to the other
		return nil, nil
	}
	return s, nil
}

// Path is the file that it is kept in.
func (s *Session) Path() string { return s.path }

// LoggedIn reports whether somebody is.
func (s *Session) LoggedIn() bool { return s != nil && s.ID != "" }

// Save keeps it, for its owner alone.
func (s *Session) Save() error {
	if s.path == "" {
		return errors.New("there is no folder to keep the login in: set HOME or GTM_CONFIG")
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return keep(s.path, append(data, '\n'))
}

// Token gives a token that is not over, if need be a new one, which is kept.
func (s *Session) Token(ctx context.Context, now time.Time) (string, error) {
	if now.Before(s.Expires.Add(-early)) {
		return s.ID, nil
	}
	if s.Refresh == "" {
		return "", errors.New("the login is over: run gtmctl login again")
	}
	cfg, err := s.oauth(ctx)
	if err != nil {
		return "", err
	}
	t, err := cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: s.Refresh}).Token()
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused):
		return "", fmt.Errorf("the login is over (%s): run gtmctl login again", refused.ErrorCode)
	case err != nil:
		return "", fmt.Errorf("the login could not be renewed at %s: %w", s.Login.Issuer, err)
	}
	if err := s.take(t, now); err != nil {
		return "", err
	}
	return s.ID, s.Save()
}

// LogIn has a person log in at the issuer with a browser, on whatever machine. show tells them where, and which code to type.
func (s *Session) LogIn(ctx context.Context, login api.Login, now func() time.Time, show func(at, code, whole string)) error {
	s.Login = login
	cfg, err := s.oauth(ctx)
	if err != nil {
		return err
	}
	if cfg.Endpoint.DeviceAuthURL == "" {
		return fmt.Errorf("the issuer %s has no device flow (RFC 8628), which gtmctl login needs: use a service token", login.Issuer)
	}
	device, err := cfg.DeviceAuth(ctx)
	if err != nil {
		return fmt.Errorf("the issuer %s does not begin a login: %w", login.Issuer, err)
	}
	show(device.VerificationURI, device.UserCode, device.VerificationURIComplete)
	t, err := cfg.DeviceAccessToken(ctx, device)
	if err != nil {
		return fmt.Errorf("nobody logged in: %w", err)
	}
	return s.take(t, now())
}

func (s *Session) take(t *oauth2.Token, now time.Time) error {
	id, _ := t.Extra("id_token").(string)
	if id == "" {
		return fmt.Errorf("the issuer %s gave no ID token: gtmd's --oidc-scope must have openid", s.Login.Issuer)
	}
	s.ID, s.Expires = id, expiryOf(id)
	if s.Expires.IsZero() {
		s.Expires = now.Add(time.Minute)
	}
	if t.RefreshToken != "" {
		s.Refresh = t.RefreshToken
	}
	return nil
}

// expiryOf reads until when a token holds. The server verifies it; here it only tells when to ask for another.
func expiryOf(token string) time.Time {
	parsed, err := unverified(token)
	if err != nil {
		return time.Time{}
	}
	return parsed.Expiry
}

// unverified reads a token, and believes it.
func unverified(token string) (*oidc.IDToken, error) {
	return oidc.NewVerifier("", nil, &oidc.Config{SkipClientIDCheck: true, SkipExpiryCheck: true, SkipIssuerCheck: true,
		InsecureSkipSignatureCheck: true}).Verify(context.Background(), token)
}

func (s *Session) oauth(ctx context.Context) (*oauth2.Config, error) {
	ctx = oidc.ClientContext(ctx, &http.Client{Timeout: 30 * time.Second})
	p, err := oidc.NewProvider(ctx, s.Login.Issuer)
	if err != nil {
		return nil, fmt.Errorf("the issuer %s cannot be asked: %w", s.Login.Issuer, err)
	}
	return &oauth2.Config{ClientID: s.Login.ClientID, Endpoint: p.Endpoint(), Scopes: s.Login.Scopes}, nil
}
