package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// wayBack is how long it may take from a bad change until everything is as it was, on one machine.
const wayBack = 30 * time.Second

const rolloutYAML = `---
kind: Rollout
tenant: platform
name: platform
spec:
  groups:
    - {name: canary, edges: [canary-*], soak: 4s}
    - {name: rest, soak: 1s}
  gates: {servfail: 5%, nxdomain: 5%, shift: 20%, probes: [web.shop.gtm.example.]}
`

// stage is a control, an edge of the first group, and one of the rest.
type stage struct {
	t                 *testing.T
	ctl, dir          string
	hub, canary, rest *daemon
	canaryDir         string
	began             time.Time // of the bad change
}

// newStage applies the fixtures, and waits until both edges follow a rollout.
func newStage(t *testing.T, extra string) *stage {
	t.Helper()
	s := &stage{t: t, ctl: buildCtl(t), dir: newDir(t), canaryDir: newDir(t)}
	config := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, config, configYAML+extra)
	s.hub = start(t, s.dir, "--roles", "control", "--apply", config)
	s.canary = s.startCanary()
	s.rest = start(t, newDir(t), "--roles", "edge", "--etcd", socketOf(s.dir), "--id", "fra-1")
	for _, edge := range []*daemon{s.canary, s.rest} {
		edge.comesToAnswer(webHost, "198.51.100.1")
	}
	return s
}

func (s *stage) startCanary() *daemon {
	return start(s.t, s.canaryDir, "--roles", "edge", "--etcd", socketOf(s.dir), "--id", "canary-1")
}

// apply applies resources, which must succeed.
func (s *stage) apply(yaml string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "change.yaml")
	writeFile(s.t, file, yaml)
	if text, code := s.hub.ctl(s.ctl, s.dir, "apply", "-f", file); code != 0 {
		s.t.Fatalf("apply: %d\n%s", code, text)
	}
	s.began = time.Now()
}

