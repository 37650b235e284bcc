package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// With its port moved, gtmctl did not find gtmd; and a gtmd without the API was told to be none at all.
func TestTheAddressOfTheAPIIsLeftBesideItsToken(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	d := start(t, dir, "--apply", writeConfig(t, "198.51.100.1"))
	text, err := os.ReadFile(filepath.Join(dir, "api"))
	if err != nil || string(text) != d.web+"\n" {
		t.Errorf("it says %q, %v; want %s", text, err, d.web)
	}
	info, err := os.Stat(filepath.Join(dir, "api"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	edge := start(t, newDir(t), "--roles", "edge", "--etcd", socketOf(dir))
	if _, err := os.Stat(filepath.Join(filepath.Dir(edge.cmd.Args[2]), "api")); err == nil {
		t.Error("an edge leaves an address of an API that it does not have")
	}
	code, body := edge.get("/v1/status")
	var problem api.Problem
	if err := json.Unmarshal([]byte(body), &problem); err != nil || code != http.StatusNotFound ||
		!strings.Contains(problem.Detail, "does not play the role control") {
		t.Errorf("an edge says %d %s", code, body)
	}
	d.interrupt()
	if _, err := os.Stat(filepath.Join(dir, "api")); err == nil {
		t.Error("the address is left behind, for whoever listens there next")
	}
}

// --apply took back what operators had changed, at every restart, without a word.
func TestApplyAtARestartTellsWhatItSetsBack(t *testing.T) {
	t.Parallel()
	dir, config := newDir(t), writeConfig(t, "198.51.100.1")
	d := start(t, dir, "--apply", config)
	c := change.New(change.Config{Store: openStore(t, dir)})
	byHand := func(address string) {
		t.Helper()
		p, err := c.Plan(limited(t), change.Input{Put: shopResources(t, address), Author: "bob", Message: "by hand"})
		if err == nil {
			_, err = c.Apply(limited(t), p)
		}
		if err != nil {
			t.Fatal(err)
		}
		d.comesToAnswer(webHost, address)
	}
	byHand("198.51.100.9")
	d.interrupt()

	d = start(t, dir, "--apply", config, "--apply-once")
	d.answers(webHost, "198.51.100.9")
	d.says("--apply-once: the store holds a configuration, which stays as it is")
	d.interrupt()

	d = start(t, dir, "--apply", config)
	d.answers(webHost, "198.51.100.1")
	d.says("--apply set back what was changed since", "resource=shop/Pool/eu", "by=bob", `message="by hand"`, "was=shop@2")
	if strings.Contains(d.log.String(), "resource=shop/Service/web") {
		t.Error("what is as it was is said to be set back")
	}
	d.interrupt()

	d = start(t, newDir(t), "--apply", config, "--apply-once")
	d.answers(webHost, "198.51.100.1")
}

// The README told how to look at the demo, and not how to make a service of one's own.
func TestReadmeLeadsToAFirstService(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(readme), "## A service of your own")
	_, text, ok2 := strings.Cut(text, "<<'END'\n")
	text, _, ok3 := strings.Cut(text, "    END\n")
	if !ok || !ok2 || !ok3 {
		t.Fatal("the README has no steps to a service of one's own")
	}
	var yaml strings.Builder
	for line := range strings.Lines(text) {
		yaml.WriteString(strings.TrimPrefix(line, "    "))
	}
	resources, err := spec.Decode("README.md", []byte(yaml.String()))
	if err != nil {
		t.Fatal(err)
	}
	hosts := 0
	file := filepath.Join(t.TempDir(), "first.yaml")
	writeFile(t, file, yaml.String())
	d := start(t, newDir(t), "--apply", file)
	for _, r := range resources {
		if s, ok := r.Spec.(*spec.Service); ok {
			hosts++
			d.answers(s.Host, "198.51.100.10")
		}
	}
	if hosts != 1 {
		t.Errorf("%d services, want one", hosts)
	}
}
