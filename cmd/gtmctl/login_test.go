package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/gti/gtm/cmd/gtmctl/session"
	"github.com/gti/gtm/pkg/control"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// issuer is a real OIDC issuer. Its clients are public, and have the device flow and refresh tokens; all its people are of
// shop-team, and the address of id2 is not verified.
type issuer struct {
	*storage.Storage
	web *httptest.Server
}

type publicClient struct {
	op.Client
	id string
}

func (c *publicClient) GetID() string                        { return c.id }
func (c *publicClient) AuthMethod() oidc.AuthMethod          { return oidc.AuthMethodNone }
func (c *publicClient) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c *publicClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeDeviceCode, oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}
func (c *publicClient) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }
func (c *publicClient) RedirectURIs() []string              { return []string{"http://127.0.0.1/callback"} }

func (i *issuer) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := i.Storage.GetClientByClientID(ctx, id)
	return &publicClient{c, id}, err
}

// CreateAccessAndRefreshTokens remembers for which client a device asked, which the sample's does not.
func (i *issuer) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	if d, ok := r.(*op.DeviceAuthorizationState); ok {
		r = &storage.AuthRequest{ApplicationID: d.ClientID, UserID: d.Subject, Scopes: d.Scopes}
	}
	return i.Storage.CreateAccessAndRefreshTokens(ctx, r, current)
}

func (i *issuer) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	if err := i.Storage.SetUserinfoFromRequest(ctx, info, r, scopes); err != nil {
		return err
	}
	info.AppendClaims("groups", []string{"shop-team"})
	if r.GetSubject() == "id2" {
		info.EmailVerified = false
	}
	return nil
}

// browses is a person with a browser on the machine of gtmctl, who logs in at the issuer, and is sent back. change may change where to.
func (p *place) browses(change func(back *url.URL)) func(*gtmtest.Log) {
	return func(printed *gtmtest.Log) {
		var at string
		gtmtest.Eventually(p.t, "gtmctl says where to log in", func() error {
			m := regexp.MustCompile(`Open (\S+)\n`).FindStringSubmatch(printed.String())
			if m == nil {
				return errors.New("it has not yet")
			}
			if at = m[1]; p.elsewhere != nil {
				at = p.elsewhere(at)
			}
			return nil
		})
		stays := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		follow := func(at string) *url.URL {
			response, err := stays.Get(at)
			if err != nil {
				p.t.Error(err)
				return &url.URL{}
			}
			response.Body.Close()
			to, err := response.Location()
			if err != nil {
				p.t.Errorf("%s answers %s", at, response.Status)
				return &url.URL{}
			}
			return to
		}
		request := follow(at).Query().Get("authRequestID")
		if err := p.issuer.CheckUsernamePassword("test-user@"+p.host(), "verysecure", request); err != nil {
			p.t.Error(err)
		}
		back := follow(p.issuer.web.URL + "/authorize/callback?id=" + request)
		if change != nil {
			change(back)
		}
		response, err := http.Get(back.String())
		if err != nil {
			p.t.Error(err)
			return
		}
		response.Body.Close()
	}
}

