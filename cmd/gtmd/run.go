package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/gti/gtm/pkg/alias"
	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/control"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit"
	"github.com/gti/gtm/pkg/control/discover"
	"github.com/gti/gtm/pkg/control/events"
	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/control/keys"
	"github.com/gti/gtm/pkg/control/notify"
	"github.com/gti/gtm/pkg/control/past"
	"github.com/gti/gtm/pkg/control/retention"
	"github.com/gti/gtm/pkg/control/rollout"
	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/control/signals"
	"github.com/gti/gtm/pkg/edge"
	"github.com/gti/gtm/pkg/private"
	"github.com/gti/gtm/pkg/prober"
	"github.com/gti/gtm/pkg/serve"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/embedded"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/transfer"
)

// server is what the roles share.
type server struct {
	cfg      *config
	registry *prometheus.Registry
	child    *embedded.Child // nil with --etcd
	store    *store.Client
	web      net.Listener
	tls      *secure.Server   // of web; nil: it is plain
	token    func() string    // of the API, and of overrides at this edge; empty: none could be kept
	book     *identity.Book   // likewise
	tokens   *identity.Tokens // of services; nil without control
	crashed  bool             // the process before this one
	address  string           // the file that tells where the API is, once it was written
	edge     *edge.Edge       // nil without the role
	control  *control.Server  // likewise
	moves    *transfer.Control
	tsig     *transfer.Keyring // of control
	keys     *keys.Manager     // likewise
	prober   *prober.Prober    // likewise
	mirror   *state.Mirror
	past     *past.Past       // keeps nothing with --history 0, and hears all the same
	events   *events.Recorder // nil: none are kept
	teller   *notify.Teller   // likewise
	signals  *signals.Intake  // of control
	world    func() (*effect.World, error)
	finder   *discover.Finder // of control
	rollouts *rollout.Driver  // of control
	audit    *audit.Log       // of control; nil without it
	keeper   *retention.Keeper
	// auditTeller tells webhooks of the audit log
	auditTeller *notify.AuditTeller
	followed    atomic.Pointer[state.FollowStatus]
	evidence    state.Evidence // of health, as control hears it
	demo        []*demoEndpoint
	filled      chan struct{} // closed behind --apply; nil: there is none

	announce  sync.Once
	announced netip.Addr // in place of a wildcard address
}

// serveRoles runs what cfg asks for until ctx ends.
func serveRoles(ctx context.Context, cfg *config, out io.Writer) (err error) {
	steady := hurry()
	s := &server{cfg: cfg, registry: prometheus.NewRegistry(), mirror: state.NewMirror(), world: effect.Opener(cfg.geo...)}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.followed.Store(&state.FollowStatus{State: state.Connecting, Since: time.Now()})
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx); err != nil {
		if ctx.Err() != nil { // told to stop meanwhile
			return nil
		}
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.serveHTTP(ctx) })
	if s.edge != nil {
		g.Go(func() error { return s.edge.Run(ctx) })
	}
	if s.tls != nil {
		g.Go(func() error { s.tls.Run(ctx); return nil })
	}
	if s.control != nil {
		g.Go(func() error { return s.follow(ctx) })
		g.Go(func() error { return s.tokens.Run(ctx) })
		g.Go(func() error { s.control.Run(ctx); return nil })
		g.Go(func() error { return s.signals.Run(ctx) })
		g.Go(func() error { s.finder.Run(ctx); return nil })
		g.Go(func() error { s.rollouts.Run(ctx); return nil })
		g.Go(func() error { return s.keep(ctx) })
		g.Go(func() error { s.runTransfers(ctx); return nil })
	}
	if s.events != nil {
		g.Go(func() error { s.events.Run(ctx); return nil })
		g.Go(func() error { s.teller.Run(ctx); return nil })
	}
	if s.control != nil || s.prober != nil {
		g.Go(func() error { return s.store.WatchSpace(ctx) })
	}
	if s.keys != nil {
		g.Go(func() error { return s.keys.Run(ctx) })
	}
	if s.prober != nil {
		g.Go(func() error { return s.prober.Run(ctx) })
	}
	if s.demo != nil {
		g.Go(func() error { return runDemo(ctx, s.demo, cfg.logger) })
	}
	g.Go(func() error {
		applied, err := s.apply(ctx)
		if err != nil {
			return err
		}
		if s.filled != nil {
			_ = s.poll(ctx, func() bool { return s.edge == nil || s.edge.Ready() == nil || s.hasApplied(applied) })
			close(s.filled)
		}
		if s.waitEdge(ctx, applied) == nil {
			s.greet(out)
			raiseProcs(cfg)
			keepHeadroom()
			steady(ctx)
		}
		return nil
	})
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// open binds sockets and reaches for the store, the quick and the likely failures first.
func (s *server) open(ctx context.Context) (err error) {
	cfg := s.cfg
	if err := os.MkdirAll(cfg.data, 0o700); err != nil {
		if !s.mayDoWithoutDisk() {
			return fmt.Errorf("--data: %w", err)
		}
		cfg.logger.Error("--data cannot be made; serving from memory", "error", err)
	} else if err := private.CheckFolder(cfg.data, "the folder of --data"); err != nil {
		return err
	}
	s.crashed = keepCrashes(cfg.data, cfg.logger)
	if s.web, err = net.Listen("tcp", cfg.http); err != nil {
		return fmt.Errorf("--http: %w: stop what listens there, or choose another address", err)
	}
	if s.tls, err = cfg.door.Open(cfg.data, newWebNames(cfg.http, cfg.httpNames), cfg.logger); err != nil {
		return fmt.Errorf("--http: %w", err)
	}
	if cfg.roles[roleControl] {
		if err := s.leaveAddress(); err != nil { // on a full disk, say
			cfg.logger.Warn("the API's address cannot be left for gtmctl, which needs --server now", "error", err)
		}
	}
	if cfg.demo {
		if s.demo, err = openDemo(cfg.demoPort); err != nil {
			return err
		}
	}
	if err := s.openStore(ctx); err != nil {
		return err
	}
	return s.openRoles()
}

