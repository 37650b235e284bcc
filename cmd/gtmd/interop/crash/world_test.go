//go:build interop

package crash

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// patience is how long anything may take; nothing waits so long that comes sooner.
const patience = 90 * time.Second

const host = "web.shop.gtm.example."

const settings = `kind: Tenant
tenant: platform
name: platform
spec: {limits: {retention: {for: 24h, generations: 1}}}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., rules: [{pools: [eu]}]}
---
kind: Rollout
tenant: shop
name: shop
spec: {groups: [{name: canary, edges: [canary-*], soak: 1s}, {name: rest, soak: 1s}]}
`

// world is an etcd, two edges of two groups, and the folder of a control that comes and goes.
type world struct {
	t     *testing.T
	dir   string
	at    string // etcd's endpoint
	store *store.Client
	etcd  *clientv3.Client
	edges []netip.AddrPort
	runs  int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), at: etcds.Start(t)}
	w.store = etcds.Open(t, w.at)
	var err error
	if w.etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{w.at}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.etcd.Close() })
	c := change.New(change.Config{Store: w.store})
	p, err := c.Plan(t.Context(), change.Input{Put: append(w.decode(settings), w.wanted()...), Author: "test"})
	if err == nil {
		_, err = c.Apply(t.Context(), p)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"canary-1", "rest-1"} {
		at := gtmtest.FreePort(t)
		w.start(id, nil, "--roles", "edge", "--id", id, "--dns", at.String(), "--http", gtmtest.FreePort(t).String())
		w.edges = append(w.edges, at)
	}
	w.answers()
	h := w.startHub(nil)
	h.ready(func() bool { return false })
	w.eventually("the first generation is rolled out", func() error { return w.rolledOut(h, 1) }) // from now on, rollouts go in steps
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) decode(yaml string) []*spec.Resource {
	w.t.Helper()
	all, err := spec.Decode("test.yaml", []byte(yaml))
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// address is what the shop's service answers after the change of a run; mark stands in each text of the zone.
func address(run int) string { return fmt.Sprintf("198.51.100.%d", 1+run) }
func mark(run int) string    { return fmt.Sprintf("run %03d ", run) }

// How many names the zone has, and strings of about 250 bytes at each: more than a megabyte.
const zoneNames, zoneTexts = 1200, 4

// wanted is what this run's change declares: a zone whose content is new, and too much for one transaction, and a pool.
func (w *world) wanted() []*spec.Resource {
	var text strings.Builder
	text.WriteString("@ 3600 IN SOA ns1 hostmaster 0 7200 1800 1209600 60\n@ 3600 IN NS ns1\nns1 3600 IN A 192.0.2.53\n")
	for i := range zoneNames {
		fmt.Fprintf(&text, "n%04d 60 IN TXT", i)
		for range zoneTexts {
			fmt.Fprintf(&text, " %q", fmt.Sprintf("%s%0240d", mark(w.runs), i))
		}
		text.WriteByte('\n')
	}
	pool := &spec.Pool{Endpoints: []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr(address(w.runs))}}}}
	return []*spec.Resource{
		{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "gtm.example."},
			Spec: &spec.Zone{Content: text.String(), Grants: map[string][]string{"shop": {"shop.gtm.example."}}}},
		{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"}, Spec: pool},
	}
}

// request is that change as the API takes it.
func (w *world) request() (in api.ApplyRequest) {
	w.t.Helper()
	for _, r := range w.wanted() {
		wire, err := api.FromSpec(r)
		if err != nil {
			w.t.Fatal(err)
		}
		in.Resources = append(in.Resources, wire)
	}
	return in
}

// The old generations of a tenant: one that touches too much for one transaction of the clean-up, and some that do not.
const (
	oldPools       = 120
	oldGenerations = 5
	orphans        = 60 // runs of zone content that nothing refers to: two transactions
)

// orphan is the key of a run that nothing refers to.
func orphan(run, n int) string { return fmt.Sprintf("/gtm/config/text/%032x%032x", run, n) }

// fill gives a new tenant generations that are older than the retention, and leaves zone content that no change came to refer to.
func (w *world) fill(tenant string) {
	w.t.Helper()
	for n := range orphans {
		if _, err := w.etcd.Put(w.t.Context(), orphan(w.runs, n), "left behind"); err != nil {
			w.t.Fatal(err)
		}
	}
	for g := range state.Generation(oldGenerations) {
		touched := oldPools
		if g > 1 {
			touched = 1
		}
		ch := store.Change{Tenant: tenant, Base: g, Author: "test", Time: time.Now().Add(-48 * time.Hour)}
		for i := range touched {
			ch.Put = append(ch.Put, &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: fmt.Sprint("p", i)},
				Spec: &spec.Pool{Endpoints: []spec.Endpoint{{Name: fmt.Sprint("g", g)}}}})
		}
		if _, err := w.store.Commit(w.t.Context(), ch); err != nil {
			w.t.Fatal(err)
		}
	}
}

