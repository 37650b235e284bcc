package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/store/state"
)

// TestMadeUpLogins: tokens that name keys which the issuer does not have, and nobody signed, have it asked for its keys once in two
// seconds,
// not once for each; and none is taken. While the issuer cannot be reached, that is what is told.
func TestMadeUpLogins(t *testing.T) {
	var asked, found atomic.Int64
	var down atomic.Bool
	mux := http.NewServeMux()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	defer web.Close()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		found.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": web.URL, "jwks_uri": web.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"keys":[]}`)
	})
	clock := time.Now()
	o := NewOIDC(OIDCConfig{Issuer: web.URL, ClientID: "gtmctl", UserClaim: "sub", GroupsClaim: "groups",
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return clock }})
	book := NewBook(Config{Token: func() string { return "a-token-for-tests-only" }, Mirror: state.NewMirror(), OIDC: o,
		Now: func() time.Time { return clock }})
	try := func(kid, alg, issuer string) error {
		part := func(v any) string {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return base64.RawURLEncoding.EncodeToString(text)
		}
		token := part(map[string]any{"alg": alg, "kid": kid}) + "." + part(map[string]any{"iss": issuer, "sub": "mallory", "aud": "gtmctl",
			"exp": clock.Add(time.Hour).Unix()}) + "." + base64.RawURLEncoding.EncodeToString([]byte("signed"))
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		_, err := book.Of(r)
		return err
	}
	down.Store(true)
	var away *UnreachableError
	if err := try("k", "RS256", web.URL); !errors.As(err, &away) {
		t.Errorf("an issuer that is away: %v", err)
	}
	down.Store(false)
	clock = clock.Add(issuerAgain)
	for round := range int64(2) {
		for i := range 30 {
			if err := try(fmt.Sprint("k", i), "RS256", web.URL); !errors.Is(err, ErrUnknown) {
				t.Errorf("a made-up token: %v", err)
			}
		}
		for _, c := range [][2]string{{"none", web.URL}, {"HS256", web.URL}, {"RS256", "https://evil.example"}} {
			if err := try("k", c[0], c[1]); !errors.Is(err, ErrUnknown) {
				t.Errorf("%v: %v", c, err)
			}
		}
		if n := asked.Load(); n != round+1 || found.Load() != 1 {
			t.Errorf("the issuer was asked %d times for its keys in round %d, %d times for itself", n, round, found.Load())
		}
		clock = clock.Add(issuerEvery)
	}
}
