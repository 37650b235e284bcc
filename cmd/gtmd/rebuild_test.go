package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/control/api"
)

// v1 asks the API of a control whose data folder is dir, and decodes a reply of 200 into out.
func (d *daemon) v1(dir, method, path string, in, out any) (int, string) {
	d.t.Helper()
	code, body, err := d.call(dir, method, path, in, out)
	if err != nil {
		d.t.Fatal(err)
	}
	return code, body
}

// does fails unless the API does what it is asked for.
func (d *daemon) does(dir, method, path string, in, out any) {
	d.t.Helper()
	if code, body := d.v1(dir, method, path, in, out); code != http.StatusOK {
		d.t.Fatalf("%s %s: %d %s", method, path, code, body)
	}
}

// refuses fails unless the API answers with this status, and says all of these.
func (d *daemon) refuses(dir string, status int, method, path string, in any, says ...string) {
	d.t.Helper()
	code, body := d.v1(dir, method, path, in, nil)
	if code != status {
		d.t.Errorf("%s %s: %d %s, want %d", method, path, code, body, status)
	}
	for _, part := range says {
		if !strings.Contains(body, part) {
			d.t.Errorf("%s %s: %s does not say %q", method, path, body, part)
		}
	}
}

// call is v1 for goroutines.
func (d *daemon) call(dir, method, path string, in, out any) (int, string, error) {
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		return 0, "", err
	}
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return 0, "", err
		}
		body = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, d.web+"/v1/"+path, body)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && out != nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, out)
	}
	return resp.StatusCode, string(text), err
}

