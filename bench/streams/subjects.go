package main

import (
	"fmt"
	"path/filepath"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// A transport is how a server is asked.
type transport uint8

const (
	tcp transport = iota
	dot
	doh
	doq
	numTransports
)

var transportNames = [numTransports]string{"TCP", "DNS over TLS", "DNS over HTTPS", "DNS over QUIC"}

func (t transport) String() string { return transportNames[t] }

// Where the servers listen, on 127.0.0.1: each at its port for TCP, and the following ones.
const (
	gtmPort   = 5350
	otherPort = 5360
	nsdPort   = 5370
	bindPort  = 5380
	echoPort  = 5390
)

// A subject is what is measured: a program, with its port for each transport that it serves.
type subject struct {
	name    string
	ports   [numTransports]int // 0: not served
	args    []string
	version []string // a command that prints it
}

// subjects lists what is measured, gtm first.
func subjects(o options) []subject {
	in := func(name string) string { return filepath.Join(o.Tmp, name) }
	all := []subject{gtm(o, "gtm", o.Gtmd, gtmPort)}
	if o.against != "" {
		all = append(all, gtm(o, "other", o.against, otherPort))
	}
	return append(all,
		subject{"nsd", [...]int{tcp: nsdPort, dot: nsdPort + 1, doq: 0}, []string{"nsd", "-d", "-c", in("nsd.conf")}, debian("nsd")},
		subject{"bind", [...]int{tcp: bindPort, dot: bindPort + 1, doh: bindPort + 2, doq: 0},
			[]string{"named", "-f", "-n", "1", "-c", in("named.conf")}, debian("bind9")},
		subject{"quic-go", [...]int{doq: echoPort}, []string{process.Self(), "-quic-serve", local(echoPort), "-dir", o.Tmp,
			"-quic-answer", "49"}, []string{"go", "list", "-C", o.Root, "-m", "-f", "{{.Version}}", "github.com/quic-go/quic-go"}})
}

// gtm is a gtmd with all roles, that serves by all transports.
func gtm(o options, name, program string, port int) subject {
	return subject{name, [...]int{tcp: port, dot: port + 1, doh: port + 2, doq: port + 3}, []string{program,
		"--data", filepath.Join(o.Tmp, name+"-data"), "--apply", filepath.Join(o.Tmp, "gtm"), "--http", local(port + 4), "--workers", "1",
		"--dns", local(port), "--tls", local(port + 1), "--https", local(port + 2), "--quic", local(port + 3),
		"--cert", filepath.Join(o.Tmp, certFile) + "," + filepath.Join(o.Tmp, keyFile)},
		[]string{program, "--version"}}
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// debian is the command that prints a package's version.
func debian(name string) []string { return []string{"dpkg-query", "-W", "-f", "${Version}", name} }