// host is the issuer's, of which the sample's people are.
func (p *place) host() string {
	u, err := url.Parse(p.issuer.web.URL)
	if err != nil {
		p.t.Fatal(err)
	}
	return u.Hostname()
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	storage.RegisterClients(storage.DeviceClient("gtmctl", ""), storage.DeviceClient("other", ""))
	i := &issuer{}
	var provider http.Handler
	i.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { provider.ServeHTTP(w, r) }))
	t.Cleanup(i.web.Close)
	i.Storage = storage.NewStorage(storage.NewUserStore(i.web.URL))
	var err error
	provider, err = op.NewProvider(&op.Config{GrantTypeRefreshToken: true, DeviceAuthorization: op.DeviceAuthorizationConfig{
		Lifetime: time.Minute, PollInterval: time.Second, UserFormPath: "/device", UserCode: op.UserCodeBase20}}, i,
		op.StaticIssuer(i.web.URL), op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// place is a control that takes logins, and somebody with gtmctl.
type place struct {
	t      *testing.T
	issuer *issuer
	url    string
	dir    string // of the person's files, and of the admin token
	ahead  time.Duration
	// elsewhere changes where a person's browser goes first; nil: it goes where gtmctl says.
	elsewhere func(at string) string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, issuer: newIssuer(t), dir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	client, err := store.Open(ctx, store.Config{Endpoints: []string{etcds.Start(t)}, Prefix: "/login/"})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	mirror, tokens := state.NewMirror(), identity.NewTokens(client.Tokens(), log, time.Now)
	current, followed, known := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(followed)
		_ = client.Follow(ctx, store.FollowConfig{OnUpdate: func(u state.Update) error { mirror.Apply(u); return nil },
			OnStatus: func(f state.FollowStatus) {
				if f.State == state.Current {
					select {
					case <-current:
					default:
						close(current)
					}
				}
			}})
	}()
	go func() {
		defer close(known)
		_ = tokens.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-followed; <-known; _ = client.Close() })
	<-current
	file, err := identity.OpenToken(filepath.Join(p.dir, "token"), log)
	if err != nil {
		t.Fatal(err)
	}
	book := identity.NewBook(identity.Config{Token: file.Token, Mirror: mirror, Tokens: tokens, Logger: log, Now: time.Now,
		OIDC: identity.NewOIDC(identity.OIDCConfig{Issuer: p.issuer.web.URL, ClientID: "gtmctl", UserClaim: "sub", GroupsClaim: "groups",
			Scopes: []string{"openid", "profile", "email", "offline_access"}, Logger: log, Now: time.Now})})
	c, err := control.New(control.Config{Store: client, Mirror: mirror, Identities: book, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	shows, err := secure.Open(secure.Config{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(c.Handler())
	web.Listener = tls.NewListener(web.Listener, shows.TLS())
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	web.Start()
	t.Cleanup(web.Close)
	p.url = strings.Replace(web.URL, "http:", "https:", 1)
	return p
}

// gtmctl runs it; meanwhile is done beside it, with what it has printed.
func (p *place) gtmctl(in string, meanwhile func(printed *gtmtest.Log), args ...string) (text string, code int) {
	p.t.Helper()
	var out gtmtest.Log
	w := world{in: strings.NewReader(in), out: &out, err: &out, now: func() time.Time { return time.Now().Add(p.ahead) },
		getenv: func(name string) string {
			return map[string]string{"GTM_SERVER": p.url, "GTM_CONFIG": filepath.Join(p.dir, "config")}[name]
		}}
	ended := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() {
		defer close(ended)
		code = run(ctx, w, args)
	}()
	if meanwhile != nil {
		meanwhile(&out)
	}
	<-ended
	return out.String(), code
}

func (p *place) ends(want int, says string, args ...string) {
	p.t.Helper()
	if text, code := p.gtmctl("", nil, args...); code != want || !strings.Contains(text, says) {
		p.t.Errorf("gtmctl %s: exit code %d, want %d and %q\n%s", strings.Join(args, " "), code, want, says, text)
	}
}

// confirms has a person say at the issuer that it was them who asked for the code that gtmctl shows.
func (p *place) confirms(printed *gtmtest.Log) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if m := regexp.MustCompile(`type the code (\S+)`).FindStringSubmatch(printed.String()); m != nil {
			if err := p.issuer.CompleteDeviceAuthorization(context.Background(), m[1], "id1"); err != nil {
				p.t.Error(err)
			}
			return
		}
		if time.Now().After(deadline) {
			p.t.Errorf("no code was shown: %s", printed)
			return
		}
	}
}

const shopYAML = `
kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.example.net.], contact: hostmaster.example.net., grants: {shop: [shop.gtm.example.]}}
---
kind: Site
tenant: platform
name: fra
spec: {region: EU-DE}
---
kind: Access
tenant: shop
name: team
spec: {role: editor, subjects: ["group:shop-team"]}
`

const poolYAML = `
kind: Pool
tenant: shop
name: eu
spec: {site: fra, endpoints: [{name: a, addresses: [192.0.2.1]}]}
`

// TestLogIn: a person logs in with a browser and a code at a real issuer, through a control that nobody signed for; is who the issuer says,
// with the roles of the groups; stays that when the token is renewed; and is nobody after logging out.
func TestLogIn(t *testing.T) {
	p := newPlace(t)
	admin := func(args ...string) []string { return append(args, "--token-file", filepath.Join(p.dir, "token")) }
	p.ends(1, "is not believed", admin("whoami")...)
	if text, code := p.gtmctl("no\n", nil, "login"); code != 1 || !strings.Contains(text, "pass --pin sha256:") {
		t.Errorf("a server that is not the right one: %d %s", code, text)
	}
	text, code := p.gtmctl("yes\n", p.confirms, "login")
	if code != 0 || !strings.Contains(text, "logged in to "+p.url+" as user:id1\n") || !strings.Contains(text,
		"you have no role in any tenant") {
		t.Fatalf("gtmctl login: %d %s", code, text)
	}
	files, err := filepath.Glob(filepath.Join(p.dir, "config", "sessions", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the login: %v, %v", info.Mode(), err)
	}
	p.ends(1, "user:id1 has no role in any tenant", "get", "pools")
	shop, pool := filepath.Join(p.dir, "shop.yaml"), filepath.Join(p.dir, "pool.yaml")
	if err := errors.Join(os.WriteFile(shop, []byte(shopYAML), 0o600), os.WriteFile(pool, []byte(poolYAML), 0o600)); err != nil {
		t.Fatal(err)
	}
	p.ends(0, "shop@1", admin("apply", "-f", shop)...) // the pin was remembered
	p.ends(0, "editor of shop", "whoami")
	p.ends(0, "shop@2", "apply", "-f", pool)
	p.ends(0, "user:id1", "history", "shop")
	p.ends(1, "needs the role admin in the tenant shop, and user:id1 is editor there", "token", "create", "--tenant", "shop", "--name", "x",
		"--role", "viewer")
	before, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	p.ahead = 2 * time.Hour
	p.ends(0, "user:id1", "whoami")
	if after, err := os.ReadFile(files[0]); err != nil || string(after) == string(before) {
		t.Errorf("the login was not renewed: %v", err)
	}

	other := session.New("", p.url)
	var shown gtmtest.Log
	err = other.LogIn(t.Context(), api.Login{Issuer: p.issuer.web.URL, ClientID: "other", Scopes: []string{"openid"}}, time.Now,
		func(_, code, _ string) {
			fmt.Fprintf(&shown, "type the code %s", code)
			p.confirms(&shown)
		})
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(p.dir, "foreign")
	if err := os.WriteFile(foreign, []byte(other.ID), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ends(1, "the token is missing or wrong", "whoami", "--token-file", foreign)

	// Addresses count where the issuer has verified them.
	byEmail := identity.NewBook(identity.Config{Token: func() string { return "" }, Mirror: state.NewMirror(), Now: time.Now,
		OIDC: identity.NewOIDC(identity.OIDCConfig{Issuer: p.issuer.web.URL, ClientID: "x", Audiences: []string{"other"},
			UserClaim: "email", GroupsClaim: "groups", Logger: slog.New(slog.DiscardHandler), Now: time.Now})})
	for subject, want := range map[string]string{"id1": "user:test-user@zitadel.ch", "id2": "email_verified"} {
		s := session.New("", p.url)
		err := s.LogIn(t.Context(), api.Login{Issuer: p.issuer.web.URL, ClientID: "other", Scopes: []string{"openid", "email"}}, time.Now,
			func(_, code, _ string) {
				if err := p.issuer.CompleteDeviceAuthorization(context.Background(), code, subject); err != nil {
					t.Error(err)
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		who, err := byEmail.Of(&http.Request{Header: http.Header{"Authorization": {"Bearer " + s.ID}}})
		if got := fmt.Sprint(who, err); !strings.Contains(got, want) {
			t.Errorf("%s is %s", subject, got)
		}
	}

	p.ends(0, "logged out of "+p.url, "logout")
	p.ends(1, "nobody is logged in", "logout")
	p.ends(1, "cannot read the API's token", "whoami")
}

// TestLogInWithABrowserHere: an authorization code with PKCE logs a person in; one that was made up does not.
func TestLogInWithABrowserHere(t *testing.T) {
	p := newPlace(t)
	p.ends(1, "is not believed", "whoami", "--token-file", filepath.Join(p.dir, "token"))
	text, code := p.gtmctl("yes\n", p.browses(nil), "login", "--browser")
	if code != 0 || !strings.Contains(text, "logged in to "+p.url+" as user:id1\n") {
		t.Fatalf("gtmctl login --browser: %d %s", code, text)
	}
	p.ends(1, "user:id1 has no role in any tenant", "get", "pools")
	for says, change := range map[string]func(url.Values){
		"the issuer refused the login: access_denied": func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") },
		"does not take its own code":                  func(q url.Values) { q.Set("code", "made-up") },
		"the issuer sent no code":                     func(q url.Values) { q.Del("code") },
	} {
		text, code := p.gtmctl("", p.browses(func(back *url.URL) {
			q := back.Query()
			change(q)
			back.RawQuery = q.Encode()
		}), "login", "--browser")
		if code != 1 || !strings.Contains(text, says) {
			t.Errorf("want %q: %d %s", says, code, text)
		}
	}
	p.elsewhere = func(at string) string { return regexp.MustCompile(`nonce=[^&]+`).ReplaceAllString(at, "nonce=another") }
	text, code = p.gtmctl("", p.browses(nil), "login", "--browser")
	if p.elsewhere = nil; code != 1 || !strings.Contains(text, "gave the token of another login") {
		t.Errorf("a token of another login: %d %s", code, text)
	}
	// Another state is not what gtmctl waits for: it waits on, and takes the right one.
	text, code = p.gtmctl("", p.browses(func(back *url.URL) {
		other := *back
		q := other.Query()
		q.Set("state", "another")
		other.RawQuery = q.Encode()
		response, err := http.Get(other.String())
		if err != nil {
			t.Error(err)
			return
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("another state is answered %s", response.Status)
		}
	}), "login", "--browser")
	if code != 0 || !strings.Contains(text, "logged in to") {
		t.Errorf("behind another state: %d %s", code, text)
	}
}
