package prober

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// sized makes a pool of n endpoints at 192.0.<net>.1 and on.
func sized(name string, net, n int) (pool *spec.Resource, addrs []string) {
	for i := range n {
		addrs = append(addrs, fmt.Sprintf("192.0.%d.%d", net, i+1))
	}
	return poolRes(name, "m", addrs...), addrs
}

// answers gives the addresses that clients of a rule are sent to, by the verdicts that are stored: those of the first pool that is
// up, as pkg/steer has it, or else those of the first as if they were up.
func (l *lab) answers(rule ...*spec.Resource) (addrs []netip.Addr) {
	synctest.Wait()
	l.fakeStore.mu.Lock()
	defer l.fakeStore.mu.Unlock()
	for _, r := range rule {
		id := health.PoolID{Tenant: r.Tenant, Pool: r.Name}
		v := l.verdicts[id]
		p := steer.NewPool(id, r.Spec.(*spec.Pool), &v, nil, time.Now())
		if !p.Up {
			continue
		}
		for _, c := range p.Candidates {
			if c.Effective > 0 {
				addrs = append(addrs, c.Endpoint.Addresses...)
			}
		}
		return addrs
	}
	for _, e := range rule[0].Spec.(*spec.Pool).Endpoints {
		addrs = append(addrs, e.Addresses...)
	}
	return addrs
}

func parsed(addrs []string) (out []netip.Addr) {
	for _, a := range addrs {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// The table of pools on which a dying primary pinned all clients to one dead endpoint: whole, and one endpoint a second. Monitors of
// one second and three failures find a failure within four seconds, and no answer names a dead endpoint for longer.
func TestAPrimaryFailsOver(t *testing.T) {
	const bound = 4 * time.Second
	for _, sizes := range [][2]int{{4, 1}, {4, 2}, {4, 3}, {5, 3}, {10, 2}} {
		for _, apart := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprintf("%d+%d, %v apart", sizes[0], sizes[1], apart), func(t *testing.T) {
				inLab(t, func(l *lab) {
					primary, mine := sized("primary", 2, sizes[0])
					backup, others := sized("backup", 3, sizes[1])
					l.declare(monitorRes("m", spec.Monitor{}), primary, backup,
						rulesRes("web", []string{"primary", "backup"}, []string{"backup", "primary"}))
					l.start("fra")
					time.Sleep(settle)
					died := map[netip.Addr]time.Time{}
					for i := range 300 {
						for _, a := range mine {
							if addr := netip.MustParseAddr(a); died[addr].IsZero() &&
								time.Duration(len(died))*apart <= time.Duration(i)*100*time.Millisecond {
								l.set(probe.Failed, a)
								died[addr] = time.Now()
							}
						}
						time.Sleep(100 * time.Millisecond)
						for _, a := range l.answers(primary, backup) {
							if at, dead := died[a]; dead && time.Since(at) > bound {
								t.Fatalf("answers name %s, which died %v ago", a, time.Since(at))
							}
						}
					}
					if got := l.answers(primary, backup); !slices.Equal(got, parsed(others)) {
						t.Errorf("answers name %v", got)
					}
					if v := l.verdict("primary"); v.Frozen {
						t.Errorf("%+v", v)
					}
					l.set(probe.Passed, mine...)
					time.Sleep(settle)
					if got := l.answers(primary, backup); !slices.Equal(got, parsed(mine)) {
						t.Errorf("recovered, answers name %v", got)
					}
				})
			})
		}
	}
}

// A pool alone that dies is answered whole, however it dies.
func TestAPoolAloneIsAnsweredWhole(t *testing.T) {
	for _, apart := range []time.Duration{0, time.Second} {
		inLab(t, func(l *lab) {
			pool, addrs := sized("only", 2, 4)
			l.declare(monitorRes("m", spec.Monitor{}), pool, rulesRes("web", []string{"only"}))
			l.start("fra")
			time.Sleep(settle)
			for _, a := range addrs {
				l.set(probe.Failed, a)
				time.Sleep(apart)
			}
			time.Sleep(settle)
			l.want("all are held", "only", "a:up b:up c:up d:up frozen")
			if got := l.answers(pool); !slices.Equal(got, parsed(addrs)) {
				t.Errorf("answers name %v", got)
			}
			const cause = "4 of 4 endpoints that were up failed within 1m, and rule 1 of service web has no other pool; " +
				"fra alone says so"
			if v := l.verdict("only"); v.Cause != cause {
				t.Errorf("cause %q", v.Cause)
			}
		})
	}
}

