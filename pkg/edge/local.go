package edge

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table/compile"
)

// Bounds of overrides that an edge is told itself.
const (
	localFile  = "overrides.json"
	mostLocal  = 100
	localBody  = 16 << 10
	leastLocal = time.Second
	longest    = 24 * time.Hour
	localTime  = 5 * time.Second // for the compiling goroutine to take one
)

// tokenAuthor is who set an override: all that is known is that they hold this edge's token.
const tokenAuthor = "admin-token of this edge"

// local is an override of this edge alone. It holds until the store has a newer word: another generation of the tenant, or another
// verdict on the pool, than when it was set.
type local struct {
	api.LocalOverride
	Head    uint64          `json:"head"`
	Verdict *health.Verdict `json:"verdict,omitempty"` // nil: there was none
}

// locals are what this edge was told. The compiling goroutine has them, but for what is shown.
type locals struct {
	file    string
	list    []local
	waiting bool // they were read from disk, and there is no state yet to hold them against

	shown []api.LocalOverride // Edge.mu
}

// localOrder sets an override, or ends it.
type localOrder struct {
	api.LocalOverride
	end    bool
	answer chan error
}

func (o *local) key() spec.Key {
	// No resource of the store can have such a name, and it sorts behind all, so that it wins.
	return spec.Key{Tenant: o.Tenant, Kind: spec.KindOverride, Name: "~" + o.Pool + "~" + o.Endpoint}
}

func (o *local) pool() health.PoolID { return health.PoolID{Tenant: o.Tenant, Pool: o.Pool} }

// item is it as the compiler takes overrides.
func (o *local) item() compile.Item {
	reason := "at this edge alone: " + o.Reason
	if o.Author != "" {
		reason = "at this edge alone, by " + o.Author + ": " + o.Reason
	}
	return compile.Item{Generation: o.Head, Resource: &spec.Resource{Key: o.key(), Spec: &spec.Override{Pool: o.Pool, Endpoint: o.Endpoint,
		State: o.State, Reason: reason, Author: o.Author, Expires: spec.TimeOf(o.Expires.UTC().Format(time.RFC3339))}}}
}

// ended tells why it holds no more; empty: it does.
func (o *local) ended(c *compile.Compiler, now time.Time) string {
	v := c.Verdict(o.pool())
	switch {
	case !now.Before(o.Expires):
		return "its time is over"
	case c.Head(o.Tenant) != o.Head:
		return fmt.Sprintf("the store has a newer word: %s@%d", o.Tenant, c.Head(o.Tenant))
	case (v == nil) != (o.Verdict == nil), v != nil && !v.Equal(*o.Verdict):
		return "the store has a newer word: another verdict on pool " + o.pool().String()
	}
	return ""
}

// takeLocal carries out an order. Its error is for who gave it.
func (e *Edge) takeLocal(c *compile.Compiler, order *localOrder) error {
	l := local{LocalOverride: order.LocalOverride, Head: c.Head(order.Tenant), Verdict: c.Verdict(health.PoolID{Tenant: order.Tenant,
		Pool: order.Pool})}
	at := slices.IndexFunc(e.local.list, func(o local) bool { return o.key() == l.key() })
	if order.end {
		if at < 0 {
			return &httpError{http.StatusNotFound, l.Of() + " is not overridden at this edge"}
		}
		e.log.Warn("an override of this edge alone was ended", "of", l.Of(), "author", order.Author)
		e.dropLocal(c, at)
		e.keepLocal()
		return nil
	}
	declared := c.Declared(spec.Key{Tenant: l.Tenant, Kind: spec.KindPool, Name: l.Pool})
	if declared == nil {
		return &httpError{http.StatusNotFound, "there is no pool " + l.pool().String() + " here"}
	}
	named := func(p spec.Endpoint) bool { return p.Name == l.Endpoint }
	if l.Endpoint != "" && !slices.ContainsFunc(declared.Spec.(*spec.Pool).Endpoints, named) {
		return &httpError{http.StatusNotFound, "pool " + l.pool().String() + " has no endpoint " + l.Endpoint + " here"}
	}
	if at < 0 && len(e.local.list) >= mostLocal {
		return &httpError{http.StatusConflict, fmt.Sprintf("there are %d overrides of this edge alone, as many as there can be", mostLocal)}
	}
	if at >= 0 {
		e.dropLocal(c, at)
	}
	e.local.list = append(e.local.list, l)
	e.putLocal(c, &l)
	e.keepLocal()
	e.log.Error("AN OVERRIDE OF THIS EDGE ALONE HOLDS: it was told past the store, and ends with the store's next word on it",
		"of", l.Of(), "state", l.State, "reason", l.Reason, "author", l.Author, "until", l.Expires.UTC().Format(time.RFC3339))
	return nil
}

