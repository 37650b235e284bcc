//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// changes is how many changes one run makes; a member is killed after a third and comes back after two thirds.
const changes = 300

// nowhere is a client without a place: what it gets is the pool elsewhere, which the changes are about.
var nowhere = netip.MustParsePrefix("10.0.0.0/24")

// valueOf is the address that change i gives the pool.
func valueOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}) }

// A writer changes the pool elsewhere again and again, and remembers what was acknowledged.
type writer struct {
	store *store.Client
	head  state.Generation
	acked map[state.Generation]string // generation to message
	lost  int                         // neither acknowledged nor refused
	done  atomic.Int64
}

// write makes change i and tries until it is acknowledged, as an operator would. A change whose outcome is
// unknown may have been made; its generation is then found as the head, and the change is made once more.
func (w *writer) write(ctx context.Context, i int) error {
	message := fmt.Sprintf("change %d", i)
	pool := &spec.Pool{Endpoints: []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{valueOf(i)}}}}
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		record, err := w.store.Commit(try, store.Change{Tenant: "shop", Base: w.head, Message: message, Author: "interop", Time: time.Now(),
			Put: []*spec.Resource{{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: elsewhere}, Spec: pool}}})
		cancel()
		var conflict *store.ConflictError
		switch {
		case err == nil:
			w.head = record.Generation
			w.acked[record.Generation] = message
			w.done.Add(1)
			return nil
		case errors.As(err, &conflict):
			w.head = conflict.Have
		default:
			w.lost++
			time.Sleep(100 * time.Millisecond)
		}
	}
	return fmt.Errorf("change %d: %w", i, ctx.Err())
}

// writeAll makes every change.
func (w *writer) writeAll(ctx context.Context) error {
	for i := range changes {
		if err := w.write(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// compactor compacts the cluster to its newest revision, over and over, until the context ends.
func compactor(ctx context.Context, client *clientv3.Client, count *atomic.Int64) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		if now, err := client.Get(try, "any"); err == nil {
			if _, err := client.Compact(try, now.Header.Revision); err == nil {
				count.Add(1)
			}
		}
		cancel()
		time.Sleep(50 * time.Millisecond)
	}
}

// While changes go on, the leading member of three is killed and compaction runs. One edge knows that member alone:
// it answers on, and when the member is back, what it has missed is compacted. No acknowledged change may be lost, and
// both edges must end at the last generation.
func TestClusterLosesAMember(t *testing.T) {
	c := startCluster(t)
	client := c.client(t)
	victim := c.leader(t, client)
	one := startGtmd(t, t.TempDir(), "--roles", "control,edge", "--id", "one", "--etcd", strings.Join(c.endpoints(), ","),
		"--apply", landsJob(t))
	two := startGtmd(t, t.TempDir(), "--roles", "edge", "--id", "two", "--etcd", c.members[victim].Client)
	resyncs := metric(t, two, "gtm_store_resyncs_total")

	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	var compactions atomic.Int64
	compacting, stopCompacting := context.WithCancel(ctx)
	compacted := make(chan struct{})
	go func() { compactor(compacting, client, &compactions); close(compacted) }()

	w := openWriter(t, ctx, c)
	written := make(chan error, 1)
	go func() { written <- w.writeAll(ctx) }()
	disturb(t, c, victim, w, two, &compactions)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	stopCompacting()
	<-compacted
	t.Logf("%d changes acknowledged, %d attempts of unknown outcome, %d compactions, member %s killed and back", len(w.acked), w.lost,
		compactions.Load(), c.members[victim].Name)
	if compactions.Load() < 5 {
		t.Errorf("only %d compactions ran", compactions.Load())
	}
	checkNothingLost(t, ctx, w)
	converges(t, "one", one)
	converges(t, "two", two)
	if now := metric(t, two, "gtm_store_resyncs_total"); now <= resyncs {
		t.Errorf("edge two has read the whole state %v times, as before: compaction did not pass it by", now)
	}
}

// metric gives the value of a metric without labels.
func metric(t *testing.T, d *daemon, name string) float64 {
	t.Helper()
	_, page, err := get(d.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("/metrics has no %s", name)
	return 0
}

func openWriter(t *testing.T, ctx context.Context, c *cluster) *writer {
	t.Helper()
	client, err := store.Open(ctx, store.Config{Endpoints: c.endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	now, err := client.Read(ctx, "shop", 0)
	if err != nil {
		t.Fatal(err)
	}
	return &writer{store: client, head: now.Head, acked: map[state.Generation]string{}}
}

// disturb kills the member when a third of the changes is made, and starts it again when two thirds are made. In
// between the edge that knows this member alone must answer as before.
func disturb(t *testing.T, c *cluster, victim int, w *writer, edge *daemon, compactions *atomic.Int64) {
	t.Helper()
	made := func(n int64) func() error {
		return func() error {
			if done := w.done.Load(); done < n {
				return fmt.Errorf("%d of %d changes made", done, n)
			}
			return nil
		}
	}
	eventually(t, 2*time.Minute, "a third is made", made(changes/3))
	c.processes[victim].kill()
	eventually(t, 2*time.Minute, "two thirds are made, without the member", made(changes*2/3))
	if reply, err := newQuestioner(t, edge.dns).ask(landsHost, nowhere); err != nil || len(reply.Answer) != 1 {
		t.Errorf("the edge whose etcd is gone answers %v, %v", reply, err)
	}
	before := compactions.Load() // the next but one began after these changes: the edge must find them compacted
	eventually(t, time.Minute, "what the edge has missed is compacted", func() error {
		if now := compactions.Load(); now < before+2 {
			return fmt.Errorf("%d compactions, %d before", now, before)
		}
		return nil
	})
	c.start(t, victim)
}

// checkNothingLost compares what was acknowledged with the history in the store.
func checkNothingLost(t *testing.T, ctx context.Context, w *writer) {
	t.Helper()
	records, err := w.store.History(ctx, "shop", 10*changes)
	if err != nil {
		t.Fatal(err)
	}
	history := map[state.Generation]string{}
	for _, record := range records {
		history[record.Generation] = record.Message
	}
	for generation, message := range w.acked {
		if history[generation] != message {
			t.Errorf("generation %d was acknowledged as %q; the store has %q", generation, message, history[generation])
		}
	}
	if len(w.acked) != changes {
		t.Errorf("%d changes acknowledged of %d", len(w.acked), changes)
	}
	state, err := w.store.Read(ctx, "shop", 0)
	if err != nil {
		t.Fatal(err)
	}
	if state.Head != w.head {
		t.Errorf("the head is %d; the last acknowledged change made %d", state.Head, w.head)
	}
}

// converges waits until an edge answers with the last change.
func converges(t *testing.T, name string, d *daemon) {
	t.Helper()
	ask := newQuestioner(t, d.dns)
	last := valueOf(changes - 1).String()
	eventually(t, 30*time.Second, "edge "+name+" answers "+last, func() error {
		reply, err := ask.ask(landsHost, nowhere)
		if err != nil {
			return err
		}
		if len(reply.Answer) == 1 {
			if a, ok := reply.Answer[0].(*dns.A); ok && a.A.String() == last {
				return nil
			}
		}
		return fmt.Errorf("it answers %v", reply.Answer)
	})
}
