package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// A subject is what is measured.
type subject struct {
	name string
	own  bool // see newPair
	prep func(j peers.Job, nic string) error
	args func(o options, dir, nic string) []string
}

// subjects lists what is measured: each server with both ways of receiving, since each way suits another one. Or else only two
// builds of gtmd.
func subjects(o options) []subject {
	gtm := func(more ...string) func(options, string, string) []string {
		return func(o options, dir, nic string) []string {
			args := []string{o.Gtmd, "--data", filepath.Join(dir, "data"), "--dns", serverPort.String(), "--workers", "1",
				"--apply", filepath.Join(dir, "gtm")}
			for _, m := range more {
				args = append(args, strings.ReplaceAll(m, "NIC", nic))
			}
			return args
		}
	}
	prepGtm := func(j peers.Job, _ string) error { return j.WriteGtm() }
	if o.other != "" {
		own, other := gtm("--xdp", "NIC"), gtm("--xdp", "NIC")
		return []subject{{gtmXDP, true, prepGtm, own}, {gtmXDP + otherBuild, true, prepGtm, func(o options, dir, nic string) []string {
			o.Gtmd = o.other
			return other(o, dir, nic)
		}}}
	}
	gdnsd := func(_ options, dir, _ string) []string {
		return []string{"gdnsd", "-c", filepath.Join(dir, "gdnsd"), "start"}
	}
	prepGdnsd := func(j peers.Job, _ string) error {
		if err := j.WriteGdnsd(dnsPort); err != nil {
			return err
		}
		return replace(filepath.Join(j.Dir, "gdnsd", "config"), "listen => 127.0.0.1", "listen => "+serverAddr.String())
	}
	knot := func(_ options, dir, _ string) []string {
		return []string{"knotd", "-c", filepath.Join(dir, "knot", "knot.conf")}
	}
	prepKnot := func(j peers.Job, nic string) error {
		j.Large = false
		if err := j.WriteKnot(dnsPort); err != nil {
			return err
		}
		file := filepath.Join(j.Dir, "knot", "knot.conf")
		if err := replace(file, "127.0.0.1@", serverAddr.String()+"@"); err != nil {
			return err
		}
		return replace(file, "database:\n", fmt.Sprintf("xdp:\n    listen: %s@%d\ndatabase:\n", nic, dnsPort))
	}
	var all []subject
	for _, where := range []struct {
		name string
		own  bool
	}{{"", true}, {senderSide, false}} {
		all = append(all, subject{gtmXDP + where.name, where.own, prepGtm, gtm("--xdp", "NIC")},
			subject{"gdnsd" + where.name, where.own, prepGdnsd, gdnsd},
			subject{"knot xdp" + where.name, where.own, prepKnot, knot}, subject{"gtm sockets" + where.name, where.own, prepGtm, gtm()})
	}
	return all
}

// gtmXDP is the name of what marks are about, otherBuild what is added for another build of it.
const gtmXDP, otherBuild = "gtm xdp", ", the other"

// senderSide is in the names of those whose packets are received by the sender's core.
const senderSide = ", sender's softirq"

const dnsPort = 53

var serverPort = netip.AddrPortFrom(serverAddr, dnsPort)

func replace(file, old, by string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), old) {
		return fmt.Errorf("%s has no %q", file, old)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(text), old, by, 1)), 0o644)
}

// A server is a subject that runs, at its end of a pair.
type server struct {
	subject
	*pair
	*process.Process
}

// start starts a subject on a pair of its own.
func start(ctx context.Context, o options, i int, s subject) (*server, error) {
	sv := &server{subject: s}
	var err error
	if sv.pair, err = newPair(ctx, i, s.own); err != nil {
		return sv, err
	}
	job := peers.Job{Dir: filepath.Join(o.Tmp, strconv.Itoa(i)), MMDB: filepath.Join(o.Root, "geo", "country.mmdb"), Names: o.names}
	if err := s.prep(job, sv.serverNIC); err != nil {
		return sv, err
	}
	sv.Process, err = process.Start(process.Command{Name: s.name, Args: s.args(o, job.Dir, sv.serverNIC), Netns: sv.server,
		Core: strconv.Itoa(serverCore), Log: filepath.Join(job.Dir, "log")})
	return sv, err
}

// await waits until the server answers, and, if its way is to be XDP, has a program attached.
func (s *server) await(ctx context.Context, o options) error {
	return s.Await(ctx, 2*time.Minute, 200*time.Millisecond, func() error {
		if _, err := s.answers(ctx, o, peers.Steered, 1); err != nil {
			return err
		}
		link, err := ip(ctx, "-n", s.server, "link", "show", s.serverNIC)
		if err == nil && strings.Contains(link, "prog/xdp") != strings.Contains(s.name, "xdp") {
			err = fmt.Errorf("interface %s: %s", s.serverNIC, link)
		}
		return err
	})
}

// worktime is what the server's process and its interface's threads have computed.
func (s *server) worktime() (time.Duration, error) { return cpuOf(s.serverNIC, s.Pid()) }

// threadsCPU is what the threads have computed alone.
func (s *server) threadsCPU() (time.Duration, error) { return cpuOf(s.serverNIC) }

// end ends the server, and removes its pair.
func (s *server) end() {
	s.Stop()
	if s.pair != nil {
		s.remove()
	}
}
