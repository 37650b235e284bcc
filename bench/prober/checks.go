package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/scale/rig"
	"github.com/gti/gtm/pkg/spec"
)

const (
	checkEvery    = 5 * time.Second
	checkTenants  = 10
	checksInPool  = 500
	markedChecks  = 20_000
	lateMark      = 1.0 // seconds
	longestGap    = 5.25
	checkPatience = time.Minute
)

// counted is what so many checks of a type came to.
type counted struct {
	kind             string
	checks           int
	made             float64 // a second, as the targets saw it
	late, latest     float64 // seconds that checks waited to begin: p50 and p99
	gap              float64 // seconds between two checks of a target that 99 % do not exceed
	core             float64 // how much of its core the prober took
	memory           float64 // MB
	passed, unpassed float64
}

func checks(ctx context.Context, o options, report *figures.Report) error {
	var all []counted
	var crowd rig.Others
	for _, kind := range []string{"tcp", "http", "https"} {
		numbers := o.numbers
		if kind == "https" {
			numbers = o.secure
		}
		for _, n := range numbers {
			if o.Left() < 0 {
				break
			}
			c, err := count(ctx, o, kind, n, &crowd)
			if err != nil {
				return fmt.Errorf("%d %s checks: %w", n, kind, err)
			}
			all = append(all, c)
			fmt.Printf("checks: %+v\n", c)
		}
	}
	return reportChecks(o, report, all, &crowd)
}

// count has a prober make so many checks for a while.
func count(ctx context.Context, o options, kind string, n int, crowd *rig.Others) (counted, error) {
	c := counted{kind: kind, checks: n}
	served, err := startTargets(kind, restCore)
	if err != nil {
		return c, err
	}
	defer served.stop()
	dir, err := o.Folder("checks")
	if err != nil {
		return c, err
	}
	control, err := o.Start(restCore, filepath.Join(dir, "control"), "--roles", "control")
	if err != nil {
		return c, err
	}
	defer control.Stop()
	if err := control.AwaitHTTP(ctx, patience); err != nil {
		return c, err
	}
	if err := declareChecks(ctx, control, served, kind, n); err != nil {
		return c, err
	}
	g, err := o.Start(proberCore, filepath.Join(dir, "prober"), "--roles", "prober", "--etcd", control.Socket(), "--probe-allow",
		"127.0.0.0/8")
	if err != nil {
		return c, err
	}
	defer g.Stop()
	if err := g.Await(ctx, checkPatience, 200*time.Millisecond, func() error { return settled(g, n) }); err != nil {
		fmt.Println("checks: it does not settle, and is counted as it is:", err)
	}
	if err := program.Rest(ctx, checkEvery); err != nil {
		return c, err
	}
	err = crowd.Watch(func() error { return c.watch(ctx, o, g, served) })
	return c, err
}

// settled tells whether all is known, with nothing but usual checks to be made.
func settled(g *rig.Gtmd, n int) error {
	m, err := metricsOf(g)
	up, waiting := m[`gtm_prober_endpoints{state="up"}`], m["gtm_probe_waiting_checks"]
	if err == nil && (up < float64(n) || waiting > float64(n)/1000+10) {
		err = fmt.Errorf("%.0f of %d endpoints are up, and %.0f checks wait", up, n, waiting)
	}
	return err
}

func (c *counted) watch(ctx context.Context, o options, g *rig.Gtmd, served *targets) error {
	before, err := metricsOf(g)
	if err != nil {
		return err
	}
	cpu, err := g.OwnCPU()
	if err != nil {
		return err
	}
	if err := served.begin(); err != nil {
		return err
	}
	began := time.Now()
	if err := program.Rest(ctx, time.Duration(o.seconds*float64(time.Second))); err != nil {
		return err
	}
	saw, err := served.end()
	if err != nil {
		return err
	}
	length := time.Since(began).Seconds()
	after, err := metricsOf(g)
	if err != nil {
		return err
	}
	cpuAfter, err := g.OwnCPU()
	if err != nil {
		return err
	}
	rss, _, err := g.Memory()
	if err != nil {
		return err
	}
	if saw.Checks == 0 || len(saw.Gaps) == 0 {
		return fmt.Errorf("the targets saw %d checks", saw.Checks)
	}
	c.made, c.gap = float64(saw.Checks)/length, figures.Percentile(saw.Gaps, 0.99)
	c.core, c.memory = (cpuAfter-cpu).Seconds()/length, float64(rss)/1e6
	for key, value := range after {
		after[key] = value - before[key]
	}
	c.late, c.latest = quantile(after, "gtm_probe_queue_lag_seconds", 0.5), quantile(after, "gtm_probe_queue_lag_seconds", 0.99)
	c.passed = after[fmt.Sprintf(`gtm_probe_checks_total{outcome="passed",type=%q}`, c.kind)]
	for _, outcome := range []string{"failed", "unable"} {
		c.unpassed += after[fmt.Sprintf(`gtm_probe_checks_total{outcome=%q,type=%q}`, outcome, c.kind)]
	}
	return nil
}

