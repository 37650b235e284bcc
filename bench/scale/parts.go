package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/scale/rig"
)

const (
	endpoints  = 10 // of each pool
	partitions = 1000
)

// steered is the workload of so many services, each with its pool.
func steered(n, sets int) workload {
	return workload{world: rig.World{Services: n, Endpoints: endpoints, Partitions: min(n, sets)}, first: rig.Host(n - 1),
		name: rig.Steered(n)}
}

// marks measures the two configurations that start and memory have marks for.
func marks(ctx context.Context, o options, report *figures.Report) error {
	report.Section("Start and memory of the edge role")
	report.Text("From exec to the first answer, the median of %d starts (fewer where one takes long) from the snapshot, with the "+
		"built-in world geography; resident memory %s after it. Each service has a pool of %d endpoints of its own, and all use one "+
		"more pool.", o.starts,
		rest, endpoints)
	var rows [][]string
	for _, m := range []struct {
		services, sets int
		start          float64 // seconds
		rss            int64
	}{{1000, 10, 0.3, 80e6}, {100_000, partitions, 3, 1.2e9}} {
		p, err := measure(ctx, o, steered(m.services, m.sets), m.services)
		if err != nil {
			return err
		}
		fmt.Printf("marks %d: start %s, RSS %s MB, peak %s MB, %s us a query\n", m.services, p.start, megabytes(p.rss), megabytes(p.peak),
			figures.Number(p.cpu))
		what := fmt.Sprintf("%d services, %d endpoints, %d distinct partitions: ", m.services, m.services*endpoints, m.sets)
		rows = append(rows, figures.MarkRow(what+"start", p.start.Seconds(), m.start, "s", ""),
			figures.MarkRow(what+"RSS", float64(p.rss)/1e6, float64(m.rss)/1e6, "MB", ""),
			[]string{what + "peak of RSS", megabytes(p.peak) + " MB", "", ""},
			[]string{what + "RSS under load", megabytes(p.loaded) + " MB", "", ""})
	}
	report.Table(figures.MarkHead, rows)
	return nil
}

// overSteps measures a workload of each size, and says what is left out.
func overSteps(ctx context.Context, o options, report *figures.Report, part, x string, of func(n int) (workload, error)) error {
	var points []point
	var rows [][]string
	var left []string
	var done []step
	for _, n := range o.steps {
		if why := o.tooLarge(n, done); why != "" {
			left = append(left, why)
			fmt.Println(part, why)
			continue
		}
		began := time.Now()
		w, err := of(n)
		if err != nil {
			return err
		}
		p, err := measure(ctx, o, w, n)
		if err != nil {
			return fmt.Errorf("%d: %w", n, err)
		}
		took := time.Since(began)
		done = append(done, step{n, p.peak, took})
		points, rows = append(points, p), append(rows, p.row())
		fmt.Printf("%s %d: start %s, RSS %s MB, %s us a query, all in %s\n", part, n, p.start, megabytes(p.rss), figures.Number(p.cpu),
			took.Round(time.Second))
	}
	report.Table(pointHead, rows)
	for _, why := range left {
		report.Text("%s", why)
	}
	return charts(report, part, x, points)
}

func services(ctx context.Context, o options, report *figures.Report) error {
	report.Section("Services")
	report.Text("So many services with a pool of %d endpoints each, and at most %d distinct partitions; %.0f queries a second for all "+
		"of them at random, the edge bound to core %s.", endpoints, partitions, o.rate, edgeCore)
	return overSteps(ctx, o, report, "services", "services", func(n int) (workload, error) { return steered(n, partitions), nil })
}

// fixedServices is how many services stand beside what grows.
const fixedServices = 1000

func manyEndpoints(ctx context.Context, o options, report *figures.Report) error {
	report.Section("Endpoints")
	report.Text("So many endpoints in all, in equal pools of %d services (of fewer where there are fewer endpoints), and 10 distinct "+
		"partitions.", fixedServices)
	return overSteps(ctx, o, report, "endpoints", "endpoints", func(n int) (workload, error) {
		w := steered(min(n, fixedServices), 10)
		w.world.Endpoints = n / w.world.Services
		return w, nil
	})
}

func names(ctx context.Context, o options, report *figures.Report) error {
	report.Section("Names")
	report.Text("So many static names in one zone, beside ten services; queries for all of the names at random.")
	return overSteps(ctx, o, report, "names", "static names", func(n int) (workload, error) {
		w := steered(10, 10)
		w.world.Names = n
		w.first = fmt.Sprintf("n%d.%s", n-1, rig.Zone)
		w.name = func(random *rand.Rand) string { return fmt.Sprintf("n%d.%s", random.IntN(n), rig.Zone) }
		return w, nil
	})
}

func networks(ctx context.Context, o options, report *figures.Report) error {
	report.Section("Networks")
	report.Text("A geography file of so many networks, %d services, 10 distinct partitions.", fixedServices)
	return overSteps(ctx, o, report, "networks", "networks of the file", func(n int) (workload, error) {
		w := steered(fixedServices, 10)
		var err error
		w.geo, err = rig.Geography(o.Work(), n, 1)
		return w, err
	})
}
