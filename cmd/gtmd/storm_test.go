package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gti/gtm/pkg/client"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

const stormYAML = `---
kind: Tenant
tenant: platform
name: platform
spec:
  contact: dns@example.net
  limits: {quota: {tenants: {other: {resources: 12, changes: 30, requests: 15}}}}
`

// clientOf gives a client of the API with a service token of a tenant.
func (d *daemon) clientOf(dir, tenant string) *client.Client {
	d.t.Helper()
	secret, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		d.t.Fatal(err)
	}
	admin, err := client.New(client.Config{Server: d.web, Token: strings.TrimSpace(string(secret))})
	if err != nil {
		d.t.Fatal(err)
	}
	var made api.NewToken
	if err := admin.Do(limited(d.t), http.MethodPost, "tokens/"+tenant, nil, api.TokenRequest{Name: "storm", Role: spec.RoleEditor},
		&made); err != nil {
		d.t.Fatal(err)
	}
	c, err := client.New(client.Config{Server: d.web, Token: made.Secret})
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// onePool is a change of one pool.
func onePool(tenant, name, address string) api.ApplyRequest {
	return api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindPool, Tenant: tenant, Name: name,
		Spec: json.RawMessage(`{"endpoints":[{"name":"a","addresses":["` + address + `"]}]}`)}}}
}

// stormers is how many ask at once. So many changes more than the quota can be under way when that is reached.
const stormers = 8

// storm asks for more and more resources, changes and requests until ctx ends, and counts what it gets.
type storm struct {
	made    atomic.Int64 // generations
	mu      sync.Mutex
	refused map[string]int // by what was said
	other   error
}

// said are the refusals that are due to a quota, each with its number and whom to ask.
var said = []string{"would have 13 resources (overrides apart): its quota is 12", "made 30 changes within the last hour",
	"asks more often than its quota allows, 15 requests a second"}

func (s *storm) blow(ctx context.Context, c *client.Client, who int) {
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("p%d-%d", who, n) // another resource each time, until there can be no more; then changes of one
		if n%2 == 1 {
			name = "p"
		}
		out, err := c.Apply(ctx, onePool("other", name, fmt.Sprintf("192.0.2.%d", 1+n%250)), "")
		s.made.Add(int64(len(out.Records)))
		s.count(ctx, err)
	}
}

func (s *storm) count(ctx context.Context, err error) {
	var p *api.Problem
	if err == nil || ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text := err.Error()
	if errors.As(err, &p) {
		text = fmt.Sprint(p.Detail, p.Errors)
	}
	for _, want := range said {
		if strings.Contains(text, want) && strings.Contains(text, "ask dns@example.net to raise spec.limits.quota.tenants.other.") {
			s.refused[want]++
			return
		}
	}
	s.other = err
}

// TestAStormOfOneTenantSlowsNoOther: while one tenant asks for all the resources, changes and requests that it can, each change of another
// is accepted, and reaches the edge. The storm is told by what number it is refused, and whom to ask.
func TestAStormOfOneTenantSlowsNoOther(t *testing.T) {
	t.Parallel()
	dir, config := newDir(t), filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, config, configYAML+stormYAML)
	d := start(t, dir, "--roles", "control,edge", "--apply", config)
	d.comesToAnswer(webHost, "198.51.100.1")
	calm, wild := d.clientOf(dir, "shop"), d.clientOf(dir, "other")
	s := &storm{refused: map[string]int{}}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var blowing sync.WaitGroup
	for who := range stormers {
		blowing.Go(func() { s.blow(ctx, wild, who) })
	}
	all := func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.other != nil {
			t.Fatalf("the storm met: %v", s.other)
		}
		if len(s.refused) < len(said) {
			return fmt.Errorf("it was refused by %v", s.refused)
		}
		return nil
	}
	for n := 2; n < 12 || all() != nil; n++ {
		if n > 250 {
			t.Fatal(all())
		}
		address := fmt.Sprintf("198.51.100.%d", n)
		if _, err := calm.Apply(limited(t), onePool("shop", "eu", address), ""); err != nil {
			t.Fatalf("the other tenant's change %d: %v", n, err)
		}
		d.comesToAnswer(webHost, address)
	}
	end()
	blowing.Wait()
	if got := s.made.Load(); got > 30+stormers {
		t.Errorf("the storm made %d changes, of 30 that it may", got)
	}
	t.Logf("the storm made %d changes, and was refused %v", s.made.Load(), s.refused)
}
