package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/scale/rig"
	"github.com/gti/gtm/pkg/geo"
)

const (
	geoPartitions = 10
	geoServices   = 1000
	swapPatience  = 3 * time.Minute
)

// geoStage is an edge that answers from its snapshot and from a file that is swapped for another and back.
type geoStage struct {
	o       options
	files   [2]string
	live    string // what the edge was given
	edge    *rig.Gtmd
	queries string
	asker   *rig.Asker
	own     netip.Addr // what the watched client gets from files[0], and not from files[1]
	turn    int
}

// swap is one swap under load.
type swap struct {
	load rig.Figures
	took time.Duration // from the renaming to the answers that tell of it; the edge looks every two seconds, and twice
}

func geography(ctx context.Context, o options, report *figures.Report) error {
	s := &geoStage{o: o}
	for i := range s.files {
		var err error
		if s.files[i], err = rig.Geography(o.Work(), o.networks, uint64(i+1)); err != nil {
			return err
		}
	}
	client, walk, each, err := s.alone()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.start(ctx, client); err != nil {
		return err
	}
	defer s.edge.Stop()
	var quiet []rig.Figures
	var swaps []swap
	var crowd rig.Others
	for round := range o.rounds {
		if round >= leastRounds && o.Left() < 0 {
			break
		}
		var q rig.Figures
		var sw swap
		if err := crowd.Watch(func() (err error) {
			if q, err = rig.Load(ctx, s.queries, s.edge.DNS, loadCore, seconds(o.seconds), o.rate); err == nil {
				sw, err = s.swap(ctx)
			}
			return err
		}); err != nil {
			return err
		}
		quiet, swaps = append(quiet, q), append(swaps, sw)
		fmt.Printf("geo %d/%d: swapped after %s; load p99 %.0f us (quiet %.0f), most %.0f us (quiet %.0f), lost %d, late %.0f us (quiet "+
			"%.0f)\n",
			len(swaps), o.rounds, sw.took.Round(time.Millisecond), sw.load.P99, q.P99, sw.load.Max, q.Max, sw.load.Lost,
			sw.load.Late, q.Late)
	}
	opened, err := s.edge.Metric("gtm_edge_geo_open_seconds_sum")
	if err != nil {
		return err
	}
	compiled, err := s.edge.Metric("gtm_edge_geo_compile_seconds_sum")
	if err != nil {
		return err
	}
	n := float64(len(swaps))
	return reportGeo(o, report, quiet, swaps, walk, each, opened/n, compiled/n/geoPartitions, &crowd)
}

// alone walks both files and compiles partitions of them in this process, and finds a client that the files place apart.
func (s *geoStage) alone() (client uint32, walk, each []time.Duration, err error) {
	atlases := [2]*geo.Atlas{}
	for i, file := range s.files {
		began := time.Now()
		if atlases[i], err = geo.Open(file); err != nil {
			return 0, nil, nil, err
		}
		walk = append(walk, time.Since(began))
		for j := range geoPartitions {
			began = time.Now()
			if _, err := geo.Compile(atlases[i], nil, geo.FirstOf(rig.Matchers(j))); err != nil {
				return 0, nil, nil, err
			}
			each = append(each, time.Since(began))
		}
	}
	own := rig.Matchers(0)[0].Geo[0]
	random := rand.New(rand.NewPCG(3, 3))
	for range 1_000_000 {
		a := netip.AddrFrom4([4]byte{byte(1 + random.IntN(9)), byte(random.IntN(256)), byte(random.IntN(256)), 0})
		there, net := atlases[0].Lookup(a)
		elsewhere, other := atlases[1].Lookup(a)
		if there.In(own) && net.Bits() <= 24 && other.Bits() <= 24 && elsewhere.Continent == "SA" {
			b := a.As4()
			return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8, walk, each, nil
		}
	}
	return 0, nil, nil, errors.New("the files place every client alike")
}

