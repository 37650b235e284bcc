package edge

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
)

func TestMetricsAreLawful(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.ask("static.gtm.example.", "A", "")
	gtmtest.Eventually(t, "the snapshot is written", func() error {
		return missing(strings.Join(r.metricNames(), " "), "gtm_edge_snapshot_age_seconds")
	})
	problems, err := testutil.GatherAndLint(r.reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	lawful := regexp.MustCompile(`^gtm_(alias|edge|serve|store_snapshot)_[a-z]+(_[a-z0-9]+)*$`)
	found := r.metricNames()
	for _, name := range found {
		if !lawful.MatchString(name) {
			t.Errorf("%s is not named as the house does", name)
		}
	}
	for _, name := range []string{"gtm_edge_queries_total", "gtm_edge_service_answers_total", "gtm_edge_source_state_info",
		"gtm_edge_compile_seconds",
		"gtm_edge_snapshot_age_seconds", "gtm_store_snapshot_bytes", "gtm_store_snapshot_age_seconds", "gtm_edge_geo_refused_total",
		"gtm_edge_geo_open_seconds", "gtm_edge_geo_compile_seconds",
		"gtm_edge_latency_refused_total", "gtm_edge_latency_open_seconds", "gtm_edge_latency_compile_seconds", "gtm_serve_packets_total"} {
		if !slices.Contains(found, name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// Every query is counted once, whoever asked it how.
func TestCountersAddUp(t *testing.T) {
	t.Parallel()
	r := startServing(t, func(c *Config) { c.Workers = 3 })
	asked := []struct {
		name, network, rcode string
		n                    int
	}{
		{"static.gtm.example.", "udp", "NOERROR", 40},
		{"static.gtm.example.", "tcp", "NOERROR", 10},
		{"none.gtm.example.", "udp", "NXDOMAIN", 25},
		{"web.shop.gtm.example.", "udp", "NOERROR", 30},
		{"www.example.org.", "udp", "REFUSED", 5},
	}
	var wg sync.WaitGroup
	want, perNetwork := map[string]int{}, map[string]int{}
	for _, a := range asked {
		want[a.rcode] += a.n
		perNetwork[a.network] += a.n
		for range 5 { // at once
			wg.Go(func() {
				for range a.n / 5 {
					reply, err := exchange(query(a.name, "A", ""), a.network, r.e.Addrs()[0].String())
					if err != nil || !strings.HasPrefix(short(reply), a.rcode) {
						t.Errorf("%s: %v, %v", a.name, reply, err)
					}
				}
			})
		}
	}
	wg.Wait()
	total := 0
	for rcode, n := range want {
		zone := "gtm.example."
		if rcode == "REFUSED" {
			zone = "none"
		}
		r.valueIs(float64(n), "gtm_edge_queries_total", "zone="+zone, "rcode="+rcode)
		total += n
	}
	r.valueIs(float64(total), "gtm_edge_queries_total")
	r.valueIs(30, "gtm_edge_service_answers_total", "tenant=shop", "service=web")
	r.valueIs(30, "gtm_edge_service_answers_total", "pool=us")
	for network, n := range perNetwork {
		for _, name := range []string{"gtm_serve_packets_total", "gtm_serve_replies_total"} {
			r.valueIs(float64(n), name, "transport="+network, "family=ipv4")
		}
	}
	r.tell(delta(t, 2, declared.Resources(t, platformYAML, shopYAML)...)) // a new view does not forget
	r.ask("none2.gtm.example.", "A", "")
	r.valueIs(float64(want["NXDOMAIN"]+1), "gtm_edge_queries_total", "rcode=NXDOMAIN")
	r.valueIs(30, "gtm_edge_service_answers_total")
}

func TestMetricsTellGenerationsAndState(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.valueIs(1, "gtm_edge_source_state_info", "state=current")
	r.valueIs(1, "gtm_edge_source_state_info")
	r.tell(delta(t, 9, declared.Resources(t, otherYAML)...))
	r.valueIs(9, "gtm_edge_generation", "tenant=other")
	r.valueIs(1, "gtm_edge_generation", "tenant=shop")
	r.valueIs(r.value("gtm_edge_compile_seconds"), "gtm_edge_view_serial") // one compilation a view
	r.status("stale", "gone")
	r.valueIs(1, "gtm_edge_source_state_info", "state=stale")
}

func (r *running) metricNames() (names []string) {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		names = append(names, f.GetName())
	}
	return names
}
