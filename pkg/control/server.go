// Package control is the HTTP API through which people and programs change gtm and look into it.
//
// It checks who asks, and hands every change to pkg/change; what it shows comes from the followed state
// and from the edges, which it asks.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit"
	"github.com/gti/gtm/pkg/control/described"
	"github.com/gti/gtm/pkg/control/gather"
	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/control/once"
	"github.com/gti/gtm/pkg/control/past"
	"github.com/gti/gtm/pkg/control/rate"
	"github.com/gti/gtm/pkg/control/share"
	"github.com/gti/gtm/pkg/control/signals"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// Limits of a request.
const (
	// bytes of an apply, unless Config says otherwise: a million endpoints are 90 MB; every other request is small
	maxBody       = 512 << 20
	maxSmallBody  = 1 << 20
	bodyTime      = 30 * time.Second // to read a small body
	requestTime   = time.Minute      // for all of a request
	largeBodyTime = 5 * time.Minute  // for those that may change everything at once
	largeTime     = 15 * time.Minute
	mirrorTime    = 5 * time.Second  // to see a change of our own in the mirror
	edgeTime      = 2 * time.Second  // for one edge, or the list of them, to answer
	writeTime     = 30 * time.Second // for the client to take some of a reply
	edgesAtOnce   = 32               // edges asked at the same time
	historyAtMost = 1000             // records of one answer
)

// Config is what a Server needs.
type Config struct {
	// Store is a *store.Client.
	Store Store
	// Mirror is the followed state, which the caller keeps up to date with Store.Follow.
	Mirror *state.Mirror
	// Following tells how that following fares; nil: it is not shown.
	Following func() state.FollowStatus
	// Space tells how full etcd is; nil: it is not shown.
	Space func() link.Space
	// Evidence knows how old is what is known of health, where the caller has it hear the pulses of that following; nil: that is not shown.
	Evidence *state.Evidence
	// Past answers what clients would have got; nil: nothing of the past is kept.
	Past *past.Past
	// Events are what changed of health; the zero value: none are kept.
	Events Events
	// Signals takes what owners of endpoints say of them; nil: nobody is heard.
	Signals *signals.Intake
	// Keys looks after signed zones; nil: this control does not.
	Keys Keys
	// Audit is told who did what, before that is answered; nil: nobody is.
	Audit *audit.Log
	// Retention tells what is kept of the past; nil: it is not shown.
	Retention func() api.Retention
	// Identities knows who asks; nil: Token alone, which opens everything under /v1/.
	Identities *identity.Book
	Token      string
	// EdgeNetworks are those in which edges are asked. Loopback, link-local and the like, and addresses of this machine, are open only to
	// a network that lies inside them. None: all other unicast addresses. OwnEdge is the edge in this process, which is asked wherever it
	// is.
	EdgeNetworks []netip.Prefix
	OwnEdge      store.Edge
	// MaxBody is the most bytes that an apply may have; 0: 512 MiB.
	MaxBody int64

	// World gives the geography by which the effect of changes is told; nil: the built-in one.
	World func() (*effect.World, error)

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
}

// Server is the API. It is safe for concurrent use.
type Server struct {
	cfg        Config
	book       *identity.Book
	api        huma.API
	changer    *change.Changer
	metrics    *metrics
	mux        *http.ServeMux
	reach      reach
	edges      *http.Client
	largeReply chan struct{} // the turn of large replies of edges
	streams    chan struct{} // of events, that are open
	stopped    chan struct{} // closed when Run ends
	replies    once.Replies  // that were given to requests with a key
	// What bodies hold, and whose turn it is to work: see admit.
	smallBodies, largeBodies budget
	small, large             *admission
	pushes                   *share.Shares // of lists of endpoints
	rates                    rate.Limits   // of requests
	gather                   *gather.Gatherer
	// patience is how long the judge has for a release.
	patience time.Duration

	mu           sync.Mutex
	lastEdges    []store.Edge // as the store told last
	lastVantages []store.Vantage
	vantagesAt   time.Time            // when that was
	sightings    map[string]*sighting // by edge
}

