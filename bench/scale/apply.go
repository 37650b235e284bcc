package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/scale/rig"
)

// applied is one size that went through gtmctl.
type applied struct {
	services, resources int
	bytes               int64
	first               time.Duration // gtmctl apply into an empty store
	served              time.Duration // until the edge answers for the last of them
	again               time.Duration // the same once more, which changes nothing
	cold                time.Duration // an edge without a snapshot, from exec to its first answer
	control             int64         // peak RSS of the process with control and edge
}

// apply measures how long gtmctl takes to fill a store, and an edge to start from it.
func apply(ctx context.Context, o options, report *figures.Report) error {
	report.Section("gtmctl apply, and a cold start")
	report.Text("`gtmctl apply` of YAML files with so many services and their pools of %d endpoints into an empty store, on one gtmd "+
		"with the roles edge and "+
		"control; the same again, which changes nothing; and a second edge, which has no snapshot, from exec to its first answer.",
		endpoints)
	var rows [][]string
	var all []applied
	var done []step
	for _, n := range o.steps {
		if why := o.tooLarge(n, done); why != "" {
			report.Text("%s", why)
			fmt.Println("apply", why)
			continue
		}
		began := time.Now()
		a, err := applyOne(ctx, o, n)
		if err != nil {
			return fmt.Errorf("%d services: %w", n, err)
		}
		fmt.Printf("apply %d: %+v\n", n, a)
		all, done = append(all, a), append(done, step{n, a.control, time.Since(began)})
		rows = append(rows, []string{fmt.Sprint(n), fmt.Sprint(a.resources), megabytes(a.bytes), figures.Number(a.first.Seconds()),
			figures.Number(a.served.Seconds()), figures.Number(a.again.Seconds()), figures.Number(a.cold.Seconds()), megabytes(a.control)})
	}
	report.Table([]string{"services", "resources", "YAML MB", "apply s", "until served s", "again s", "cold start s", "peak MB of gtmd"},
		rows)
	if len(all) < 2 {
		return nil
	}
	line := func(name string, y func(applied) time.Duration) figures.Series {
		s := figures.Series{Name: name}
		for _, a := range all {
			s.X, s.Y = append(s.X, float64(a.services)), append(s.Y, y(a).Seconds())
		}
		return s
	}
	return report.Picture("apply", "gtmctl apply and cold start", func(file string) error {
		return figures.SaveLines(file, figures.Chart{Title: "gtmctl apply and cold start", X: "services", Y: "seconds", LogX: true,
			LogY: true, Series: []figures.Series{
				line("apply", func(a applied) time.Duration { return a.first }),
				line("again", func(a applied) time.Duration { return a.again }),
				line("cold start", func(a applied) time.Duration { return a.cold })}})
	})
}

func applyOne(ctx context.Context, o options, n int) (applied, error) {
	a := applied{services: n}
	dir, err := o.Folder("apply")
	if err != nil {
		return a, err
	}
	defer os.RemoveAll(dir)
	files := filepath.Join(dir, "files")
	all := slices.Collect(steered(n, 10).world.Resources())
	if err := peers.WriteYAML(files, all); err != nil {
		return a, err
	}
	a.resources = len(all)
	if a.bytes, err = sizeOf(files); err != nil {
		return a, err
	}
	g, err := o.Start("", filepath.Join(dir, "gtmd"), "--roles", "edge,control")
	if err != nil {
		return a, err
	}
	defer g.Stop()
	if err := g.AwaitHTTP(ctx, startPatience); err != nil {
		return a, err
	}
	began := time.Now()
	if err := g.Apply(ctx, o.Gtmctl(), files); err != nil {
		return a, err
	}
	a.first = time.Since(began)
	if _, err := g.AwaitAnswer(ctx, rig.Host(n-1), startPatience); err != nil {
		return a, err
	}
	a.served = time.Since(began)
	began = time.Now()
	if err := g.Apply(ctx, o.Gtmctl(), files); err != nil {
		return a, err
	}
	a.again = time.Since(began)
	if _, a.control, err = g.Memory(); err != nil {
		return a, err
	}
	edge, err := o.Start("", filepath.Join(dir, "cold"), "--roles", "edge", "--id", "cold", "--etcd", g.Socket())
	if err != nil {
		return a, err
	}
	defer edge.Stop()
	a.cold, err = edge.AwaitAnswer(ctx, rig.Host(n-1), startPatience)
	return a, err
}
