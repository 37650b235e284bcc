package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/scale/rig"
)

const (
	startPatience = 5 * time.Minute
	questions     = 1_000_000
	rest          = 3 * time.Second // after a start, before memory is read: what was needed only to start is given back
)

// point is one configuration, measured on an edge that starts from its snapshot and never hears of an etcd.
type point struct {
	size      int
	start     time.Duration // from exec to the first answer: the median of several
	rss, peak int64
	loaded    int64 // RSS after the load
	load      rig.Figures
	cpu       float64 // microseconds of the edge a query
	snapshot  int64
}

// workload is a configuration and what is asked of it.
type workload struct {
	world rig.World
	geo   string // MMDB file; empty: the built-in
	first string // the name whose answer ends the start
	name  func(*rand.Rand) string
}

// startsTime is how long starts of one configuration may take together, but for the first.
const startsTime = 15 * time.Second

// measure writes the snapshot, starts the edge some times, and loads it.
func measure(ctx context.Context, o options, w workload, size int) (point, error) {
	p := point{size: size}
	dir, err := o.Folder("edge")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	if err := peers.WriteSnapshot(dir, w.world.Resources()); err != nil {
		return p, err
	}
	debug.FreeOSMemory() // a million services need the room
	if p.snapshot, err = sizeOf(peers.SnapshotOf(dir)); err != nil {
		return p, err
	}
	var all []float64
	began := time.Now()
	for i := range o.starts {
		edge, took, err := startEdge(ctx, o, w, dir)
		if edge != nil {
			defer edge.Stop()
		}
		if err != nil {
			return p, err
		}
		all = append(all, took.Seconds())
		if i+1 == o.starts || time.Since(began) > startsTime {
			p.start = time.Duration(figures.Median(all) * float64(time.Second))
			return p, p.use(ctx, o, w, dir, edge)
		}
		edge.Stop()
	}
	return p, nil
}

// startEdge starts an edge with both cores, as on a machine of its own, and waits for its first answer.
func startEdge(ctx context.Context, o options, w workload, dir string) (*rig.Gtmd, time.Duration, error) {
	args := []string{"--roles", "edge", "--etcd", rig.NoStore}
	if w.geo != "" {
		args = append(args, "--geo", w.geo)
	}
	edge, err := o.Start("", dir, args...)
	if err != nil {
		return nil, 0, err
	}
	took, err := edge.AwaitAnswer(ctx, w.first, startPatience)
	return edge, took, err
}

// use measures the memory of an edge at rest, binds it to its core, loads it, and measures again.
func (p *point) use(ctx context.Context, o options, w workload, dir string, edge *rig.Gtmd) error {
	err := program.Rest(ctx, rest)
	if err != nil {
		return err
	}
	if p.rss, p.peak, err = edge.Memory(); err != nil {
		return err
	}
	if err := edge.Bind(edgeCore); err != nil {
		return err
	}
	queries := filepath.Join(dir, "queries")
	if err := rig.WriteQueries(queries, questions, w.name); err != nil {
		return err
	}
	before, err := edge.OwnCPU()
	if err != nil {
		return err
	}
	if p.load, err = rig.Load(ctx, queries, edge.DNS, loadCore, time.Duration(o.seconds*float64(time.Second)), o.rate); err != nil {
		return err
	}
	after, err := edge.OwnCPU()
	if err != nil {
		return err
	}
	if p.load.Got == 0 || p.load.Other > 0 {
		return fmt.Errorf("%d answers, of which %d are not NOERROR", p.load.Got, p.load.Other)
	}
	p.cpu = (after - before).Seconds() * 1e6 / float64(p.load.Got)
	p.loaded, _, err = edge.Memory()
	return err
}

func sizeOf(dir string) (sum int64, err error) {
	err = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

func megabytes(n int64) string { return figures.Number(float64(n) / 1e6) }

var pointHead = []string{"size", "start from snapshot, s", "RSS MB", "peak MB", "RSS under load MB", "snapshot MB", "edge's CPU us a query",
	"p50 us", "p99 us", "lost"}

func (p point) row() []string {
	return []string{fmt.Sprint(p.size), figures.Number(p.start.Seconds()), megabytes(p.rss), megabytes(p.peak), megabytes(p.loaded),
		megabytes(p.snapshot), figures.Number(p.cpu), figures.Number(p.load.P50), figures.Number(p.load.P99), fmt.Sprint(p.load.Lost)}
}

// series draws one figure of several points.
func series(name string, points []point, y func(point) float64) figures.Series {
	s := figures.Series{Name: name}
	for _, p := range points {
		s.X, s.Y = append(s.X, float64(p.size)), append(s.Y, y(p))
	}
	return s
}

// charts draws start, memory and price over the size.
func charts(report *figures.Report, part, x string, points []point) error {
	if len(points) < 2 {
		return nil // a line has two ends
	}
	chart := func(title, y string, of func(point) float64) figures.Chart {
		return figures.Chart{Title: title, X: x, Y: y, LogX: true, LogY: true, Series: []figures.Series{series("", points, of)}}
	}
	return report.Picture(part, "over "+x, func(file string) error {
		return figures.SaveLines(file,
			chart("start from snapshot", "seconds", func(p point) float64 { return p.start.Seconds() }),
			chart("memory of the edge", "RSS, MB", func(p point) float64 { return float64(p.rss) / 1e6 }),
			chart("the edge's CPU a query", "us", func(p point) float64 { return p.cpu }),
			chart("latency, p99", "us", func(p point) float64 { return p.load.P99 }))
	})
}