// A new pool with a wrong monitor froze its whole tenant.
func TestAWrongMonitorFreezesNobody(t *testing.T) {
	inLab(t, func(l *lab) {
		primary, mine := sized("primary", 2, 4)
		backup, others := sized("backup", 3, 2)
		l.declare(monitorRes("m", spec.Monitor{}), primary, backup, rulesRes("web", []string{"primary", "backup"}))
		l.start("fra")
		time.Sleep(settle)
		fresh, wrong := sized("fresh", 4, 20)
		l.set(probe.Failed, wrong...)
		l.declare(fresh, rulesRes("new", []string{"fresh"}))
		time.Sleep(settle)
		if v := l.verdict("fresh"); v.Frozen || v.Endpoints["a"].State != health.Down {
			t.Errorf("%+v", v)
		}
		l.stop("fra") // the next judge knows it too
		l.start("fra")
		time.Sleep(time.Second)
		l.set(probe.Failed, mine...)
		time.Sleep(settle)
		if got := l.answers(primary, backup); !slices.Equal(got, parsed(others)) {
			t.Errorf("answers name %v", got)
		}
	})
}

// The brake's memory outlives its only vantage's silence, and judges come and go with it.
func TestTheBrakeRemembersThroughSilence(t *testing.T) {
	inLab(t, func(l *lab) {
		pool, addrs := sized("only", 2, 4)
		l.declare(monitorRes("m", spec.Monitor{Vantages: []string{"ams"}}), pool, rulesRes("web", []string{"only"}))
		l.start("ams")
		l.start("fra")
		time.Sleep(settle)
		l.set(probe.Failed, addrs...)
		time.Sleep(settle)
		l.want("held", "only", "a:up b:up c:up d:up frozen")
		l.stop("ams")
		time.Sleep(time.Hour)
		l.want("its vantage is silent", "only", "a:up b:up c:up d:up frozen")
		l.stop("fra")
		l.start("fra")
		time.Sleep(time.Hour)
		l.want("and the judge another", "only", "a:up b:up c:up d:up frozen")
		l.set(probe.Passed, addrs...)
		l.start("ams")
		time.Sleep(settle)
		l.want("all well", "only", "a:up b:up c:up d:up")
	})
}

// Judges whose clocks are apart: what one wrote an hour ahead, long ago, must not count as just failed to the next; what just failed
// must not be forgotten because the next one's clock is ahead.
func TestClocksOfJudgesAreApart(t *testing.T) {
	for _, tc := range []struct {
		what        string
		first, next time.Duration // how far ahead
		pause       time.Duration // from the first failures to the last one
		held        bool
	}{
		{"the first is ahead, and it was long ago", time.Hour, 0, 10 * time.Minute, false},
		{"the next is ahead, and it was just now", 0, time.Hour, 20 * time.Second, true},
		{"the first is behind, and it was just now", -time.Hour, 0, 20 * time.Second, true},
		{"the next is behind, and it was long ago", 0, -time.Hour, 10 * time.Minute, false},
	} {
		inLab(t, func(l *lab) {
			pool, addrs := sized("only", 2, 6)
			l.ahead["ams"], l.ahead["fra"] = tc.first, tc.next
			l.declare(monitorRes("m", spec.Monitor{Vantages: []string{"eye"}}), pool, rulesRes("web", []string{"only"}))
			l.start("ams")
			time.Sleep(time.Second)
			l.start("eye")
			time.Sleep(settle)
			l.set(probe.Failed, addrs[:3]...)
			time.Sleep(settle)
			time.Sleep(tc.pause - settle)
			l.start("fra")
			l.stop("eye") // so that fra is the next judge
			l.stop("ams")
			time.Sleep(time.Second)
			if judge := l.judging(); judge != "fra" {
				t.Fatalf("%s judges", judge)
			}
			l.start("eye")
			l.set(probe.Failed, addrs[3])
			time.Sleep(settle)
			if v := l.verdict("only"); v.Frozen != tc.held {
				t.Errorf("%s: frozen %v: %+v", tc.what, v.Frozen, v)
			}
		})
	}
}

