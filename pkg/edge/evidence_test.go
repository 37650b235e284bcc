package edge

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// explained gives what _explain says for a European.
func (r *running) explained() string {
	reply, err := exchange(query("web.shop.gtm.example._explain.gtm.example.", "TXT", european), "tcp", r.e.Addrs()[0].String())
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, rr := range reply.Answer {
		lines = append(lines, rr.(*dns.TXT).Txt...)
	}
	return strings.Join(lines, "\n")
}

func (r *running) notes() []string {
	var x api.Explanation
	r.get("/edge/explain?host=web.shop.gtm.example.&subnet="+european, &x)
	return x.Notes
}

// TestSilenceShows: with the store gone, or the judge, an edge went on saying how well all endpoints were.
func TestSilenceShows(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	r := startServing(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } })
	quiet := func(step string) {
		t.Helper()
		text, notes := r.explained(), r.notes()
		if strings.Contains(text, "stands still") || !strings.Contains(text, "pool eu up") || len(notes) > 0 {
			t.Errorf("%s: %s %v", step, text, notes)
		}
	}
	says := func(step, want string) {
		t.Helper()
		text, notes := r.explained(), strings.Join(r.notes(), "\n")
		last := text[strings.LastIndexByte(text, '\n')+1:]
		for _, got := range []string{last, notes} {
			if !strings.Contains(got, "health stands still since ") || !strings.Contains(got, want) {
				t.Errorf("%s: %q lacks %q", step, got, want)
			}
		}
	}
	quiet("a judge that sends no pulses")
	if h := r.fetchStatus().Health; h != nil {
		t.Errorf("nobody was heard: %+v", h)
	}
	r.valueIs(-1, "gtm_edge_health_pulse_age_seconds")
	r.tell(state.Update{Values: state.Verdicts.Put(down("eu", "nobody"))}) // it is watched, and pool us is not
	gtmtest.Eventually(t, "there is a verdict", func() error { return missing(r.explained(), "never checked") })

	pulse := func(nonce string) {
		r.call(func(cfg store.FollowConfig) {
			cfg.OnPulse(state.Pulse{Judge: "fra", Nonce: nonce, Alive: []string{"fra"}, Silent: []string{"nyc"}})
		})
	}
	pulse("1")
	quiet("with a pulse")
	if h := r.fetchStatus().Health; h == nil || h.Judge != "fra" || h.StandsStill || h.Pulse.IsZero() ||
		!slices.Equal(h.Silent, []string{"nyc"}) {
		t.Errorf("%+v", h)
	}
	ahead.Add(int64(192 * time.Second))
	says("no pulse", "(3m12s): no judge is heard, and the last one was fra; what stands above is what was known then")
	for _, l := range strings.Split(r.explained(), "\n") {
		pool := strings.Contains(l, ": step ")
		if aged := strings.HasSuffix(l, ", as known 3m12s ago"); aged != (pool && strings.Contains(l, " eu ")) {
			t.Errorf("of each pool that is watched, how old that is: %s", l)
		}
	}
	if h := r.fetchStatus().Health; !h.StandsStill || !h.Since.Equal(h.Pulse) || h.Why == "" {
		t.Errorf("%+v", h)
	}
	if age := r.value("gtm_edge_health_pulse_age_seconds"); age < 192 {
		t.Errorf("the pulse's age is %v", age)
	}
	pulse("1")
	says("told again", "no judge is heard")
	pulse("2")
	quiet("the judge is back")

	contact := time.Now().Add(time.Duration(ahead.Load()) - 40*time.Second)
	r.store.heard.Store(&contact)
	r.status(state.Stale, "no answer")
	says("the store is away", "(40s): the store is not heard")
	r.tell(delta(t, 2))
	quiet("the store is back")
}

// TestAnEdgeTellsWhatItAnswersFrom, for when it cannot be asked any more.
func TestAnEdgeTellsWhatItAnswersFrom(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	if told := r.e.self(); told.ID != "edge-1" || told.Tenants["shop"] != 1 || told.HTTP != "192.0.2.1:8053" {
		t.Errorf("%+v", told)
	}
}
