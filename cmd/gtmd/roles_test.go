package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// socketOf is how others on this machine reach the etcd in a data folder.
func socketOf(dir string) string { return "unix://" + filepath.Join(dir, "etcd", "etcd.sock") }

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	t.Cleanup(cancel)
	return ctx
}

func openStore(t *testing.T, dir string) *store.Client {
	t.Helper()
	c, err := store.Open(limited(t), store.Config{Endpoints: []string{socketOf(dir)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// writeStraight writes keys into etcd in one transaction, behind everyone's back.
func writeStraight(t *testing.T, dir string, keys map[string]string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{socketOf(dir)}, DialTimeout: within, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var ops []clientv3.Op
	for k, v := range keys {
		ops = append(ops, clientv3.OpPut(store.DefaultPrefix+k, v))
	}
	if resp, err := c.Txn(limited(t)).Then(ops...).Commit(); err != nil || !resp.Succeeded {
		t.Fatal(err)
	}
}

// Roles in processes of their own: the edge outlives the store, and comes back without it.
func TestEdgeOutlivesTheStore(t *testing.T) {
	t.Parallel()
	dir, edgeDir := newDir(t), newDir(t)
	hub := start(t, dir, "--roles", "control,prober", "--apply", writeConfig(t, "198.51.100.1"))
	edge := start(t, edgeDir, "--roles", "edge", "--etcd", socketOf(dir), "--id", "fra-1")
	edge.comesToAnswer(webHost, "198.51.100.1")
	if code, _ := hub.get("/edge/status"); code != http.StatusNotFound {
		t.Errorf("a gtmd that is no edge has /edge/status: %d", code)
	}
	if code, _ := edge.get("/v1/status"); code != http.StatusNotFound {
		t.Errorf("a gtmd that is no control has /v1/status: %d", code)
	}
	if _, err := os.Stat(filepath.Join(edgeDir, "etcd")); err == nil {
		t.Error("a gtmd with --etcd has an etcd of its own")
	}
	found := openStore(t, dir)
	edges, err := found.Edges(limited(t))
	for ctx := limited(t); len(edges) == 0 && err == nil && ctx.Err() == nil; edges, err = found.Edges(ctx) {
		time.Sleep(20 * time.Millisecond) // it is told beside the answers, and not before
	}
	if err != nil || len(edges) != 1 || edges[0].ID != "fra-1" || "http://"+edges[0].HTTP != edge.web ||
		edges[0].DNS[0] != edge.dns.String() {
		t.Errorf("edges in the store: %+v, %v", edges, err)
	}

	hub.kill()
	if s := edge.sourceIs("stale"); s.Error == "" {
		t.Error("stale without a reason")
	}
	edge.answers(webHost, "198.51.100.1")
	if code, body := edge.get("/readyz"); code != http.StatusOK {
		t.Errorf("an edge without a store is not ready: %d %s", code, body)
	}
	edge.interrupt()

	edge = start(t, edgeDir, "--roles", "edge", "--etcd", socketOf(dir), "--id", "fra-1") // from the snapshot
	edge.answers(webHost, "198.51.100.1")
	edge.answers(otherHost, "192.0.2.7")
	edge.sourceIs("snapshot")

	start(t, dir, "--roles", "control,prober", "--apply", writeConfig(t, "198.51.100.9"))
	edge.comesToAnswer(webHost, "198.51.100.9")
	edge.sourceIs("current")
}

// A prober by itself is ready while the store has its lease, and tells why it is not.
func TestAProberAloneIsReadyWithTheStore(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	hub := start(t, dir, "--roles", "control", "--apply", writeConfig(t, "198.51.100.1"))
	p := start(t, newDir(t), "--roles", "prober", "--etcd", socketOf(dir), "--vantage", "fra")
	p.eventually("the prober is ready", func() error {
		if code, body := p.get("/readyz"); code != http.StatusOK {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	hub.kill()
	p.eventually("the prober misses the store", func() error {
		if code, body := p.get("/readyz"); code != http.StatusServiceUnavailable ||
			!strings.Contains(string(body), "prober: the store is stale") {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

// What is broken in etcd itself harms its service alone, is named, and is healed by a good version.
func TestBrokenInEtcd(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	d := start(t, dir, "--apply", writeConfig(t, "198.51.100.1"))
	d.sourceIs("current")
	cases := []struct{ name, value, broken string }{
		{"no JSON", "garbage", "shop/Service/web"},
		{"another's key", `{"resource":{"kind":"Service","tenant":"other","name":"web","spec":{"host":"x.","rules":[]}}}`,
			"shop/Service/web"},
		{"wrong types", `{"resource":{"kind":"Service","tenant":"shop","name":"web","spec":{"host":7}}}`, "shop/Service/web"},
		{"a zone's text that is not there", `{"resource":{"kind":"Service","tenant":"shop","name":"web","spec":{}},"text":["00"]}`,
			"shop/Service/web"},
		{"well-formed nonsense", `{"resource":{"kind":"Service","tenant":"shop","name":"web","spec":{` +
			`"host":"web.shop.gtm.example.","rules":[{"pools":["none"]}]}}}`,
			"shop/Service/web"},
	}
	client := openStore(t, dir)
	gen := uint64(1)
	for _, c := range cases {
		gen++
		writeStraight(t, dir, map[string]string{fmt.Sprintf("config/res/shop/Service/web/%016x", gen): c.value,
			"config/head/shop": fmt.Sprint(gen)})
		d.eventually(c.name+": status names it", func() error {
			s := d.status()
			if len(s.Broken) != 1 || s.Broken[0].Resource != c.broken || s.Broken[0].Error == "" || s.Tenants["shop"] != gen {
				return fmt.Errorf("broken: %+v, generations %v", s.Broken, s.Tenants)
			}
			return nil
		})
		d.answers(webHost, "198.51.100.1") // its last good form
		d.answers(otherHost, "192.0.2.7")
		if code, body := d.get("/readyz"); code != http.StatusOK {
			t.Errorf("%s: not ready: %d %s", c.name, code, body)
		}
		gen++
		rec, err := client.Commit(limited(t), store.Change{Tenant: "shop", Base: state.Generation(gen - 1), Time: time.Now(),
			Put: shopResources(t, "198.51.100.1")})
		if err != nil || uint64(rec.Generation) != gen {
			t.Fatalf("%s: a good version: %+v, %v", c.name, rec, err)
		}
		d.eventually(c.name+": healed", func() error {
			if s := d.status(); len(s.Broken) != 0 || s.Tenants["shop"] != gen {
				return fmt.Errorf("broken: %+v, generations %v", s.Broken, s.Tenants)
			}
			return nil
		})
		d.answers(webHost, "198.51.100.1")
	}
	d.says("a resource is not served as declared", "resource=shop/Service/web")
	d.interrupt()
}

// shopResources are the shop's part of the configuration.
func shopResources(t *testing.T, address string) (shop []*spec.Resource) {
	t.Helper()
	all, err := loadResources([]string{writeConfig(t, address)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Tenant == "shop" {
			shop = append(shop, r)
		}
	}
	return shop
}

// etcd is restored from an old copy: edges hold what they have until someone accepts it.
func TestRestoredStore(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	start(t, dir, "--apply", writeConfig(t, "198.51.100.1")).interrupt()
	etcd, backup := filepath.Join(dir, "etcd"), filepath.Join(newDir(t), "etcd")
	copyFolder(t, etcd, backup)
	d := start(t, dir, "--apply", writeConfig(t, "198.51.100.2"))
	d.comesToAnswer(webHost, "198.51.100.2")
	d.interrupt()
	if err := os.RemoveAll(etcd); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, backup, etcd)

	d = start(t, dir)
	if s := d.sourceIs("refused"); !strings.Contains(s.Error, "gtmctl store accept") || !strings.Contains(s.Error, "shop") {
		t.Errorf("the reason: %q", s.Error)
	}
	d.answers(webHost, "198.51.100.2")
	if s := d.status(); s.Tenants["shop"] != 2 {
		t.Errorf("generations %v", s.Tenants)
	}
	if err := openStore(t, dir).Accept(limited(t), "alice"); err != nil {
		t.Fatal(err)
	}
	d.comesToAnswer(webHost, "198.51.100.1")
	d.sourceIs("current")
	if s := d.status(); s.Tenants["shop"] != 1 {
		t.Errorf("generations %v", s.Tenants)
	}
	d.interrupt()

	d = start(t, dir) // accepted once, it stays so
	d.sourceIs("current")
	d.answers(webHost, "198.51.100.1")
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.Type()&os.ModeSocket != 0 {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if e.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		return copyFile(path, target)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyFile copies one file.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	return err
}
