package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// A sample is one measurement of one lane.
type sample struct {
	qps            float64 // answers a second
	lost           float64 // share of the queries that got no answer in a quarter of a second
	bytes          float64 // of an answer
	cpu            float64 // microseconds of the server's processes per answer
	core           float64 // share of the time in which the server's core was not idle
	own            float64 // share of the time in which the server's processes computed
	p50, p99, p999 float64 // microseconds
}

// pause lets a server that has just been measured come to rest.
const pause = 50 * time.Millisecond

// burst is how many queries come at once in paced runs, as from a network card that is busy.
const burst = 8

// fewPorts is from how many ports is asked where the load says nothing.
const fewPorts = 8

// pacedWindow is how many queries may be unanswered in a paced run: so many that the rate is held, whatever happens.
const pacedWindow = 20_000

// tries is how often a measurement is made in which no answer came: something else had the core.
const tries = 10

// measure loads a lane's server for so many seconds: at saturation where rate is 0, else at that many queries a second.
// It asks from so many ports.
func (b *bench) measure(ctx context.Context, s *server, file string, seconds, rate float64, ports int) (sample, error) {
	var got sample
	var err error
	for range tries {
		if got, err = b.measureOnce(ctx, s, file, seconds, rate, ports); !errors.Is(err, errSilent) {
			break
		}
	}
	return got, err
}

// errSilent is a measurement without an answer.
var errSilent = errors.New("no answer came")

func (b *bench) measureOnce(ctx context.Context, s *server, file string, seconds, rate float64, ports int) (sample, error) {
	time.Sleep(pause)
	window := b.window
	if rate > 0 {
		window = pacedWindow
	}
	before, err := s.CPU()
	if err != nil {
		return sample{}, err
	}
	output, err := process.Output(ctx, process.Command{Name: "loading " + s.name, Core: loadCore, Args: []string{
		filepath.Join(b.tmp, "dnsload"), strconv.Itoa(s.port), file, decimal(seconds), strconv.Itoa(window), decimal(rate),
		strconv.Itoa(burst), serverCore, strconv.Itoa(ports)}})
	if err != nil {
		return sample{}, err
	}
	after, err := s.CPU()
	if err != nil {
		return sample{}, err
	}
	measured, err := newSample(output, after-before, s.name == "floor")
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", s.name, err)
	}
	return measured, nil
}

// newSample reads what dnsload printed. A floor's response codes say nothing.
func newSample(printed string, computed time.Duration, floor bool) (sample, error) {
	f, err := parseFigures(printed)
	if err != nil {
		return sample{}, err
	}
	if f["got"] == 0 {
		return sample{}, fmt.Errorf("%w: %s", errSilent, printed)
	}
	if !floor && f["noerror"]+f["nxdomain"] != f["got"] {
		return sample{}, fmt.Errorf("not every answer was NOERROR or NXDOMAIN: %s", printed)
	}
	return sample{qps: f["qps"], lost: f["lost"] / f["sent"], bytes: f["bytes"], p50: f["p50us"], p99: f["p99us"], p999: f["p999us"],
		core: f["busy"], cpu: computed.Seconds() * 1e6 / f["got"], own: computed.Seconds() / f["seconds"]}, nil
}

func decimal(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// parseFigures reads name=number fields.
func parseFigures(line string) (map[string]float64, error) {
	all := map[string]float64{}
	for field := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(field, "=")
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("dnsload printed %q", line)
		}
		all[name] = number
	}
	if len(all) == 0 {
		return nil, errors.New("dnsload printed nothing")
	}
	return all, nil
}

// A run is the rounds of one load at one rate.
type run struct {
	rate   float64 // queries a second; 0: saturation
	lanes  []lane
	rounds figures.Rounds[sample] // by lane
}

// has reports whether a lane was measured in this run.
func (r run) has(name string) bool {
	return len(r.rounds) > 0 && r.rounds[0][name] != sample{}
}

// The figures of a sample.
func qps(s sample) float64    { return s.qps }
func perCPU(s sample) float64 { return 1e6 / s.cpu }
func cpu(s sample) float64    { return s.cpu }
func core(s sample) float64   { return s.core }
func own(s sample) float64    { return s.own }
func lost(s sample) float64   { return s.lost }
func size(s sample) float64   { return s.bytes }
func p50(s sample) float64    { return s.p50 }
func p99(s sample) float64    { return s.p99 }
func p999(s sample) float64   { return s.p999 }