// wireOf gives the resources of a file as the API takes them.
func wireOf(t *testing.T, file string) []api.Resource {
	t.Helper()
	all, err := loadResources([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	var out []api.Resource
	for _, r := range all {
		w, err := api.FromSpec(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, w)
	}
	return out
}

// dnskeys gives the keys of the zone as the edge serves them, sorted.
func (d *daemon) dnskeys() []string {
	m := new(dns.Msg).SetQuestion("gtm.example.", dns.TypeDNSKEY)
	r, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(m, d.dns.String())
	if err != nil {
		return nil
	}
	var keys []string
	for _, rr := range r.Answer {
		if k, ok := rr.(*dns.DNSKEY); ok {
			keys = append(keys, k.PublicKey)
		}
	}
	slices.Sort(keys)
	return keys
}

// cluster is an etcd (with a prober), a control and an edge, each a process.
type cluster struct {
	t                    *testing.T
	hubDir, dir, edgeDir string
	hub, control, edge   *daemon
}

func (c *cluster) startControl(args ...string) {
	c.control = start(c.t, c.dir, append([]string{"--roles", "control", "--etcd", socketOf(c.hubDir)}, args...)...)
}

// empty takes the etcd away and puts a new, empty one in its place.
func (c *cluster) empty() {
	c.t.Helper()
	c.hub.kill()
	if err := os.RemoveAll(filepath.Join(c.hubDir, "etcd")); err != nil {
		c.t.Fatal(err)
	}
	c.hub = start(c.t, c.hubDir, "--roles", "prober", "--vantage", "p1")
	c.edge.sourceIs("refused")
}

// controlRefuses waits until control knows that the store is another.
func (c *cluster) controlRefuses() {
	c.t.Helper()
	c.control.eventually("control refuses the store", func() error {
		var s api.Status
		if code, body := c.control.v1(c.dir, "GET", "status", nil, &s); code != http.StatusOK || s.Store.State != "refused" {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

// rebuilt rebuilds, and checks that the edge serves the new store, with the keys that the zone had.
func (c *cluster) rebuilt(what string, in api.RebuildRequest, keys []string) api.RebuildReply {
	c.t.Helper()
	var out api.RebuildReply
	c.control.does(c.dir, "POST", "store/rebuild", in, &out)
	if out.Accepted == nil || len(out.Records) < 2 {
		c.t.Fatalf("%s: %+v", what, out)
	}
	c.edge.sourceIs("current")
	c.serves(what, out.Heads)
	c.edge.eventually(what+": the edge has the zone's keys", func() error {
		if now := c.edge.dnskeys(); !slices.Equal(now, keys) {
			return fmt.Errorf("keys %v, want %v", now, keys)
		}
		return nil
	})
	c.control.refuses(c.dir, http.StatusConflict, "POST", "store/rebuild", in, "gtmctl ")
	return out
}

// serves waits until the edge answers from these generations, with nothing broken.
func (c *cluster) serves(what string, heads map[string]uint64) {
	c.t.Helper()
	c.edge.eventually(what+": the edge answers from it", func() error {
		s := c.edge.status()
		for tenant, head := range heads {
			if s.Tenants[tenant] != head || len(s.Broken) > 0 {
				return fmt.Errorf("%v, want %v; broken %v", s.Tenants, heads, s.Broken)
			}
		}
		return nil
	})
}

// weigh makes changes, so that a new store begins below.
func (c *cluster) weigh(weights ...int) {
	c.t.Helper()
	heads := map[string]uint64{}
	for _, weight := range weights {
		for _, pool := range []string{"shop/eu", "other/p"} {
			var out api.ApplyReply
			c.control.does(c.dir, "POST", "pools/"+pool+"/weights", api.WeightsRequest{Weights: map[string]int{"a": weight}}, &out)
			for tenant, head := range out.Heads {
				heads[tenant] = head
			}
		}
	}
	c.serves("changes", heads)
}

// asking asks the edge all the time, until stop, which gives the answers that were not the right one.
func asking(d *daemon, name, address string) (stop func() (asked int, wrong []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var asked int
	var wrong []string
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			asked++
			if got := d.ask(name, ""); got != "NOERROR "+address {
				wrong = append(wrong, got)
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	return func() (int, []string) {
		cancel()
		wg.Wait()
		return asked, wrong
	}
}

// newCluster serves the tests' configuration, with its zone signed.
func newCluster(t *testing.T) (c *cluster, wire []api.Resource, keys []string) {
	c = &cluster{t: t, hubDir: newDir(t), dir: newDir(t), edgeDir: newDir(t)}
	file := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, file, strings.Replace(configYAML, "spec:\n  content", "spec:\n  dnssec: {}\n  content", 1))
	c.hub = start(t, c.hubDir, "--roles", "prober", "--vantage", "p1")
	c.startControl("--apply", file)
	c.edge = start(t, c.edgeDir, "--roles", "edge", "--etcd", socketOf(c.hubDir), "--id", "fra-1")
	c.edge.comesToAnswer(webHost, "198.51.100.1")
	c.edge.eventually("the zone is signed", func() error {
		if keys = c.edge.dnskeys(); len(keys) < 2 {
			return fmt.Errorf("%d keys", len(keys))
		}
		return nil
	})
	c.edge.sourceIs("current")
	return c, wireOf(t, file), keys
}

// A new, empty cluster: edges serve the old store until the new one is whole, and signed zones keep their keys; from files, from
// control's memory, and by a control that was started since.
func TestAnEmptyStoreIsRebuiltBehindEdgesThatServe(t *testing.T) {
	t.Parallel()
	c, wire, keys := newCluster(t)
	c.weigh(2, 3, 4)
	stop := asking(c.edge, webHost, "198.51.100.1")

	c.empty()
	c.controlRefuses()
	c.control.refuses(c.dir, http.StatusConflict, "POST", "apply", api.ApplyRequest{Resources: wire}, "gtmctl store rebuild -f DIR")
	var plan api.RebuildReply
	part, last := wire[:len(wire)-1], wire[len(wire)-1].Key()
	c.control.does(c.dir, "POST", "store/rebuild", api.RebuildRequest{Resources: part, DryRun: true}, &plan)
	if plan.Accepted != nil || len(plan.Plan) != len(part) || len(plan.Lost) != 1 || plan.Lost[0] != last {
		t.Errorf("a dry run: %+v", plan)
	}
	out := c.rebuilt("from files", api.RebuildRequest{Resources: wire}, keys)
	if !slices.Equal(out.Keys, []string{"gtm.example."}) {
		t.Errorf("zones with their keys: %v", out.Keys)
	}
	c.weigh(5, 6)

	c.empty()
	c.controlRefuses()
	c.rebuilt("from memory", api.RebuildRequest{FromMemory: true}, keys)
	c.weigh(7, 8)

	c.control.interrupt()
	c.empty()
	c.startControl()
	c.control.refuses(c.dir, http.StatusConflict, "POST", "store/rebuild", api.RebuildRequest{FromMemory: true},
		"gtmctl store rebuild -f DIR")
	c.rebuilt("by a control that was started since", api.RebuildRequest{Resources: wire}, keys)

	asked, wrong := stop()
	t.Logf("%d queries", asked)
	if len(wrong) > 0 || asked == 0 {
		t.Errorf("%d of %d answers were wrong, such as %s", len(wrong), asked, wrong[:min(1, len(wrong))])
	}
}

// What gtmctl get | sed | gtmctl apply does, twenty times at once: each is made or refused, and none undoes another.
func TestParallelApplyLosesNothing(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	d := start(t, dir, "--roles", "control", "--apply", writeConfig(t, "198.51.100.1"))
	const at = 20
	var mu sync.Mutex
	var made []int
	var failures []error
	var refused int
	d.eventually("control has heard of the pool", func() error {
		if code, body := d.v1(dir, "GET", "resources/shop/Pool/eu", nil, nil); code != http.StatusOK {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	var wg, got sync.WaitGroup
	got.Add(at)
	for i := range at {
		wg.Go(func() {
			var r api.Resource
			code, body, err := d.call(dir, "GET", "resources/shop/Pool/eu", nil, &r)
			got.Done()
			got.Wait() // all of them have the same
			r.Spec = json.RawMessage(strings.Replace(string(r.Spec), `"name":"a"`, fmt.Sprintf(`"name":"a","weight":%d`, 100+i), 1))
			if err == nil {
				code, body, err = d.call(dir, "POST", "apply", api.ApplyRequest{Resources: []api.Resource{r}}, nil)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && code == http.StatusOK:
				made = append(made, 100+i)
			case err == nil && code == http.StatusConflict && strings.Contains(body, `by admin-token`) &&
				strings.Contains(body, "get it again"):
				refused++
			default:
				failures = append(failures, fmt.Errorf("%d %s: %w", code, body, err))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failures...); err != nil || len(made) == 0 || len(made)+refused != at {
		t.Fatalf("%d made, %d refused, %v", len(made), refused, err)
	}
	var h api.History
	d.v1(dir, "GET", "history/shop?limit=100", nil, &h)
	if len(h.Records) != 1+len(made) {
		t.Errorf("%d changes in history, %d were acknowledged", len(h.Records)-1, len(made))
	}
	t.Logf("%d made, %d refused", len(made), refused)
	// The one that was made last is what is there, and its file can be applied again.
	var r api.Resource
	d.v1(dir, "GET", "resources/shop/Pool/eu", nil, &r)
	if code, body := d.v1(dir, "POST", "apply", api.ApplyRequest{Resources: []api.Resource{r}}, nil); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
}

// versionKey is the key of a resource's version.
func versionKey(of string, generation int) string {
	return fmt.Sprintf("config/res/%s/%016x", of, generation)
}

// A newer program wrote a field and a kind that this one does not know. Nothing of it is lost or broken, and both can be deleted.
func TestAnOlderControlKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	d := start(t, dir, "--apply", writeConfig(t, "198.51.100.1"))
	d.sourceIs("current")
	writeStraight(t, dir, map[string]string{"config/head/shop": "2",
		versionKey("shop/Pool/eu", 2): `{"resource":{"kind":"Pool","tenant":"shop","name":"eu","spec":{"somethingNew":{"a":1},` +
			`"endpoints":[{"name":"a","addresses":["198.51.100.1"],"color":"red"}]}}}`,
		versionKey("shop/Flux/x", 2): `{"resource":{"kind":"Flux","tenant":"shop","name":"x","spec":{"much":[1,2]}}}`})
	unknown := func(want string) {
		t.Helper()
		d.eventually("status tells it apart", func() error {
			s := d.status()
			if got := fmt.Sprint(s.Unknown); got != want || len(s.Broken) != 0 {
				return fmt.Errorf("unknown %s, broken %v", got, s.Broken)
			}
			return nil
		})
	}
	const pool, flux = "{shop/Pool/eu [spec.somethingNew spec.endpoints[0].color]}", "{shop/Flux/x []}"
	unknown("[" + pool + " " + flux + "]")
	d.eventually("control has it", func() error {
		if code, body := d.v1(dir, "GET", "resources/shop/flux/x", nil, nil); code != http.StatusOK ||
			!strings.Contains(body, `"much":[1,2]`) {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	holds := func(parts ...string) {
		t.Helper()
		var r api.Resource
		d.does(dir, "GET", "resources/shop/Pool/eu", nil, &r)
		for _, part := range parts {
			if !strings.Contains(string(r.Spec), part) {
				t.Errorf("%s is lost: %s", part, r.Spec)
			}
		}
	}
	d.does(dir, "POST", "pools/shop/eu/weights", api.WeightsRequest{Weights: map[string]int{"a": 7}}, nil)
	holds(`"somethingNew":{"a":1}`, `"color":"red"`, `"weight":7`)
	in := api.ApplyRequest{Resources: []api.Resource{{Kind: "Pool", Tenant: "shop", Name: "eu",
		Spec: json.RawMessage(`{"endpoints":[{"name":"a","addresses":["198.51.100.1"],"weight":8}]}`)}}}
	d.refuses(dir, http.StatusUnprocessableEntity, "POST", "apply", in, "spec.somethingNew", "--drop-unknown")
	in.DropUnknown = true
	d.does(dir, "POST", "apply", in, nil)
	unknown("[" + flux + "]")
	d.does(dir, "POST", "rollback/shop", api.RollbackRequest{Generation: 2}, nil)
	holds(`"somethingNew":{"a":1}`, `"color":"red"`)
	d.does(dir, "DELETE", "resources/shop/Flux/x", nil, nil)
	unknown("[" + pool + "]")
	d.interrupt()
	d = start(t, dir) // the copy on disk has it all
	unknown("[" + pool + "]")
}

// What cannot be decoded can be listed and deleted, though no form of it was ever seen.
func TestWhatCannotBeDecodedCanBeDeleted(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	d := start(t, dir, "--apply", writeConfig(t, "198.51.100.1"))
	d.sourceIs("current")
	writeStraight(t, dir, map[string]string{"config/head/shop": "2",
		versionKey("shop/Monitor/m", 2): `{"resource":{"kind":"Monitor","tenant":"shop","name":"m","spec":{"port":"many"}}}`})
	d.eventually("it is listed", func() error {
		code, body := d.v1(dir, "GET", "resources?kind=Monitor", nil, nil)
		if code != http.StatusOK || !strings.Contains(body, "shop@2 wrote cannot be read") {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	d.does(dir, "DELETE", "resources/shop/Monitor/m", nil, nil)
	d.eventually("nothing is broken", func() error {
		if s := d.status(); len(s.Broken) != 0 || s.Tenants["shop"] != 3 {
			return fmt.Errorf("%v, broken %v", s.Tenants, s.Broken)
		}
		return nil
	})
	d.refuses(dir, http.StatusServiceUnavailable, "POST", "rollback/shop", api.RollbackRequest{Generation: 2},
		"shop/Monitor/m", "cannot be rolled back")
}