func declareChecks(ctx context.Context, control *rig.Gtmd, served *targets, kind string, n int) error {
	c, err := control.Store(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	all := []*spec.Resource{peers.Unbounded()}
	for tenant := range checkTenants {
		name := fmt.Sprintf("tenant%d", tenant)
		m := &spec.Monitor{Type: kind, Port: served.Port, Interval: spec.Duration(checkEvery)}
		if kind == "https" {
			m.Host, m.CA = targetName, served.CA
		}
		all = append(all, peers.Resource(name, spec.KindMonitor, "m", m))
		pool := &spec.Pool{Monitor: "m"}
		for i := tenant * n / checkTenants; i < (tenant+1)*n/checkTenants; i++ {
			pool.Endpoints = append(pool.Endpoints,
				spec.Endpoint{Name: fmt.Sprintf("e%d", i), Addresses: []netip.Addr{targetAddress(i)}})
			if len(pool.Endpoints) == checksInPool || i+1 == (tenant+1)*n/checkTenants {
				all = append(all, peers.Resource(name, spec.KindPool, fmt.Sprintf("p%d", i), pool))
				pool = &spec.Pool{Monitor: "m"}
			}
		}
	}
	return rig.Put(ctx, c, slices.Values(all), checksInPool)
}

// metricsOf reads all of /metrics.
func metricsOf(g *rig.Gtmd) (map[string]float64, error) {
	page, err := g.Page("/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(string(page)), nil
}

func parseMetrics(page string) map[string]float64 {
	all := map[string]float64{}
	for line := range strings.Lines(page) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil && !strings.HasPrefix(line, "#") {
			all[series] = v
		}
	}
	return all
}

// quantile guesses one of a histogram whose values lie evenly in each bucket, as Prometheus does. Above the last bound it is that.
func quantile(metrics map[string]float64, name string, share float64) float64 {
	counts := map[float64]float64{} // by bound
	for series, count := range metrics {
		if label, found := strings.CutPrefix(series, name+`_bucket{le="`); found {
			bound, err := strconv.ParseFloat(strings.TrimSuffix(label, `"}`), 64)
			if err == nil {
				counts[bound] = count
			}
		}
	}
	want := share * counts[math.Inf(1)]
	low, below := 0.0, 0.0
	for _, bound := range slices.Sorted(maps.Keys(counts)) {
		switch {
		case counts[bound] >= want && !math.IsInf(bound, 1):
			return low + (bound-low)*(want-below)/max(1, counts[bound]-below)
		case !math.IsInf(bound, 1):
			low, below = bound, counts[bound]
		}
	}
	return low
}

func reportChecks(o options, report *figures.Report, all []counted, crowd *rig.Others) error {
	report.Section("Checks of one prober on one core")
	report.Text("So many endpoints, each at an address of its own, of %d tenants, each checked every %s over a connection of its own: "+
		"tcp, http, https (whole handshakes, an ECDSA certificate of an own authority). The prober, which judges, too, has core %s alone; "+
		"etcd, control and what is checked core %s. Counted for %.0f s once everything is up. *Late* is from when a check was due until "+
		"it began, by the prober's histogram; *gap* is the time between two checks of an endpoint, as that saw them: at most %.2f s "+
		"with jitter, were nothing late.", checkTenants, checkEvery, proberCore, restCore, o.seconds, longestGap)
	var rows, marks [][]string
	lateness := figures.Chart{Title: "p99 of how late checks begin", X: "checks every 5 s", Y: "ms", LogX: true, LogY: true,
		Mark: 1000 * lateMark}
	core := figures.Chart{Title: "what the prober takes of its core", X: "checks every 5 s", Y: "%", LogX: true}
	for _, c := range all {
		wanted := float64(c.checks) / checkEvery.Seconds()
		rows = append(rows, []string{c.kind, fmt.Sprint(c.checks), figures.Number(wanted), figures.Number(c.made),
			figures.Number(1000 * c.late), figures.Number(1000 * c.latest), figures.Number(c.gap), figures.Number(100 * c.core),
			figures.Number(1e6 * c.core / c.made), figures.Number(c.memory), figures.Number(c.unpassed)})
		if c.checks == markedChecks && c.kind != "https" {
			marks = append(marks,
				crowd.Mark(fmt.Sprintf("%d %s checks: p99 of how late they begin", c.checks, c.kind), c.latest, lateMark, "s"),
				crowd.Mark(fmt.Sprintf("%d %s checks: p99 of the gap, beyond %.2f s", c.checks, c.kind, longestGap),
					max(0, c.gap-longestGap), lateMark, "s"))
		}
		add(&lateness, c.kind, c.checks, 1000*c.latest)
		add(&core, c.kind, c.checks, 100*c.core)
	}
	report.Table([]string{"type", "checks", "wanted/s", "made/s", "late p50 ms", "late p99 ms", "gap p99 s", "% of the core",
		"us of CPU for each", "memory MB", "not passed"}, rows)
	crowd.Tell(report)
	o.tellFirst(report)
	report.Table(figures.MarkHead, marks)
	return report.Picture("checks", "lateness and CPU over checks",
		func(file string) error { return figures.SaveLines(file, lateness, core) })
}

// add adds a point to the line of that name.
func add(to *figures.Chart, name string, x int, y float64) {
	i := slices.IndexFunc(to.Series, func(s figures.Series) bool { return s.Name == name })
	if i < 0 {
		i, to.Series = len(to.Series), append(to.Series, figures.Series{Name: name})
	}
	to.Series[i].X, to.Series[i].Y = append(to.Series[i].X, float64(x)), append(to.Series[i].Y, y)
}