// New makes a server; it opens no socket.
func New(cfg Config) (*Server, error) {
	if cfg.Store == nil || cfg.Mirror == nil {
		return nil, errors.New("control: a store and a mirror are needed")
	}
	if cfg.Identities == nil && len(cfg.Token) < identity.MinToken {
		return nil, fmt.Errorf("control: the token has fewer than %d characters", identity.MinToken)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = maxBody
	}
	if len(cfg.EdgeNetworks) == 0 {
		cfg.EdgeNetworks = everywhere
	}
	if cfg.Identities == nil {
		cfg.Identities = identity.NewBook(identity.Config{Token: func() string { return cfg.Token }, Mirror: cfg.Mirror, Logger: cfg.Logger,
			Now: cfg.Now})
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	pushes, err := share.New(share.Config{Metric: "gtm_control_late_push_tenants",
		Help: "Tenants of which no lists of endpoints are taken for now, since they push more than their share of the store allows.",
		Late: "a tenant pushes endpoints faster than its share of the store allows; what it pushes is refused until it has some again",
		Now:  cfg.Now, Logger: cfg.Logger, Registerer: cfg.Registerer})
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	s := &Server{cfg: cfg, pushes: pushes, book: cfg.Identities, metrics: m, mux: http.NewServeMux(),
		patience: releaseTime, sightings: map[string]*sighting{}, edges: edgeClient(), largeReply: make(chan struct{}, 1),
		streams: make(chan struct{}, streamsAtOnce), stopped: make(chan struct{}),
		reach: reach{networks: cfg.EdgeNetworks, own: cfg.OwnEdge, local: net.InterfaceAddrs},
		small: newAdmission(smallAtOne, mayWait, eachWaits), large: newAdmission(largeAtOne, mayWait, eachWaits)}
	if s.gather, err = gather.New(gather.Config{Edges: s.edgesListed, Ask: s.demandOf, Now: cfg.Now, Logger: cfg.Logger,
		Registerer: cfg.Registerer}); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	s.smallBodies.most, s.largeBodies.most = smallBodies, cfg.MaxBody+smallBodies
	s.changer = change.New(change.Config{Store: cfg.Store, State: change.FollowState(cfg.Store, cfg.Mirror), Now: cfg.Now,
		Verdict: change.Known(cfg.Mirror), World: cfg.World, Seen: s.gather.Sum, Journal: cfg.Audit})
	if err := s.routes(); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	return s, nil
}

// routes mounts the operations, and makes the page that describes them: huma's would load scripts from elsewhere.
func (s *Server) routes() error {
	config := huma.DefaultConfig("gtm", "1")
	config.OpenAPIPath = openAPIPath
	config.DocsPath, config.SchemasPath = "", ""
	config.CreateHooks = nil // they add links to schemas that are not served
	config.Transformers = []huma.Transformer{ownProblems}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"token": {}}}
	h := humago.New(s.mux, config)
	h.UseMiddleware(s.enforce)
	s.api = h
	s.routeAccess(h)
	s.routeResources(h)
	s.routeChanges(h)
	s.routeHands(h)
	s.routeSources(h)
	s.routeStatus(h)
	s.routeTenants(h)
	s.routeKeys(h)
	s.routeVantages(h)
	s.routeHealth(h)
	s.routeEdges(h)
	s.routeRollouts(h)
	s.routeEvents(h)
	s.routeSignals(h)
	s.routePlans(h)
	return s.describeAll(h.OpenAPI())
}

// describeAll keeps what the API says of itself, which is the same for everybody, and secret from nobody.
func (s *Server) describeAll(doc *huma.OpenAPI) error {
	examples := described.Examples()
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Put, item.Post} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			for _, media := range op.RequestBody.Content {
				media.Example = examples[op.OperationID]
			}
		}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	page, err := described.Page(text)
	if err != nil {
		return err
	}
	s.mux.HandleFunc("GET "+docsPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", described.Policy)
		_, _ = w.Write(page)
	})
	return nil
}

