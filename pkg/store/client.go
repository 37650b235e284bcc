package store

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/store/link"
)

// DefaultPrefix is where gtm's keys stand.
const DefaultPrefix = "/gtm/"

// Config says how etcd is reached.
type Config struct {
	// Endpoints are http://HOST:PORT, https://HOST:PORT or unix:///PATH (a Child's), all of one kind.
	Endpoints []string
	// TLS is used with https:// only; nil there: the system's roots, no client certificate.
	TLS *tls.Config
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

// Client reads, follows and changes the store. It is safe for concurrent use.
type Client struct {
	cfg     Config
	keys    keyspace
	log     *slog.Logger
	link    *link.Link
	metrics *metrics
	texts   *textCache
	// leading is the election key that fences verdicts; nil while another judge leads.
	leading atomic.Pointer[fence]
	// written is the newest revision of which an answer to overwrite told.
	written atomic.Int64
	// judgeTTL is that of a candidate's lease.
	judgeTTL time.Duration
}

// Open checks cfg and makes a client. It does not wait for etcd, since an edge must start without it:
// Ping tells whether it answers.
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
	l, err := link.Open(link.Config{Endpoints: cfg.Endpoints, TLS: cfg.TLS, Logger: cfg.Logger, Registerer: cfg.Registerer})
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &Client{cfg: cfg, keys: keyspace(cfg.Prefix), log: cfg.Logger, link: l, metrics: m,
		texts: newTextCache(textCacheBytes), judgeTTL: 5 * time.Second}, nil
}

// Close ends the connection. Follow, Campaign and the Keep functions end with their own contexts, which
// are to be ended before.
func (c *Client) Close() error { return c.link.Close() }

// Ping asks etcd for a sign of life that needs a quorum; its error says what to do.
func (c *Client) Ping(ctx context.Context) error {
	err := c.link.Try(ctx, func(ctx context.Context) error {
		_, err := c.link.Etcd.Get(ctx, c.keys.epoch(), clientv3.WithCountOnly())
		return err
	})
	return c.link.Explain("asking for a sign of life", err)
}

// LastContact tells when a followed etcd was last heard of; zero: never.
func (c *Client) LastContact() time.Time { return c.link.LastContact() }

// WatchSpace asks again and again how full etcd is, until ctx ends, and tells the log and the metrics.
func (c *Client) WatchSpace(ctx context.Context) error { return c.link.WatchSpace(ctx) }

// Space gives what WatchSpace found last.
func (c *Client) Space() link.Space { return c.link.Space() }