// enact writes a change of the shop into the store past control, which would refuse it: as a program does that knows less, or a late one.
func (s *stage) enact(yaml string) {
	s.t.Helper()
	resources, err := spec.Decode("enacted.yaml", []byte(yaml))
	if err == nil {
		_, err = openStore(s.t, s.dir).Commit(limited(s.t), store.Change{Tenant: "shop", Base: 1, Put: resources, Author: "late enactor",
			Time: time.Now()})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.began = time.Now()
}

// rollout gives the rollout of the shop.
func (s *stage) rollout(tenant string) (r api.Rollout, err error) {
	text, code := s.hub.ctl(s.ctl, s.dir, "rollout", "status", tenant, "-o", "json")
	if code != 0 {
		return r, errors.New(text)
	}
	return r, json.Unmarshal([]byte(text), &r)
}

// settles waits until the rollout of the shop is in a state.
func (s *stage) settles(state string, to uint64) (r api.Rollout) {
	s.t.Helper()
	s.hub.eventually("the rollout is "+state, func() (err error) {
		if r, err = s.rollout("shop"); err == nil && (r.State != state || r.To != to) {
			err = fmt.Errorf("it is %+v", r)
		}
		return err
	})
	return r
}

// isBack fails unless everything is as it was, within the time.
func (s *stage) isBack(canary *daemon) {
	s.t.Helper()
	canary.comesToAnswer(webHost, "198.51.100.1")
	s.rest.answers(webHost, "198.51.100.1")
	if took := time.Since(s.began); took > wayBack {
		s.t.Errorf("the way back took %s", took)
	}
}

// watchRest asks the edge of the rest all the time until it is told to stop, and gives how many answers were others than the good one.
func (s *stage) watchRest(host, good string) (stop func() (bad []string)) {
	end, done := make(chan struct{}), make(chan []string, 1)
	go func() {
		var bad []string
		for {
			select {
			case <-end:
				done <- bad
				return
			default:
				if got := s.rest.ask(host, ""); got != "NOERROR "+good && len(bad) < 5 {
					bad = append(bad, got)
				}
			}
		}
	}()
	return func() []string { close(end); return <-done }
}

func pool(address string) string {
	return "kind: Pool\ntenant: shop\nname: eu\nspec: {endpoints: [{name: a, addresses: [" + address + "]}]}\n"
}

// TestAGoodChangeReachesAllGroups: and drains do not wait for it.
func TestAGoodChangeReachesAllGroups(t *testing.T) {
	t.Parallel()
	s := newStage(t, rolloutYAML)
	s.settles("done", 1)
	s.apply(pool("198.51.100.2"))
	s.canary.comesToAnswer(webHost, "198.51.100.2")
	s.rest.answers(webHost, "198.51.100.1")
	s.rest.comesToAnswer(webHost, "198.51.100.2")
	r := s.settles("done", 2)
	if len(r.Groups) != 2 || r.Groups[0].At != 2 || r.Groups[1].At != 2 {
		t.Errorf("%+v", r)
	}
	if text, code := s.hub.ctl(s.ctl, s.dir, "wait", "shop@2"); code != 0 {
		t.Errorf("wait: %d\n%s", code, text)
	}
}

// TestDrillAnEmptyName is what AWS had in October 2025: a late plan was enacted over a newer one, a clean-up removed it, and a name was
// empty. Here each edge refuses that by itself, also without a rollout.
func TestDrillAnEmptyName(t *testing.T) {
	t.Parallel()
	s := newStage(t, "")
	watched := s.watchRest(webHost, "198.51.100.1")
	s.enact("kind: Pool\ntenant: shop\nname: eu\nspec: {endpoints: []}\n")
	for _, edge := range []*daemon{s.canary, s.rest} {
		edge.eventually("it refuses the generation", func() error {
			if held := edge.status().Held; len(held) != 1 || held[0].Refused != 2 {
				return fmt.Errorf("held: %+v", held)
			}
			return nil
		})
	}
	if bad := watched(); len(bad) > 0 {
		t.Errorf("clients got %q", bad)
	}
	text, code := s.hub.ctl(s.ctl, s.dir, "wait", "shop@2", "--timeout", "2s")
	if code != 1 || !strings.Contains(text, "edge fra-1 answers from") || !strings.Contains(text, "refuses shop@2") {
		t.Errorf("wait: %d\n%s", code, text)
	}
	if text, code := s.hub.ctl(s.ctl, s.dir, "status"); code != 1 || !strings.Contains(text, "refuses shop@2 and serves shop@1") {
		t.Errorf("status: %d\n%s", code, text)
	}
	s.apply(pool("198.51.100.1"))
	s.isBack(s.canary)
	if text, code := s.hub.ctl(s.ctl, s.dir, "wait", "shop@3"); code != 0 {
		t.Errorf("wait: %d\n%s", code, text)
	}
}

// TestDrillACrash is what Google had in June 2025: a change had every instance crash within seconds. The canary crashes on it, starts
// without it, and the rest never sees it.
func TestDrillACrash(t *testing.T) {
	t.Parallel()
	s := newStage(t, rolloutYAML)
	s.settles("done", 1)
	watched := s.watchRest(webHost, "198.51.100.1")
	s.apply(pool("198.51.100.66"))
	s.canary.comesToAnswer(webHost, "198.51.100.66")
	if err := s.canary.cmd.Process.Signal(syscall.SIGABRT); err != nil { // as the runtime ends a program that does what it must not
		t.Fatal(err)
	}
	s.canary.end()
	again := s.startCanary()
	again.says("THE PROCESS BEFORE THIS ONE CRASHED", "THIS EDGE CRASHED ON A GENERATION")
	again.answers(webHost, "198.51.100.1")
	r := s.settles("stopped", 2)
	if !strings.Contains(r.Why, "edge canary-1") {
		t.Errorf("it was stopped, since %s", r.Why)
	}
	s.isBack(again)
	if bad := watched(); len(bad) > 0 {
		t.Errorf("clients of the rest got %q", bad)
	}
	s.apply(pool("198.51.100.3"))
	again.comesToAnswer(webHost, "198.51.100.3")
	s.rest.comesToAnswer(webHost, "198.51.100.3")
}

// TestDrillAMinimalConfiguration is what Akamai had in July 2021: a malformed directive compiled to a minimal configuration. Here what is
// left of the rules serves nobody: the service keeps its last good form, and the rollout stops at the canary.
func TestDrillAMinimalConfiguration(t *testing.T) {
	t.Parallel()
	s := newStage(t, rolloutYAML)
	s.settles("done", 1)
	watched := s.watchRest(webHost, "198.51.100.1")
	s.enact("kind: Service\ntenant: shop\nname: web\n" +
		"spec: {host: web.shop.gtm.example., rules: [{when: {geo: [EU-GB]}, pools: [eu]}]}\n")
	r := s.settles("stopped", 2)
	if !strings.Contains(r.Why, "edge canary-1 does not serve shop/Service/web as declared") {
		t.Errorf("it was stopped, since %s", r.Why)
	}
	s.isBack(s.canary)
	if bad := watched(); len(bad) > 0 {
		t.Errorf("clients of the rest got %q", bad)
	}
}

const twoYAML = `---
kind: Site
tenant: platform
name: fra
spec: {region: EU-DE}
---
kind: Pool
tenant: shop
name: west
spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.11]}]}
---
kind: Pool
tenant: shop
name: east
spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.12]}]}
---
kind: Map
tenant: platform
name: here
spec: {networks: [127.0.0.0/8]}
---
` + twoPools

const twoPools = `kind: Service
tenant: shop
name: two
spec:
  host: two.shop.gtm.example.
  metrics: true
  rules: [{pools: [{pool: west, weight: 50}, {pool: east, weight: 50}]}]
`

const twoHost = "two.shop.gtm.example."

// asks has a client's network ask an edge so often.
func asks(d *daemon, subnet string, times int) {
	for range times {
		d.ask(twoHost, subnet)
	}
}

// TestDrillServfail: a generation has the clients of one country get SERVFAIL, which no edge asks itself for. The canary's counters tell.
func TestDrillServfail(t *testing.T) {
	t.Parallel()
	s := newStage(t, twoYAML+rolloutYAML)
	s.settles("done", 1)
	asks(s.canary, "", 300)
	s.enact(strings.ReplaceAll(twoPools, "rules: [", "rules: [{name: gb, when: {geo: [EU-GB]}, fence: [AF], pools: [west]}, "))
	const british = "81.2.69.0/24"
	s.canary.eventually("the canary serves it", func() error {
		if got := s.canary.ask(twoHost, british); got != "SERVFAIL" {
			return errors.New(got)
		}
		return nil
	})
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				asks(s.canary, british, 10)
			}
		}
	}()
	r := s.settles("stopped", 2)
	if !strings.Contains(r.Why, "SERVFAIL is ") {
		t.Errorf("it was stopped, since %s", r.Why)
	}
	if got := s.rest.ask(twoHost, british); !strings.HasPrefix(got, "NOERROR") {
		t.Errorf("the rest answers %s", got)
	}
	s.canary.eventually("the canary is back", func() error {
		if got := s.canary.ask(twoHost, british); !strings.HasPrefix(got, "NOERROR") {
			return errors.New(got)
		}
		return nil
	})
	if took := time.Since(s.began); took > wayBack {
		t.Errorf("the way back took %s", took)
	}
}

