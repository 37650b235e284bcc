package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// A bench is one job with the servers that serve it.
type bench struct {
	options
	tmp     string
	job     peers.Job
	servers map[string]*server // by subject, floors by the bytes that they send
	floors  int                // how many were started
}

// A server is one process that answers at a port.
type server struct {
	*process.Process
	name string
	port int
}

// The cores of the server and of the load.
const serverCore, loadCore = "0", "1"

// start starts a program on the servers' core, and keeps it under key.
func (b *bench) start(key, name string, port int, args ...string) error {
	log := filepath.Join(b.job.Dir, fmt.Sprintf("%s-%d.log", name, port))
	p, err := process.Start(process.Command{Name: name, Args: args, Core: serverCore, Log: log})
	if err == nil {
		b.servers[key] = &server{p, name, port}
	}
	return err
}

// settle waits until the server computes next to nothing by itself, at most for patience: after its start a large one still
// collects garbage, on the core on which others are measured.
func (s *server) settle(ctx context.Context, patience time.Duration) error {
	const look = time.Second
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		before, err := s.CPU()
		if err != nil {
			return err
		}
		if err := program.Rest(ctx, look); err != nil {
			return err
		}
		after, err := s.CPU()
		if err != nil {
			return err
		}
		if after-before < look/20 {
			return nil
		}
	}
	return nil // the report tells how busy the core was
}

// A result is what was measured with one load: at saturation first, then at fixed rates.
type result struct {
	load
	agreed string
	memory map[string]float64 // MB of each server's processes, by lane
	runs   []run
}

// runAll measures the chosen loads, job by job, and writes the report.
func runAll(ctx context.Context, o options) error {
	if err := program.Root("the servers, and the account of their CPU,"); err != nil {
		return err
	}
	chosen, missing, err := choose(loads(o.large), o.Only, installed)
	if err != nil {
		return err
	}
	o.missing = missing
	if len(o.missing) > 0 {
		fmt.Printf("not installed, and so not measured: %s (make bench installs them)\n", strings.Join(o.missing, ", "))
	}
	began := time.Now()
	tmp := filepath.Join(o.Root, "bench", "results", "tmp")
	if err := prepare(ctx, o.Root, tmp); err != nil {
		return err
	}
	if !o.Keep {
		defer os.RemoveAll(tmp)
	}
	var results []result
	versions := map[string]string{}
	for _, names := range append([]int{small}, o.large...) {
		wanted := slices.DeleteFunc(slices.Clone(chosen), func(l load) bool { return l.names != names })
		if len(wanted) == 0 {
			continue
		}
		b := &bench{options: o, tmp: tmp, servers: map[string]*server{},
			job: peers.Job{Dir: filepath.Join(tmp, short(names)), MMDB: filepath.Join(o.Root, "geo", "country.mmdb"), Names: names,
				Large: names != small}}
		measured, err := b.measureJob(ctx, wanted, versions)
		results = append(results, measured...)
		if err != nil {
			if len(results) == 0 {
				return err
			}
			return errors.Join(err, report(o, results, versions, began, err)) // what was measured is not lost
		}
	}
	return report(o, results, versions, began, nil)
}

// prepare makes the working folder empty, and the load and the floor from their sources.
func prepare(ctx context.Context, root, tmp string) error {
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"dnsload", "udplimit"} {
		args := []string{"gcc", "-O2", "-o", filepath.Join(tmp, name), filepath.Join(root, "bench", name, name+".c")}
		if _, err := process.Output(ctx, process.Command{Args: args}); err != nil {
			return err
		}
	}
	return nil
}

// measureJob writes the job, starts its servers, measures the loads and stops the servers. After an error it gives the
// results that were whole before.
func (b *bench) measureJob(ctx context.Context, wanted []load, versions map[string]string) ([]result, error) {
	subjects := subjects(b.options, b.job, wanted)
	if err := b.write(subjects); err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range b.servers {
			s.Stop()
		}
	}()
	for _, s := range subjects {
		if err := b.start(s.name, s.name, s.port, s.args...); err != nil {
			return nil, err
		}
		if s.version != "" {
			versions[s.name] = s.version
		}
	}
	for _, l := range wanted {
		for _, lane := range l.lanes {
			if lane.isFloor() {
				continue
			}
			if err := b.servers[lane.on].Await(ctx, 3*time.Minute, 100*time.Millisecond,
				func() error { return b.ready(ctx, l, lane) }); err != nil {
				return nil, err
			}
		}
	}
	for range 2 { // what a server does at intervals may lie between
		for _, s := range b.servers {
			if err := s.settle(ctx, time.Minute); err != nil {
				return nil, err
			}
		}
	}
	var results []result
	for _, l := range wanted {
		measured, err := b.measureLoad(ctx, l)
		if err != nil {
			return results, err
		}
		results = append(results, measured)
	}
	return results, nil
}

// write writes the job for the subjects, and the queries.
func (b *bench) write(subjects []subject) error {
	fmt.Printf("writing the job with %d names\n", b.job.Names)
	if slices.ContainsFunc(subjects, func(s subject) bool { return s.name == "nsd" || s.name == "bind" }) {
		if err := b.job.WriteFlat(); err != nil {
			return err
		}
	}
	for _, s := range subjects {
		if err := s.write(b.job); err != nil {
			return fmt.Errorf("the job for %s: %w", s.name, err)
		}
	}
	return b.job.WriteQueries("/usr/share/tor/geoip")
}

