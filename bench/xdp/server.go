package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gti/gtm/bench/peers"
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
			args := []string{o.gtmd, "--data", filepath.Join(dir, "data"), "--dns", serverPort.String(), "--workers", "1", "--apply", filepath.Join(dir, "gtm")}
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
			o.gtmd = o.other
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
		all = append(all, subject{gtmXDP + where.name, where.own, prepGtm, gtm("--xdp", "NIC")}, subject{"gdnsd" + where.name, where.own, prepGdnsd, gdnsd},
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
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

// start starts a subject on a pair of its own.
func start(ctx context.Context, o options, i int, s subject) (*server, error) {
	sv := &server{subject: s, dir: filepath.Join(o.tmp, strconv.Itoa(i)), done: make(chan struct{})}
	var err error
	if sv.pair, err = newPair(ctx, i, s.own); err != nil {
		return sv, err
	}
	if err := os.MkdirAll(sv.dir, 0o755); err != nil {
		return sv, err
	}
	job := peers.Job{Dir: sv.dir, MMDB: filepath.Join(o.root, "geo", "country.mmdb"), Names: o.names}
	if err := s.prep(job, sv.serverNIC); err != nil {
		return sv, err
	}
	log, err := os.Create(filepath.Join(sv.dir, "log"))
	if err != nil {
		return sv, err
	}
	defer log.Close()
	args := []string{"netns", "exec", sv.server, "taskset", "-c", strconv.Itoa(serverCore)}
	sv.cmd = exec.Command("ip", append(args, s.args(o, sv.dir, sv.serverNIC)...)...)
	sv.cmd.Stdout, sv.cmd.Stderr = log, log
	sv.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := sv.cmd.Start(); err != nil {
		return sv, err
	}
	go func() {
		_ = sv.cmd.Wait() // how it ended is in its log
		close(sv.done)
	}()
	return sv, nil
}

// await waits until the server answers, and, if its way is to be XDP, has a program attached.
func (s *server) await(ctx context.Context) error {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		select {
		case <-s.done:
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("%s ended:\n%s", s.name, text)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		output, err := exec.CommandContext(ctx, "ip", "netns", "exec", s.load, "dig", "+short", "+tries=1", "+time=1", "@"+serverAddr.String(),
			"w0."+peers.Zone).Output()
		link, _ := exec.CommandContext(ctx, "ip", "-n", s.server, "link", "show", s.serverNIC).Output()
		attached := strings.Contains(string(link), "prog/xdp") == strings.Contains(s.name, "xdp")
		if _, bad := netip.ParseAddr(strings.TrimSpace(string(output))); err == nil && bad == nil && attached {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer as it should after 2 minutes; see %s/log", s.name, s.dir)
		}
	}
}

// end ends the server, by its process group, and removes its pair.
func (s *server) end() {
	if s.cmd != nil && s.cmd.Process != nil {
		group := -s.cmd.Process.Pid
		_ = syscall.Kill(group, syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(10 * time.Second):
		}
		_ = syscall.Kill(group, syscall.SIGKILL)
	}
	if s.pair != nil {
		s.remove()
	}
}
