// Package link is the connection to etcd: it finds the members that are of use, repeats what may be repeated, says what is wrong, and
// holds leases, reads and watches whatever befalls them. It knows no keys.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/gti/gtm/pkg/store/server"
)

// Config says how etcd is reached.
type Config struct {
	// Endpoints are http://HOST:PORT, https://HOST:PORT or unix:///PATH, all of one kind.
	Endpoints []string
	// TLS is used with https:// only; nil there: the system's roots, no client certificate.
	TLS *tls.Config
	// Certs, if not nil, take the place of TLS, as their files are at each connection.
	Certs *Certs
	// Logger and Registerer must not be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Patience is how long the client waits, and how often it asks.
type Patience struct {
	Attempt  time.Duration // the first attempt of a call, before another member is asked
	Call     time.Duration // one request, with all its attempts
	Commit   time.Duration // one change, which may be large
	Progress time.Duration // between two signs of life asked for while following
	Stall    time.Duration // without a sign of life: the connection is given up
	RetryMin time.Duration // first and longest pause between two attempts
	RetryMax time.Duration
	Known    time.Duration // between two times that an edge writes what it is
	Check    time.Duration // between two checks whether a leased key is there
	Space    time.Duration // between two checks how full etcd is
}

var defaultPatience = Patience{
	Attempt: 2 * time.Second, Call: 5 * time.Second, Commit: 60 * time.Second,
	Progress: 2 * time.Second, Stall: 7 * time.Second,
	RetryMin: 200 * time.Millisecond, RetryMax: 5 * time.Second,
	Known: 5 * time.Minute,
	Check: 30 * time.Second,
	Space: spaceEvery,
}

// Link is a connection to etcd: to one of its members or another. It is safe for concurrent use.
type Link struct {
	// Etcd makes single calls. What is to survive a member that is of no use goes by Try or Attempts.
	Etcd *clientv3.Client
	// Wait is set before the first call.
	Wait Patience

	endpoints []string
	log       *slog.Logger
	dialer    *dialer
	metrics   *metrics
	space     atomic.Pointer[Space] // what WatchSpace found last
}

// Open checks cfg and makes a link. It does not wait for etcd.
func Open(cfg Config) (*Link, error) {
	if cfg.Certs != nil {
		cfg.TLS = cfg.Certs.Config()
	}
	d, err := newDialer(cfg.Endpoints, cfg.TLS)
	if err != nil {
		return nil, err
	}
	d.certs = cfg.Certs
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	l := &Link{Wait: defaultPatience, endpoints: cfg.Endpoints, log: cfg.Logger, dialer: d, metrics: m}
	if l.Etcd, err = l.Connect(); err != nil {
		return nil, err
	}
	return l, nil
}

// Close ends the connection.
func (l *Link) Close() error {
	if err := l.Etcd.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// LastContact tells when a followed etcd was last heard of; zero: never.
func (l *Link) LastContact() time.Time { return l.metrics.lastContact() }

// Connect makes a connection of its own to etcd, lazily.
func (l *Link) Connect(more ...grpc.DialOption) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:            l.dialer.targets,
		DialTimeout:          l.Wait.Call,
		DialKeepAliveTime:    10 * time.Second, // the least that grpc allows; following asks for progress more often
		DialKeepAliveTimeout: 3 * time.Second,
		MaxCallSendMsgSize:   server.MaxRequestBytes,
		MaxCallRecvMsgSize:   1 << 30,
		Logger:               zap.NewNop(),
		MaxUnaryRetries:      1, // Link.unary knows what may be repeated
		DialOptions: append([]grpc.DialOption{
			grpc.WithContextDialer(l.dialer.dial),
			grpc.WithChainUnaryInterceptor(l.unary),
			grpc.WithDisableServiceConfig(), // that of etcd's client asks for turns without regard
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"` + balancerName + `": {}}]}`),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: dialPatience,
			}),
		}, more...),
	})
}

// Sleep waits, and reports whether it was not interrupted.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
