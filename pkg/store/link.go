package store

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

// linkConfig says how etcd is reached.
type linkConfig struct {
	// Endpoints are http://HOST:PORT, https://HOST:PORT or unix:///PATH, all of one kind.
	Endpoints []string
	// TLS is used with https:// only; nil there: the system's roots, no client certificate.
	TLS *tls.Config
	// Logger and Registerer must not be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
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
	known    time.Duration // between two times that an edge writes what it is
	look     time.Duration // between two looks whether a leased key is there
	space    time.Duration // between two looks how full etcd is
}

var defaultPatience = patience{
	attempt: 2 * time.Second, call: 5 * time.Second, commit: 60 * time.Second,
	progress: 2 * time.Second, stall: 7 * time.Second,
	retryMin: 200 * time.Millisecond, retryMax: 5 * time.Second,
	known: 5 * time.Minute,
	look:  30 * time.Second,
	space: spaceEvery,
}

// Link is a connection to etcd: to one of its members or another. It is safe for concurrent use.
type Link struct {
	// etcd makes single calls. What is to survive a member that is of no use goes by try or attempts.
	etcd *clientv3.Client
	// wait is set before the first call.
	wait patience

	endpoints []string
	log       *slog.Logger
	dialer    *dialer
	metrics   *linkMetrics
	space     atomic.Pointer[Space] // what WatchSpace found last
}

// openLink checks cfg and makes a link. It does not wait for etcd.
func openLink(cfg linkConfig) (*Link, error) {
	d, err := newDialer(cfg.Endpoints, cfg.TLS)
	if err != nil {
		return nil, err
	}
	m, err := newLinkMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	l := &Link{wait: defaultPatience, endpoints: cfg.Endpoints, log: cfg.Logger, dialer: d, metrics: m}
	if l.etcd, err = l.connect(); err != nil {
		return nil, err
	}
	return l, nil
}

// Close ends the connection.
func (l *Link) Close() error {
	if err := l.etcd.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// LastContact tells when a followed etcd was last heard of; zero: never.
func (l *Link) LastContact() time.Time { return l.metrics.lastContact() }

// connect makes a connection of its own to etcd, lazily.
func (l *Link) connect(more ...grpc.DialOption) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:            l.dialer.targets,
		DialTimeout:          l.wait.call,
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

// sleep waits, and tells whether it was not interrupted.
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
