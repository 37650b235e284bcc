package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/scale/rig"
	"github.com/gti/gtm/pkg/spec"
)

const (
	second    = spec.Duration(time.Second)
	deathZone = "death.test."
	deathMark = 1.5 // seconds
	// mostDeaths is how often one endpoint dies: with the fourth time in ten minutes it would be unstable.
	mostDeaths = 3
	askEvery   = time.Millisecond
	settle     = 50 * time.Millisecond
)

// deathKind is one way to die, and to be checked. Each is a tenant.
type deathKind struct {
	name, tenant string
	vantages     []string
	hangs        bool
	recheck      spec.Duration // 0: as it is by default
	marked       bool
	number       byte // in addresses
}

var vantageNames = []string{"one", "two", "three"}

var deathKinds = []deathKind{
	{name: "refuses", tenant: "refuses", vantages: vantageNames[:1], marked: true, number: 1},
	{name: "hangs, timeout 200 ms", tenant: "hangs", vantages: vantageNames[:1], hangs: true, marked: true, number: 2},
	{name: "refuses, 2 of 3 vantages", tenant: "quorum", vantages: vantageNames, marked: true, number: 3},
	{name: "refuses, without rechecks", tenant: "plain", vantages: vantageNames[:1], recheck: second, number: 4},
}

// spare is where clients go while an endpoint is dead.
func (k *deathKind) spare() netip.Addr { return netip.AddrFrom4([4]byte{127, 10 + k.number, 255, 1}) }

func (k *deathKind) address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 10 + k.number, byte(i >> 7), byte(1 + i&127)})
}

func (k *deathKind) host(i int) string { return fmt.Sprintf("s%d.%s.%s", i, k.tenant, deathZone) }

// resources are those of its tenant.
func (k *deathKind) resources(pools int, port uint16) []*spec.Resource {
	m := &spec.Monitor{Type: "http", Port: port, Interval: second, Recheck: k.recheck, Fall: 2, Rise: 2, Vantages: k.vantages}
	if k.hangs {
		m.Timeout = second / 5
	}
	pool := func(name string, a netip.Addr) *spec.Resource {
		return peers.Resource(k.tenant, spec.KindPool, name,
			&spec.Pool{Monitor: "m", Endpoints: []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{a}}}})
	}
	all := []*spec.Resource{peers.Resource(k.tenant, spec.KindMonitor, "m", m), pool("spare", k.spare())}
	for i := range pools {
		name := fmt.Sprintf("p%d", i)
		all = append(all, pool(name, k.address(i)), peers.Resource(k.tenant, spec.KindService, fmt.Sprintf("s%d", i),
			&spec.Service{Host: k.host(i), Rules: []spec.Rule{{Pools: []spec.Target{{Pool: name}, {Pool: "spare"}}}}}))
	}
	return all
}

// deathStage is a whole gtm in three roles, and what it checks.
type deathStage struct {
	o       options
	all     []*rig.Gtmd
	edge    *rig.Gtmd
	victims map[netip.Addr]*victim
}

// died is what came of one kind: seconds from a death, and from a recovery, to the last answer that did not know of it.
type died struct{ dead, alive []time.Duration }

func deaths(ctx context.Context, o options, report *figures.Report) error {
	s := &deathStage{o: o, victims: map[netip.Addr]*victim{}}
	defer s.stop()
	if err := s.start(ctx); err != nil {
		return err
	}
	var crowd rig.Others
	all := make([]died, len(deathKinds))
	for i := range deathKinds {
		if err := crowd.Watch(func() (err error) {
			all[i], err = s.measure(ctx, &deathKinds[i])
			return err
		}); err != nil {
			return fmt.Errorf("%s: %w", deathKinds[i].name, err)
		}
		fmt.Printf("death, %s: p99 %.2f s, recovery %.2f s\n", deathKinds[i].name, figures.Percentile(inSeconds(all[i].dead), 0.99),
			figures.Percentile(inSeconds(all[i].alive), 0.99))
	}
	return reportDeaths(o, report, all, &crowd)
}

