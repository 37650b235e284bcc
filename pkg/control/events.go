package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/events"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// Bounds of what is asked of events.
const (
	eventStream   = api.Version + "/events/stream"
	streamsAtOnce = 64
	streamBatch   = 1000             // events of a stream that are written at once
	streamSign    = 10 * time.Second // a comment goes down a stream that is silent for so long
	flapTime      = time.Hour        // of which status counts changes
)

// Events is what a control has of events.
type Events struct {
	Log *events.Log
	// Told gives the targets, and whether this control tells them; nil: nobody is told.
	Told func() (targets []api.EventTarget, teller bool)
	// Edges hears what edges say; nil: nobody does.
	Edges func([]api.Edge)
}

type eventsInput struct {
	Tenant string    `query:"tenant" doc:"only of this tenant"`
	Pool   string    `query:"pool" doc:"only of this pool, as in shop/eu"`
	Kind   string    `query:"kind" enum:"endpoint,pool,brake,judge,change,rollout,edge" doc:"only of this kind"`
	Since  time.Time `query:"since" doc:"only what was noted then or later"`
	Limit  int       `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"how many at most: the newest"`
}

type streamInput struct {
	Tenant string `query:"tenant" doc:"only of this tenant"`
	Pool   string `query:"pool" doc:"only of this pool, as in shop/eu"`
	Kind   string `query:"kind" enum:"endpoint,pool,brake,judge,change,rollout,edge" doc:"only of this kind"`
	Last   string `header:"Last-Event-ID" doc:"the event behind which to go on; absent, or not kept any more: what comes from now on"`
}

func (s *Server) routeEvents(h huma.API) {
	huma.Register(h, operation("events", need{access.Read, inQuery}, http.MethodGet, "/events", "What changed of health and of rollouts,"+
		" oldest first"), s.events)
	stream := operation("event-stream", need{access.Read, inQuery}, http.MethodGet, strings.TrimPrefix(eventStream, api.Version),
		"What changes of health and of rollouts, as server-sent events, for a quarter of an hour")
	stream.Responses = map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK),
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: schemaOf[api.Event](h)}}}}
	huma.Register(h, stream, s.eventStream)
}

// eventFilter reads whose events are wanted.
func (s *Server) eventFilter(ctx context.Context, tenant, pool, kind string) (events.Filter, error) {
	f := events.Filter{Tenant: tenant, Kind: kind}
	if !grantsOf(ctx).SeesAll() {
		f.Sees = grantsOf(ctx).Sees
	}
	if s.cfg.Events.Log == nil {
		return f, problemf(http.StatusNotFound, "this control keeps no events: it runs with gtmd --events 0")
	}
	if pool != "" {
		of, name, ok := strings.Cut(pool, "/")
		if !ok || of == "" || name == "" || tenant != "" && tenant != of {
			return f, problemf(http.StatusBadRequest, "pool %q is not one as in shop/eu, of the tenant that is asked for", pool)
		}
		if f.Tenant, f.Pool = of, name; !grantsOf(ctx).Sees(of) {
			return f, noTenant(of, s.tenants(ctx))
		}
	}
	return f, nil
}

func (s *Server) events(ctx context.Context, in *eventsInput) (*reply[api.Events], error) {
	f, err := s.eventFilter(ctx, in.Tenant, in.Pool, in.Kind)
	if err != nil {
		return nil, err
	}
	f.Since = in.Since
	out := api.Events{Kept: *s.eventsKept(ctx)}
	out.Events, out.More = s.cfg.Events.Log.Find(f, in.Limit)
	return &reply[api.Events]{out}, nil
}

// eventsKept tells what is kept of events; nil: nothing.
func (s *Server) eventsKept(ctx context.Context) *api.EventsKept {
	if s.cfg.Events.Log == nil {
		return nil
	}
	kept := s.cfg.Events.Log.Status()
	if s.cfg.Events.Told != nil {
		kept.Targets, kept.Teller = s.cfg.Events.Told()
		kept.Targets = slices.DeleteFunc(slices.Clone(kept.Targets), func(t api.EventTarget) bool { return !grantsOf(ctx).Sees(t.Tenant) })
	}
	if !grantsOf(ctx).Sees(spec.Platform) { // it would tell how much happens to others
		kept.Events, kept.Dropped, kept.Fault = 0, 0, ""
	}
	return &kept
}

// eventStream sends events as they come until the request's time is over. Who goes on by Last-Event-ID misses none that are kept.
func (s *Server) eventStream(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
	f, err := s.eventFilter(ctx, in.Tenant, in.Pool, in.Kind)
	if err != nil {
		return nil, err
	}
	at, known := s.cfg.Events.Log.PositionOf(in.Last)
	if !known {
		at = s.cfg.Events.Log.Newest("")
	}
	return &huma.StreamResponse{Body: func(h huma.Context) {
		h.SetHeader("Content-Type", "text/event-stream")
		h.SetHeader("Cache-Control", "no-store")
		send := func(text string) bool {
			w := h.BodyWriter()
			if _, err := w.Write([]byte(text)); err != nil {
				return false
			}
			rw, ok := w.(http.ResponseWriter)
			return ok && http.NewResponseController(rw).Flush() == nil
		}
		s.stream(ctx, f, at, send)
	}}, nil
}

func (s *Server) stream(ctx context.Context, f events.Filter, at events.Position, send func(text string) bool) {
	sign := time.NewTicker(streamSign)
	defer sign.Stop()
	text := ": what changes from here on\n\n"
	for {
		changed := s.cfg.Events.Log.Changed()
		list, lost := s.cfg.Events.Log.After("", at, streamBatch)
		if lost > 0 {
			text += fmt.Sprintf(": %d events were dropped before they could be sent\n\n", lost)
		}
		if len(list) > 0 { // grants go, too, while a stream stands: also those of who saw all
			f.Sees = s.grantsNow(ctx).Sees
		}
		for i := range list {
			if at.Seq = list[i].Seq; f.Fits(&list[i].Event) {
				text += frame(&list[i].Event)
			}
		}
		if !s.book.Still(&callerOf(ctx).who) || text != "" && !send(text) {
			return
		}
		if text = ""; len(list) > 0 {
			continue // there may be more
		}
		select {
		case <-changed:
		case <-sign.C:
			text = ": still here\n\n"
		case <-ctx.Done():
			return
		case <-s.stopped:
			return
		}
	}
}

// frame writes an event as the stream has it.
func frame(e *api.Event) string {
	data, err := json.Marshal(e)
	if err != nil { // a time beyond the year 9999
		return ""
	}
	return fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)
}

// admitStream lets a bounded number of streams stand beside each other, and apart from requests that work.
func (s *Server) admitStream(w http.ResponseWriter, r *http.Request) (*http.Request, func()) {
	select {
	case s.streams <- struct{}{}:
		return r, func() { <-s.streams }
	default:
		refuse(w, busyf("%d streams of events are open, as many as there can be", streamsAtOnce))
		return nil, nil
	}
}

// addChanges tells of pools how often they changed of late.
func (s *Server) addChanges(pools []api.Pool) {
	if s.cfg.Events.Log == nil {
		return
	}
	counts := s.cfg.Events.Log.Changes(s.cfg.Now().Add(-flapTime))
	if len(counts) == 0 {
		return
	}
	for i := range pools {
		p := &pools[i]
		id := health.PoolID{Tenant: p.Tenant, Pool: p.Pool}
		p.Changes = events.ChangesOf(counts, id, "")
		for j := range p.Endpoints {
			p.Endpoints[j].Changes = events.ChangesOf(counts, id, p.Endpoints[j].Name)
		}
	}
}
