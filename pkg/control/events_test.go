package control

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/events"
)

// happens is an event of a pool, the i-th.
func happens(i int) api.Event {
	return api.Event{ID: fmt.Sprint("e", i), Time: now, Kind: api.EventPool, Tenant: "shop", Pool: "eu", From: "up", To: "down"}
}

func (w *world) keepsEvents(t *testing.T) *events.Log {
	t.Helper()
	log := events.Open(events.Config{Now: func() time.Time { return w.clock }})
	w.cfg.Events = Events{Log: log, Told: func() ([]api.EventTarget, bool) {
		return []api.EventTarget{{Tenant: "shop", Name: "chat"}}, true
	}}
	return log
}

func TestEventsAreListed(t *testing.T) {
	w := newWorld(t)
	rec := w.ask(t, "GET", "/v1/events", nil, nil)
	if rec.Code != http.StatusNotFound || !strings.Contains(rec.Body.String(), "--events 0") {
		t.Errorf("none are kept: %d %s", rec.Code, rec.Body)
	}
	log := w.keepsEvents(t)
	log.Add(1, 0, happens(1))
	w.clock = w.clock.Add(time.Hour + time.Second)
	other := happens(3)
	other.Tenant, other.Kind, other.Endpoint = "other", api.EventEndpoint, "a"
	log.Add(1, 0, happens(2), other)
	for query, want := range map[string]string{
		"": "e1 e2 e3", "?tenant=shop": "e1 e2", "?pool=shop/eu": "e1 e2", "?pool=shop/us": "", "?kind=endpoint": "e3",
		"?since=" + w.clock.UTC().Format(time.RFC3339): "e2 e3", "?limit=1": "e3", "?tenant=nobody": "",
	} {
		var got api.Events
		w.ask(t, "GET", "/v1/events"+query, nil, &got)
		var ids []string
		for i := range got.Events {
			ids = append(ids, got.Events[i].ID)
		}
		if s := strings.Join(ids, " "); s != want || got.More != (query == "?limit=1") || !got.Kept.Teller {
			t.Errorf("%s: %s, more %v, want %s", query, s, got.More, want)
		}
	}
	for _, query := range []string{"?pool=shop", "?pool=shop/eu&tenant=other", "?kind=pools", "?limit=0"} {
		rec := w.ask(t, "GET", "/v1/events"+query, nil, nil)
		if rec.Code != http.StatusBadRequest && rec.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", query, rec.Code)
		}
	}
	var s api.Status
	w.ask(t, "GET", "/v1/status", nil, &s)
	if s.Pools[0].Changes != 1 || s.Events == nil || s.Events.Events != 3 || s.Events.Targets[0].Name != "chat" {
		t.Errorf("changes within an hour: %d; %+v", s.Pools[0].Changes, s.Events)
	}
}

// listener reads a stream of events over a connection.
type listener struct {
	t    *testing.T
	body io.ReadCloser
	in   *bufio.Scanner
}

func (w *world) listen(t *testing.T, url, query, last string) *listener {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/v1/events/stream"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testToken)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s, %s", resp.Status, resp.Header)
	}
	return &listener{t, resp.Body, bufio.NewScanner(resp.Body)}
}

// next gives the ID of the next event.
func (l *listener) next() string {
	l.t.Helper()
	for l.in.Scan() {
		if id, is := strings.CutPrefix(l.in.Text(), "id: "); is {
			if !l.in.Scan() || l.in.Text() != "event: pool" || !l.in.Scan() || !strings.HasPrefix(l.in.Text(), `data: {"id":"`+id+`"`) {
				l.t.Errorf("behind the id: %s", l.in.Text())
			}
			return id
		}
	}
	return fmt.Sprint("ended: ", l.in.Err())
}

// TestEventsAreStreamed as they come, from where a client was, and the stream ends with control.
func TestEventsAreStreamed(t *testing.T) {
	w := newWorld(t)
	log := w.keepsEvents(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	web := httptest.NewServer(w.Handler())
	defer web.Close()
	log.Add(1, 0, happens(1), happens(2))
	fresh := w.listen(t, web.URL, "", "")
	if !fresh.in.Scan() || !strings.HasPrefix(fresh.in.Text(), ": ") {
		t.Errorf("a stream begins with %q", fresh.in.Text())
	}
	behind := w.listen(t, web.URL, "?tenant=shop", "e1")
	other := happens(4)
	other.Tenant = "other"
	log.Add(1, 0, happens(3), other, happens(5))
	for _, want := range []string{"e3", "e4", "e5"} {
		if got := fresh.next(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, want := range []string{"e2", "e3", "e5"} {
		if got := behind.next(); got != want {
			t.Errorf("behind e1 got %s, want %s", got, want)
		}
	}
	stop()
	<-ended
	if got := fresh.next(); got != "ended: <nil>" {
		t.Errorf("control stopped: %s", got)
	}
}

// TestStreamsAreBounded, and take no turn of requests that work.
func TestStreamsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.keepsEvents(t)
	web := httptest.NewServer(w.Handler())
	defer web.Close()
	defer close(w.stopped)
	for range streamsAtOnce {
		w.listen(t, web.URL, "", "").in.Scan()
	}
	if rec := w.ask(t, "GET", eventStream, nil, nil); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
		t.Errorf("one more: %d %s", rec.Code, rec.Body)
	}
	w.ask(t, "GET", "/v1/events", nil, &api.Events{})
}
