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
	r.Header.Set(api.AuthorHeader, "alice@build-7")
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
	if code, body := c.control.v1(c.dir, "POST", "store/rebuild", in, &out); code != http.StatusOK || out.Accepted == nil || len(out.Records) < 2 {
		c.t.Fatalf("%s: %d %s", what, code, body)
	}
	c.edge.sourceIs("current")
	c.edge.eventually(what+": the edge answers from the new store, with the zone's keys", func() error {
		s := c.edge.status()
		for tenant, head := range out.Heads {
			if s.Tenants[tenant] != head {
				return fmt.Errorf("%v, want %v", s.Tenants, out.Heads)
			}
		}
		if now := c.edge.dnskeys(); !slices.Equal(now, keys) || len(s.Broken) > 0 {
			return fmt.Errorf("keys %v, want %v; broken %v", now, keys, s.Broken)
		}
		return nil
	})
	if code, body := c.control.v1(c.dir, "POST", "store/rebuild", in, nil); code != http.StatusConflict {
		c.t.Errorf("%s: rebuilding what is well: %d %s", what, code, body)
	}
	return out
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

// A new, empty cluster: edges serve the old store until the new one is whole, and signed zones keep their keys; from files, from
// control's memory, and by a control that was started since.
func TestAnEmptyStoreIsRebuiltBehindEdgesThatServe(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t, hubDir: newDir(t), dir: newDir(t), edgeDir: newDir(t)}
	file := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, file, strings.Replace(configYAML, "spec:\n  content", "spec:\n  dnssec: {}\n  content", 1))
	c.hub = start(t, c.hubDir, "--roles", "prober", "--vantage", "p1")
	c.startControl("--apply", file)
	c.edge = start(t, c.edgeDir, "--roles", "edge", "--etcd", socketOf(c.hubDir), "--id", "fra-1")
	c.edge.comesToAnswer(webHost, "198.51.100.1")
	for weight := range 3 { // so that a new store begins below
		in := api.WeightsRequest{Weights: map[string]int{"a": weight + 2}}
		for _, pool := range []string{"shop/eu", "other/p"} {
			if code, body := c.control.v1(c.dir, "POST", "pools/"+pool+"/weights", in, nil); code != http.StatusOK {
				t.Fatalf("%d %s", code, body)
			}
		}
	}
	var keys []string
	c.edge.eventually("the zone is signed", func() error {
		if keys = c.edge.dnskeys(); len(keys) < 2 {
			return fmt.Errorf("%d keys", len(keys))
		}
		return nil
	})
	c.edge.sourceIs("current")
	stop := asking(c.edge, webHost, "198.51.100.1")

	c.empty()
	c.controlRefuses()
	wire := wireOf(t, file)
	if code, body := c.control.v1(c.dir, "POST", "apply", api.ApplyRequest{Resources: wire}, nil); code != http.StatusConflict || !strings.Contains(body, "gtmctl store rebuild") {
		t.Errorf("apply to the empty store: %d %s", code, body)
	}
	var plan api.RebuildReply
	part := wire[:len(wire)-1]
	if code, body := c.control.v1(c.dir, "POST", "store/rebuild", api.RebuildRequest{Resources: part, DryRun: true}, &plan); code != http.StatusOK ||
		plan.Accepted != nil || len(plan.Plan) != len(part) || len(plan.Lost) != 1 || plan.Lost[0] != wire[len(wire)-1].Key() {
		t.Errorf("a dry run: %d %s", code, body)
	}
	out := c.rebuilt("from files", api.RebuildRequest{Resources: wire}, keys)
	if !slices.Equal(out.Keys, []string{"gtm.example."}) {
		t.Errorf("zones with their keys: %v", out.Keys)
	}
	if code, body := c.control.v1(c.dir, "POST", "pools/shop/eu/weights", api.WeightsRequest{Weights: map[string]int{"a": 9}}, nil); code != http.StatusOK {
		t.Errorf("the first change after: %d %s", code, body)
	}
	c.edge.eventually("the edge has it", func() error {
		if s := c.edge.status(); s.Tenants["shop"] != out.Heads["shop"]+1 {
			return fmt.Errorf("%v", s.Tenants)
		}
		return nil
	})

	c.empty()
	c.controlRefuses()
	c.rebuilt("from memory", api.RebuildRequest{FromMemory: true}, keys)
	if code, body := c.control.v1(c.dir, "POST", "pools/shop/eu/weights", api.WeightsRequest{Weights: map[string]int{"a": 8}}, nil); code != http.StatusOK {
		t.Errorf("a change after: %d %s", code, body)
	}
	c.edge.sourceIs("current")
	c.edge.eventually("the edge has it", func() error {
		if s := c.edge.status(); s.Tenants["shop"] < 2 {
			return fmt.Errorf("%v", s.Tenants)
		}
		return nil
	})

	c.control.interrupt()
	c.empty()
	c.startControl()
	if code, body := c.control.v1(c.dir, "POST", "store/rebuild", api.RebuildRequest{FromMemory: true}, nil); code != http.StatusConflict || !strings.Contains(body, "-f DIR") {
		t.Errorf("a control without a memory: %d %s", code, body)
	}
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
			case err == nil && code == http.StatusConflict && strings.Contains(body, "by alice@build-7") && strings.Contains(body, "get it again"):
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

