package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/gti/gtm/bench/peers"
)

// Where the servers listen, on 127.0.0.1.
const (
	floorPort = 5310 + iota
	gdnsdPort
	gtmPort
	httpPort
	knotPort
	nsdPort
	pdnsPort
	bindPort
)

// A subject is what is measured: a program that serves the job, or that part of it which it can.
type subject struct {
	name    string
	port    int
	args    []string
	loads   []string
	version []string // a command that prints it
}

// serves tells whether the subject can be asked the queries of that file.
func (s subject) serves(load string) bool { return slices.Contains(s.loads, load) }

// subjects lists what is measured, gtm first. The other peers are asked for by a flag and left out where they are not
// installed.
func subjects(o options) []subject {
	both := []string{peers.Steered, peers.Static}
	in := func(name string) string { return filepath.Join(o.tmp, name) }
	all := []subject{
		{"gtm", gtmPort, []string{filepath.Join(o.root, "bin", "gtmd"), "--data", in("gtm-data"), "--dns", fmt.Sprintf("127.0.0.1:%d", gtmPort),
			"--http", fmt.Sprintf("127.0.0.1:%d", httpPort), "--workers", "1", "--apply", in("gtm")}, both,
			[]string{"git", "-C", o.root, "describe", "--always", "--dirty", "--tags"}},
		{"gdnsd", gdnsdPort, []string{"gdnsd", "-c", in("gdnsd"), "start"}, both, debian("gdnsd")},
		{"floor", floorPort, []string{in("udplimit"), strconv.Itoa(floorPort), "69"}, both, []string{"uname", "-sr"}},
	}
	if !o.others {
		return all
	}
	for _, other := range []subject{
		{"knot", knotPort, []string{"knotd", "-c", in("knot.conf")}, both, debian("knot")},
		{"pdns", pdnsPort, []string{"pdns_server", "--config-dir=" + o.tmp}, both[:1], debian("pdns-server")},
		{"nsd", nsdPort, []string{"nsd", "-d", "-c", in("nsd.conf")}, both[1:], debian("nsd")},
		{"bind", bindPort, []string{"named", "-f", "-n", "1", "-c", in("named.conf")}, both[1:], debian("bind9")},
	} {
		if _, err := exec.LookPath(other.args[0]); err != nil {
			fmt.Printf("%s is not installed and left out\n", other.name)
			continue
		}
		all = append(all, other)
	}
	return all
}

// debian is the command that prints a package's version.
func debian(name string) []string { return []string{"dpkg-query", "-W", "-f", "${Version}", name} }
