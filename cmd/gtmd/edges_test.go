package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/store/state"
)

// buildCtl makes gtmctl.
func buildCtl(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gtmctl")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", file, "github.com/gti/gtm/cmd/gtmctl")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("gtmctl cannot be built: %v\n%s", err, text)
	}
	return file
}

// ctl runs gtmctl against a control whose data are in dir; it gives all that it printed, and its exit code.
func (d *daemon) ctl(program, dir string, args ...string) (text string, code int) {
	d.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "GTM_SERVER="+d.web, "GTM_TOKEN_FILE="+filepath.Join(dir, "token"), "GTM_CONFIG="+d.t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		d.t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// TestADeadEdgeIsMissed: one that was killed vanished from status within seconds, and wait reported success. Until it is forgotten,
// both end with 1 and say what to do.
func TestADeadEdgeIsMissed(t *testing.T) {
	t.Parallel()
	ctl, dir := buildCtl(t), newDir(t)
	hub := start(t, dir, "--roles", "control", "--apply", writeConfig(t, "198.51.100.1"))
	ams := start(t, newDir(t), "--roles", "edge", "--etcd", socketOf(dir), "--id", "ams1")
	fra := start(t, newDir(t), "--roles", "edge", "--etcd", socketOf(dir), "--id", "fra1")
	for _, edge := range []*daemon{ams, fra} {
		edge.comesToAnswer(webHost, "198.51.100.1")
	}
	ends := func(want int, args ...string) string {
		t.Helper()
		text, code := hub.ctl(ctl, dir, args...)
		if code != want {
			t.Errorf("gtmctl %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, text)
		}
		return text
	}
	hub.eventually("both are known", func() error {
		if text, code := hub.ctl(ctl, dir, "status"); code != 0 || strings.Count(text, "current") != 3 {
			return fmt.Errorf("%d: %s", code, text)
		}
		return nil
	})
	ends(0, "wait", "--all")

	ams.kill()
	if text := ends(1, "wait", "--all", "--timeout", "3s"); !strings.Contains(text, "edge ams1 cannot be asked") {
		t.Errorf("while it still holds its lease, wait says:\n%s", text)
	}
	hub.eventually("it has lost its lease", func() error {
		if text, code := hub.ctl(ctl, dir, "status"); code != 1 || !strings.Contains(text, "! ams1: is silent since 20") ||
			!strings.Contains(text, "it may answer from other@1 platform@1 shop@1; if it is gone for good: gtmctl edge forget ams1") {
			return fmt.Errorf("%d: %s", code, text)
		}
		return nil
	})
	text := ends(1, "apply", "-f", writeConfig(t, "198.51.100.2"), "--wait", "--timeout", "10s")
	if !strings.Contains(text, "edge ams1 is silent") || strings.Contains(text, "edge fra1") {
		t.Errorf("apply --wait says:\n%s", text)
	}
	fra.answers(webHost, "198.51.100.2")
	hub.eventually("the metric tells it", func() error {
		if _, text := hub.get("/metrics"); !strings.Contains(text, `gtm_control_edges{state="silent"} 1`) {
			return errors.New("it does not")
		}
		return nil
	})
	ends(0, "edge", "forget", "ams1")
	ends(0, "wait", "--all")
	if text := ends(0, "status"); strings.Contains(text, "ams1") {
		t.Errorf("forgotten, and still there:\n%s", text)
	}
	if edges, err := openStore(t, dir).Edges(limited(t)); err != nil || len(edges) != 1 || !edges[0].Alive {
		t.Errorf("edges in the store: %+v, %v", edges, err)
	}
}

// TestSilenceOfTheStoreShowsAtAnEdge: with etcd gone, explanations went on calling all endpoints healthy.
func TestSilenceOfTheStoreShowsAtAnEdge(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	hub := start(t, dir, "--roles", "control", "--apply", writeConfig(t, "198.51.100.1"))
	edge := start(t, newDir(t), "--roles", "edge", "--etcd", socketOf(dir), "--id", "ams1")
	edge.comesToAnswer(webHost, "198.51.100.1")
	edge.sourceIs(state.Current)
	explain := func() string { _, text := edge.get("/edge/explain?host=" + webHost); return text }
	if text := explain(); strings.Contains(text, "stands still") {
		t.Errorf("with the store: %s", text)
	}
	hub.kill()
	edge.sourceIs(state.Stale)
	if text := explain(); !strings.Contains(text, "health stands still since ") || !strings.Contains(text, "the store is not heard") {
		t.Errorf("without the store: %s", text)
	}
	if h := edge.status().Health; h == nil || !h.StandsStill || h.Since.IsZero() || h.Since.After(edge.status().Source.Since) {
		t.Errorf("%+v", h)
	}
}

// TestAnEdgeIsDrainedByHandWithoutTheStore, over a restart, until the store has a newer word; and while the store is heard, it refuses.
func TestAnEdgeIsDrainedByHandWithoutTheStore(t *testing.T) {
	t.Parallel()
	ctl, dir, edgeDir := buildCtl(t), newDir(t), newDir(t)
	config := func(ttl string) string {
		file := filepath.Join(t.TempDir(), "config.yaml")
		text := strings.Replace(configYAML, "rules: [{pools: [eu]}]", "ttl: "+ttl+", rules: [{pools: [eu, us]}]", 1)
		writeFile(t, file, text+"---\nkind: Pool\ntenant: shop\nname: us\nspec: {endpoints: [{name: a, addresses: [203.0.113.1]}]}\n")
		return file
	}
	hub := start(t, dir, "--roles", "control", "--apply", config("20s"))
	edge := start(t, edgeDir, "--roles", "edge", "--etcd", socketOf(dir), "--id", "fra1")
	edge.comesToAnswer(webHost, "198.51.100.1")
	override := func(want int, says string, args ...string) {
		t.Helper()
		text, code := edge.ctl(ctl, edgeDir, append([]string{"override", "--edge", edge.web}, args...)...)
		if code != want || !strings.Contains(text, says) {
			t.Errorf("gtmctl override %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, text)
		}
	}
	edge.sourceIs("current")
	override(1, "this edge hears the store: gtmctl drain reaches every edge", "shop/eu", "--reason", "the rack burns")
	hub.kill()
	edge.sourceIs("stale")
	override(2, "say why with --reason", "shop/eu")
	override(1, "there is no pool shop/ue here", "shop/ue", "--reason", "the rack burns")
	override(0, "shop/eu/a: drain at this edge alone until 20", "shop/eu/a", "--reason", "the rack burns")
	edge.comesToAnswer(webHost, "203.0.113.1")
	override(0, "the rack burns, by admin-token of this edge")
	edge.says("AN OVERRIDE OF THIS EDGE ALONE HOLDS")
	if text, code := edge.ctl(ctl, dir, "override", "--edge", edge.web, "shop/eu/a", "--end"); code != 1 ||
		!strings.Contains(text, "the token is missing or wrong") {
		t.Errorf("with the token of another: %d\n%s", code, text)
	}
	edge.interrupt()
	edge = start(t, edgeDir, "--roles", "edge", "--etcd", socketOf(dir), "--id", "fra1")
	edge.answers(webHost, "203.0.113.1")

	hub = start(t, dir, "--roles", "control")
	edge.sourceIs("current")
	edge.answers(webHost, "203.0.113.1")
	hub.eventually("status tells of it loudly", func() error {
		text, code := hub.ctl(ctl, dir, "status")
		if code != 1 || !strings.Contains(text, "! fra1: shop/eu/a: drain at this edge alone until 20") {
			return errors.New(text)
		}
		return nil
	})
	if text, code := hub.ctl(ctl, dir, "apply", "-f", config("30s"), "--wait"); code != 0 {
		t.Errorf("%d: %s", code, text)
	}
	edge.comesToAnswer(webHost, "198.51.100.1")
	edge.says("an override of this edge alone has ended", "the store has a newer word: shop@2")
	override(0, "this edge was told nothing itself")
}
