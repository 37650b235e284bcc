// Package edge puts an edge together: it follows the store (or starts from the snapshot on disk), compiles what
// it hears into views, publishes them to the workers that answer, and tells how it fares.
package edge

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gti/gtm/pkg/alias"
	"github.com/gti/gtm/pkg/edge/sampling"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/serve"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/snapshot"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/transfer"
)

// Store is what an edge needs of the store: to read it, and to be found in it.
type Store interface {
	Follow(context.Context, store.FollowConfig) error
	KeepEdge(ctx context.Context, tell func() store.Edge, ttl time.Duration) error
	// Read gives a tenant at a generation that need not be the newest.
	Read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error)
	// LastContact is when it was last heard; zero: never.
	LastContact() time.Time
}

// Config says what an edge is and where it serves.
type Config struct {
	ID      string // who answers: id.server, NSID, status; unique among the edges
	Version string
	Store   Store
	// Dir holds the snapshot and the packets that made a handler panic.
	Dir string
	// Crashed: the process before this one crashed, by what the runtime wrote down.
	Crashed bool
	// Trial is how long a generation is served before the snapshot gets it; 0: 3 s, negative: not at all.
	Trial time.Duration
	// MostGrowth is how many times larger one generation may make a zone, a map or a map file; 0: 4.
	MostGrowth int
	// Filled, if not nil, is closed when the store holds what is put there at the start: until then, a view without zones is none.
	Filled <-chan struct{}
	// DNS are the addresses served by UDP and TCP; Workers is how many UDP workers each has (0: one a CPU).
	DNS     []netip.AddrPort
	Workers int
	// XDP names interfaces whose queries for DNS are taken past the kernel's stack; see serve.Config.
	XDP []string
	// TLS, HTTPS and QUIC are served too, with Certificates; see serve.Config.
	TLS, HTTPS, QUIC []netip.AddrPort
	Certificates     []serve.CertificateFiles
	// RateLimit bounds replies by UDP; nil: no limit.
	RateLimit *serve.RateLimit
	// Identity opens the zone-signing keys that control sealed for it. Nil: signed zones cannot be served.
	Identity *age.X25519Identity
	// Token gives what opens PUT and DELETE /edge/overrides, as of now. Nil, or empty: nobody can override anything here.
	Token func() string
	// HTTP is where this edge's status can be asked, as host:port; edges are found by it.
	HTTP string
	// Pin gives what HTTP is known by, where it speaks TLS; nil, or empty: it is plain.
	Pin func() string
	// TSIGKeys is a file of TSIG keys (RFC 8945), as BIND writes them, read again when it changes. Empty: there are none.
	TSIGKeys string
	// Forward has control answer updates (RFC 2136), and NOTIFY for zones that are copied from elsewhere. Nil: there is no control.
	Forward func(ctx context.Context, msg []byte, source netip.AddrPort) ([]byte, error)
	// Aliases says how hosts outside are resolved that aliases lead to; File, Deliver and what stands below is filled in.
	// Resolvers nil: those of the system.
	Aliases alias.Config
	// GeoFiles are MMDB files; none: the built-in country database.
	GeoFiles []string
	// MapFiles are what maps with fromFiles get their networks from; see pkg/geo/mapfile.
	MapFiles []string
	// LatencyFile is a latency table; empty: there is none.
	LatencyFile string
	// ExplainFrom lists the networks whose clients may ask _explain names. Nil: loopback.
	ExplainFrom []netip.Prefix
	// CookieSecrets is a file with the secrets of DNS cookies (RFC 7873), to be the same on all edges of an address: one or
	// two lines of 32 hexadecimal digits, the first signs, both verify. It is read again when it changes. Empty: secrets
	// of its own, kept in Dir and rolled over every day.
	CookieSecrets string
	// RequireCookies answers BADCOOKIE over UDP to clients that send a cookie without a valid one of ours.
	RequireCookies bool
	// MaxUDP is the largest reply over UDP in bytes. 0: 1232.
	MaxUDP     int
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
	// Wrap, if not nil, wraps each worker's handler; for tests that inject faults.
	Wrap func(serve.Handler) serve.Handler
}

