// Package store keeps gtm's shared state in etcd: it reads it at a revision, follows it from the next, and changes it in single
// transactions. What the state is stands in package state, how it is kept on disk in package snapshot, the keys in package layout.
//
// # Configuration
//
// A change belongs to a tenant and makes that tenant's next generation: immutable versions of the
// resources that it touches (a deletion is a version too), a record of who changed what, and a new head,
// in one transaction. The state of a tenant at a generation is, of each resource, the newest version that
// is not newer than the generation. etcd's revision is only a cursor.
//
// # Clusters
//
// An etcd that is not the embedded one should be of version 3.5.8 or later, and started with
// --max-txn-ops=8192 --max-request-bytes=33554432 and --auto-compaction-retention=10m; with its defaults, a generation
// holds some 120 resources and 1.5 MB, zone content apart. Versions and records are kept for ever.
//
// # Silence
//
// Loss of etcd is not an error of Follow but a status: it keeps trying, tells the consumer that what it
// has is stale, and goes on where it stopped. What it delivers never goes back by itself: a store that
// was restored to an older state is refused until Client.Accept, also when its numbers have caught up, since each generation has an ID
// (see Record) that is compared.
//
// # Damage
//
// A value that is not understood costs its own tenant, pool, zone or resource, and whoever holds an earlier form keeps it. A head that
// is damaged counts as what the tenant's log says, and is mended by the tenant's next change.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/pieces"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/tokens"
)

// DefaultPrefix is where gtm's keys stand.
const DefaultPrefix = "/gtm/"

// Config says how etcd is reached.
type Config struct {
	// Endpoints are http://HOST:PORT, https://HOST:PORT or unix:///PATH (a Child's), all of one kind.
	Endpoints []string
	// TLS is used with https:// only; nil there: the system's roots, no client certificate.
	TLS *tls.Config
	// Certs, if not nil, take the place of TLS: files that are read again when they change.
	Certs *link.Certs
	// Prefix of all keys; default DefaultPrefix. It ends in a slash.
	Prefix string
	// Logger and Registerer may be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock that stamps Accept; nil: time.Now.
	Now func() time.Time
}

// Limits of one generation: writes (one per resource, and two more) and bytes of keys and values. Zone content does not count: a
// little comes with the generation, much is written before. The embedded etcd is started so that they fit; a cluster should be, too.
const (
	MaxChangeOps   = 8000
	MaxChangeBytes = 24 << 20
)

// textCacheBytes bounds what a client keeps of the runs that it saw.
const textCacheBytes = 64 << 20

// Client reads, follows and changes the store. It is safe for concurrent use.
type Client struct {
	cfg     Config
	keys    layout.Keys
	log     *slog.Logger
	link    *link.Link
	metrics *metrics
	texts   *layout.TextCache
	// leading is the election key that fences verdicts; nil while another judge leads.
	leading atomic.Pointer[fence]
	// finding is likewise that of who looks for endpoints.
	finding atomic.Pointer[fence]
	// driving is likewise that of who drives rollouts.
	driving atomic.Pointer[fence]
	// packs tells that what is written of health is packed: see SurveyReaders.
	packs atomic.Bool
	// written is the newest revision of which an answer to overwrite told.
	written atomic.Int64
	// judgeTTL is that of a candidate's lease.
	judgeTTL time.Duration
}

// Open checks cfg and makes a client. It does not wait for etcd, since an edge must start without it:
// Ping reports whether it answers.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if !strings.HasSuffix(cfg.Prefix, "/") {
		return nil, fmt.Errorf("the prefix %q of the keys in etcd must end in a slash", cfg.Prefix)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry() // that nobody reads
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l, err := link.Open(link.Config{Endpoints: cfg.Endpoints, TLS: cfg.TLS, Certs: cfg.Certs, Logger: cfg.Logger,
		Registerer: cfg.Registerer})
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &Client{cfg: cfg, keys: layout.Keys(cfg.Prefix), log: cfg.Logger, link: l, metrics: m,
		texts: layout.NewTextCache(textCacheBytes), judgeTTL: 5 * time.Second}, nil
}

// Close ends the connection. Follow, Campaign and the Keep functions end with their own contexts, which
// are to be ended before.
func (c *Client) Close() error { return c.link.Close() }

// Ping asks etcd for a sign of life that needs a quorum; its error says what to do.
func (c *Client) Ping(ctx context.Context) error {
	err := c.link.Try(ctx, func(ctx context.Context) error {
		_, err := c.link.Etcd.Get(ctx, c.keys.Epoch(), clientv3.WithCountOnly())
		return err
	})
	return c.link.Explain("asking for a sign of life", err)
}

// Tokens is where service tokens are kept.
func (c *Client) Tokens() *tokens.Store { return &tokens.Store{Link: c.link, Keys: c.keys, Log: c.log} }

// LastContact tells when a followed etcd was last heard of; zero: never.
func (c *Client) LastContact() time.Time { return c.link.LastContact() }

// WatchSpace asks again and again how full etcd is, until ctx ends, and tells the log and the metrics.
func (c *Client) WatchSpace(ctx context.Context) error { return c.link.WatchSpace(ctx) }

// Space gives what WatchSpace found last.
func (c *Client) Space() link.Space { return c.link.Space() }

// fence is the election key of the leader: verdicts are written only while it stands.
type fence struct {
	key string
	rev int64 // its creation
}

// metrics of a client. The gauges show the follower of configuration that spoke last.
type metrics struct {
	followState *prometheus.GaugeVec
	cursor      prometheus.Gauge
	resyncs     prometheus.Counter
	broken      prometheus.Gauge
	commits     *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		followState: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gtm_store_follow_state_info",
			Help: "1 for the state in which following the store is: connecting, current, stale or refused."}, []string{"state"}),
		cursor: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_store_cursor_revision",
			Help: "The etcd revision up to which the store was followed."}),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_store_resyncs_total",
			Help: "How often the whole state was read anew."}),
		broken: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_store_broken_resources",
			Help: "Resources in the store that cannot be decoded."}),
		commits: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gtm_store_commit_duration_seconds",
			Help:    "Time that a change took, by result: ok, conflict, too_large, unknown, error.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.followState, m.cursor, m.resyncs, m.broken, m.commits} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) state(now string) {
	for _, s := range []string{state.Connecting, state.Current, state.Stale, state.Refused} {
		v := 0.0
		if s == now {
			v = 1
		}
		m.followState.WithLabelValues(s).Set(v)
	}
}

func (m *metrics) commit(start time.Time, err error) {
	result := "ok"
	var conflict *ConflictError
	var large *TooLargeError
	var unknown *UnknownError
	switch {
	case errors.As(err, &conflict):
		result = "conflict"
	case errors.As(err, &large):
		result = "too_large"
	case errors.As(err, &unknown):
		result = "unknown"
	case err != nil:
		result = "error"
	}
	m.commits.WithLabelValues(result).Observe(time.Since(start).Seconds())
}

// pack gives the form in which a value is written.
func (c *Client) pack(value []byte) []byte {
	if c.packs.Load() {
		return state.Pack(value)
	}
	return value
}

// frame tells of the form in which values are written what it costs to write pieces.
func (c *Client) frame() pieces.Frame {
	if c.packs.Load() {
		return pieces.Packed
	}
	return pieces.Plain
}
