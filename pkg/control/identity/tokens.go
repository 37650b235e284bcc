package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/tokens"
)

// Of service tokens.
const (
	tokenPrefix = "gtm_"
	idLength    = 12
	// MostTokens is how many a tenant may have.
	MostTokens = 100
	usedEvery  = time.Hour // that a token is in use is written so often
	mostNotes  = 100       // of tokens whose use waits to be written
)

// TokenStore is where tokens are kept: a *tokens.Store.
type TokenStore interface {
	Create(ctx context.Context, t tokens.Token, most int) error
	Delete(ctx context.Context, k tokens.Key) error
	Used(ctx context.Context, t tokens.Token, at time.Time) error
	Follow(ctx context.Context, fn func(tokens.Update)) error
}

// Tokens are the service tokens, as they are followed. They hold while the store is not heard. They are safe for concurrent use.
type Tokens struct {
	store TokenStore
	log   *slog.Logger
	now   func() time.Time
	used  chan tokens.Token

	mu      sync.Mutex
	byID    map[string]tokens.Token
	byKey   map[tokens.Key]tokens.Token
	noted   map[string]time.Time // by ID: when it was last noted here that it is in use
	changed chan struct{}
}

// NewTokens makes Tokens that know none until Run.
func NewTokens(store TokenStore, log *slog.Logger, now func() time.Time) *Tokens {
	return &Tokens{store: store, log: log, now: now, used: make(chan tokens.Token, mostNotes), byID: map[string]tokens.Token{},
		byKey: map[tokens.Key]tokens.Token{}, noted: map[string]time.Time{}, changed: make(chan struct{})}
}

// Run follows the tokens, and notes which are used, until ctx ends.
func (t *Tokens) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case one := <-t.used:
				if err := t.store.Used(ctx, one, t.now().UTC().Truncate(time.Second)); err != nil && ctx.Err() == nil {
					t.log.Warn("that a service token is in use could not be noted", "token", one.Tenant+"/"+one.Name, "error", err)
				}
			}
		}
	}()
	err := t.store.Follow(ctx, t.take)
	<-done
	return err
}

func (t *Tokens) take(u tokens.Update) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.Full {
		clear(t.byID)
		clear(t.byKey)
	}
	for _, k := range u.Deleted {
		t.drop(k)
	}
	for _, one := range u.Put {
		t.drop(one.Key())
		t.byID[one.ID], t.byKey[one.Key()] = one, one
	}
	for id := range t.noted {
		if _, there := t.byID[id]; !there {
			delete(t.noted, id)
		}
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *Tokens) drop(k tokens.Key) {
	if was, ok := t.byKey[k]; ok {
		delete(t.byID, was.ID)
		delete(t.byKey, k)
	}
}

// find tells whose token it is.
func (t *Tokens) find(given string, now time.Time) (*Who, error) {
	id, _, ok := strings.Cut(strings.TrimPrefix(given, tokenPrefix), "_")
	if !ok || len(id) != idLength {
		return nil, ErrUnknown
	}
	t.mu.Lock()
	one, known := t.byID[id]
	t.mu.Unlock()
	sum := sha256.Sum256([]byte(given))
	if !known || len(one.Hash) != len(sum) || !same(sum, [sha256.Size]byte(one.Hash)) {
		return nil, ErrUnknown
	}
	if !one.Expires.IsZero() && !now.Before(one.Expires) {
		return nil, fmt.Errorf("the token %s/%s expired at %s: make a new one with gtmctl token create", one.Tenant, one.Name,
			one.Expires.UTC().Format(time.RFC3339))
	}
	t.note(one, now)
	own := access.Grants{}
	own.Add(one.Tenant, one.Role)
	name := spec.SubjectToken + one.Tenant + "/" + one.Name
	return &Who{Name: name, Subjects: []string{name}, Tenant: one.Tenant, Expires: one.Expires, own: own}, nil
}

// still reports whether a token is there yet, and grants what it did.
func (t *Tokens) still(w *Who) bool {
	name := strings.TrimPrefix(w.Name, spec.SubjectToken+w.Tenant+"/")
	t.mu.Lock()
	defer t.mu.Unlock()
	one, ok := t.byKey[tokens.Key{Tenant: w.Tenant, Name: name}]
	return ok && w.own.Role(w.Tenant) == one.Role
}

// allows reports whether a token, by its name as in shop/ci, is there and brings such a right itself.
func (t *Tokens) allows(name string, a access.Action, tenant string) bool {
	of, name, _ := strings.Cut(name, "/")
	t.mu.Lock()
	one, ok := t.byKey[tokens.Key{Tenant: of, Name: name}]
	t.mu.Unlock()
	own := access.Grants{}
	own.Add(one.Tenant, one.Role)
	return ok && own.Allow(a, tenant) && (one.Expires.IsZero() || t.now().Before(one.Expires))
}

// note has it written that a token is in use, if that was not written of late.
func (t *Tokens) note(one tokens.Token, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(one.Used) < usedEvery || now.Sub(t.noted[one.ID]) < usedEvery {
		return
	}
	select {
	case t.used <- one:
		t.noted[one.ID] = now
	default: // the next use will do
	}
}

// Create makes a token, and gives it with its secret: that is kept nowhere.
func (t *Tokens) Create(ctx context.Context, one tokens.Token) (secret string, err error) {
	one.Created = t.now().UTC().Truncate(time.Second)
	secret, one = newToken(one)
	if err := t.store.Create(ctx, one, MostTokens); err != nil {
		return "", err
	}
	t.until(ctx, func() bool { return t.byKey[one.Key()].ID == one.ID })
	return secret, nil
}

// newToken gives a token its ID and its secret.
func newToken(one tokens.Token) (secret string, made tokens.Token) {
	one.ID = rand.Text()[:idLength]
	secret = tokenPrefix + one.ID + "_" + rand.Text()
	sum := sha256.Sum256([]byte(secret))
	one.Hash = sum[:]
	return secret, one
}

// Revoke takes a token away.
func (t *Tokens) Revoke(ctx context.Context, k tokens.Key) error {
	if err := t.store.Delete(ctx, k); err != nil {
		return err
	}
	t.mu.Lock()
	t.drop(k) // here at once, at others as they hear of it
	t.mu.Unlock()
	return nil
}

// followTime is how long a change of tokens has to be seen here.
const followTime = 5 * time.Second

// until waits a while until something is so; is is asked under t.mu.
func (t *Tokens) until(ctx context.Context, is func() bool) {
	ctx, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	for {
		t.mu.Lock()
		there, changed := is(), t.changed
		t.mu.Unlock()
		if there {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// List gives those of tenants that see lets through, sorted.
func (t *Tokens) List(see func(tenant string) bool) (all []tokens.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, one := range t.byKey {
		if see(k.Tenant) {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b tokens.Token) int { return strings.Compare(a.Tenant+"/"+a.Name, b.Tenant+"/"+b.Name) })
	return all
}