// Edge is a running edge. Its methods are safe for concurrent use.
type Edge struct {
	cfg     Config
	log     *slog.Logger
	started time.Time
	view    atomic.Pointer[table.View]
	rows    int
	nextRow atomic.Int64
	server  *serve.Server
	opened  chan struct{} // closed when the server is open, for which it needs a view

	transfer *transfer.Server
	tsig     *transfer.Keyring
	news     chan news
	geoAsked chan geoQuestion
	// elsewhere counts the queries that belong to no zone
	elsewhere *table.ZoneCounts
	save      saveQueue
	metrics   *metrics
	clock     clock
	cookies   *cookieKeeper
	aliases   *alias.Keeper
	evidence  state.Evidence // of health
	sampling  *sampling.Counter

	taking   taking
	wants    chan map[string]state.Mark // has room for one
	compiled chan struct{}              // closed when nothing more is compiled

	local    locals
	found    state.Joiner              // for the compiling goroutine
	unopened map[string]compile.Broken // by zone: keys that cannot be opened; for the compiling goroutine
	nextIDs  map[string]string         // of generations, for the next view; likewise
	hasState bool                      // there was an update, or a snapshot; likewise

	mu       sync.Mutex
	status   state.FollowStatus
	broken   []compile.Broken
	ids      map[string]string     // of the view's generations
	unknown  map[spec.Key][]string // fields that only a newer gtm knows; none: nor the kind
	snapshot snapshotState
	faults   [2]string // by geo.Source, why its files are not used as they are; empty: they are
	maps     mapState
}

// news is what makes a new view.
type news struct {
	update    *state.Update
	geography *compile.Geography
	resolved  *resolved
	local     *localOrder
	fetched   *fetched
}

// edgeTTL is how long an edge that died can still be found.
const edgeTTL = 10 * time.Second