// openStore reaches for the etcd that is named, or starts one of gtmd's own.
func (s *server) openStore(ctx context.Context) (err error) {
	cfg := s.cfg
	endpoints := cfg.etcd
	if len(endpoints) == 0 {
		s.child, err = embedded.Start(ctx, embedded.Config{Dir: filepath.Join(cfg.data, "etcd"), Args: []string{etcdCommand},
			Logger: cfg.logger, Registerer: s.registry})
		if err != nil {
			return err
		}
		endpoints = []string{s.child.Endpoint()}
	}
	s.store, err = store.Open(ctx, store.Config{Endpoints: endpoints, Certs: cfg.etcdCerts, Logger: cfg.logger, Registerer: s.registry})
	return err
}

// openRoles puts the roles together, each behind what it stands on.
func (s *server) openRoles() (err error) {
	cfg := s.cfg
	if cfg.roles[roleEdge] || cfg.roles[roleControl] {
		if err := s.loadIdentity(); err != nil {
			return fmt.Errorf("--group-key: %w", err)
		}
	}
	if cfg.roles[roleControl] { // before the edge, which passes on to it
		if err := s.openAudit(); err != nil {
			return err
		}
		if err := s.openTransfers(); err != nil {
			return err
		}
	}
	if len(cfg.apply) > 0 {
		s.filled = make(chan struct{})
	}
	if cfg.roles[roleEdge] || cfg.roles[roleControl] {
		if err := s.loadToken(); err != nil {
			return err
		}
	}
	if cfg.roles[roleEdge] {
		if s.edge, err = edge.New(s.edgeConfig()); err != nil {
			return err
		}
	}
	if cfg.roles[roleProber] {
		if s.prober, err = prober.New(s.proberConfig()); err != nil {
			return err
		}
	}
	if cfg.roles[roleControl] {
		return s.openControl()
	}
	return nil
}

// edgeConfig is the part of the command line that an edge has, and what it shares with other roles.
func (s *server) edgeConfig() edge.Config {
	cfg := s.cfg
	return edge.Config{ID: cfg.id, Version: version, Store: s.store, Dir: filepath.Join(cfg.data, "edge"), Token: s.token,
		DNS: cfg.dns, Filled: s.filled, Crashed: s.crashed,
		Workers: cfg.workers, XDP: cfg.serving.xdp, HTTP: s.httpAddr(), Pin: s.pin, GeoFiles: cfg.geo, MapFiles: cfg.maps,
		LatencyFile: cfg.latency,
		ExplainFrom: cfg.explain, Aliases: alias.Config{Resolvers: cfg.resolvers}, TSIGKeys: cfg.tsigKeys, Forward: s.forward(),
		Identity: cfg.signing.identity, TLS: cfg.serving.tls, HTTPS: cfg.serving.https, QUIC: cfg.serving.quic,
		Certificates: cfg.serving.certs, RateLimit: cfg.serving.rate, CookieSecrets: cfg.serving.cookieSecrets,
		RequireCookies: cfg.serving.requireCookies, Logger: cfg.logger, Registerer: s.registry}
}

