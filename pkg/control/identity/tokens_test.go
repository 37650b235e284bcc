package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/tokens"
)

// TestMain makes this binary be etcd for its tests.
func TestMain(m *testing.M) {
	etcds.Main()
	os.Exit(m.Run())
}

// controls are two that share an etcd; end stops one of them.
func controls(t *testing.T) (all [2]*Tokens, books [2]*Book, end [2]func()) {
	t.Helper()
	at := etcds.Start(t)
	for i := range all {
		client, err := store.Open(t.Context(), store.Config{Endpoints: []string{at}})
		if err != nil {
			t.Fatal(err)
		}
		all[i] = NewTokens(client.Tokens(), slog.New(slog.DiscardHandler), time.Now)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = all[i].Run(ctx)
		}()
		end[i] = sync.OnceFunc(func() { cancel(); <-ended; _ = client.Close() })
		t.Cleanup(end[i])
		books[i] = NewBook(Config{Token: func() string { return "a-token-for-tests-only" }, Mirror: state.NewMirror(), Tokens: all[i],
			Now: time.Now})
	}
	return all, books, end
}

// comes waits until something is so.
func comes(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// TestControlsShareTokens: a token that one control makes opens the other; of two who make the same at once, one does; use is noted,
// once; and what is known holds without etcd.
func TestControlsShareTokens(t *testing.T) {
	all, books, end := controls(t)
	ctx := t.Context()
	opens := func(i int, secret string) bool {
		who, err := books[i].Of(&http.Request{Header: http.Header{"Authorization": {"Bearer " + secret}}})
		return err == nil && who.Name == "token:shop/ci"
	}
	one := tokens.Token{Tenant: "shop", Name: "ci", Role: "viewer", By: "admin-token"}
	var made [2]string
	var errs [2]error
	var both sync.WaitGroup
	for i := range all {
		both.Go(func() { made[i], errs[i] = all[i].Create(ctx, one) })
	}
	both.Wait()
	won := 0
	if errs[0] != nil {
		won = 1
	}
	if errs[won] != nil || !errors.Is(errs[1-won], tokens.ErrExists) {
		t.Fatalf("both made it: %v", errs)
	}
	secret := made[won]
	for i := range all {
		comes(t, "the token opens both", func() bool { return opens(i, secret) })
	}
	seen := func(string) bool { return true }
	comes(t, "its use is noted", func() bool { return !all[0].List(seen)[0].Used.IsZero() })
	noted := all[0].List(seen)[0].Used
	for range 20 {
		opens(0, secret)
	}
	if len(all[0].used) > 0 {
		t.Error("every use is written")
	}
	if _, err := all[0].Create(ctx, tokens.Token{Tenant: "shop", Name: "other", Role: "viewer"}); err != nil {
		t.Fatal(err)
	}
	if again := all[0].List(seen)[0].Used; !again.Equal(noted) {
		t.Errorf("noted at %s, and again at %s", noted, again)
	}
	for i := range MostTokens - 2 {
		if _, err := all[0].Create(ctx, tokens.Token{Tenant: "shop", Name: fmt.Sprint("n", i), Role: "viewer"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all[0].Create(ctx, tokens.Token{Tenant: "shop", Name: "more", Role: "viewer"}); !errors.Is(err, tokens.ErrFull) {
		t.Errorf("more than a tenant may have: %v", err)
	}
	if _, err := all[0].Create(ctx, tokens.Token{Tenant: "shoppers", Name: "ci", Role: "viewer"}); err != nil {
		t.Errorf("of another tenant: %v", err)
	}
	end[1]()
	if !opens(1, secret) {
		t.Error("what was known does not hold without etcd")
	}
	if err := all[0].Revoke(ctx, one.Key()); err != nil || opens(0, secret) {
		t.Errorf("after it was taken away: %v", err)
	}
	if err := all[0].Revoke(ctx, one.Key()); !errors.Is(err, tokens.ErrAbsent) {
		t.Errorf("twice: %v", err)
	}
}

// TestRevokedIsRevokedElsewhere: the other control hears of it.
func TestRevokedIsRevokedElsewhere(t *testing.T) {
	all, books, _ := controls(t)
	secret, err := all[0].Create(t.Context(), tokens.Token{Tenant: "shop", Name: "ci", Role: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	opens := func() bool {
		_, err := books[1].Of(&http.Request{Header: http.Header{"Authorization": {"Bearer " + secret}}})
		return err == nil
	}
	comes(t, "the token opens the other", opens)
	if err := all[0].Revoke(t.Context(), tokens.Key{Tenant: "shop", Name: "ci"}); err != nil {
		t.Fatal(err)
	}
	comes(t, "it opens the other no more", func() bool { return !opens() })
}

// TestUseIsNotedOnce: however many requests come before it is written.
func TestUseIsNotedOnce(t *testing.T) {
	all := NewTokens(nil, slog.New(slog.DiscardHandler), time.Now)
	secret, one := newToken(tokens.Token{Tenant: "shop", Name: "ci", Role: "viewer"})
	all.take(tokens.Update{Full: true, Put: []tokens.Token{one}})
	at := time.Now()
	for _, later := range []time.Duration{0, time.Second, usedEvery - time.Second, usedEvery} {
		if _, err := all.find(secret, at.Add(later)); err != nil {
			t.Fatal(err)
		}
		want := 1
		if later == usedEvery {
			want = 2
		}
		if len(all.used) != want {
			t.Errorf("after %s, %d wait to be written, want %d", later, len(all.used), want)
		}
	}
}
