package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// demoEndpoint is a small web server that can be told to fail.
type demoEndpoint struct {
	pool, name string
	listener   net.Listener
	failing    atomic.Bool
}

// openDemo binds the endpoints that zones/demo.yaml names.
func openDemo(port uint16) ([]*demoEndpoint, error) {
	var out []*demoEndpoint
	for i, pool := range []string{"eu", "us", "sg"} {
		for j, name := range []string{"a", "b"} {
			addr := fmt.Sprintf("127.0.%d.%d:%d", i+2, j+1, port)
			l, err := net.Listen("tcp", addr)
			if err != nil {
				for _, e := range out {
					_ = e.listener.Close()
				}
				return nil, fmt.Errorf("the demo's endpoint %s/%s: %w: stop what listens there, or start without --demo", pool, name, err)
			}
			out = append(out, &demoEndpoint{pool: pool, name: name, listener: l})
		}
	}
	return out, nil
}

// runDemo serves the endpoints until ctx ends.
func runDemo(ctx context.Context, endpoints []*demoEndpoint, log *slog.Logger) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, e := range endpoints {
		s := &http.Server{Handler: e.handler(log), ReadHeaderTimeout: 5 * time.Second}
		g.Go(func() error {
			if err := s.Serve(e.listener); err != http.ErrServerClosed {
				return err
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			return s.Close()
		})
	}
	return g.Wait()
}

func (e *demoEndpoint) handler(log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	who := fmt.Sprintf("endpoint %s of pool %s at %s\n", e.name, e.pool, e.listener.Addr())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if e.failing.Load() {
			http.Error(w, "failing, as it was told to", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	set := func(failing bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			e.failing.Store(failing)
			log.Info("demo endpoint", "pool", e.pool, "endpoint", e.name, "failing", failing)
			fmt.Fprintf(w, "failing: %v, %s", failing, who)
		}
	}
	mux.HandleFunc("POST /fail", set(true))
	mux.HandleFunc("POST /heal", set(false))
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, who) })
	return mux
}