// TestDrillAShift: more of the answers move than was planned: a rule takes clients that no plan knows of.
func TestDrillAShift(t *testing.T) {
	t.Parallel()
	s := newStage(t, twoYAML+rolloutYAML)
	s.settles("done", 1)
	asks(s.canary, "", 400)
	s.apply(strings.ReplaceAll(twoPools, "rules: [", "rules: [{name: here, when: {map: here}, pools: [west]}, "))
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				asks(s.canary, "", 10)
			}
		}
	}()
	r := s.settles("stopped", 2)
	if !strings.Contains(r.Why, "of the answers of service two moved between its pools") {
		t.Errorf("it was stopped, since %s", r.Why)
	}
	if got := s.rest.status().Tenants["shop"]; got != 1 {
		t.Errorf("the rest serves shop@%d", got)
	}
	if took := time.Since(s.began); took > wayBack {
		t.Errorf("the way back took %s", took)
	}
}

// TestDrillASwitchTakesTheSamePath is what Cloudflare had on 5 December 2025: a switch took the path without gates. What the platform
// declares for everybody goes through the groups, too.
func TestDrillASwitchTakesTheSamePath(t *testing.T) {
	t.Parallel()
	s := newStage(t, rolloutYAML)
	if _, err := s.rollout("platform"); err != nil {
		s.hub.eventually("the platform has a rollout", func() error { _, err := s.rollout("platform"); return err })
	}
	zone, _, _ := strings.Cut(configYAML, "---")
	s.apply(strings.ReplaceAll(zone, "192.0.2.53", "192.0.2.54"))
	const ns = "ns1.gtm.example."
	s.canary.comesToAnswer(ns, "192.0.2.54")
	s.rest.answers(ns, "192.0.2.53")
	if text, code := s.hub.ctl(s.ctl, s.dir, "rollout", "abort", "platform", "--reason", "drill"); code != 0 {
		t.Fatalf("abort: %d\n%s", code, text)
	}
	s.canary.comesToAnswer(ns, "192.0.2.53")
	s.rest.answers(ns, "192.0.2.53")
	if text, code := s.hub.ctl(s.ctl, s.dir, "rollout", "status", "platform"); code != 0 || !strings.Contains(text, "by hand: drill") {
		t.Errorf("status: %d\n%s", code, text)
	}
}

