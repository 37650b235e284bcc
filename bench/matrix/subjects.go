package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
)

// Where the servers listen, on 127.0.0.1. Floors take ports from firstFloor up.
const (
	gtmPort = 5310 + iota
	httpPort
	gdnsdPort
	knotPort
	nsdPort
	pdnsPort
	bindPort
	firstFloor
)

// A subject is a program that serves the job, or that part of it which it can.
type subject struct {
	name    string
	port    int
	args    []string
	version string
	write   func(peers.Job) error // writes its configuration
}

// program and package of each peer.
var programs = map[string][2]string{"gdnsd": {"gdnsd", "gdnsd"}, "knot": {"knotd", "knot"}, "nsd": {"nsd", "nsd"},
	"pdns": {"pdns_server", "pdns-server"}, "bind": {"named", "bind9"}}

// installed reports whether a subject's program is there.
func installed(name string) bool {
	peer, known := programs[name]
	if !known {
		return true // gtm
	}
	_, err := exec.LookPath(peer[0])
	return err == nil
}

// subjects are those that the loads ask, with their configurations in the job's folder. gtm plays all its roles in the
// small job. The larger ones it starts as an edge, from a snapshot, since that is how so many names come to a server.
func subjects(o options, job peers.Job, wanted []load) []subject {
	in := func(name string) string { return filepath.Join(job.Dir, name) }
	gtm := subject{name: "gtm", port: gtmPort, write: peers.Job.WriteGtm, args: []string{o.Gtmd, "--workers", "1",
		"--dns", fmt.Sprintf("127.0.0.1:%d", gtmPort), "--http", fmt.Sprintf("127.0.0.1:%d", httpPort)}}
	if job.Large {
		gtm.write = peers.Job.WriteSnapshot
		gtm.args = append(gtm.args, "--data", in("gtm-edge"), "--roles", "edge", "--etcd", "http://127.0.0.1:1") // nobody listens there
	} else {
		gtm.args = append(gtm.args, "--data", in("gtm-data"), "--apply", in("gtm"))
	}
	peer := func(name string, port int, write func(peers.Job, int) error, args ...string) subject {
		return subject{name, port, append([]string{programs[name][0]}, args...), figures.Debian(programs[name][1]),
			func(j peers.Job) error { return write(j, port) }}
	}
	all := []subject{gtm,
		peer("gdnsd", gdnsdPort, peers.Job.WriteGdnsd, "-c", in("gdnsd"), "start"),
		peer("knot", knotPort, peers.Job.WriteKnot, "-c", in("knot/knot.conf")),
		peer("nsd", nsdPort, peers.Job.WriteNSD, "-d", "-c", in("nsd/nsd.conf")),
		peer("pdns", pdnsPort, peers.Job.WritePowerDNS, "--config-dir="+in("pdns")),
		peer("bind", bindPort, peers.Job.WriteBIND, "-f", "-n", "1", "-c", in("bind/named.conf")),
	}
	return slices.DeleteFunc(all, func(s subject) bool {
		return !slices.ContainsFunc(wanted, func(l load) bool {
			return slices.ContainsFunc(l.lanes, func(lane lane) bool { return lane.on == s.name })
		})
	})
}
