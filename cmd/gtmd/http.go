package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/transfer"
)

// Times of a request on the HTTP port. The API moves its own deadlines, since its requests differ.
const (
	webHeaderTime = 5 * time.Second
	webReadTime   = 30 * time.Second
	webWriteTime  = 2 * time.Minute // from the request's header to the last byte of the reply
	webIdleTime   = time.Minute
	webMaxHeader  = 32 << 10 // bytes
)

func newWebServer(h http.Handler, conns *webConns, logger *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ConnState: conns.watch, ReadHeaderTimeout: webHeaderTime, ReadTimeout: webReadTime,
		WriteTimeout: webWriteTime, IdleTimeout: webIdleTime, MaxHeaderBytes: webMaxHeader,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug)}
}

// serveHTTP serves status, metrics and, with the role, the API until ctx ends.
func (s *server) serveHTTP(ctx context.Context) error {
	conns := limitConns(s.web, maxWebConns, maxWebConnsFrom)
	web := newWebServer(newWebNames(s.cfg.http, s.cfg.httpNames).only(s.handler()), conns, s.cfg.logger)
	done := make(chan error, 1)
	go func() {
		if s.tls == nil {
			done <- web.Serve(conns)
			return
		}
		web.TLSConfig = s.tls.TLS()
		web.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){} // HTTP/1.1 alone, for which the limits are
		done <- web.ServeTLS(conns, "", "")
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := web.Shutdown(stop); err != nil {
		_ = web.Close()
	}
	return nil
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	private := func(h http.Handler) http.Handler { return s.cfg.door.Private(h, s.book, s.cfg.edgeNetworks) }
	metrics := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	mux.Handle("GET /metrics", s.cfg.door.Metrics(metrics, s.book, s.cfg.edgeNetworks))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if s.edge != nil {
		mux.Handle("/edge/", private(s.edge.Handler()))
	}
	if s.control == nil {
		mux.HandleFunc("/v1/", s.noControl)
	} else {
		mux.Handle("/v1/", s.control.Handler())
		mux.Handle(transfer.MessagePath, s.moves)
	}
	return mux
}

// noControl tells who takes an edge for the API what it is.
func (s *server) noControl(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusNotFound)
	_ = json.NewEncoder(w).Encode(api.Problem{Title: http.StatusText(http.StatusNotFound), Status: http.StatusNotFound,
		Detail: "this gtmd has no API, since it does not play the role control: pass --server with the address of one that does"})
}

// ready reports whether every role can do its work: an edge needs a view, wherever it came from; control needs the store. A prober
// counts where it is alone, since nobody is to be kept from an edge or from the API because of it.
func (s *server) ready() error {
	var errs []error
	if s.edge != nil {
		errs = append(errs, s.edge.Ready())
	}
	if st := s.followed.Load(); s.control != nil && st.State != state.Current {
		err := fmt.Errorf("control: the store is %s", st.State)
		if st.Err != "" {
			err = fmt.Errorf("%w: %s", err, st.Err)
		}
		errs = append(errs, err)
	}
	if s.prober != nil && s.edge == nil && s.control == nil {
		if err := s.prober.Ready(); err != nil {
			errs = append(errs, fmt.Errorf("prober: %w", err))
		}
	}
	return errors.Join(errs...)
}
