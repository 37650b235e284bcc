package session

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/gti/gtm/pkg/control/api"
)

// LogInHere has a person log in with a browser of this machine: by an authorization code with PKCE (RFC 7636), which the issuer sends to a
// port of this machine (RFC 8252, section 7.3). show tells them where to go.
func (s *Session) LogInHere(ctx context.Context, login api.Login, now func() time.Time, show func(at string)) error {
	s.Login = login
	cfg, err := s.oauth(ctx)
	if err != nil {
		return err
	}
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("a browser cannot come back to this machine: %w; leave --browser out", err)
	}
	cfg.RedirectURL = "http://" + port.Addr().String() + callback
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	w := &waiting{state: state, came: make(chan arrival, 1)}
	server := &http.Server{Handler: w, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(port) }()
	defer func() { _ = server.Shutdown(context.WithoutCancel(ctx)) }() // the page is sent whole: Shutdown waits for it
	show(cfg.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce)))
	var got arrival
	select {
	case got = <-w.came:
	case <-ctx.Done():
		return fmt.Errorf("nobody logged in: %w", ctx.Err())
	}
	if got.err != nil {
		return got.err
	}
	t, err := cfg.Exchange(ctx, got.code, oauth2.VerifierOption(verifier))
	if err != nil {
		return fmt.Errorf("the issuer %s does not take its own code: %w", login.Issuer, err)
	}
	if id, _ := t.Extra("id_token").(string); id != "" && nonceOf(id) != nonce {
		return fmt.Errorf("the issuer %s gave the token of another login; log in again", login.Issuer)
	}
	return s.take(t, now())
}

// callback is the path to which the issuer sends browsers.
const callback = "/callback"

// waiting takes the browser that comes back. Who does not know the state is sent away, and waited on for nobody else.
type waiting struct {
	state string
	came  chan arrival
}

type arrival struct {
	code string
	err  error
}

func (w *waiting) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if r.URL.Path != callback || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(w.state)) != 1 {
		http.Error(rw, "This is not the login that gtmctl waits for.", http.StatusNotFound)
		return
	}
	got := arrival{code: query.Get("code")}
	if refused := query.Get("error"); refused != "" || got.code == "" {
		got.err = fmt.Errorf("the issuer refused the login: %s %s", refused, query.Get("error_description"))
		if refused == "" {
			got.err = errors.New("the issuer sent no code")
		}
		http.Error(rw, "You are not logged in; gtmctl says why.", http.StatusForbidden)
	} else {
		_, _ = rw.Write([]byte("You are logged in. This page can be closed.\n"))
	}
	select {
	case w.came <- got:
	default: // one came already
	}
}

// nonceOf reads which login a token is of. It came from the issuer itself, and the server verifies it.
func nonceOf(token string) string {
	parsed, err := unverified(token)
	if err != nil {
		return ""
	}
	return parsed.Nonce
}