// New looks whether all that Run needs is there. DNS is served once Run has a first view: an edge without an answer leaves its
// addresses alone, so that resolvers ask another one at once.
func New(cfg Config) (*Edge, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.ExplainFrom == nil {
		cfg.ExplainFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	e := &Edge{cfg: cfg, log: cfg.Logger, started: cfg.Now(), rows: cfg.Workers*(max(1, len(cfg.DNS))+2*len(cfg.XDP)) + 1,
		opened: make(chan struct{}), news: make(chan news, 16), geoAsked: make(chan geoQuestion),
		wants: make(chan map[string]state.Mark, 1), compiled: make(chan struct{}),
		local:  locals{file: filepath.Join(cfg.Dir, localFile)},
		save:   saveQueue{signal: make(chan struct{}, 1)},
		status: state.FollowStatus{State: state.Connecting, Since: cfg.Now()}}
	e.elsewhere = table.NewZoneCounts("none", e.rows)
	e.clock.rings = make(chan struct{}, 1)
	e.clock.set(cfg.Now())
	var err error
	if e.cookies, err = newCookies(cfg.CookieSecrets, cfg.Dir, cfg.Now, cfg.Logger); err != nil {
		return nil, err
	}
	if e.aliases, err = e.newAliases(); err != nil {
		return nil, err
	}
	e.metrics, err = newMetrics(e, cfg.Registerer)
	if err != nil {
		return nil, err
	}
	if e.sampling, err = e.newSampling(); err != nil {
		return nil, err
	}
	if err = e.newTransfer(); err != nil {
		return nil, err
	}
	e.server, err = serve.New(serve.Config{Addrs: cfg.DNS, TLS: cfg.TLS, HTTPS: cfg.HTTPS, QUIC: cfg.QUIC,
		Certificates: cfg.Certificates, RateLimit: cfg.RateLimit, Workers: cfg.Workers, XDP: cfg.XDP, NewHandler: e.newHandler,
		Logger: cfg.Logger, Registerer: cfg.Registerer, PanicDir: e.panicDir(), Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// panicDir makes the folder for packets that made a handler panic. Without it they are kept in memory.
func (e *Edge) panicDir() string {
	dir := filepath.Join(e.cfg.Dir, "panics")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		e.log.Warn("packets that make the code panic cannot be kept on disk", "error", err)
		return ""
	}
	return dir
}

// Addrs are the addresses that are served. Where a free port was asked for, it is known once the edge is ready.
func (e *Edge) Addrs() []netip.AddrPort { return e.server.Addrs() }

// AddrsOf are the addresses that one transport is served at.
func (e *Edge) AddrsOf(t serve.Transport) []netip.AddrPort { return e.server.AddrsOf(t) }

// Run serves until ctx ends, and then closes what New opened.
func (e *Edge) Run(ctx context.Context) error {
	var atlas *geo.Atlas
	var files *geo.FileMaps
	var noAtlas fileFaults
	var noMaps []error
	var opening sync.WaitGroup
	opening.Go(func() { atlas, noAtlas = e.openGeo() })
	opening.Go(func() { files, noMaps = e.openMaps() })
	snapshot, first, noSnapshot := snapshot.Open(filepath.Join(e.cfg.Dir, "snapshot"), e.log)
	e.tellOpened(first, noSnapshot)
	if opening.Wait(); first == nil { // a first start: more likely a wrong name than a bad day
		errs := noAtlas.without(atlas)
		if noMaps != nil && files.Len() == 0 {
			errs = append(errs, noMaps...)
		}
		if errs != nil {
			if snapshot != nil {
				errs = append(errs, snapshot.Close())
			}
			return errors.Join(append(errs, e.close())...)
		}
	}
	e.tellGeo(noAtlas)
	e.tellMaps(files, noMaps)
	if snapshot != nil && e.cfg.Registerer != nil {
		if err := e.cfg.Registerer.Register(snapshot); err != nil {
			return errors.Join(err, snapshot.Close(), e.close())
		}
		defer e.cfg.Registerer.Unregister(snapshot)
	}
	var from *state.Cursor
	if first != nil {
		from = first.Position()
		e.setSnapshot(func(s *snapshotState) { s.from, s.written = true, snapshot.LastWrite() })
	}
	g, ctx := errgroup.WithContext(ctx)
	served := make(chan struct{}) // closed when there is a view, or nothing to make one of
	g.Go(func() error { return e.compile(ctx, atlas, files, first, served) })
	g.Go(func() error { e.keep(ctx, snapshot, noSnapshot != nil); return nil })
	g.Go(func() error { e.fillTables(ctx); return nil })
	g.Go(func() error { e.fetch(ctx); return nil })
	g.Go(func() error { e.clock.run(ctx, e.cfg.Now); return nil })
	g.Go(func() error { e.aliases.Run(ctx); return nil })
	g.Go(func() error { e.sampling.Run(ctx); return nil })
	g.Go(func() error { e.cookies.run(ctx); return nil })
	g.Go(func() error { e.transfer.Run(ctx); return nil })
	g.Go(func() error { e.watchTSIG(ctx); return nil })
	g.Go(func() error {
		select {
		case <-served: // the store is not to be in the way of the first answer
		case <-ctx.Done():
			return ctx.Err()
		}
		return e.cfg.Store.Follow(ctx, store.FollowConfig{From: from, Has: first, OnStatus: e.setStatus, OnPulse: e.heard,
			OnUpdate: func(u state.Update) error { return e.tell(ctx, news{update: &u}) }})
	})
	g.Go(func() error { return e.beFound(ctx) })
	if len(e.cfg.GeoFiles) > 0 || e.cfg.LatencyFile != "" {
		g.Go(func() error { e.watchGeo(ctx, atlas); return nil })
	}
	if files != nil {
		g.Go(func() error { e.watchMaps(ctx, files); return nil })
	}
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, e.close())
}

// beFound tells the store of this edge until ctx ends; not before its ports are known.
func (e *Edge) beFound(ctx context.Context) error {
	if slices.ContainsFunc(e.Addrs(), func(a netip.AddrPort) bool { return a.Port() == 0 }) {
		select {
		case <-e.opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return e.cfg.Store.KeepEdge(ctx, e.self, edgeTTL)
}

func (e *Edge) tell(ctx context.Context, n news) error {
	select {
	case e.news <- n:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Edge) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return e.server.Shutdown(ctx)
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.LittleEndian.Uint64(b[:])
}

func addrStrings(addrs []netip.AddrPort) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}

func (e *Edge) setStatus(s state.FollowStatus) {
	e.mu.Lock()
	was := e.status
	e.status = s
	if s.State == state.Current {
		e.snapshot.from = false
	}
	e.mu.Unlock()
	if was.State == s.State && was.Err == s.Err {
		return
	}
	if s.State == state.Current && !e.isOpen() { // where the store holds no zone, either, that is what is to be answered from
		select {
		case e.news <- news{}:
		default: // there is other news, which does as well
		}
	}
	level, args := slog.LevelInfo, []any{"state", s.State, "cursor", s.Cursor}
	if s.Err != "" {
		level, args = slog.LevelWarn, append(args, "error", s.Err)
	}
	e.log.Log(context.Background(), level, "store", args...)
}

// isOpen reports whether the sockets are open.
func (e *Edge) isOpen() bool {
	select {
	case <-e.opened:
		return true
	default:
		return false
	}
}

// Ready reports whether queries are answered, and if not, why.
func (e *Edge) Ready() error {
	if e.isOpen() {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	why := "the store is " + e.status.State
	if e.status.Err != "" {
		why += ": " + e.status.Err
	}
	if e.snapshot.err != "" {
		why += "; the copy on disk: " + e.snapshot.err
	}
	return fmt.Errorf("no configuration yet, so that nothing listens for DNS: %s", why)
}
