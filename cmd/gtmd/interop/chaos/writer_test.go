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

	"github.com/anishathalye/porcupine"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

const writeTimeout = 10 * time.Second // for one attempt

// A writer changes the pools of one tenant, one after the other, through any control that answers, and remembers what was
// acknowledged. Every attempt says which generation it is made for: one that comes late, when another was acknowledged, does nothing.
type writer struct {
	rig    *rig.Rig
	tenant string
	store  *store.Client // to look up the head after an error
	tried  atomic.Int64  // the newest change that may have been made
	head   uint64        // 0: look it up
	turn   int

	mu      sync.Mutex
	acked   map[uint64]string // generation to message
	ops     map[string][]porcupine.Operation
	refused int // attempts of which control said that nothing was made
	unknown int // attempts that may have been made, or not
	slowest time.Duration
}

func newWriter(r *rig.Rig, tenant string) *writer {
	return &writer{rig: r, tenant: tenant, store: r.Store(), acked: map[uint64]string{}, ops: map[string][]porcupine.Operation{}}
}

func messageOf(change int) string { return fmt.Sprintf("change %d", change) }

func poolOf(change int) string { return writerPools[change%len(writerPools)] }

// try makes a change, once. After an error it may have been made or not.
func (w *writer) try(ctx context.Context, change int) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if w.head == 0 {
		heads, err := w.store.Heads(ctx)
		if err != nil {
			return err
		}
		w.head = uint64(heads[w.tenant])
	}
	body := json.RawMessage(fmt.Sprintf(`{"endpoints":[{"name":"e0","addresses":["%s"]}]}`, valueOf(change)))
	request := api.ApplyRequest{Message: messageOf(change), Expect: map[string]uint64{w.tenant: w.head},
		Resources: []api.Resource{{Kind: spec.KindPool, Tenant: w.tenant, Name: poolOf(change), Spec: body}}}
	var reply api.ApplyReply
	err := w.rig.API(ctx, w.rig.Controls[w.turn%len(w.rig.Controls)], http.MethodPost, "/apply", request, &reply)
	w.mu.Lock()
	defer w.mu.Unlock()
	var problem *api.Problem
	switch {
	case err == nil: // without a record, an attempt before was made
		for _, record := range reply.Records {
			w.acked[record.Generation] = request.Message
			w.head = record.Generation
		}
		return nil
	case errors.As(err, &problem) && problem.Status < 500:
		w.refused++
	default:
		w.unknown++
	}
	w.head = 0
	w.turn++
	return err
}

// write makes the next change, and tries until it is acknowledged, as an operator would.
func (w *writer) write(ctx context.Context) error {
	change, began := int(w.tried.Add(1)), now()
	var err error
	for ctx.Err() == nil {
		if err = w.try(ctx, change); err == nil {
			w.did(poolOf(change), register{op: opWrite, value: change}, began, 0)
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	w.did(poolOf(change), register{op: opWrite, value: change}, began, forEver)
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
	records, err := w.store.History(ctx, w.tenant, 0)
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