// mayDoWithoutDisk reports whether all roles can work where nothing can be written: control keeps keys, and an etcd of its own everything.
func (s *server) mayDoWithoutDisk() bool { return len(s.cfg.etcd) > 0 && !s.cfg.roles[roleControl] }

// loadIdentity reads the identity that opens zone-signing keys, or makes one. An edge whose folder cannot be written has one in memory,
// for which control seals keys, too.
func (s *server) loadIdentity() (err error) {
	g := &s.cfg.signing
	if g.identity, err = keys.LoadIdentity(g.groupKey); err == nil || !s.mayDoWithoutDisk() {
		return err
	}
	if _, there := os.Stat(g.groupKey); !errors.Is(there, fs.ErrNotExist) {
		return err
	}
	s.cfg.logger.Error("the identity of this edge cannot be kept; after a restart, signed zones wait for control to seal their keys anew",
		"error", err)
	g.identity, err = age.GenerateX25519Identity()
	return err
}

// loadToken reads the token that opens the API, and overrides at an edge, or makes one. An edge that cannot keep one does without.
func (s *server) loadToken() error {
	file, err := identity.OpenToken(filepath.Join(s.cfg.data, "token"), s.cfg.logger)
	s.token = func() string { return "" }
	if err == nil {
		s.token = file.Token
	}
	if err != nil && !s.cfg.roles[roleControl] {
		s.cfg.logger.Error("this edge has no token, so that nobody can override anything here while the store is gone", "error", err)
		return nil
	}
	return err
}

func (s *server) openControl() error {
	var err error
	s.keys, err = keys.New(keys.Config{Store: s.store, Mirror: s.mirror, Dir: s.cfg.signing.keys, Identity: s.cfg.signing.identity,
		Recipients: s.cfg.signing.recipients, Logger: s.cfg.logger, Registerer: s.registry})
	if err != nil {
		return err
	}
	hears := past.Config{Store: s.store, Mirror: s.mirror, Geo: s.cfg.geo, Keep: s.cfg.history}
	kept, err := s.keepEvents()
	if err != nil {
		return err
	}
	if err := errors.Join(s.openFinder(), s.openRetention(), s.openAuditTeller()); err != nil {
		return err
	}
	if s.events != nil {
		hears.Replaced = s.events.Heard
	}
	s.past = past.New(hears)
	answers := s.past
	if s.cfg.history == 0 {
		answers = nil
	}
	s.signals, err = signals.New(signals.Config{Store: s.store, Mirror: s.mirror, Logger: s.cfg.logger, Registerer: s.registry,
		Current: func() bool { return s.followed.Load().State == state.Current }})
	if err != nil {
		return err
	}
	s.tokens = identity.NewTokens(s.store.Tokens(), s.cfg.logger, time.Now)
	s.book = s.cfg.door.Book(s.token, s.mirror, s.tokens, s.cfg.logger)
	s.control, err = control.New(control.Config{Identities: s.book,
		Store: s.store, Mirror: s.mirror, Past: answers, Events: kept, Keys: s.keys,
		Signals: s.signals, World: s.world, Audit: s.audit, Retention: s.keeper.Status,
		Following:    func() state.FollowStatus { return *s.followed.Load() },
		EdgeNetworks: s.edgeNetworks(), OwnEdge: s.ownEdge(),
		Evidence: &s.evidence, Space: s.store.Space, Logger: s.cfg.logger, Registerer: s.registry})
	if err != nil {
		return err
	}
	s.rollouts, err = rollout.New(rollout.Config{ID: s.cfg.id, Store: s.store, Mirror: s.mirror, Eyes: s.control, Logger: s.cfg.logger,
		World: s.world, Registerer: s.registry})
	return err
}

// keepEvents has what changes of health be kept, and told.
func (s *server) keepEvents() (kept control.Events, err error) {
	cfg := &s.cfg.events
	if cfg.keep == 0 {
		return control.Events{}, nil
	}
	log := events.Open(events.Config{Dir: filepath.Join(s.cfg.data, "events"), Keep: cfg.keep, Logger: s.cfg.logger})
	health := func() state.Health { return s.evidence.Health(time.Now(), *s.followed.Load(), s.store.LastContact()) }
	s.events, err = events.NewRecorder(events.RecorderConfig{Log: log, Mirror: s.mirror, Health: health, Sights: s.store.Sights,
		History: s.store.History, Logger: s.cfg.logger, Registerer: s.registry})
	if err != nil {
		return control.Events{}, err
	}
	s.teller, err = notify.New(notify.Config{ID: s.cfg.id, Store: s.store, Mirror: s.mirror, Log: log, Problems: s.events.Problems,
		Secrets: cfg.secrets, Networks: cfg.networks, OwnPorts: s.ownPorts(), Logger: s.cfg.logger, Registerer: s.registry,
		Cut: func() bool { return s.followed.Load().State == state.Stale }})
	return control.Events{Log: log, Told: s.teller.Status, Edges: s.events.Edges}, err
}