// ready reports whether a lane's server answers a query of the lane's file as it is to.
func (b *bench) ready(ctx context.Context, l load, lane lane) error {
	all, err := b.answers(ctx, l, lane, 1)
	if err != nil {
		return err
	}
	return all[0].Empty()
}

// file is what a lane is asked.
func (b *bench) file(l lane) string { return filepath.Join(b.job.Dir, l.file) }

// measureLoad warms the servers up, checks that they agree, and measures: at saturation, then, where the load is paced,
// at half and at four fifths of what the slowest server can that comes near gtm.
func (b *bench) measureLoad(ctx context.Context, l load) (result, error) {
	r := result{load: l, memory: map[string]float64{}}
	sizes := map[string]int{}
	for _, lane := range l.lanes {
		if lane.isFloor() {
			continue
		}
		warm, err := b.measure(ctx, b.servers[lane.on], b.file(lane), b.warmUp(), 0, fewPorts)
		if err != nil {
			return r, fmt.Errorf("load %s, warming up: %w", l.name, err)
		}
		sizes[lane.name] = int(math.Round(warm.bytes))
		bytes, err := b.servers[lane.on].GroupMemory()
		if err != nil {
			return r, err
		}
		r.memory[lane.name] = float64(bytes) / 1e6
	}
	var err error
	if r.agreed, err = b.agree(ctx, l); err != nil {
		return r, err
	}
	fmt.Printf("%s: %s\n", l.name, r.agreed)
	r.lanes = slices.Clone(l.lanes)
	for i, lane := range r.lanes {
		if lane.isFloor() {
			if r.lanes[i].on, err = b.floor(sizes[lane.like], lane.bundled); err != nil {
				return r, err
			}
		}
	}
	saturated, err := b.measureRun(ctx, l, r.lanes, 0)
	if err != nil {
		return r, err
	}
	r.runs = append(r.runs, saturated)
	if !b.paced || !l.paced {
		return r, nil
	}
	lanes, rates := pace(saturated)
	for _, rate := range rates {
		paced, err := b.measureRun(ctx, l, lanes, rate)
		if err != nil {
			return r, err
		}
		r.runs = append(r.runs, paced)
	}
	return r, nil
}

// warmUp is how long a server is warmed up: until each query was asked, and with it each signature made.
func (b *bench) warmUp() float64 {
	return min(max(0.5, float64(max(b.job.Names, 200_000))/150_000), 8)
}

// floor gives the key of the floor that sends so many bytes, and starts it where there is none.
func (b *bench) floor(bytes int, bundled bool) (string, error) {
	how := map[bool]string{false: "apart", true: "bundle"}[bundled]
	key := fmt.Sprintf("floor of %d bytes, %s", bytes, how)
	if b.servers[key] != nil {
		return key, nil
	}
	port := firstFloor + b.floors
	b.floors++
	return key, b.start(key, "floor", port, filepath.Join(b.tmp, "udplimit"), strconv.Itoa(port), strconv.Itoa(bytes), how)
}

// near is the share of the floor's rate that a server must come to for a part in the runs at fixed rates: slower ones
// would keep these rates low for all.
const near = 0.65

// pace gives the lanes that are near the floor, the first in any case, and the rates to measure them at.
func pace(saturated run) ([]lane, []float64) {
	median := func(name string) float64 { return saturated.rounds.Median(name, qps) }
	first, floor := saturated.lanes[0].name, median("floor")
	chosen := slices.DeleteFunc(slices.Clone(saturated.lanes), func(l lane) bool { return l.name != first && median(l.name) < near*floor })
	slowest := math.Inf(1)
	for _, l := range chosen {
		slowest = min(slowest, median(l.name))
	}
	var rates []float64
	for _, share := range []float64{0.5, 0.8} {
		rates = append(rates, max(1000, math.Floor(slowest*share/1000)*1000))
	}
	return chosen, rates
}

// measureRun measures each lane once in each round. Rounds begin with another lane each, and go forward and backward in
// turns, so that none always comes first or behind the same other.
func (b *bench) measureRun(ctx context.Context, l load, lanes []lane, rate float64) (run, error) {
	r := run{rate: rate, lanes: lanes, rounds: make(figures.Rounds[sample], b.Pairs)}
	ports := l.ports
	if ports == 0 {
		ports = fewPorts
	}
	for round := range b.Pairs {
		r.rounds[round] = map[string]sample{}
		line := fmt.Sprintf("%s %2d/%d", l.name, round+1, b.Pairs)
		if rate > 0 {
			line = fmt.Sprintf("%s at %.0f/s %2d/%d", l.name, rate, round+1, b.Pairs)
		}
		for _, i := range order(round, len(lanes)) {
			measured, err := b.measure(ctx, b.servers[lanes[i].on], b.file(lanes[i]), b.Seconds, rate, ports)
			if err != nil {
				return r, err
			}
			r.rounds[round][lanes[i].name] = measured
		}
		for _, lane := range lanes {
			s := r.rounds[round][lane.name]
			line += fmt.Sprintf("  %s %.0f/s %.2f us %.0f%%", lane.name, s.qps, s.cpu, 100*s.own)
		}
		fmt.Println(line)
		if err := ctx.Err(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// order is the order of n lanes in a round.
func order(round, n int) []int {
	var all []int
	for i := range n {
		all = append(all, (round+i)%n)
	}
	if round%2 == 1 {
		slices.Reverse(all)
	}
	return all
}
