//go:build interop

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

const writeTimeout = 10 * time.Second // for one attempt

// A writer changes the pools of one tenant, one after the other, through any control that answers, and remembers what was
// acknowledged.
type writer struct {
	rig    *rig.Rig
	tenant string
	tried  atomic.Int64 // the newest change that may have been made

	mu      sync.Mutex
	acked   map[uint64]string // generation to message
	last    map[string]int    // the newest acknowledged change of each pool
	refused int               // attempts of which control said that nothing was made
	unknown int               // attempts that may have been made, or not
	turn    int
}

func newWriter(r *rig.Rig, tenant string) *writer {
	return &writer{rig: r, tenant: tenant, acked: map[uint64]string{}, last: map[string]int{}}
}

func messageOf(change int) string { return fmt.Sprintf("change %d", change) }

// try makes the next change, once; an error means that it may have been made or not, or, if it is a *api.Problem of a client's fault, that
// it was not.
func (w *writer) try(ctx context.Context, change int) error {
	pool := writerPools[change%len(writerPools)]
	body := json.RawMessage(fmt.Sprintf(`{"endpoints":[{"name":"e0","addresses":["%s"]}]}`, valueOf(change)))
	request := api.ApplyRequest{Message: messageOf(change), Resources: []api.Resource{{Kind: spec.KindPool, Tenant: w.tenant, Name: pool, Spec: body}}}
	w.mu.Lock()
	control := w.rig.Controls[w.turn%len(w.rig.Controls)]
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var reply api.ApplyReply
	err := w.rig.API(ctx, control, http.MethodPost, "/apply", request, &reply)
	w.mu.Lock()
	defer w.mu.Unlock()
	var problem *api.Problem
	switch {
	case err == nil:
		for _, record := range reply.Records {
			w.acked[record.Generation] = request.Message
		}
		w.last[pool] = change
	case errors.As(err, &problem) && problem.Status < 500:
		w.refused++
		w.turn++
	default:
		w.unknown++
		w.turn++
	}
	return err
}

// write makes the next change, and tries until it is acknowledged, as an operator would.
func (w *writer) write(ctx context.Context) error {
	change := int(w.tried.Add(1))
	var err error
	for ctx.Err() == nil {
		if err = w.try(ctx, change); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("change %d of %s: %w", change, w.tenant, err)
}

// writeMany makes n changes within a time.
func (w *writer) writeMany(t testing.TB, n int, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for range n {
		if err := w.write(ctx); err != nil {
			t.Fatalf("%d changes within %v: %v", n, limit, err)
		}
	}
}

// forget drops acknowledgements of generations after one: a restore to it took them away.
func (w *writer) forget(after uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for generation := range w.acked {
		if generation > after {
			delete(w.acked, generation)
		}
	}
}

// checkNothingLost compares what was acknowledged with the history in the store.
func (w *writer) checkNothingLost(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	records, err := w.rig.Store().History(ctx, w.tenant, 0)
	if err != nil {
		t.Fatal(err)
	}
	history := map[uint64]string{}
	for _, record := range records {
		history[uint64(record.Generation)] = record.Message
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for generation, message := range w.acked {
		if history[generation] != message {
			t.Errorf("%s@%d was acknowledged as %q; the store has %q", w.tenant, generation, message, history[generation])
		}
	}
	t.Logf("%s: %d changes acknowledged, %d attempts refused, %d of unknown outcome", w.tenant, len(w.acked), w.refused, w.unknown)
}
