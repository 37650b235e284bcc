package prober

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// TestSeveralChecksOfAPool: an endpoint has a check of each monitor, and one verdict.
func TestSeveralChecksOfAPool(t *testing.T) {
	inLab(t, func(l *lab) {
		pool := poolRes("eu", "", s1)
		pool.Spec.(*spec.Pool).Checks = &spec.Checks{Of: []string{"web", "api"}, Need: "any", Critical: []string{"db"},
			Watch: []string{"cert"}}
		ports := map[string]uint16{"web": 80, "api": 81, "db": 82, "cert": 83}
		l.declare(pool)
		for name, port := range ports {
			m := monitorRes(name, spec.Monitor{})
			m.Spec.(*spec.Monitor).Port = port
			l.declare(m)
		}
		failing := map[uint16]bool{} // guarded by the servers' mutex
		p := mustNew(t, Config{ID: "fra", Store: l.fakeStore, check: func(ctx context.Context, c probe.Check) probe.Result {
			r := l.servers.check(ctx, c)
			l.servers.mu.Lock()
			defer l.servers.mu.Unlock()
			if failing[c.Addrs[0].Port()] {
				r.Outcome, r.Reason = probe.Failed, "refused"
			}
			return r
		}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		for _, tc := range []struct {
			failing []string
			want    health.Finding
		}{
			{nil, health.Finding{State: health.Up, Score: 1}},
			{[]string{"web"}, health.Finding{State: health.Up, Score: 1}},
			{[]string{"web", "api"}, health.Finding{State: health.Down, Reason: "web: refused; and 1 more of 4 checks"}},
			{nil, health.Finding{State: health.Up, Score: 1}},
			{[]string{"db"}, health.Finding{State: health.Down, Reason: "db (critical): refused"}},
			{[]string{"cert"}, health.Finding{State: health.Up, Score: 1, Watched: "cert: refused"}},
			{nil, health.Finding{State: health.Up, Score: 1}},
		} {
			l.servers.mu.Lock()
			for name, port := range ports {
				failing[port] = slices.Contains(tc.failing, name)
			}
			l.servers.mu.Unlock()
			time.Sleep(time.Minute)
			synctest.Wait()
			f := l.verdict("eu").Endpoints["a"]
			if f.Since, f.Of = (time.Time{}), ""; f != tc.want {
				t.Errorf("failing %v: %+v, want %+v", tc.failing, f, tc.want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTargetsOfSeveralChecks(t *testing.T) {
	one := &health.Rule{Parts: []health.Part{{Name: "web"}}}
	two := &health.Rule{Parts: []health.Part{{Name: "web"}, {Name: "api"}}}
	for _, tc := range []struct {
		rule *health.Rule
		part int
		name string
	}{{one, 0, "a"}, {two, 0, "a:web"}, {two, 1, "a:api"}} {
		name := target("a", tc.rule, tc.part)
		endpoint, part := targetOf(name, tc.rule)
		if name != tc.name || endpoint != "a" || part != tc.part {
			t.Errorf("%s, %s %d", name, endpoint, part)
		}
	}
	// What comes late, of a rule that was before, is of nothing.
	for name, rule := range map[string]*health.Rule{"a": two, "a:api": one, "a:db": two} {
		if _, part := targetOf(name, rule); part >= 0 {
			t.Errorf("%s is part %d", name, part)
		}
	}
}

// TestAMonitorThatIsMissing among several: nothing is known of what the pool wants, and its verdict holds.
func TestAMonitorThatIsMissing(t *testing.T) {
	pool := poolRes("eu", "", s1)
	pool.Spec.(*spec.Pool).Checks = &spec.Checks{Of: []string{"m", "gone"}}
	p := planOf(monitorRes("m", spec.Monitor{}), pool)
	id := health.PoolID{Tenant: "shop", Pool: "eu"}
	if !p.held[id] || p.pools[id] != nil || len(p.faults) != 1 {
		t.Errorf("%+v", p)
	}
}

// TestFamiliesApart: each has checks, findings and a brake of its own; the declared name is what people see before the slash.
func TestFamiliesApart(t *testing.T) {
	const four, six = "192.0.2.1", "2001:db8::1"
	inLab(t, func(l *lab) {
		pool := poolRes("eu", "m", four)
		p := pool.Spec.(*spec.Pool)
		p.Apart, p.Endpoints[0].Addresses = true, append(p.Endpoints[0].Addresses, netip.MustParseAddr(six))
		l.declare(monitorRes("m", spec.Monitor{}), pool, poolRes("us", "m", s2))
		l.start("fra")
		time.Sleep(settle)
		l.want("both pass", "eu", "a/ipv4:up a/ipv6:up")
		l.set(probe.Failed, six)
		time.Sleep(settle)
		l.want("one fails", "eu", "a/ipv4:up a/ipv6:down")
		l.set(probe.Passed, six)
		l.set(probe.Failed, four)
		time.Sleep(settle)
		l.want("the other fails", "eu", "a/ipv4:down a/ipv6:up")
	})
}

func TestRuleOf(t *testing.T) {
	monitors := []*spec.Monitor{{Rise: 5}, {}, {}}
	names := []string{"a", "b", "c"}
	for need, want := range map[string]int{"": 2, "all": 2, "any": 1, "1": 1, "2": 2, "7": 2} {
		pool := &spec.Pool{Checks: &spec.Checks{Of: names[:2], Watch: names[2:], Need: need}}
		r := ruleOf(pool, names, monitors)
		if r.Need != want || r.Parts[0].Limits.Rise != 5 || r.Parts[1].Role != health.Counted || r.Parts[2].Role != health.Watched {
			t.Errorf("need %q: %+v", need, r)
		}
	}
	r := ruleOf(&spec.Pool{Monitor: "a"}, names[:1], monitors[:1])
	if r.Need != 1 || len(r.Parts) != 1 || r.Parts[0].Role != health.Counted {
		t.Errorf("one monitor: %+v", r)
	}
}

// TestWhatIsOnlyWatchedIsToldAnew: a store that lost it gets it again.
func TestWhatIsOnlyWatchedIsToldAnew(t *testing.T) {
	rule := &health.Rule{Need: 1, Parts: []health.Part{{Name: "a"}, {Name: "cert", Role: health.Watched}}}
	sight := health.Sight{State: health.Up, Score: 1, Watched: "cert: it ends"}
	w := &watched{rule: rule, endpoints: map[string]*tracked{"x": {Combined: health.CombineFrom(rule, sight)}}}
	if !w.matches(health.Observation{Endpoints: map[string]health.Sight{"x": sight}}) {
		t.Error("what is stored is not what is known")
	}
	sight.Watched = ""
	if w.matches(health.Observation{Endpoints: map[string]health.Sight{"x": sight}}) {
		t.Error("what is stored lacks what is watched")
	}
}

// TestSpanIsThatOfTheSlowestCheck: until a vantage that went blind has everything down, each of several monitors has had its time: one
// interval more than fall, since checks vary, and the timeout of the last one.
func TestSpanIsThatOfTheSlowestCheck(t *testing.T) {
	quick := &spec.Monitor{Type: "tcp", Port: 1, Interval: spec.Duration(time.Second), Timeout: spec.Duration(time.Second), Fall: 2}
	slow := &spec.Monitor{Type: "tcp", Port: 1, Interval: spec.Duration(10 * time.Second)} // fall 3, timeout 2s
	for want, list := range map[time.Duration][]*spec.Monitor{4 * time.Second: {quick}, 42 * time.Second: {quick, slow}} {
		if got := spanOf(list); got != want {
			t.Errorf("%d monitors: %v, want %v", len(list), got, want)
		}
	}
}

// TestAPlainRuleIsWrittenAtOnce: where one check is left of several, what it knows is the sight, and no result need come for that to be
// told.
func TestAPlainRuleIsWrittenAtOnce(t *testing.T) {
	limits := health.Limits{Rise: 1, Fall: 1}
	both := &health.Rule{Need: 1, Parts: []health.Part{{Name: "web", Limits: limits},
		{Name: "db", Role: health.Critical, Limits: limits}}}
	alone := &health.Rule{Need: 1, Parts: both.Parts[:1]}
	pp := &poolPlan{endpoints: []string{"a"}, of: map[string]string{"a": "192.0.2.1"}, rule: both}
	w, _ := watch(pp, nil, health.Observation{})
	w.endpoints["a"].Add(0, true, "", time.Unix(1, 0))
	w.endpoints["a"].Add(1, false, "refused", time.Unix(1, 0))
	if s := w.endpoints["a"].Sight(); s.State != health.Down {
		t.Fatalf("%+v", s)
	}
	if _, changed := watch(pp, w, health.Observation{}); changed {
		t.Error("nothing changed")
	}
	pp.rule = alone
	next, changed := watch(pp, w, health.Observation{})
	if s := next.endpoints["a"].Sight(); !changed || s.State != health.Up {
		t.Errorf("changed %v: %+v", changed, s)
	}
}