func (e *Edge) putLocal(c *compile.Compiler, l *local) {
	c.Apply(compile.Change{Tenants: []compile.TenantChange{{Tenant: l.Tenant, Head: c.Head(l.Tenant), Put: []compile.Item{l.item()}}}})
}

func (e *Edge) dropLocal(c *compile.Compiler, at int) {
	l := e.local.list[at]
	e.local.list = slices.Delete(e.local.list, at, at+1)
	if c.Declared(l.key()) != nil {
		c.Apply(compile.Change{Tenants: []compile.TenantChange{{Tenant: l.Tenant, Head: c.Head(l.Tenant), Deleted: []spec.Key{l.key()}}}})
	}
}

// reviewLocal ends what the store has a newer word on, or whose time is over. anew: the compiler was told everything, and knows none of
// them any more.
func (e *Edge) reviewLocal(c *compile.Compiler, anew bool) {
	if len(e.local.list) == 0 || e.local.waiting && !anew {
		return
	}
	e.local.waiting = false
	before := len(e.local.list)
	for at := before - 1; at >= 0; at-- {
		l := e.local.list[at]
		if why := l.ended(c, e.cfg.Now()); why != "" {
			e.log.Warn("an override of this edge alone has ended", "of", l.Of(), "why", why)
			e.dropLocal(c, at)
		} else if anew {
			e.putLocal(c, &l)
		}
	}
	if len(e.local.list) != before {
		e.keepLocal()
	}
}

// loadLocal reads what an earlier process was told. It is looked at when the first state is there.
func (e *Edge) loadLocal() {
	text, err := os.ReadFile(e.local.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(text, &e.local.list)
	}
	if err != nil {
		e.log.Error("overrides of this edge alone cannot be read, and are not in force any more", "error", err)
		e.local.list = nil
		return
	}
	e.local.list = slices.DeleteFunc(e.local.list[:min(len(e.local.list), mostLocal)], func(l local) bool {
		return l.check(e.cfg.Now()) != nil
	})
	if e.local.waiting = len(e.local.list) > 0; e.local.waiting {
		e.log.Error("OVERRIDES OF THIS EDGE ALONE ARE READ FROM DISK, and hold until the store has a newer word", "overrides",
			len(e.local.list))
	}
	e.showLocal("")
}

// keepLocal writes them down, so that they outlive a restart.
func (e *Edge) keepLocal() {
	err := e.writeLocal()
	fault := ""
	if err != nil {
		fault = "it would not outlive a restart: " + err.Error()
		e.log.Error("overrides of this edge alone cannot be written down, and hold in memory alone", "error", err)
	}
	e.showLocal(fault)
}

