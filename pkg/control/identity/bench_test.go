package identity

import (
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/tokens"
)

// BenchmarkWhoAsks finds out who comes with a service token and what is granted to them, among 100 tenants with 100 tokens, 100 Access and
// 1,000 pools each: when nothing has changed, and when one tenant has since the last request.
func BenchmarkWhoAsks(b *testing.B) {
	mirror := state.NewMirror()
	all := NewTokens(nil, slog.New(slog.DiscardHandler), time.Now)
	full := state.Update{Full: true}
	var secrets []string
	for i := range 100 {
		u := state.TenantUpdate{Tenant: fmt.Sprintf("t%02d", i), Head: 1}
		put := func(kind spec.Kind, n int, s spec.Spec) {
			u.Put = append(u.Put, state.Version{Generation: 1,
				Resource: &spec.Resource{Key: spec.Key{Tenant: u.Tenant, Kind: kind, Name: fmt.Sprint("n", n)}, Spec: s}})
		}
		for n := range 1000 {
			put(spec.KindPool, n, &spec.Pool{})
		}
		for n := range 100 {
			put(spec.KindAccess, n, &spec.Access{Role: "viewer", Subjects: []string{fmt.Sprint("token:t00/n", n)}})
			secret, one := newToken(tokens.Token{Tenant: u.Tenant, Name: fmt.Sprint("n", n), Role: "editor", Used: time.Now()})
			secrets = append(secrets, secret)
			all.take(tokens.Update{Put: []tokens.Token{one}})
		}
		full.Tenants = append(full.Tenants, u)
	}
	mirror.Apply(full)
	book := NewBook(Config{Token: func() string { return "a-token-for-tests-only" }, Mirror: mirror, Tokens: all, Now: time.Now})
	ask := func(i int) int {
		who, err := book.Of(&http.Request{Header: http.Header{"Authorization": {"Bearer " + secrets[i%len(secrets)]}}})
		if err != nil {
			b.Fatal(err)
		}
		return len(book.Grants(who))
	}
	if n := ask(0); n != 100 {
		b.Fatalf("%d grants", n)
	}
	b.Run("unchanged", func(b *testing.B) {
		for i := range b.N {
			ask(i)
		}
	})
	b.Run("changed", func(b *testing.B) {
		one := full.Tenants[7].Put[:1]
		for i := range b.N {
			mirror.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "t07", Head: state.Generation(i + 2), Put: one}}})
			ask(i)
		}
	})
}