// left is what the clean-up of such a tenant leaves: a record and a version of each pool; and nothing of this run's zone content that
// nothing refers to. What is left too much, or too little, is the error.
func (w *world) left(tenant string) error {
	ours := strings.TrimSuffix(orphan(w.runs, 0), fmt.Sprintf("%032x", 0))
	for prefix, want := range map[string]int64{"/gtm/config/log/" + tenant + "/": 1, "/gtm/config/res/" + tenant + "/": oldPools, ours: 0} {
		resp, err := w.etcd.Get(w.t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		if resp.Count != want {
			return fmt.Errorf("%d keys below %s, want %d", resp.Count, prefix, want)
		}
	}
	return nil
}

// whole fails unless the newest generation of such a tenant can be read, at whatever point the clean-up is.
func (w *world) whole(tenant string) {
	w.t.Helper()
	now, err := w.store.Read(w.t.Context(), tenant, oldGenerations)
	if err != nil || now.Resources.Len() != oldPools {
		w.t.Fatalf("%s: %v, %d resources", tenant, err, now.Resources.Len())
	}
}

// start starts gtmd in a folder of its own.
func (w *world) start(name string, env []string, args ...string) *process.Process {
	w.t.Helper()
	args = append([]string{gtmd, "--data", filepath.Join(w.dir, name), "--etcd", w.at, "--edge-networks", "127.0.0.0/8"}, args...)
	log := filepath.Join(w.dir, name+".log")
	p, err := process.Start(process.Command{Args: args, Env: env, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.Kill()
		if text, _ := os.ReadFile(log); w.t.Failed() {
			w.t.Logf("%s said at the end:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	return p
}

// expire has what a control that is gone was elected to end at once, rather than with its leases in five seconds.
func (w *world) expire() {
	w.t.Helper()
	resp, err := w.etcd.Get(w.t.Context(), "/gtm/world/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if kv.Lease != 0 && !strings.HasPrefix(string(kv.Key), "/gtm/world/edge/") {
			_, _ = w.etcd.Revoke(w.t.Context(), clientv3.LeaseID(kv.Lease)) // or it went by itself
		}
	}
}

func (w *world) eventually(what string, try func() error) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s: %v", what, err)
		}
	}
}

// answers waits until all edges answer what was declared last.
func (w *world) answers() {
	w.t.Helper()
	for _, edge := range w.edges {
		w.eventually("edges answer "+address(w.runs), func() error {
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
			defer cancel()
			r, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(host, dns.TypeA), edge.String())
			if err != nil {
				return err
			}
			if len(r.Answer) != 1 || !strings.HasSuffix(r.Answer[0].String(), "\t"+address(w.runs)) {
				return fmt.Errorf("%s %v", edge, r.Answer)
			}
			return nil
		})
	}
}

// heads gives the newest generations of those whom the change touches.
func (w *world) heads() [2]state.Generation {
	w.t.Helper()
	heads := [2]state.Generation{}
	for i, tenant := range []string{spec.Platform, "shop"} {
		records, err := w.store.History(w.t.Context(), tenant, 1)
		if err != nil || len(records) != 1 {
			w.t.Fatalf("%s: %v, %v", tenant, records, err)
		}
		heads[i] = records[0].Generation
	}
	return heads
}

// run tells of which run a tenant's state is, all of it.
func (w *world) run(head state.Generation, key spec.Key) (int, error) {
	now, err := w.store.Read(w.t.Context(), key.Tenant, head)
	if err != nil {
		return 0, err
	}
	v, ok := now.Resources.Get(key)
	if !ok {
		return 0, fmt.Errorf("%s is not there", key)
	}
	for run := w.runs; run >= 0; run-- {
		switch s := v.Resource.Spec.(type) {
		case *spec.Zone:
			if n := strings.Count(s.Content, mark(run)); n == zoneNames*zoneTexts {
				return run, nil
			} else if n > 0 {
				return 0, fmt.Errorf("%s has %d texts of run %d, of %d", key, n, run, zoneNames*zoneTexts)
			}
		case *spec.Pool:
			if s.Endpoints[0].Addresses[0].String() == address(run) {
				return run, nil
			}
		}
	}
	return 0, fmt.Errorf("%s is of no run", key)
}

// rolledOut is no error when all groups have the shop's newest generation.
func (w *world) rolledOut(h *hub, head state.Generation) error {
	var all api.Rollouts
	if err := h.client().Do(w.t.Context(), "GET", "rollouts", nil, nil, &all); err != nil {
		return err
	}
	i := slices.IndexFunc(all.Rollouts, func(r api.Rollout) bool { return r.Tenant == "shop" })
	if i < 0 {
		return errNotYet
	}
	r := all.Rollouts[i]
	at := func(g api.RolloutGroup) bool { return g.At != uint64(head) }
	if r.State != state.RolloutDone || slices.ContainsFunc(r.Groups, at) {
		return fmt.Errorf("%+v", r)
	}
	return nil
}
