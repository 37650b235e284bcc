package change

import (
	"context"
	"slices"
	"sync"
)

// queue gives each tenant's changes an order, and lets those of other tenants pass: a large change keeps only its own tenant waiting. The
// zero value is ready.
type queue struct {
	mu sync.Mutex
	of map[string]chan struct{} // one token each: whose turn it is. There are as many as tenants with a generation, or soon to have one
}

// take waits for the turns of some tenants, sorted, and gives what ends them.
func (t *queue) take(ctx context.Context, tenants []string) (end func(), err error) {
	var mine []chan struct{}
	end = func() {
		for _, token := range mine {
			token <- struct{}{}
		}
	}
	for _, tenant := range tenants {
		token := t.tokenOf(tenant)
		select {
		case <-token:
			mine = append(mine, token)
		case <-ctx.Done():
			end()
			return nil, ctx.Err()
		}
	}
	return end, nil
}

func (t *queue) tokenOf(tenant string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	token := t.of[tenant]
	if token == nil {
		token = make(chan struct{}, 1)
		token <- struct{}{}
		if t.of == nil {
			t.of = map[string]chan struct{}{}
		}
		t.of[tenant] = token
	}
	return token
}

// tenantsOf gives the tenants that a plan changes or holds to a generation, sorted.
func tenantsOf(p *Plan) []string {
	var names []string
	for _, part := range p.Parts {
		names = append(names, part.Tenant)
	}
	for tenant, at := range p.in.Expect {
		if at > 0 {
			names = append(names, tenant)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