func (e *Edge) writeLocal() error {
	if len(e.local.list) == 0 {
		if err := os.Remove(e.local.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(e.local.list)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(e.local.file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(e.local.file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(e.local.file+".new", e.local.file)
}

func (e *Edge) showLocal(fault string) {
	shown := make([]api.LocalOverride, len(e.local.list))
	for i := range e.local.list {
		shown[i] = e.local.list[i].LocalOverride
		shown[i].Fault = fault
	}
	e.mu.Lock()
	e.local.shown = shown
	e.mu.Unlock()
}

// check tells what is wrong with what was sent, or read from disk.
func (o *local) check(now time.Time) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case o.Tenant == "" || o.Pool == "":
		return &httpError{http.StatusBadRequest, "say which pool: tenant and pool are missing"}
	case len(o.Tenant)+len(o.Pool)+len(o.Endpoint) > 1024 || strings.ContainsFunc(o.Tenant+o.Pool+o.Endpoint, odd):
		return &httpError{http.StatusBadRequest, "tenant, pool or endpoint are no names"}
	case !slices.Contains([]string{spec.StateDrain, spec.StateDown, spec.StateUp}, o.State):
		return &httpError{http.StatusBadRequest, "state is drain, down or up"}
	case strings.TrimSpace(o.Reason) == "" || len(o.Reason) > 1024 || len(o.Author) > 256 || strings.ContainsFunc(o.Reason+o.Author, odd):
		return &httpError{http.StatusBadRequest, "say why: reason is one line of at most 1024 bytes, author one of at most 256"}
	case o.Expires.Sub(now) > longest || o.Expires.Sub(now) < leastLocal:
		return &httpError{http.StatusBadRequest, fmt.Sprintf("expires lies from %s to %s ahead by this edge's clock", leastLocal, longest)}
	}
	return nil
}

// Error lets an answer of HTTP be an error.
func (h *httpError) Error() string { return h.text }

func (e *Edge) handleLocal(mux *http.ServeMux) {
	guarded := func(do func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := e.mayOverride(r); err != nil {
				w.Header().Set("WWW-Authenticate", `Bearer realm="gtm edge"`)
				e.refuse(w, err)
				return
			}
			if err := do(w, r); err != nil {
				e.refuse(w, err)
			}
		}
	}
	mux.HandleFunc("PUT /edge/overrides", guarded(e.putOverride))
	mux.HandleFunc("DELETE /edge/overrides", guarded(e.endOverride))
	mux.HandleFunc("GET /edge/overrides", guarded(func(w http.ResponseWriter, _ *http.Request) error {
		e.mu.Lock()
		shown := e.local.shown
		e.mu.Unlock()
		if shown == nil {
			shown = []api.LocalOverride{}
		}
		writeJSON(w, http.StatusOK, shown)
		return nil
	}))
}

// refuse answers as control's API does, so that gtmctl understands it.
func (e *Edge) refuse(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	var known *httpError
	if errors.As(err, &known) {
		code = known.code
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(api.Problem{Title: http.StatusText(code), Status: code, Detail: err.Error()})
}

func (e *Edge) mayOverride(r *http.Request) error {
	token := ""
	if e.cfg.Token != nil {
		token = e.cfg.Token()
	}
	if token == "" {
		return &httpError{http.StatusUnauthorized, "this edge has no token, since it cannot keep one: it takes no overrides of its own"}
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(strings.TrimSpace(given)))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
		return &httpError{http.StatusUnauthorized,
			"the token is missing or wrong: send what the file token in this edge's data folder holds"}
	}
	return nil
}

func (e *Edge) readOverride(w http.ResponseWriter, r *http.Request) (o api.LocalOverride, err error) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, localBody)).Decode(&o); err != nil {
		return o, &httpError{http.StatusBadRequest, "the body is no override: " + err.Error()}
	}
	o.Set, o.Fault = e.cfg.Now().UTC().Truncate(time.Second), ""
	o.Author = tokenAuthor
	o.Expires = o.Expires.UTC().Truncate(time.Second)
	return o, nil
}

// putOverride takes an override while the store is not heard: else the store's reaches every edge.
func (e *Edge) putOverride(w http.ResponseWriter, r *http.Request) error {
	o, err := e.readOverride(w, r)
	if err != nil {
		return err
	}
	if err := (&local{LocalOverride: o}).check(e.cfg.Now()); err != nil {
		return err
	}
	e.mu.Lock()
	heard := e.status.State == state.Current
	e.mu.Unlock()
	if heard {
		return &httpError{http.StatusConflict, "this edge hears the store: gtmctl drain reaches every edge, and outlives this one"}
	}
	if err := e.order(r, &localOrder{LocalOverride: o}); err != nil {
		return err
	}
	e.mu.Lock()
	shown := e.local.shown
	e.mu.Unlock()
	for _, is := range shown {
		if is.Of() == o.Of() {
			o = is
		}
	}
	writeJSON(w, http.StatusOK, o)
	return nil
}

func (e *Edge) endOverride(w http.ResponseWriter, r *http.Request) error {
	o, err := e.readOverride(w, r)
	if err != nil {
		return err
	}
	if err := e.order(r, &localOrder{LocalOverride: o, end: true}); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, o)
	return nil
}

// order hands an order to the compiling goroutine, and waits for its word.
func (e *Edge) order(r *http.Request, o *localOrder) error {
	o.answer = make(chan error, 1)
	patience := time.NewTimer(localTime)
	defer patience.Stop()
	busy := &httpError{http.StatusServiceUnavailable, "this edge is busy compiling; look at GET /edge/overrides, and try again"}
	select {
	case e.news <- news{local: o}:
	case <-patience.C:
		return busy
	case <-r.Context().Done():
		return busy
	}
	select {
	case err := <-o.answer:
		return err
	case <-patience.C:
		return busy
	}
}
