package retention

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// op is what a client wants of a tenant: to write a number, if it is still at a generation (0: wherever it is), or to read.
type op struct {
	write  bool
	number int
	expect state.Generation
}

// result is what it heard.
type result struct {
	conflict, unknown bool
	at                state.Generation
	number            int
}

// tenantModel is a tenant whose generations follow each other, each made by one change.
var tenantModel = porcupine.Model{
	Init: func() any { return result{at: 1, number: -1} },
	Step: func(now, input, output any) (bool, any) {
		s, in, out := now.(result), input.(op), output.(result)
		fits := in.expect == 0 || in.expect == s.at
		switch {
		case !in.write:
			return out == s, s
		case out.conflict:
			return !fits, s
		case out.unknown && !fits:
			return true, s
		case out.unknown:
			return true, result{at: s.at + 1, number: in.number}
		}
		return fits && out.at == s.at+1, result{at: s.at + 1, number: in.number}
	},
	Equal: func(a, b any) bool { return a == b },
}

// TestConcurrentWritersAreLinearizable: several controls write and read one tenant of a cluster of three that loses its leader again and
// again, while what is old is removed. Each read sees one whole change, and what was heard is as if it had happened one after the other.
func TestConcurrentWritersAreLinearizable(t *testing.T) {
	cluster := etcds.StartCluster(t)
	cfg := store.Config{Endpoints: cluster.Endpoints()}
	now := func() time.Time { return at(1_000_000) }
	past := func() time.Time { return at(0) }
	keeping, stop := start(t, cfg, auditDir(t), now)
	defer stop()
	ctx := within(t)
	first := change.New(change.Config{Store: keeping.store, Now: past})
	plan, err := first.Plan(ctx, change.Input{Put: []*spec.Resource{kept(5)}, Author: "alice"})
	if err == nil {
		_, err = first.Apply(ctx, plan)
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var unknown, conflicts int
	note := func(client int, in op, call int64, out result) {
		end := int64(time.Since(began))
		if out.unknown {
			end = math.MaxInt64
		}
		mu.Lock()
		defer mu.Unlock()
		if out.unknown {
			unknown++
		}
		if out.conflict {
			conflicts++
		}
		history = append(history, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
	}
	var clients, turns sync.WaitGroup
	lost := 0
	done := make(chan struct{})
	for i := range 4 {
		c := etcds.OpenAll(t, cluster.Endpoints())
		changer := change.New(change.Config{Store: c, Now: past})
		rng := rand.New(rand.NewPCG(31, uint64(i)))
		client := i
		clients.Go(func() {
			known := state.Generation(0)
			for n := range 60 {
				in := op{write: rng.IntN(3) > 0, number: i*1000 + n}
				if in.write && rng.IntN(2) == 0 {
					in.expect = known
				}
				call := int64(time.Since(began))
				out, told := do(ctx, c, changer, in)
				if told {
					note(client, in, call, out)
				}
				if out.unknown { // it may happen at any time from now on, so that this client is another one now
					client += 100
				}
				known = max(known, out.at)
			}
		})
	}
	turns.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(300 * time.Millisecond):
				cluster.LoseLeader()()
				lost++
			}
		}
	})
	clients.Wait()
	close(done)
	turns.Wait()
	switch porcupine.CheckOperationsTimeout(tenantModel, history, time.Minute) {
	case porcupine.Illegal:
		t.Errorf("of %d operations: what was heard cannot have happened one after the other\n%s", len(history), told(history))
	case porcupine.Unknown:
		t.Error("it was not found out in time")
	}
	t.Logf("%d operations while %d leaders were lost, %d of unknown outcome, %d conflicts", len(history), lost, unknown, conflicts)
	if len(history) < 120 || conflicts == 0 || lost == 0 {
		t.Error("too little happened")
	}
	if oldest, head := wholeFrom(t, keeping.store); oldest < 10 && head > 30 {
		t.Errorf("nothing was removed meanwhile: @%d of @%d is the oldest", oldest, head)
	}
}

// told lists operations by when they began.
func told(history []porcupine.Operation) string {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var b strings.Builder
	for _, o := range history {
		fmt.Fprintf(&b, "%d: %+v at %s to %s: %+v\n", o.ClientId, o.Input, time.Duration(o.Call), time.Duration(o.Return), o.Output)
	}
	return b.String()
}

// do does one thing. told: it may have happened, or was heard.
func do(ctx context.Context, c *store.Client, changer *change.Changer, in op) (out result, told bool) {
	if !in.write {
		s, err := c.Read(ctx, spec.Platform, 0)
		if err != nil {
			return out, false // nobody heard anything
		}
		a, b := numberOf(s, "a"), numberOf(s, "b")
		if a != b {
			panic(fmt.Sprintf("half of @%d is there: %d and %d", s.Head, a, b))
		}
		return result{at: s.Head, number: a}, true
	}
	expect := map[string]state.Generation{}
	if in.expect != 0 {
		expect[spec.Platform] = in.expect
	}
	put := []*spec.Resource{site("a", in.number), site("b", in.number)}
	plan, err := changer.Plan(ctx, change.Input{Put: put, Author: "w", Expect: expect})
	var records []state.Record
	if err == nil {
		records, err = changer.Apply(ctx, plan)
	}
	var pinned *change.ConflictError
	var moved *store.ConflictError
	var open *store.UnknownError
	switch {
	case err == nil:
		return result{at: records[0].Generation}, true
	case errors.As(err, &pinned), errors.As(err, &moved):
		return result{conflict: true}, true
	case errors.As(err, &open):
		return result{unknown: true}, true
	}
	return out, false // it is sure that nothing was written
}
