package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const signalYAML = `
---
kind: Monitor
tenant: shop
name: agent
spec: {type: signal, interval: 200ms}
---
kind: Monitor
tenant: shop
name: heartbeat
spec: {type: signal, interval: 200ms, silent: down}
---
kind: Pool
tenant: shop
name: eu
spec: {monitor: agent, endpoints: [{name: a, addresses: [198.51.100.1]}]}
---
kind: Pool
tenant: shop
name: us
spec: {monitor: agent, endpoints: [{name: a, addresses: [198.51.100.2]}]}
---
kind: Pool
tenant: shop
name: jobs
spec: {monitor: heartbeat, endpoints: [{name: a, addresses: [198.51.100.3]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., rules: [{pools: [eu, us]}]}
---
kind: Service
tenant: shop
name: jobs
spec: {host: jobs.shop.gtm.example., rules: [{pools: [jobs, us]}]}
`

// TestOwnersSayWhatIsUp: what is pushed to one control or another changes answers, is told, and outlives the store's absence.
func TestOwnersSayWhatIsUp(t *testing.T) {
	t.Parallel()
	const eu, us, jobs, jobsHost = "198.51.100.1", "198.51.100.2", "198.51.100.3", "jobs.shop.gtm.example."
	ctl, dir, otherDir := buildCtl(t), newDir(t), newDir(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	head, rest, _ := strings.Cut(configYAML, "---\nkind: Pool\ntenant: shop")
	_, rest, _ = strings.Cut(rest, "---\nkind: Pool\ntenant: other")
	writeFile(t, file, head+"---\nkind: Pool\ntenant: other"+rest+signalYAML)
	hub := start(t, dir, "--apply", file)
	other := start(t, otherDir, "--roles", "control", "--etcd", socketOf(dir))
	run := func(d *daemon, dir string, want int, args ...string) string {
		t.Helper()
		text, code := d.ctl(ctl, dir, args...)
		if code != want {
			t.Errorf("gtmctl %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, text)
		}
		return text
	}
	tells := func(want string, args ...string) {
		t.Helper()
		hub.eventually("gtmctl "+strings.Join(args, " ")+" tells "+want, func() error {
			if text, _ := hub.ctl(ctl, dir, args...); !strings.Contains(text, want) {
				return fmt.Errorf("%s", text)
			}
			return nil
		})
	}
	other.eventually("the other control follows the store", func() error {
		if text, code := other.ctl(ctl, otherDir, "get", "pools", "-o", "json"); code != 0 || !strings.Contains(text, `"jobs"`) {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
	for _, endpoint := range []string{"shop/eu/a", "shop/us/a", "shop/jobs/a"} {
		run(hub, dir, 0, "signal", endpoint, "--state", "up", "--for", "1h")
	}
	hub.comesToAnswer(webHost, eu)
	hub.comesToAnswer(jobsHost, jobs)

	began := time.Now()
	run(hub, dir, 0, "signal", "shop/eu/a", "--state", "down", "--reason", "draining", "--for", "1h")
	hub.comesToAnswer(webHost, us)
	t.Logf("the first changed answer came %d ms after gtmctl began", time.Since(began).Milliseconds())
	tells("signal: down by admin-token: draining", "explain", webHost, "--subnet", "81.2.69.0/24", "-o", "json")
	tells("signal of a: down by admin-token, ", "describe", "pool", "shop/eu")
	tells("shop/eu/a", "signal", "list", "shop/eu")
	run(other, otherDir, 0, "signal", "shop/eu/a", "--load", "400/100", "--for", "1h")
	hub.comesToAnswer(webHost, eu)
	tells(`"effective": 0.25`, "describe", "pool", "shop/eu", "-o", "json")
	if text := run(other, otherDir, 1, "signal", "shop/eu/a", "--load", "4e9/100"); !strings.Contains(text, "not believed") {
		t.Error(text)
	}
	tells("does not believe what is said of a", "status")
	tells(`"effective": 0.25`, "describe", "pool", "shop/eu", "-o", "json")

	// The store is gone: nothing is taken, and nothing is lost.
	hub.kill()
	<-hub.ended
	other.eventually("the other control refuses", func() error {
		if text, code := other.ctl(ctl, otherDir, "signal", "shop/eu/a", "--state", "down"); code != 1 || !strings.Contains(text, "store") {
			return fmt.Errorf("%d: %s", code, text)
		}
		return nil
	})
	hub = start(t, dir)
	hub.comesToAnswer(webHost, eu)
	hub.comesToAnswer(jobsHost, jobs)
	tells("signal of a: up, load 400 of 100", "describe", "pool", "shop/eu")
	tells("judged by", "status")

	// Silence: what waits for a word holds, what needs one is down.
	run(hub, dir, 0, "signal", "shop/eu/a", "--state", "up", "--for", "5s")
	run(hub, dir, 0, "signal", "shop/jobs/a", "--state", "up", "--for", "5s")
	hub.comesToAnswer(jobsHost, us)
	tells("shop/eu hears nothing from the owners of 1 of 1 endpoint: a", "status")
	tells("no signal since", "describe", "pool", "shop/eu")
	hub.answers(webHost, eu)
	run(hub, dir, 1, "status")
	run(hub, dir, 0, "signal", "shop/jobs/a", "--state", "up", "--for", "1h")
	hub.comesToAnswer(jobsHost, jobs)
	run(hub, dir, 0, "signal", "shop/jobs/a", "--end")
	tells("no signal", "describe", "pool", "shop/jobs")

	for want, args := range map[string][]string{
		"shop/eu has no endpoint b; did you mean a?": {"signal", "shop/eu/b", "--state", "up"},
		"did you mean eu?":                           {"signal", "shop/eux/a", "--state", "up"},
		"no monitor of other/p is of":                {"signal", "other/p/a", "--state", "up"},
		"it can be 5s to 24h":                        {"signal", "shop/eu/a", "--state", "up", "--for", "25h"},
		"means nothing with state down":              {"signal", "shop/eu/a", "--state", "down", "--score", ".5"},
	} {
		if text := run(hub, dir, 1, args...); !strings.Contains(text, want) {
			t.Errorf("%v: %s\nwant %s", args, text, want)
		}
	}
}
