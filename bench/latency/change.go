package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/scale/rig"
)

const (
	edges         = 3
	everyQuestion = 500 * time.Microsecond
	changePause   = 100 * time.Millisecond
	leastChanges  = 50 // however little time is left
)

// changeStage is one machine with three edges, of which one shares its process with control and etcd.
type changeStage struct {
	o       options
	edges   []*rig.Gtmd
	askers  []*rig.Asker
	file    string
	weighed bool
}

// changed is one change by gtmctl: since its start, when it ended and when each edge's answers had changed, sorted.
type changed struct {
	exit  time.Duration
	edges []time.Duration
}

// The endpoints of the pool whose weights change. b has weight 0, or one beside which a has next to none.
var weighed = map[bool]netip.Addr{false: netip.MustParseAddr("198.51.100.1"), true: netip.MustParseAddr("198.51.100.2")}

func changes(ctx context.Context, o options, report *figures.Report) error {
	report.Section("A changed weight, from gtmctl to every edge")
	report.Text("`gtmctl apply` of a file with one pool, one of whose weights has changed, on a machine with %d edges: one in the "+
		"process of control and the embedded etcd, the others processes of their own. Nothing is bound to a core. Changes begin %s "+
		"after the last edge's first answer. Time runs from before gtmctl is executed to the first of the answers of each edge that "+
		"all are as they should (asked every %s).", edges, calm, everyQuestion)
	var rows, marks, besides [][]string
	var slowest []float64 // p99 of each size
	var series []figures.Series
	over := curve{over: "services"}
	var crowd rig.Others
	for _, services := range o.sizes {
		all, machine, err := measureChanges(ctx, o.of(services), &crowd)
		if err != nil {
			return err
		}
		var exit, first, last []float64
		for _, c := range all {
			exit, first, last = append(exit, millis([]time.Duration{c.exit})...), append(first, millis(c.edges[:1])...),
				append(last, millis(c.edges[edges-1:])...)
		}
		name := fmt.Sprintf("%d services", services)
		at := func(numbers []float64, share float64) string {
			return figures.Number(figures.Percentile(numbers, share))
		}
		rows = append(rows, []string{name, fmt.Sprint(len(all)), at(exit, 0.5), at(first, 0.5), at(last, 0.5), at(exit, 0.99),
			at(last, 0.99), at(last, 1)})
		slowest = append(slowest, figures.Percentile(last, 0.99))
		series = append(series, figures.Distribution(name, last))
		besides = append(besides, machine.row(name))
		over.add("the last edge", services, last)
		over.add("gtmctl", services, exit)
	}
	report.Table([]string{"configuration", "changes", "gtmctl ends, p50 ms", "first edge, p50 ms", "last edge, p50 ms",
		"gtmctl ends, p99 ms", "last edge, p99 ms", "most ms"}, rows)
	for i, services := range o.sizes {
		marks = append(marks, crowd.Mark(fmt.Sprintf("%d services: p99 of the last edge's time", services), slowest[i], 100, "ms"))
	}
	crowd.Tell(report)
	report.Table(figures.MarkHead, marks)
	report.Text("Between the changes the machine itself was asked for what every change contains: to run `gtmctl version`, and to bring "+
		"%d bytes to the disk. "+
		"Where that is late, changes are, too.", besideBytes)
	report.Table(besideHead, besides)
	if err := over.report(report, "change-sizes", "a changed weight, over services", 100); err != nil {
		return err
	}
	return report.Picture("change", "gtmctl to the last edge", func(file string) error {
		return figures.SaveLines(file, figures.Chart{Title: "gtmctl to the last edge's answer", X: "share of changes, %", Y: "at most, ms",
			Mark: 100, Series: series})
	})
}

