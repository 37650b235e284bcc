package prober

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pace"
)

// TestARefusedVerdictIsItsOwn: a verdict that the store does not take had all others wait with it.
func TestARefusedVerdictIsItsOwn(t *testing.T) {
	inLab(t, func(l *lab) {
		l.refuse = "eu"
		l.declare(monitorRes("m", spec.Monitor{Vantages: []string{"fra"}, Rise: 1, Fall: 1}), poolRes("eu", "m", s1),
			poolRes("us", "m", s2))
		l.start("fra")
		time.Sleep(settle)
		l.want("the other one", "us", "a:up")
		time.Sleep(2 * beat)
		troubles := func() []string {
			l.fakeStore.mu.Lock()
			defer l.fakeStore.mu.Unlock()
			return l.pulses[len(l.pulses)-1].Troubles
		}
		l.want("refused", "eu", "none")
		if got := troubles(); len(got) != 1 || !strings.HasPrefix(got[0], "shop/eu: the store does not take its verdict") {
			t.Errorf("%q", got)
		}
		l.fakeStore.mu.Lock()
		l.refuse = ""
		l.fakeStore.mu.Unlock()
		time.Sleep(refusedMax + beat)
		l.want("taken", "eu", "a:up")
		if got := troubles(); len(got) != 0 {
			t.Errorf("still %q", got)
		}
	})
}

// TestWhyAVerdictIsRefusedIsCutBetweenLetters: the store would have another text.
func TestWhyAVerdictIsRefusedIsCutBetweenLetters(t *testing.T) {
	for n := range 2 {
		why := strings.Repeat("x", n) + strings.Repeat("é", 300)
		tm := &term{refused: map[health.PoolID]refusal{{Tenant: "shop", Pool: "eu"}: {why: why}}}
		if got := tm.troubles(); len(got) != 1 || !utf8.ValidString(got[0]) || len(got[0]) < 300 {
			t.Errorf("%q", got)
		}
	}
}

// TestAFlapIsWrittenInPieces: of a large pool that flaps for five minutes, each write is of a piece, and there are two a second at most,
// but for a whole when pieces have taken as much, or, where an older program reads it, once a minute. What is stored at the end is what is
// known.
func TestAFlapIsWrittenInPieces(t *testing.T) {
	for _, older := range []bool{false, true} {
		t.Run(fmt.Sprint("older ", older), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { flapInPieces(t, older) }) })
	}
}

func flapInPieces(t *testing.T, older bool) {
	f := newFakeStore()
	cfg := Config{ID: "fra", Store: f}
	cfg.setDefaults()
	w := newWorld(cfg.Logger)
	a := newAgent(cfg, w, newMetrics(nil))
	w.older, a.plain = older, older
	pool := crowd(1000)
	w.plans["shop"] = planOf(monitorRes("m", spec.Monitor{Rise: 1, Fall: 1}),
		&spec.Resource{Key: poolKey("eu"), Spec: pool})
	a.adopt("shop")
	id := health.PoolID{Tenant: "shop", Pool: "eu"}
	passes := false
	flap := func() {
		at := probe.ID{Tenant: "shop", Pool: "eu", Endpoint: "endpoint-0007"}
		r := probe.Result{ID: at, Of: "198.18.0.7", At: time.Now(), Outcome: probe.Unable}
		if passes = !passes; passes {
			r.Outcome = probe.Passed
		}
		a.result(r)
	}
	const span = 5 * time.Minute
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		flap()
		a.write(t.Context())
	}
	time.Sleep(time.Second)
	a.write(t.Context())
	f.mu.Lock()
	defer f.mu.Unlock()
	writes, wholes := int(span/pace.PoolEvery)+pace.PoolBurst+2, 2 // the first one, and that of 600 pieces of 300 bytes, which take 180,000
	if older {
		wholes = 6
	}
	if f.putObs > writes || f.wholeObs != wholes {
		t.Errorf("%d writes of at most %d, %d of them wholes, want %d", f.putObs, writes, f.wholeObs, wholes)
	}
	stored := f.obs[store.ObservationKey{Vantage: "fra", Pool: id}]
	known, _ := a.observation(id)
	if !sameSights(stored.Endpoints, known.Observation.Endpoints) || len(a.dirty) != 0 {
		t.Errorf("stored is %+v", stored.Endpoints["endpoint-0007"])
	}
}

// TestAnOlderProgramIsWrittenFor: what stands in the store may be what it does not read, so all is written anew when it comes, once.
func TestAnOlderProgramIsWrittenFor(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), &spec.Resource{Key: poolKey("eu"), Spec: crowd(20)}, poolRes("us", "m", s1))
		l.start("fra")
		time.Sleep(5 * time.Minute)
		obs, verdicts := l.writes()
		wholes := func() [2]int {
			l.fakeStore.mu.Lock()
			defer l.fakeStore.mu.Unlock()
			return [2]int{l.wholeObs, l.wholeVerdicts}
		}
		before := wholes()
		l.fakeStore.mu.Lock()
		l.older = "edge old"
		l.fakeStore.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if o, v := l.writes(); o != obs+2 || v != verdicts+2 || wholes() != [2]int{before[0] + 2, before[1] + 2} {
			t.Errorf("%d observations and %d verdicts of two pools, wholes %v and before %v", o-obs, v-verdicts, wholes(), before)
		}
		l.fakeStore.mu.Lock()
		l.older = ""
		l.fakeStore.mu.Unlock()
		obs, verdicts = l.writes()
		time.Sleep(5 * time.Minute)
		if o, v := l.writes(); o != obs || v != verdicts {
			t.Errorf("it is gone, and %d observations and %d verdicts were written", o-obs, v-verdicts)
		}
	})
}

// TestWhoCannotBeAskedMayBeOld: until all could be asked once, and what was known of them holds while they cannot.
func TestWhoCannotBeAskedMayBeOld(t *testing.T) {
	inLab(t, func(l *lab) {
		for _, step := range []struct {
			unasked bool
			older   string
			may     bool
		}{{true, "", true}, {false, "", false}, {true, "", false}, {false, "edge old", true}, {true, "", true}} {
			l.fakeStore.mu.Lock()
			l.unasked, l.older = step.unasked, step.older
			l.fakeStore.mu.Unlock()
			if l.probers["fra"] == nil {
				l.start("fra")
			}
			time.Sleep(sweep + time.Second)
			if got := l.probers["fra"].world.hasOlder(); got != step.may {
				t.Errorf("%+v: %v", step, got)
			}
		}
	})
}