func (s *geoStage) start(ctx context.Context, client uint32) error {
	dir, err := s.o.Folder("geo")
	if err != nil {
		return err
	}
	world := rig.World{Services: geoServices, Endpoints: 1, Partitions: geoPartitions}
	if err := peers.WriteSnapshot(filepath.Join(dir, "edge"), world.Resources()); err != nil {
		return err
	}
	s.live, s.own = filepath.Join(dir, "live.mmdb"), world.Address(0, 0)
	if err := s.put(); err != nil {
		return err
	}
	s.edge, err = s.o.Start(edgeCore, filepath.Join(dir, "edge"), "--roles", "edge", "--workers", "1", "--etcd", rig.NoStore,
		"--geo", s.live)
	if err != nil {
		return err
	}
	if _, err := s.edge.AwaitAnswer(ctx, rig.Host(0), startPatience); err != nil {
		return err
	}
	queries := filepath.Join(dir, "queries")
	if err := rig.WriteQueries(queries, questions, rig.Steered(geoServices)); err != nil {
		return err
	}
	s.queries = queries
	if s.asker, err = rig.NewAsker(s.edge.DNS, peers.Query(rig.Host(0), client, false), time.Millisecond); err != nil {
		return err
	}
	go s.asker.Run(ctx)
	return nil
}

// put renames a copy of the file whose turn it is over the live one.
func (s *geoStage) put() error {
	in, err := os.Open(s.files[s.turn%2])
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(s.live + ".new")
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Sync(); err != nil { // so that the disk is at rest when it counts
		return err
	}
	return os.Rename(s.live+".new", s.live)
}

// swap loads the edge from before a file is renamed until a second after the answers tell of it.
func (s *geoStage) swap(ctx context.Context) (swap, error) {
	var r swap
	s.turn++
	loading, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	if err := s.put(); err != nil {
		return r, err
	}
	renamed := time.Now()
	go func() {
		var err error
		r.load, err = rig.Load(loading, s.queries, s.edge.DNS, loadCore, swapPatience, s.o.rate)
		loaded <- err
	}()
	good := func(a netip.Addr) bool { return (a == s.own) == (s.turn%2 == 0) }
	turned, err := s.asker.Turned(ctx, renamed, good, time.Second, swapPatience)
	stop()
	if err := errors.Join(err, <-loaded); err != nil {
		return r, err
	}
	r.took = turned.Sub(renamed)
	return r, nil
}

func reportGeo(o options, report *figures.Report, quiet []rig.Figures, swaps []swap, walk, each []time.Duration, opened, compiled float64,
	crowd *rig.Others) error {
	report.Section("A geography file, swapped under load")
	report.Text("Files of %d networks, 1,020 places in them; %d services with %d distinct sets of matches; %.0f queries a second. The "+
		"edge, which answers from its snapshot, has core %s, the load core %s. Quiet runs of %.0f s alternate with runs from the "+
		"renaming of a file until a second after a client that the files place apart gets the other answer. Within them the edge "+
		"looks at the file every two seconds, and takes it when it has stayed the same once. \"Alone\" is measured in this program, "+
		"without load.", o.networks, geoServices, geoPartitions, o.rate,
		edgeCore, restCore, o.seconds)
	var rows [][]string
	var beyond, took []float64
	lost := 0
	for i, s := range swaps {
		lost += s.load.Lost
		beyond, took = append(beyond, (s.load.P99-quiet[i].P99)/1000), append(took, s.took.Seconds())
		rows = append(rows, []string{fmt.Sprint(i + 1), figures.Number(s.took.Seconds()), figures.Number(quiet[i].P99),
			figures.Number(s.load.P99),
			figures.Number(quiet[i].P999), figures.Number(s.load.P999), figures.Number(s.load.Max), fmt.Sprint(s.load.Lost),
			figures.Number(s.load.Late)})
	}
	report.Table([]string{"swap", "took s", "quiet p99 us", "p99 us", "quiet p999 us", "p999 us", "most us", "lost", "load late by us"},
		rows)
	inSeconds := func(all []time.Duration) float64 { return figures.Median(millis(all)) / 1000 }
	crowd.Tell(report)
	report.Table(figures.MarkHead, [][]string{
		crowd.Mark("p99 above the quiet run's, median", figures.Median(beyond), 1, "ms"),
		crowd.Mark("queries lost", float64(lost), 0, ""),
		crowd.Mark("walk, alone", inSeconds(walk), 5, "s"),
		crowd.Mark("each partition, alone", inSeconds(each), 0.5, "s"),
		crowd.Mark("reading and walk, in the edge under load", opened, 5, "s"),
		crowd.Mark("each partition, in the edge under load", compiled, 0.5, "s"),
		{"from the renaming to the answer, median", figures.Number(figures.Median(took)) + " s", "", ""},
	})
	return nil
}