// measureChanges makes the changes of one size. crowd watches them.
func measureChanges(ctx context.Context, o options, crowd *rig.Others) ([]changed, *beside, error) {
	ctx, cancel := context.WithCancel(ctx)
	s, err := newChangeStage(ctx, o)
	defer func() {
		cancel()
		for _, e := range slices.Backward(s.edges) { // the one with etcd last
			e.Stop()
		}
	}()
	if err != nil {
		return nil, nil, err
	}
	var all []changed
	var machine beside
	err = crowd.Watch(func() error {
		for i := range o.changes {
			if i >= leastChanges && o.Left() < 0 {
				break
			}
			if err := machine.measure(ctx, o.Gtmctl(), filepath.Dir(s.file)); err != nil {
				return err
			}
			c, err := s.change(ctx)
			if err != nil {
				return err
			}
			all = append(all, c)
			if (i+1)%50 == 0 {
				fmt.Printf("change %d/%d, %d services: gtmctl ended after %s, the last edge had it after %s\n", i+1, o.changes, o.services,
					c.exit, c.edges[edges-1])
			}
		}
		return nil
	})
	return all, &machine, err
}

func newChangeStage(ctx context.Context, o options) (*changeStage, error) {
	s := &changeStage{o: o}
	dir, err := o.Folder("change")
	if err != nil {
		return s, err
	}
	s.file = filepath.Join(dir, "weight.yaml")
	for i := range edges {
		args := []string{"--roles", "edge,control"}
		if i > 0 {
			args = []string{"--roles", "edge", "--id", fmt.Sprint("edge", i), "--etcd", s.edges[0].Socket()}
		}
		e, err := o.Start("", filepath.Join(dir, fmt.Sprint("edge", i)), args...)
		if err != nil {
			return s, err
		}
		s.edges = append(s.edges, e)
		if err := e.AwaitHTTP(ctx, patience); err != nil {
			return s, err
		}
		if i == 0 {
			if err := putWorld(ctx, s.edges[0], rig.World{Services: o.services, Endpoints: o.endpoints, Partitions: 10}); err != nil {
				return s, err
			}
			if _, err := e.AwaitAnswer(ctx, rig.Host(o.services-1), startPatience); err != nil {
				return s, err
			}
		}
	}
	if err := s.apply(ctx, "---\nkind: Service\ntenant: "+rig.Tenant+"\nname: weighed\nspec: {host: weighed."+rig.Zone+
		", rules: [{pools: [weighed]}]}\n"); err != nil {
		return s, err
	}
	for _, e := range s.edges {
		if _, err := e.AwaitAnswer(ctx, "weighed."+rig.Zone, startPatience); err != nil {
			return s, err
		}
		asker, err := rig.NewAsker(e.DNS, peers.Query("weighed."+rig.Zone, rig.Elsewhere, false), everyQuestion)
		if err != nil {
			return s, err
		}
		go asker.Run(ctx)
		s.askers = append(s.askers, asker)
	}
	return s, program.Rest(ctx, calm)
}

// putWorld writes a world into the etcd of g.
func putWorld(ctx context.Context, g *rig.Gtmd, world rig.World) error {
	c, err := g.Store(ctx)
	if err != nil {
		return err
	}
	return errors.Join(world.Put(ctx, c), c.Close())
}

// apply writes the file with the other weight, and more, and applies it.
func (s *changeStage) apply(ctx context.Context, more string) error {
	s.weighed = !s.weighed
	weight := map[bool]int{true: 65535}[s.weighed]
	text := fmt.Sprintf("kind: Pool\ntenant: %s\nname: weighed\nspec:\n  endpoints:\n    - {name: a, addresses: [%s], weight: 1}\n    - "+
		"{name: b, addresses: [%s], weight: %d}\n%s",
		rig.Tenant, weighed[false], weighed[true], weight, more)
	if err := os.WriteFile(s.file, []byte(text), 0o644); err != nil {
		return err
	}
	return s.edges[0].Apply(ctx, s.o.Gtmctl(), s.file)
}

func (s *changeStage) change(ctx context.Context) (changed, error) {
	time.Sleep(changePause)
	var c changed
	began := time.Now()
	if err := s.apply(ctx, ""); err != nil {
		return c, err
	}
	c.exit = time.Since(began)
	for _, a := range s.askers {
		turned, err := a.Turned(ctx, began, rig.Only(weighed[s.weighed]), settle, patience)
		if err != nil {
			return c, err
		}
		c.edges = append(c.edges, turned.Sub(began))
	}
	slices.Sort(c.edges)
	return c, nil
}
