package prober

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// TestAFlapIsWrittenInPieces: of a large pool that flaps for five minutes, each write but one a minute is of a piece, and there are two a
// second at most. What is stored at the end is what is known.
func TestAFlapIsWrittenInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		cfg := Config{ID: "fra", Store: f}
		cfg.setDefaults()
		w := newWorld(cfg.Logger)
		a := newAgent(cfg, w, newMetrics(nil))
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
		whole, writes := 100*1000, int(span/pace.PoolEvery)+pace.PoolBurst+2
		if most := writes*400 + 6*whole; f.putObs > writes || f.bytes["shop"] > most {
			t.Errorf("%d writes of at most %d, %d bytes of at most %d", f.putObs, writes, f.bytes["shop"], most)
		}
		stored := f.obs[store.ObservationKey{Vantage: "fra", Pool: id}]
		known, _, _ := a.observation(id)
		if !sameSights(stored.Endpoints, known.Endpoints) || len(a.dirty) != 0 {
			t.Errorf("stored is %+v", stored.Endpoints["endpoint-0007"])
		}
	})
}
