package prober

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// What the brake holds in a region alone pages people as what it holds for all does, and they read in which region.
func TestABrakeInARegionIsTold(t *testing.T) {
	for mode, want := range map[string]struct{ held, seen, said string }{
		spec.ModeEnforce: {"frozen 1 held 4 would 0", "a:up b:up c:up d:up frozen", "the brake holds"},
		spec.ModeObserve: {"frozen 0 held 0 would 1", "a:down b:down c:down d:down", "the brake would hold"},
	} {
		t.Run(mode, func(t *testing.T) {
			inLab(t, func(l *lab) {
				var log bytes.Buffer
				l.log = slog.New(slog.NewTextHandler(&log, nil))
				sg, addrs := sized("sg", 2, 4)
				l.declare(append(withRegions(sg), monitorRes("m", spec.Monitor{}), rulesRes("web", []string{"sg"}), &spec.Resource{
					Key:  spec.Key{Tenant: "shop", Kind: spec.KindTenant, Name: "shop"},
					Spec: &spec.Tenant{Brake: &spec.Brake{Mode: mode}}})...)
				acrossTheWorld(l)
				time.Sleep(settle)
				for _, cut := range []bool{true, false} {
					l.setCut(cut, "ams", addrs...)
					l.setCut(cut, "fra", addrs...)
					time.Sleep(settle)
					tells, wants := [2]string{l.states("sg"), l.states("sg@EU")}, [2]string{"a:up b:up c:up d:up", want.seen}
					counted, said := want.held, want.said
					if !cut {
						wants[1], counted, said = wants[0], "frozen 0 held 0 would 0", "the brake lets go"
					}
					m := l.probers[l.judging()].metrics
					if got := fmt.Sprint("frozen ", testutil.ToFloat64(m.frozen), " held ", testutil.ToFloat64(m.held), " would ",
						testutil.ToFloat64(m.would)); got != counted || tells != wants {
						t.Errorf("cut %v: %s, want %s; it is %q", cut, got, counted, tells)
					}
					var of []string
					for line := range strings.Lines(log.String()) {
						if strings.Contains(line, `msg="the brake`) {
							of = append(of, line)
						}
					}
					if len(of) != 1 || !strings.Contains(of[0], said) || !strings.Contains(of[0], "region=EU") {
						t.Errorf("cut %v, said: %q", cut, of)
					}
					log.Reset()
				}
			})
		})
	}
}

// An endpoint that is held, and a pool that is out, count once, in however many regions they are; each region is told of once.
func TestWhatIsHeldCountsOnce(t *testing.T) {
	m := newMetrics(prometheus.NewRegistry())
	pool := health.PoolID{Tenant: "shop", Pool: "sg"}
	verdict := func(region string, frozen bool, out *health.Out, held ...string) health.Verdict {
		v := health.Verdict{Pool: pool.For(region), Frozen: frozen, Out: out, Endpoints: map[string]health.Finding{"z": {State: health.Up}}}
		for _, name := range held {
			v.Endpoints[name] = health.Finding{State: health.Up, Reason: "held by the brake: timeout"}
		}
		return v
	}
	verdicts := map[health.PoolID]health.Verdict{}
	for _, step := range []struct {
		what, news, want string
		verdicts         []health.Verdict
	}{
		{"nothing", "[]", "0 0 0 0", []health.Verdict{verdict("", false, nil)}},
		{"two regions, one in common", `["AS" "EU"]`, "1 3 1 0",
			[]health.Verdict{verdict("AS", true, &health.Out{}, "a", "b"), verdict("EU", true, &health.Out{Observed: true}, "b", "c")}},
		{"for all, too", `[""]`, "1 3 0 1",
			[]health.Verdict{verdict("", true, nil, "a"), verdict("AS", true, nil, "a", "b")}},
		{"what stands in a reason of old", `["AS"]`, "1 3 0 1", []health.Verdict{verdict("AS", false, nil, "a", "b")}},
		{"no more", `["" "EU"]`, "0 0 0 0", []health.Verdict{verdict("", false, nil), verdict("EU", false, nil)}},
	} {
		for _, v := range step.verdicts {
			verdicts[v.Pool] = v
		}
		news, _ := m.judged("shop", verdicts)
		if of := fmt.Sprintf("%q", news); of != step.news {
			t.Errorf("%s: news of %s, want %s", step.what, of, step.news)
		}
		got := fmt.Sprint(testutil.ToFloat64(m.frozen), testutil.ToFloat64(m.held),
			testutil.ToFloat64(m.out.WithLabelValues(spec.ModeEnforce)), testutil.ToFloat64(m.out.WithLabelValues(spec.ModeObserve)))
		if got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
}
