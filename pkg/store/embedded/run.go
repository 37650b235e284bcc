//go:build !noembed

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/gti/gtm/pkg/private"
	"github.com/gti/gtm/pkg/store/server"
)

// Built reports whether this program has an etcd in it.
const Built = true

// Run is what the child process of Start runs: one etcd member whose data lies in dir and
// whose only door is a socket there. It tells on standard output when it is ready, logs to standard error,
// and ends when ctx does, or when standard input is closed, which is how a child learns that its parent
// died.
func Run(ctx context.Context, dir string) error {
	return RunTuned(ctx, dir, Tuning{})
}

// Tuning is how an etcd of tests differs from the embedded one.
type Tuning struct {
	Etcd func(*embed.Config) // nil: as it is
	// Every is how often the space is checked; 0: as usual. Where it is not 0, Keep revisions stay, and nothing waits for its turn.
	Every time.Duration
	Keep  int64
}

// RunTuned is Run of an etcd that is set otherwise.
func RunTuned(ctx context.Context, dir string, tuning Tuning) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := private.MakeDir(dir); err != nil {
		return err
	}
	socket, release, err := server.ShortSocketPath(filepath.Join(dir, socketName))
	if err != nil {
		return err
	}
	defer release()
	cfg := embeddedConfig(dir, socket)
	if tuning.Etcd != nil {
		tuning.Etcd(cfg)
	}
	space := embeddedSpace
	if tuning.Every != 0 {
		space = spaceKeeping{every: tuning.Every, keep: tuning.Keep}
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("the embedded etcd in %s did not start: %w", dir, err)
	}
	defer closeSoon(e)
	keeping, stop := context.WithCancel(ctx)
	defer stop()
	orphaned := make(chan struct{})
	go func() {
		defer close(orphaned)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	select {
	case <-e.Server.ReadyNotify():
		go (&spaceKeeper{spaceKeeping: space, e: e, quota: cfg.QuotaBackendBytes}).run(keeping)
		fmt.Println(readyLine)
	case err := <-e.Err():
		return fmt.Errorf("the embedded etcd in %s: %w", dir, err)
	case <-orphaned:
		return nil
	case <-ctx.Done():
		return nil
	}
	select {
	case err := <-e.Err():
		return fmt.Errorf("the embedded etcd in %s: %w", dir, err)
	case <-e.Server.StopNotify():
		return errors.New("the embedded etcd stopped by itself")
	case <-orphaned:
	case <-ctx.Done():
	}
	return nil
}

// closeSoon ends etcd in good order, unless it waits for clients that still watch: then the process ends
// as in a crash, which etcd is made for.
func closeSoon(e *embed.Etcd) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		e.Close()
	}()
	select {
	case <-closed:
	case <-time.After(time.Second):
	}
}

// embeddedConfig is a single member that no other can join: it has no door for peers.
func embeddedConfig(dir, socket string) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name = "gtm"
	cfg.Dir = dir
	client := url.URL{Scheme: "unix", Path: socket}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.InitialClusterToken = "gtm"
	cfg.EnableGRPCGateway = false

	// Alone it elects itself; the ticks only decide how soon.
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.MaxTxnOps, cfg.MaxRequestBytes = server.MaxTxnOps, server.MaxRequestBytes
	cfg.QuotaBackendBytes = 8 << 30
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, "10m" // see budget.go of pkg/prober
	cfg.SnapshotCount = 5000
	cfg.MaxWalFiles, cfg.MaxSnapFiles = 2, 2
	cfg.WarningApplyDuration, cfg.WarningUnaryRequestDuration = time.Second, time.Second

	cfg.Logger, cfg.LogLevel, cfg.LogFormat = "zap", "info", "console"
	cfg.LogOutputs = []string{"stderr"}
	return cfg
}