// TestDrillTheRolloutItselfIsDeleted is the rest of what Cloudflare had on 5 December 2025: who takes the gates themselves away takes the
// path without them. Here what they stopped stays where it is, and the Rollout ends as it said.
func TestDrillTheRolloutItselfIsDeleted(t *testing.T) {
	t.Parallel()
	s := newStage(t, rolloutYAML)
	s.settles("done", 1)
	watched := s.watchRest(webHost, "198.51.100.1")
	s.apply(pool("198.51.100.66"))
	s.canary.comesToAnswer(webHost, "198.51.100.66")
	if text, code := s.hub.ctl(s.ctl, s.dir, "rollout", "abort", "shop", "--reason", "it is bad"); code != 0 {
		t.Fatalf("abort: %d\n%s", code, text)
	}
	s.canary.comesToAnswer(webHost, "198.51.100.1")
	if text, code := s.hub.ctl(s.ctl, s.dir, "delete", "rollout", "platform/platform"); code != 0 {
		t.Fatalf("delete: %d\n%s", code, text)
	}
	s.hub.eventually("the platform's rollout has come to its end", func() error {
		if _, err := s.rollout("platform"); err == nil {
			return errors.New("it has not")
		}
		return nil
	})
	r := s.settles("stopped", 2)
	if !strings.Contains(r.Note, "the platform has no Rollout any more") {
		t.Errorf("it says nothing of that: %+v", r)
	}
	s.canary.answers(webHost, "198.51.100.1")
	s.apply(pool("198.51.100.67")) // what comes after goes through the groups that were
	s.canary.comesToAnswer(webHost, "198.51.100.67")
	if bad := watched(); len(bad) > 0 {
		t.Errorf("clients of the rest got %q", bad)
	}
	s.rest.comesToAnswer(webHost, "198.51.100.67")
	s.hub.eventually("and then there is none", func() error {
		if _, err := s.rollout("shop"); err == nil {
			return errors.New("there is")
		}
		return nil
	})
	text, code := s.hub.ctl(s.ctl, s.dir, "events", "--tenant", "shop", "--kind", "rollout")
	for _, word := range []string{"begun", "aborted", "by hand: it is bad", "done", "ended"} {
		if code != 0 || !strings.Contains(text, word) {
			t.Errorf("events have no %q: %d\n%s", word, code, text)
			break
		}
	}
}
