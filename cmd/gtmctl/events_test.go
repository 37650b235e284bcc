package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
)

// TestWatchGoesOnWhereAStreamBrokeOff: behind the last event that was shown, and it ends well when it is interrupted.
func TestWatchGoesOnWhereAStreamBrokeOff(t *testing.T) {
	event := func(i int) *api.Event {
		at := time.Date(2026, 5, 4, 12, 0, i, 0, time.UTC)
		return &api.Event{ID: fmt.Sprint("e", i), Kind: api.EventPool, Tenant: "shop", Pool: "eu", From: "up", To: "down", Time: at,
			Reason: fmt.Sprint("reason ", i), Vantages: map[string]string{"ams": "down"}}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var mu sync.Mutex
	var lasts []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/events" {
			_ = json.NewEncoder(w).Encode(api.Events{Events: []api.Event{*event(1)}})
			return
		}
		mu.Lock()
		lasts = append(lasts, r.Header.Get("Last-Event-ID"))
		n := len(lasts)
		mu.Unlock()
		if r.URL.Path != "/v1/events/stream" || r.URL.Query().Get("pool") != "shop/eu" || r.URL.Query().Has("limit") {
			t.Errorf("asked for %s", r.URL)
		}
		if n == 4 { // what comes is over
			stop()
			<-r.Context().Done()
			return
		}
		data, _ := json.Marshal(event(n + 1))
		fmt.Fprintf(w, ": a sign\n\nid: e%d\nevent: pool\ndata: %s\n\n", n+1, data)
	}))
	defer web.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a-token-for-tests-only\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := run(ctx, world{out: &out, err: &errs, getenv: func(string) string { return "" }, now: time.Now},
		[]string{"events", "--server", web.URL, "--token-file", token, "--pool", "shop/eu", "--since", "-1h", "-w"})
	if code != exitOK || errs.Len() > 0 {
		t.Errorf("ended with %d: %s", code, &errs)
	}
	if got := strings.Join(lasts, " "); got != "e1 e2 e3 e4" {
		t.Errorf("went on behind %s", got)
	}
	const want = `2026-05-04T12:00:01Z  pool shop/eu: up -> down: reason 1 (ams: down)
2026-05-04T12:00:02Z  pool shop/eu: up -> down: reason 2 (ams: down)
2026-05-04T12:00:03Z  pool shop/eu: up -> down: reason 3 (ams: down)
2026-05-04T12:00:04Z  pool shop/eu: up -> down: reason 4 (ams: down)
`
	if out.String() != want {
		t.Errorf("got\n%s", &out)
	}
}