// What the API says of itself: for people, and (as .json and .yaml) for programs.
const (
	docsPath    = api.Version + "/docs"
	openAPIPath = api.Version + "/openapi"
)

// isOpen reports whether a path may be read without a token.
func isOpen(path string) bool {
	return path == docsPath || path == openAPIPath+".json" || path == openAPIPath+".yaml"
}

// operation describes one endpoint. Bodies are read by admit: their limits and times are not huma's.
func operation(id string, n need, method, path, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: api.Version + path, Summary: summary, MaxBodyBytes: -1, BodyReadTimeout: -1,
		Metadata: map[string]any{needKey: n}, Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity,
			http.StatusServiceUnavailable},
	}
}

// timeOf gives how long a request may take.
func timeOf(path string) time.Duration {
	if path == eventStream || path == api.Version+"/apply" ||
		path == api.Version+"/store/rebuild" || strings.HasPrefix(path, api.Version+"/rollback/") {
		return largeTime
	}
	return requestTime
}

// Handler serves everything under /v1/.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	start, rec := s.cfg.Now(), &recorder{ResponseWriter: w}
	ctx, cancel := context.WithTimeout(r.Context(), timeOf(r.URL.Path))
	defer cancel()
	r = r.WithContext(ctx)
	rec.slowest = time.Now().Add(timeOf(r.URL.Path) + writeTime)
	defer func() {
		if fault := recover(); fault != nil {
			s.cfg.Logger.Error("a request to the API panicked", "method", r.Method, "path", r.URL.Path, "panic", fault)
			if rec.code == 0 {
				writeProblem(rec, problemf(http.StatusInternalServerError, "gtmd has a fault here; its log says more"))
			}
		}
		s.metrics.observe(r.Pattern, rec.code, s.cfg.Now().Sub(start))
	}()
	if !isOpen(r.URL.Path) {
		var err error
		if r, err = s.recognize(r); err != nil {
			unauthorized(rec, err)
			return
		}
	}
	_, pattern := s.mux.Handler(r)
	if pattern == "" {
		writeProblem(rec, problemf(http.StatusNotFound, "there is no %s %s; %s/openapi.json lists what there is",
			r.Method, r.URL.Path, api.Version))
		return
	}
	if !s.withinRate(rec, r, pattern) {
		return
	}
	admitted, done := s.admit(rec, r)
	if admitted == nil {
		return
	}
	defer done()
	s.serveOnce(rec, admitted)
	r.Pattern = admitted.Pattern
}

// serveOnce has a POST with an Idempotency-Key carried out once. That of a token is not: its reply has a secret, which is not kept.
func (s *Server) serveOnce(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" || r.Method != http.MethodPost || strings.HasPrefix(r.URL.Path, api.Version+"/tokens/") {
		s.mux.ServeHTTP(w, r)
		return
	}
	if len(key) > once.MaxKey {
		writeProblem(w, problemf(http.StatusBadRequest, "Idempotency-Key has more than %d bytes", once.MaxKey))
		return
	}
	what := slices.Concat([]byte(r.Method+" "+r.URL.RequestURI()+"\n"+glassOf(r.Context())+"\n"), bodyOf(r.Context()))
	// A reply is for the roles by which it was given: with others, the request is judged anew.
	key += fmt.Sprintf("\n%v", grantsOf(r.Context()))
	err := s.replies.Serve(w, authorOf(r.Context()), key, what, s.cfg.Now(), func(w http.ResponseWriter) { s.mux.ServeHTTP(w, r) })
	switch {
	case errors.Is(err, once.ErrRunning):
		writeProblem(w, problemf(http.StatusConflict, "%s", err))
	case errors.Is(err, once.ErrFull):
		writeProblem(w, problemf(http.StatusTooManyRequests, "%s", err))
	case err != nil:
		writeProblem(w, problemf(http.StatusUnprocessableEntity, "%s", err))
	}
}
