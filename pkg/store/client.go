package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/gti/gtm/pkg/store/server"
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

// patience is how long the client waits, and how often it asks.
type patience struct {
	attempt  time.Duration // the first attempt of a call, before another member is asked
	call     time.Duration // one request, with all its attempts
	commit   time.Duration // one change, which may be large
	progress time.Duration // between two signs of life asked for while following
	stall    time.Duration // without a sign of life: the connection is given up
	retryMin time.Duration // first and longest pause between two attempts
	retryMax time.Duration
	judgeTTL time.Duration // lease of a candidate
	known    time.Duration // between two times that an edge writes what it is
	check    time.Duration // between two checks whether a leased key is there
	space    time.Duration // between two checks how full etcd is
}

var defaultPatience = patience{
	attempt: 2 * time.Second, call: 5 * time.Second, commit: 60 * time.Second,
	progress: 2 * time.Second, stall: 7 * time.Second,
	retryMin: 200 * time.Millisecond, retryMax: 5 * time.Second,
	judgeTTL: 5 * time.Second,
	known:    5 * time.Minute,
	check:    30 * time.Second,
	space:    spaceEvery,
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
	wait    patience
	dialer  *dialer
	etcd    *clientv3.Client
	metrics *metrics
	texts   *textCache
	// leading is the election key that fences verdicts; nil while another judge leads.
	leading atomic.Pointer[fence]
	// written is the newest revision of which an answer to overwrite told.
	written atomic.Int64
	// space is what WatchSpace found last.
	space atomic.Pointer[Space]
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
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d, err := newDialer(cfg.Endpoints, cfg.TLS)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, keys: keyspace(cfg.Prefix), log: cfg.Logger, wait: defaultPatience, dialer: d, metrics: m,
		texts: newTextCache(textCacheBytes)}
	if c.etcd, err = c.connect(); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the connection. Follow, Campaign and the Keep functions end with their own contexts, which
// are to be ended before.
func (c *Client) Close() error {
	if err := c.etcd.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Ping asks etcd for a sign of life that needs a quorum; its error says what to do.
func (c *Client) Ping(ctx context.Context) error {
	err := c.try(ctx, func(ctx context.Context) error {
		_, err := c.etcd.Get(ctx, c.keys.epoch(), clientv3.WithCountOnly())
		return err
	})
	return c.explain("asking for a sign of life", err)
}

// connect makes a connection of its own to etcd, lazily.
func (c *Client) connect(more ...grpc.DialOption) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:            c.dialer.targets,
		DialTimeout:          c.wait.call,
		DialKeepAliveTime:    10 * time.Second, // the least that grpc allows; following asks for progress more often
		DialKeepAliveTimeout: 3 * time.Second,
		MaxCallSendMsgSize:   server.MaxRequestBytes,
		MaxCallRecvMsgSize:   1 << 30,
		Logger:               zap.NewNop(),
		MaxUnaryRetries:      1, // Client.unary knows what may be repeated
		DialOptions: append([]grpc.DialOption{
			grpc.WithContextDialer(c.dialer.dial),
			grpc.WithChainUnaryInterceptor(c.unary),
			grpc.WithDisableServiceConfig(), // that of etcd's client asks for turns without regard
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"` + balancerName + `": {}}]}`),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: dialPatience,
			}),
		}, more...),
	})
}

// checkEndpoints reports whether all endpoints are well-formed and of one kind, and which kind that is.
func checkEndpoints(endpoints []string, withTLS bool) (string, error) {
	if len(endpoints) == 0 {
		return "", errors.New("no etcd endpoint is given; use --etcd http://HOST:2379 (or https://)")
	}
	scheme := ""
	for _, e := range endpoints {
		u, err := url.Parse(e)
		if strings.HasPrefix(e, "unix:") {
			u, err = &url.URL{Scheme: "unix"}, nil // a path is not read as a URL: it may hold anything
		}
		if err != nil || u.Scheme == "" {
			return "", fmt.Errorf("the etcd endpoint %q is not a URL; write it as http://HOST:2379 or https://HOST:2379", e)
		}
		switch u.Scheme {
		case "unix":
		case "http", "https":
			if u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" {
				return "", fmt.Errorf("the etcd endpoint %q needs a host and a port, and no path: %s://HOST:2379", e, u.Scheme)
			}
		default:
			return "", fmt.Errorf("the etcd endpoint %q has the scheme %q; http, https and unix are known", e, u.Scheme)
		}
		if scheme != "" && scheme != u.Scheme {
			return "", fmt.Errorf("the etcd endpoints mix %s and %s; they must all be of one scheme", scheme, u.Scheme)
		}
		scheme = u.Scheme
	}
	if withTLS && scheme != "https" {
		return "", fmt.Errorf("TLS files are given for etcd, but the endpoint %q is not encrypted; use https://", endpoints[0])
	}
	return scheme, nil
}

// LastContact tells when a followed etcd was last heard of; zero: never.
func (c *Client) LastContact() time.Time { return c.metrics.lastContact() }

// fence is the election key of the leader: verdicts are written only while it stands.
type fence struct {
	key string
	rev int64 // its creation
}

// sleep waits, and reports whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