// pools is how many pools of each kind there are.
func (s *deathStage) pools() int { return (s.o.deaths + mostDeaths - 1) / mostDeaths }

func (s *deathStage) start(ctx context.Context) error {
	port, err := s.animate()
	if err != nil {
		return err
	}
	dir, err := s.o.Folder("death")
	if err != nil {
		return err
	}
	control, err := s.run(filepath.Join(dir, "control"), "--roles", "control")
	if err != nil {
		return err
	}
	if err := control.AwaitHTTP(ctx, patience); err != nil {
		return err
	}
	if err := s.declare(ctx, control, port); err != nil {
		return err
	}
	for _, v := range vantageNames {
		if _, err := s.run(filepath.Join(dir, v), "--roles", "prober", "--etcd", control.Socket(), "--vantage", v, "--probe-allow",
			"127.0.0.0/8"); err != nil {
			return err
		}
	}
	if s.edge, err = s.run(filepath.Join(dir, "edge"), "--roles", "edge", "--etcd", control.Socket()); err != nil {
		return err
	}
	for i := range deathKinds {
		if _, err := s.edge.AwaitAnswer(ctx, deathKinds[i].host(s.pools()-1), patience); err != nil {
			return err
		}
	}
	return s.awaitUp(ctx)
}

func (s *deathStage) run(data string, args ...string) (*rig.Gtmd, error) {
	g, err := s.o.Start("", data, args...)
	if err == nil {
		s.all = append(s.all, g)
	}
	return g, err
}

func (s *deathStage) stop() {
	for _, g := range slices.Backward(s.all) {
		_ = g.Stop()
	}
	for _, v := range s.victims {
		v.stop()
	}
}

// animate has all that is checked live, at one port.
func (s *deathStage) animate() (port uint16, err error) {
	for i := range deathKinds {
		k := &deathKinds[i]
		for j := -1; j < s.pools(); j++ {
			a := k.spare()
			if j >= 0 {
				a = k.address(j)
			}
			v := &victim{at: netip.AddrPortFrom(a, port), hangs: k.hangs}
			if err := v.live(); err != nil {
				return 0, err
			}
			if port == 0 {
				v.at = netip.MustParseAddrPort(v.listener.Addr().String())
				port = v.at.Port()
			}
			s.victims[a] = v
		}
	}
	return port, nil
}