// A person's word lets down what is held, once, and is taken away; one that finds nothing does no harm.
func TestRelease(t *testing.T) {
	inLab(t, func(l *lab) {
		pool, addrs := sized("only", 2, 8)
		l.declare(monitorRes("m", spec.Monitor{}), pool, rulesRes("web", []string{"only"}))
		old := store.Release{Tenant: "shop", Reason: "of last week"}
		l.release(old)
		l.release(store.Release{Tenant: "gone", Reason: "a tenant that is no more"})
		l.start("fra")
		time.Sleep(settle)
		if taken, left := l.releasedSo(); len(taken) != 2 || len(left) != 0 {
			t.Errorf("taken %+v, left %+v", taken, left)
		}
		l.set(probe.Failed, addrs[:5]...)
		time.Sleep(settle)
		l.want("held", "only", "a:up b:up c:up d:up e:up f:up g:up h:up frozen")
		l.release(store.Release{Tenant: "shop", Pool: "only", Author: "bob", Reason: "the rack burns"})
		time.Sleep(time.Second)
		l.want("released", "only", "a:down b:down c:down d:down e:down f:up g:up h:up")
		if _, left := l.releasedSo(); len(left) != 0 {
			t.Errorf("left %+v", left)
		}
		l.stop("fra")
		l.start("fra")
		time.Sleep(time.Second)
		l.set(probe.Failed, addrs[5])
		time.Sleep(settle)
		l.want("a later one is the brake's again", "only", "a:down b:down c:down d:down e:down f:up g:up h:up frozen")
	})
}

// A release that was followed, and of which it is not heard yet that it is gone, lets nothing more down.
func TestReleaseIsFollowedOnce(t *testing.T) {
	inLab(t, func(l *lab) {
		pool, addrs := sized("only", 2, 6)
		l.declare(monitorRes("m", spec.Monitor{}), pool, rulesRes("web", []string{"only"}))
		l.start("fra")
		time.Sleep(settle)
		l.set(probe.Failed, addrs[:4]...)
		time.Sleep(settle)
		l.fakeStore.mu.Lock()
		l.slow = true
		l.fakeStore.mu.Unlock()
		l.release(store.Release{Tenant: "shop", Reason: "fire"})
		time.Sleep(time.Second)
		l.set(probe.Failed, addrs[4])
		time.Sleep(settle)
		l.set(probe.Failed, addrs[5])
		time.Sleep(settle)
		l.want("the later ones are held", "only", "a:down b:down c:down d:down e:up f:up frozen")
	})
}

// A judge that has long been in office remembers when endpoints went down in its own term.
func TestAgesWithinATerm(t *testing.T) {
	for _, tc := range []struct {
		pause time.Duration
		held  bool
	}{{20 * time.Second, true}, {10 * time.Minute, false}} {
		inLab(t, func(l *lab) {
			pool, addrs := sized("only", 2, 6)
			l.declare(monitorRes("m", spec.Monitor{}), pool, rulesRes("web", []string{"only"}))
			l.start("fra")
			time.Sleep(time.Hour)
			l.set(probe.Failed, addrs[:3]...)
			time.Sleep(tc.pause)
			l.set(probe.Failed, addrs[3])
			time.Sleep(settle)
			if v := l.verdict("only"); v.Frozen != tc.held {
				t.Errorf("%v apart: frozen %v", tc.pause, v.Frozen)
			}
		})
	}
}

// The platform's Tenant and the tenant's own set the brake, and a change of either is followed at once.
func TestTheBrakeIsAsDeclared(t *testing.T) {
	inLab(t, func(l *lab) {
		set := func(b spec.Brake) {
			l.declare(&spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindTenant, Name: "shop"}, Spec: &spec.Tenant{Brake: &b}})
		}
		pool, addrs := sized("only", 2, 3)
		l.declare(monitorRes("m", spec.Monitor{}), pool, rulesRes("web", []string{"only"}))
		set(spec.Brake{Min: 2})
		l.start("fra")
		time.Sleep(settle)
		l.set(probe.Failed, addrs...)
		time.Sleep(settle)
		l.want("two are enough", "only", "a:up b:up c:up frozen")
		set(spec.Brake{Min: 2, Mode: "observe"})
		time.Sleep(time.Second)
		l.want("observed", "only", "a:down b:down c:down")
		if r := l.verdict("only").Endpoints["a"].Reason; r != "the brake would hold it: refused" {
			t.Errorf("reason %q", r)
		}
	})
	own := &spec.Tenant{Brake: &spec.Brake{Share: "90%"}}
	platform := &spec.Tenant{Brake: &spec.Brake{Min: 7, Mode: "off"},
		Limits: &spec.Limits{Brake: &spec.BrakeLimits{Share: &spec.ShareRange{Most: "60%"}}}}
	want := health.Brake{Share: 0.6, Min: 7, Window: time.Minute, Mode: health.Off, Everywhere: 0.9}
	if got := brakeOf(own, platform); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// What the platform sets concerns tenants of which there is no other news.