// A newer program wrote a field and a kind that this one does not know. Nothing of it is lost or broken, and both can be deleted.
func TestAnOlderControlKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	d := start(t, dir, "--apply", writeConfig(t, "198.51.100.1"))
	d.sourceIs("current")
	const pool = `{"resource":{"kind":"Pool","tenant":"shop","name":"eu","spec":{"somethingNew":{"a":1},"endpoints":[{"name":"a","addresses":["198.51.100.1"],"color":"red"}]}}}`
	const flux = `{"resource":{"kind":"Flux","tenant":"shop","name":"x","spec":{"much":[1,2]}}}`
	writeStraight(t, dir, map[string]string{"config/res/shop/Pool/eu/0000000000000002": pool, "config/res/shop/Flux/x/0000000000000002": flux, "config/head/shop": "2"})
	d.eventually("status tells it apart", func() error {
		s := d.status()
		if len(s.Broken) != 0 || len(s.Unknown) != 2 || s.Unknown[0].Resource != "shop/Pool/eu" || !slices.Equal(s.Unknown[0].Fields, []string{"spec.somethingNew", "spec.endpoints[0].color"}) ||
			s.Unknown[1].Resource != "shop/Flux/x" || s.Tenants["shop"] != 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	d.eventually("control has it", func() error {
		if code, body := d.v1(dir, "GET", "resources/shop/flux/x", nil, nil); code != http.StatusOK || !strings.Contains(body, `"much":[1,2]`) {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	if code, body := d.v1(dir, "POST", "pools/shop/eu/weights", api.WeightsRequest{Weights: map[string]int{"a": 7}}, nil); code != http.StatusOK {
		t.Fatalf("weights: %d %s", code, body)
	}
	var r api.Resource
	d.v1(dir, "GET", "resources/shop/Pool/eu", nil, &r)
	for _, part := range []string{`"somethingNew":{"a":1}`, `"color":"red"`, `"weight":7`} {
		if !strings.Contains(string(r.Spec), part) {
			t.Errorf("%s is lost: %s", part, r.Spec)
		}
	}
	whole := api.Resource{Kind: "Pool", Tenant: "shop", Name: "eu", Spec: json.RawMessage(`{"endpoints":[{"name":"a","addresses":["198.51.100.1"],"weight":8}]}`)}
	code, body := d.v1(dir, "POST", "apply", api.ApplyRequest{Resources: []api.Resource{whole}}, nil)
	if code != http.StatusUnprocessableEntity || !strings.Contains(body, "spec.somethingNew") || !strings.Contains(body, "--drop-unknown") {
		t.Errorf("a whole apply: %d %s", code, body)
	}
	if code, body := d.v1(dir, "POST", "apply", api.ApplyRequest{Resources: []api.Resource{whole}, DropUnknown: true}, nil); code != http.StatusOK || !strings.Contains(body, `"path":"spec.somethingNew.a"`) {
		t.Errorf("with --drop-unknown: %d %s", code, body)
	}
	if code, body := d.v1(dir, "POST", "rollback/shop", api.RollbackRequest{Generation: 2}, nil); code != http.StatusOK {
		t.Errorf("rollback: %d %s", code, body)
	}
	d.v1(dir, "GET", "resources/shop/Pool/eu", nil, &r)
	if !strings.Contains(string(r.Spec), `"color":"red"`) {
		t.Errorf("a rollback does not bring back: %s", r.Spec)
	}
	if code, body := d.v1(dir, "DELETE", "resources/shop/Flux/x", nil, nil); code != http.StatusOK {
		t.Errorf("delete: %d %s", code, body)
	}
	d.eventually("it is gone", func() error {
		if s := d.status(); len(s.Unknown) != 1 || len(s.Broken) != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	d.interrupt()
	d = start(t, dir) // the copy on disk has it all
	if s := d.status(); len(s.Unknown) != 1 || len(s.Broken) != 0 {
		t.Errorf("after a restart: %+v", s)
	}
	// What cannot be decoded can be deleted too, by a control that never saw a form of it.
	d.interrupt()
	d = start(t, dir)
	writeStraight(t, dir, map[string]string{"config/res/shop/Monitor/m/0000000000000007": `{"resource":{"kind":"Monitor","tenant":"shop","name":"m","spec":{"port":"many"}}}`, "config/head/shop": "7"})
	d.eventually("it is listed", func() error {
		if code, body := d.v1(dir, "GET", "resources?kind=Monitor", nil, nil); code != http.StatusOK || !strings.Contains(body, "shop@7 wrote cannot be read") {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	if code, body := d.v1(dir, "DELETE", "resources/shop/Monitor/m", nil, nil); code != http.StatusOK {
		t.Errorf("delete: %d %s", code, body)
	}
	if code, body := d.v1(dir, "POST", "rollback/shop", api.RollbackRequest{Generation: 7}, nil); code == http.StatusOK || !strings.Contains(body, "shop/Monitor/m") {
		t.Errorf("rollback to what cannot be read: %d %s", code, body)
	}
}