// edgeNetworks are where control asks edges. The demo is of this machine, so further edges beside it are, too.
func (s *server) edgeNetworks() []netip.Prefix {
	if len(s.cfg.edgeNetworks) > 0 || !s.cfg.demo {
		return s.cfg.edgeNetworks
	}
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"),
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// ownEdge is the edge of this process as it is found in the store; zero: there is none.
func (s *server) ownEdge() store.Edge {
	if s.edge == nil {
		return store.Edge{}
	}
	return store.Edge{ID: s.cfg.id, HTTP: s.httpAddr(), Pin: s.pin()}
}

// close undoes open. Serving has ended before.
func (s *server) close() error {
	var errs []error
	if s.web != nil {
		_ = s.web.Close() // closed already after serving
	}
	if s.address != "" {
		_ = os.Remove(s.address) // nobody is to be sent to whoever listens there next
	}
	for _, e := range s.demo {
		_ = e.listener.Close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	errs = append(errs, s.audit.Close())
	if s.child != nil {
		errs = append(errs, s.child.Stop())
	}
	return errors.Join(errs...)
}

// follow keeps the mirror that the API reads current.
func (s *server) follow(ctx context.Context) error {
	return s.store.Follow(ctx, store.FollowConfig{
		OnUpdate: func(u state.Update) error { s.heard(u); return nil },
		OnStatus: func(st state.FollowStatus) { s.followed.Store(&st) },
		OnPulse:  s.beat,
	})
}

// heard has the mirror take in an update, and what is kept of the past.
func (s *server) heard(u state.Update) { s.past.Apply(u) }

// beat takes a judge's sign of life.
func (s *server) beat(p state.Pulse) {
	s.evidence.Heard(p, time.Now())
	if s.events != nil {
		s.events.Pulse(p)
	}
}

// waitEdge waits until the edge, if there is one, answers, and does so from what was applied.
func (s *server) waitEdge(ctx context.Context, applied []state.Record) error {
	return s.poll(ctx, func() bool { return s.edge == nil || s.edge.Ready() == nil && s.hasApplied(applied) })
}

// hasApplied reports whether the edge's view is of what was applied: the store had it before the edge heard of it.
func (s *server) hasApplied(applied []state.Record) bool {
	is := s.edge.Status()
	held := func(tenant string) bool { // what a rollout has not brought here, or the edge refuses, may not come
		return slices.ContainsFunc(is.Held, func(h api.HeldTenant) bool { return h.Tenant == tenant })
	}
	return !slices.ContainsFunc(applied, func(r state.Record) bool {
		return is.Tenants[r.Tenant] < uint64(r.Generation) && !held(r.Tenant)
	})
}

// poll waits until something is so.
func (s *server) poll(ctx context.Context, is func() bool) error {
	for !is() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// greet tells where to find what.
func (s *server) greet(out io.Writer) {
	fmt.Fprintf(out, "gtmd %s is ready\n", version)
	if s.edge != nil {
		for _, a := range s.edge.Addrs() {
			fmt.Fprintf(out, "  DNS      %s (%s and %s), edge %s\n", a, serve.UDP, serve.TCP, s.cfg.id)
		}
		fmt.Fprint(out, s.cfg.serving.lines(s.edge.AddrsOf))
	}
	web := s.scheme() + "://" + s.httpAddr()
	if s.control != nil {
		fmt.Fprintf(out, "  API      %s/v1/ (token in %s)\n", web, filepath.Join(s.cfg.data, "token"))
	}
	if s.tls != nil {
		if pin, own := s.tls.Pin(); own {
			fmt.Fprintf(out, "  key      %s (a certificate of its own: gtmctl --pin %[1]s)\n", pin)
		}
	}
	fmt.Fprintf(out, "  metrics  %s/metrics\n", web)
	if s.demo == nil || s.edge == nil {
		return
	}
	a := s.edge.Addrs()[0]
	dig := fmt.Sprintf("  dig @%s -p %d", a.Addr(), a.Port())
	fmt.Fprintf(out, "Try:\n%[1]s web.shop.gtm.example +subnet=81.2.69.0/24\n%[1]s web.shop.gtm.example +subnet=202.108.22.0/24\n"+
		"%[1]s TXT web.shop.gtm.example._explain.gtm.example +short +subnet=81.2.69.0/24\nCtrl-C ends it.\n", dig)
}