func TestThePlatformsBrakeIsNewsForAll(t *testing.T) {
	w := newWorld(mustNew(t, Config{ID: "fra", Store: newFakeStore()}).cfg.Logger)
	tell := func(tenant string, r *spec.Resource, full bool) {
		_ = w.applyConfig(state.Update{Full: full, Tenants: []state.TenantUpdate{{Tenant: tenant, Head: 1,
			Put: []state.Version{{Resource: r}}}}})
	}
	tell("shop", poolRes("eu", "m", s1), true)
	l := w.listen(true)
	l.take()
	brake := func(n int) *spec.Resource {
		return &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform},
			Spec: &spec.Tenant{Brake: &spec.Brake{Min: n}}}
	}
	for _, step := range []struct {
		n    int
		want string
	}{{5, "platform shop"}, {5, "platform"}, {6, "platform shop"}} {
		tell(spec.Platform, brake(step.n), false)
		if got := strings.Join(l.take(), " "); got != step.want {
			t.Errorf("min %d: news of %q, want %q", step.n, got, step.want)
		}
	}
}

// The judge says that it lives from the start on, with who looks; a failure does not end its term, and a store that is refused
// is not said to be judged.
func TestPulses(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{Vantages: []string{"fra", "ams"}}), poolRes("eu", "m", s1))
		l.start("fra")
		time.Sleep(settle)
		count := func() int { l.fakeStore.mu.Lock(); defer l.fakeStore.mu.Unlock(); return len(l.pulses) }
		first := count()
		time.Sleep(time.Minute)
		if got := count() - first; got < 11 || got > 13 {
			t.Errorf("%d pulses in a minute", got)
		}
		l.fakeStore.mu.Lock()
		begin, last := l.pulses[0], l.pulses[len(l.pulses)-1]
		l.failVerdicts = 3
		l.fakeStore.mu.Unlock()
		if last.Judge != "fra" || last.Nonce == "" || last.Nonce == begin.Nonce ||
			fmt.Sprint(last.Alive, last.Silent) != "[fra] [ams]" || time.Since(last.Time) > beat {
			t.Errorf("%+v", last)
		}
		before := count()
		time.Sleep(beat + 5*time.Second)
		if count() == before || l.judging() != "fra" {
			t.Errorf("after failures: %d pulses, %q judges", count()-before, l.judging())
		}
		l.setStatus(state.Refused)
		time.Sleep(beat)
		before = count()
		time.Sleep(time.Minute)
		if count() != before {
			t.Error("it says that it judges a store that is refused")
		}
	})
}

// With quorum 1, a vantage that died with "up" as its last word blocks no failure.
func TestQuorumOneMeansOne(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{Quorum: 1}), poolRes("eu", "m", s1, s2))
		l.start("ams")
		l.start("fra")
		time.Sleep(settle)
		l.stop("ams")
		l.set(probe.Failed, s1)
		time.Sleep(settle)
		l.want("one decides", "eu", "a:down b:up")
	})
}

// Whatever dies and recovers, as long as the backup is well: once things have stood still, no answer names a dead endpoint.
func TestFailoverAtRandom(t *testing.T) {
	inLab(t, func(l *lab) {
		rng := rand.New(rand.NewPCG(21, 22))
		primary, mine := sized("primary", 2, 7)
		backup, _ := sized("backup", 3, 2)
		l.declare(monitorRes("m", spec.Monitor{}), primary, backup, rulesRes("web", []string{"primary", "backup"}))
		l.start("fra")
		time.Sleep(settle)
		for range 60 {
			dead := map[netip.Addr]bool{}
			for _, a := range mine {
				outcome := []probe.Outcome{probe.Passed, probe.Failed}[rng.IntN(2)]
				l.set(outcome, a)
				dead[netip.MustParseAddr(a)] = outcome == probe.Failed
			}
			time.Sleep(settle)
			for _, a := range l.answers(primary, backup) {
				if dead[a] {
					t.Fatalf("answers name %s, which is dead: %s", a, l.states("primary"))
				}
			}
		}
	})
}
