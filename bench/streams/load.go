package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// A load is one way of asking.
type load struct {
	name, title string
	transport   transport
	args        []string // of dnsperf
	own         []string // of this program, where it is not dnsperf that asks; the address follows
	oneEach     bool     // one query at a time in each connection
	conns       int      // where it is not what the command line says
}

var loads = []load{
	{name: "tcp", title: "TCP", transport: tcp, args: []string{"-m", "tcp"}},
	{name: "dot", title: "DNS over TLS", transport: dot, args: []string{"-m", "dot"}},
	{name: "dot-edns", title: "DNS over TLS with EDNS, for which gtm pads its answers (RFC 8467)", transport: dot,
		args: []string{"-m", "dot", "-e"}},
	{name: "dot-one", title: "DNS over TLS, one query at a time in each connection", transport: dot,
		own: []string{"-connect-protocol", protocolTLS, "-connect-keep", "-connect-load"}},
	{name: "dot-few", title: "DNS over TLS, a new connection for each query, few a second (dnsperf sleeps between them)", transport: dot,
		args: []string{"-m", "dot", "-O", "num-queries-per-conn=1"}, oneEach: true},
	{name: "dot-new", title: "DNS over TLS, a new connection for each query", transport: dot, conns: manyConns,
		own: []string{"-connect-protocol", protocolTLS, "-connect-load"}},
	{name: "dot-resumed", title: "DNS over TLS, a new connection for each query, of a session that is resumed", transport: dot,
		conns: manyConns, own: []string{"-connect-protocol", protocolTLS, "-connect-resume", "-connect-load"}},
	{name: "doh", title: "DNS over HTTPS, GET", transport: doh, args: []string{"-m", "doh", "-O", "doh-method=GET"}},
	{name: "doh-post", title: "DNS over HTTPS, POST", transport: doh, args: []string{"-m", "doh", "-O", "doh-method=POST"}},
	{name: "doh-one", title: "DNS over HTTPS, GET, one query at a time in each connection", transport: doh,
		own: []string{"-connect-protocol", protocolHTTP, "-connect-keep", "-connect-load"}},
	{name: "doh-new", title: "DNS over HTTPS, a new connection for each query", transport: doh, conns: manyConns,
		own: []string{"-connect-protocol", protocolHTTP, "-connect-load"}},
	{name: "doq", title: "DNS over QUIC", transport: doq, own: []string{"-quic-load"}},
}

// manyConns are at work at once where each query has a connection of its own: NSD's and BIND's wait for what TCP has its
// clients acknowledge late (40 ms), and with few they would have nothing to do meanwhile. gtm gives one client 128 places, and one that is
// left counts until that is seen.
const manyConns = 32

// A sample is one measurement.
type sample struct {
	qps, latency float64 // latency in microseconds, on average
	bytes        float64 // of an answer
	cpu          float64 // microseconds of the server's processes per answer
	busy         float64 // the share of its core that the server's processes used
}

// crashed reports whether a program was ended by a signal: dnsperf 2.10 now and then is, where it asks by HTTPS.
func crashed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() < 0
}

// measure loads the server, at saturation. Where the load crashes, it is tried again, so many times in all.
func (s *server) measure(ctx context.Context, o options, l load, tries int) (sample, error) {
	if err := program.Rest(ctx, pause); err != nil {
		return sample{}, err
	}
	before, err := s.CPU()
	if err != nil {
		return sample{}, err
	}
	text, err := process.Output(ctx, command(o, l, s.ports[l.transport]))
	if crashed(err) && tries > 1 {
		return s.measure(ctx, o, l, tries-1)
	}
	if err != nil {
		return sample{}, fmt.Errorf("loading %s with %s: %w", s.name, l.name, err)
	}
	after, err := s.CPU()
	if err != nil {
		return sample{}, err
	}
	f, err := parseFigures(text)
	if err != nil {
		return sample{}, fmt.Errorf("%s, %s: %w", s.name, l.name, err)
	}
	spent := (after - before).Seconds()
	return sample{qps: f.qps, latency: f.latency * 1e6, bytes: f.bytes, cpu: spent * 1e6 / f.answers, busy: spent / f.seconds}, nil
}

// command asks, for so long, on the core of the load.
func command(o options, l load, port int) process.Command {
	number := strconv.Itoa
	conns, outstanding := cmp.Or(l.conns, o.conns), o.outstanding
	if l.oneEach {
		outstanding = conns
	}
	seconds := strconv.FormatFloat(o.Seconds, 'f', -1, 64)
	var args []string
	if l.own != nil {
		args = append([]string{process.Self(), "-dir", o.Tmp, "-conns", number(conns), "-outstanding", number(outstanding),
			"-seconds", seconds}, l.own...)
		args = append(args, local(port))
	} else {
		args = append([]string{"dnsperf", "-s", "127.0.0.1", "-p", number(port), "-d", filepath.Join(o.Tmp, queryFile), "-T", "1",
			"-c", number(conns), "-q", number(outstanding), "-l", seconds,
			"-O", fmt.Sprintf("doh-uri=https://localhost:%d/dns-query", port)}, l.args...)
	}
	return process.Command{Args: args, Core: loadCore, Env: o.openssl()}
}

// printedFigures are what dnsperf prints, in its units.
type printedFigures struct{ answers, qps, latency, bytes, seconds float64 }

// parseFigures reads what dnsperf prints at its end. Anything but NOERROR is an error: a server that fails is not to be
// compared.
func parseFigures(text string) (f printedFigures, err error) {
	for _, field := range []struct {
		pattern *regexp.Regexp
		to      *float64
	}{{completed, &f.answers}, {perSecond, &f.qps}, {latency, &f.latency}, {size, &f.bytes}, {runTime, &f.seconds}} {
		found := field.pattern.FindStringSubmatch(text)
		if found == nil {
			return f, fmt.Errorf("the load's report has no %q:\n%s", field.pattern, text)
		}
		if *field.to, err = strconv.ParseFloat(found[1], 64); err != nil {
			return f, err
		}
	}
	codes := responses.FindStringSubmatch(text)
	if codes == nil || codes[1] != strconv.Itoa(int(f.answers)) || f.answers == 0 {
		return f, fmt.Errorf("not every answer was NOERROR:\n%s", text)
	}
	return f, nil
}

var (
	completed = regexp.MustCompile(`Queries completed: +(\d+)`)
	perSecond = regexp.MustCompile(`Queries per second: +([\d.]+)`)
	latency   = regexp.MustCompile(`Average Latency \(s\): +([\d.]+)`)
	size      = regexp.MustCompile(`Average packet size: +request \d+, response (\d+)`)
	runTime   = regexp.MustCompile(`Run time \(s\): +([\d.]+)`)
	responses = regexp.MustCompile(`Response codes: +NOERROR (\d+)`)
)
