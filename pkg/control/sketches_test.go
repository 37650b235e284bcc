package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/store"
)

// largeSketch is what an edge with many services tells.
func largeSketch() []byte {
	s := demand.NewSketch(now)
	for i := range demand.MostOfTenant {
		for at := range 20 {
			s.Add("shop", fmt.Sprint("service-", i), demand.CountryOf(string([]byte{'A', 'A' + byte(at)})), float64(1000+i))
		}
	}
	return s.Encode()
}

// TestLargeSketchesOfSlowEdgesAreHeard: they had two seconds, with the wait for the one turn that large replies of all sorts took. Of four
// edges one was heard, and large statuses waited behind them.
func TestLargeSketchesOfSlowEdgesAreHeard(t *testing.T) {
	w, counts, goOn := newWorld(t), largeSketch(), make(chan struct{})
	for i := range 4 {
		id := fmt.Sprint("ams", i)
		web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			body, err := json.Marshal(api.EdgeDemand{Edge: id, Started: now, Counts: counts})
			if err != nil || len(body) < 2*smallEdgeReply {
				t.Errorf("%d bytes, %v", len(body), err)
			}
			half := len(body) / 2
			_, _ = rw.Write(body[:half])
			rw.(http.Flusher).Flush()
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
			_, _ = rw.Write(body[half:])
		}))
		t.Cleanup(web.Close)
		w.store.edges = append(w.store.edges, store.Edge{ID: id, HTTP: strings.TrimPrefix(web.URL, "http://"), Alive: true, Started: now})
	}
	w.largeReply <- struct{}{} // a status has the turn of large replies, all the time
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := w.registered(ctx); err != nil {
		t.Fatal(err)
	}
	var ends sync.WaitGroup
	ends.Go(func() { w.gather.Run(ctx) })
	time.Sleep(edgeTime + edgeTime/4) // what nothing else may take
	close(goOn)
	for ctx.Err() == nil && len(w.gather.Heard()) < 4 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	ends.Wait()
	if heard := w.gather.Heard(); len(heard) != 4 {
		t.Errorf("of four edges these are heard: %+v", heard)
	}
}

// TestASketchIsBounded: as large as one may be it is taken, and there is an end to what is read.
func TestASketchIsBounded(t *testing.T) {
	id := strings.Repeat("x", 255)
	body, err := json.Marshal(api.EdgeDemand{Edge: id, Started: now, Counts: make([]byte, demand.MostBytes)})
	if err != nil || len(body) > maxDemandReply {
		t.Errorf("the largest is not taken: %d bytes, %v", len(body), err)
	}
	for size, want := range map[int]error{maxDemandReply: nil, maxDemandReply + 1: errTooMuch} {
		data, done, err := forDemand.readReply(t.Context(), bytes.NewReader(make([]byte, size)))
		if done(); !errors.Is(err, want) || err == nil && len(data) != size {
			t.Errorf("%d bytes: %d, %v, want %v", size, len(data), err, want)
		}
	}
}

// TestAnEdgeThatSaysNothingIsGivenUpSooner than one that tells slowly: it would have one of two places for all of the time.
func TestAnEdgeThatSaysNothingIsGivenUpSooner(t *testing.T) {
	w, end := newWorld(t), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer web.Close()
	defer close(end)
	by := forDemand
	by.first, by.time = time.Millisecond, time.Hour
	var out api.EdgeDemand
	e := store.Edge{ID: "ams1", HTTP: strings.TrimPrefix(web.URL, "http://"), Alive: true}
	if err := w.fetchBy(t.Context(), &by, e, "/edge/demand", nil, &out, &out.Edge); !errors.Is(err, forDemand.silent) {
		t.Error(err)
	}
}