func (s *deathStage) declare(ctx context.Context, control *rig.Gtmd, port uint16) error {
	c, err := control.Store(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	grants := map[string][]string{}
	all := []*spec.Resource{peers.Unbounded()}
	for i := range deathKinds {
		k := &deathKinds[i]
		grants[k.tenant] = []string{k.tenant + "." + deathZone}
		all = append(all, k.resources(s.pools(), port)...)
	}
	content := fmt.Sprintf("%[1]s 60 IN SOA ns1.%[1]s hostmaster.%[1]s 1 7200 1800 1209600 60\n%[1]s 60 IN NS ns1.%[1]s\n"+
		"ns1.%[1]s 60 IN A 127.0.0.1\n", deathZone)
	zone := peers.Resource(spec.Platform, spec.KindZone, deathZone, &spec.Zone{Content: content, Grants: grants})
	return rig.Put(ctx, c, slices.Values(append([]*spec.Resource{zone}, all...)), 1)
}

// awaitUp waits until probers have seen everything up.
func (s *deathStage) awaitUp(ctx context.Context) error {
	want := float64(len(s.victims))
	return s.edge.Await(ctx, patience, 100*time.Millisecond, func() error {
		sum := 0.0
		for _, g := range s.all[1 : 1+len(vantageNames)] { // only the judge knows
			m, err := metricsOf(g)
			if err != nil {
				return err
			}
			sum += m[`gtm_prober_endpoints{state="up"}`]
		}
		if sum != want {
			return fmt.Errorf("%v of %v endpoints are up", sum, want)
		}
		return nil
	})
}

// measure has endpoints of a kind die and live again, some beside each other.
func (s *deathStage) measure(ctx context.Context, k *deathKind) (died, error) {
	all := make([]died, s.o.asked)
	var g errgroup.Group
	for w := range all {
		g.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(k.number), uint64(w)))
			for turn := range mostDeaths {
				for i := w; i < s.pools() && turn*s.pools()+i < s.o.deaths; i += s.o.asked {
					if err := s.one(ctx, k, i, random, &all[w]); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	err := g.Wait()
	var sum died
	for _, d := range all {
		sum.dead, sum.alive = append(sum.dead, d.dead...), append(sum.alive, d.alive...)
	}
	return sum, err
}

// one has an endpoint die and live again, at random moments, and asks for it all the time.
func (s *deathStage) one(ctx context.Context, k *deathKind, i int, random *rand.Rand, to *died) error {
	asker, err := rig.NewAsker(s.edge.DNS, peers.Query(k.host(i), rig.Elsewhere, false), askEvery)
	if err != nil {
		return err
	}
	asking, stop := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() { defer close(over); asker.Run(asking) }()
	defer func() { stop(); <-over }()
	v := s.victims[k.address(i)]
	wait := func() { time.Sleep(time.Duration(random.Int64N(int64(time.Second)))) }
	until := func(good netip.Addr, began time.Time) (time.Duration, error) {
		at, err := asker.Turned(ctx, began, rig.Only(good), settle, patience)
		return at.Sub(began), err
	}
	wait()
	began := time.Now()
	v.die()
	took, err := until(k.spare(), began)
	if err != nil {
		return fmt.Errorf("%s after its death: %w", k.host(i), err)
	}
	to.dead = append(to.dead, took)
	wait()
	began = time.Now()
	if err := v.live(); err != nil {
		return err
	}
	if took, err = until(k.address(i), began); err != nil {
		return fmt.Errorf("%s after its recovery: %w", k.host(i), err)
	}
	to.alive = append(to.alive, took)
	return nil
}

func reportDeaths(o options, report *figures.Report, all []died, crowd *rig.Others) error {
	report.Section("From a death to the last answer that names the dead")
	report.Text("An endpoint is checked by http every second, with fall 2 and rise 2; it dies, and lives again, each at a random moment. "+
		"Its name is asked for every %s at an edge; what counts is the time from the death to the first of the answers that all name the "+
		"next pool, and back. Three probers, one of which judges, etcd with control, and the edge are processes of their own; nothing is "+
		"bound to a core. %d endpoints at a time are in some stage of this. Seconds.", askEvery, o.asked)
	var rows, marks [][]string
	var charts [2]figures.Chart
	for i, what := range []string{"death", "recovery"} {
		charts[i] = figures.Chart{Title: what + " to answer", X: "percentile", Y: "seconds", Mark: deathMark}
	}
	for i, k := range deathKinds {
		for j, times := range [][]time.Duration{all[i].dead, all[i].alive} {
			what, numbers := []string{"death", "recovery"}[j], inSeconds(times)
			rows = append(rows, append([]string{k.name, what, fmt.Sprint(len(times))}, figures.Percentiles(numbers, 0.5, 0.9, 0.99, 1)...))
			if k.marked {
				marks = append(marks, crowd.Mark(k.name+": p99 of "+what+" to answer", figures.Percentile(numbers, 0.99), deathMark, "s"))
			}
			charts[j].Series = append(charts[j].Series, figures.Distribution(k.name, numbers))
		}
	}
	report.Table([]string{"how it dies, and who looks", "", "times", "p50", "p90", "p99", "most"}, rows)
	crowd.Tell(report)
	o.tellFirst(report)
	report.Table(figures.MarkHead, marks)
	return report.Picture("death", "death and recovery to answer",
		func(file string) error { return figures.SaveLines(file, charts[:]...) })
}
