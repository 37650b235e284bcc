package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// The cores of the server and of the load, each with the receive work of its own interface.
const serverCore, loadCore = 0, 1

var serverAddr, loadAddr = netip.MustParseAddr("10.98.0.1"), netip.MustParseAddr("10.98.0.2")

// A pair is a veth pair between two namespaces: the server's and the load's. Every server has one, all made alike, since
// a program that is attached to an interface is in the way of others there.
type pair struct {
	server, load       string // namespaces
	serverNIC, loadNIC string
	mac                net.HardwareAddr // the server's
	own                bool             // see newPair
}

// prefix begins the names of namespaces; the process and the number of the pair follow.
const prefix = "gtmbench"

// sweep removes what a process left behind that was killed.
func sweep() error {
	names, err := filepath.Glob("/run/netns/" + prefix + "[0-9]*-*")
	if err != nil {
		return err
	}
	for _, name := range names {
		name = filepath.Base(name)
		pid, _, _ := strings.Cut(name[len(prefix):], "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			_ = exec.Command("ip", "netns", "del", name).Run() // whoever else sweeps may have been faster
		}
	}
	return nil
}

// newPair makes a pair. With own, receive work is done by a thread on the core of the receiving side, as a network card's
// interrupt would have it; for that the interfaces do GRO, as cards do, and do not segment TCP (see The benches in docs/performance.md).
// The load's interface also leaves it to the load to look for answers, and has its thread look only when that has not happened for a
// while (2 ms): so no server pays for waking what on a network would be another machine. Otherwise the sender's core does it, as veth
// does by itself.
func newPair(ctx context.Context, i int, own bool) (*pair, error) {
	name := fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), i)
	p := &pair{server: name + "s", load: name + "l", serverNIC: fmt.Sprintf("bs%d", i), loadNIC: fmt.Sprintf("bl%d", i), own: own}
	for _, ns := range []string{p.server, p.load} {
		if _, err := ip(ctx, "netns", "add", ns); err != nil {
			return p, err
		}
	}
	if _, err := ip(ctx, "link", "add", p.serverNIC, "netns", p.server, "type", "veth",
		"peer", "name", p.loadNIC, "netns", p.load); err != nil {
		return p, err
	}
	for _, end := range []struct {
		ns, nic string
		addr    netip.Addr
	}{{p.server, p.serverNIC, serverAddr}, {p.load, p.loadNIC, loadAddr}} {
		for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", end.addr.String() + "/24", "dev", end.nic},
			{"link", "set", end.nic, "up"}} {
			if _, err := ip(ctx, append([]string{"-n", end.ns}, args...)...); err != nil {
				return p, err
			}
		}
		if !own {
			continue
		}
		if _, err := ip(ctx, "netns", "exec", end.ns, "ethtool", "-K", end.nic, "gro", "on", "tso", "off"); err != nil {
			return p, err
		}
		threaded := "cd /sys/class/net/" + end.nic + "; echo 1 >threaded"
		if end.ns == p.load {
			threaded += "; echo 1 >napi_defer_hard_irqs; echo 2000000 >gro_flush_timeout"
		}
		if _, err := ip(ctx, "netns", "exec", end.ns, "sh", "-c", threaded); err != nil {
			return p, err
		}
	}
	return p, p.findMAC(ctx)
}

func (p *pair) findMAC(ctx context.Context) error {
	text, err := ip(ctx, "netns", "exec", p.server, "cat", "/sys/class/net/"+p.serverNIC+"/address")
	if err == nil {
		p.mac, err = net.ParseMAC(strings.TrimSpace(text))
	}
	return err
}

// worker is how the names of an interface's threads in the kernel begin.
func worker(nic string) string { return "napi/" + nic + "-" }

// cpuOf is how long processes, and the threads of an interface, have run on any core. Unlike the share of a core it does not count
// what else the machine does.
func cpuOf(nic string, pids ...int) (time.Duration, error) {
	threads, err := process.Named(worker(nic))
	if err != nil {
		return 0, err
	}
	return process.CPU(append(threads, pids...)...)
}

// place puts the interfaces' threads on their cores. Threads come anew when a program is attached.
func (p *pair) place(first bool) error {
	if !p.own {
		return nil
	}
	for _, end := range []struct {
		nic  string
		core int
	}{{p.serverNIC, serverCore}, {p.loadNIC, loadCore}} {
		pids, err := process.Named(worker(end.nic))
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return fmt.Errorf("interface %s has no thread of its own; this needs Linux 5.12", end.nic)
		}
		for _, pid := range pids {
			if err := process.Bind(pid, strconv.Itoa(end.core)); err != nil {
				return err
			}
			if first {
				if err := program.Prefer(pid); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// remove removes the namespaces, and with them the pair.
func (p *pair) remove() {
	for _, ns := range []string{p.server, p.load} {
		_ = exec.Command("ip", "netns", "del", ns).Run() // it may not have been made
	}
}

func ip(ctx context.Context, args ...string) (string, error) {
	return process.Output(ctx, process.Command{Name: "ip " + strings.Join(args, " "), Args: append([]string{"ip"}, args...)})
}
