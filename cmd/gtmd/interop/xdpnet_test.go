//go:build interop

package interop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pair is a veth pair between two network namespaces, as a server and its client on one cable. It needs root.
type pair struct {
	t              *testing.T
	server, client string // namespaces; the interfaces in them have the names srv and cli
}

var (
	xdpServer4, xdpClient4 = netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("10.99.0.2")
	xdpServer6, xdpClient6 = netip.MustParseAddr("fd99::1"), netip.MustParseAddr("fd99::2")
)

// newPair makes a pair, which goes with the test.
func newPair(t *testing.T) *pair {
	t.Helper()
	name := fmt.Sprintf("gtm%d%s", os.Getpid(), strings.ToLower(strings.TrimPrefix(t.Name(), "TestXDP")))
	p := &pair{t: t, server: name + "s", client: name + "c"}
	for _, ns := range []string{p.server, p.client} {
		run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	p.connect(1500)
	return p
}

// connect makes the cable, for packets of so many bytes.
func (p *pair) connect(mtu int) {
	p.t.Helper()
	size := fmt.Sprint(mtu)
	run(p.t, "ip", "link", "add", "srv", "mtu", size, "netns", p.server, "type", "veth", "peer", "name", "cli", "mtu", size,
		"netns", p.client)
	for _, end := range []struct {
		ns, nic   string
		four, six netip.Addr
	}{{p.server, "srv", xdpServer4, xdpServer6}, {p.client, "cli", xdpClient4, xdpClient6}} {
		run(p.t, "ip", "-n", end.ns, "addr", "add", end.four.String()+"/24", "dev", end.nic)
		run(p.t, "ip", "-n", end.ns, "addr", "add", end.six.String()+"/64", "dev", end.nic, "nodad")
		run(p.t, "ip", "-n", end.ns, "link", "set", end.nic, "up")
	}
}

// cut removes the cable.
func (p *pair) cut() { run(p.t, "ip", "-n", p.server, "link", "del", "srv") }

// attached reports whether an XDP program is attached to the server's interface.
func (p *pair) attached() bool {
	return strings.Contains(run(p.t, "ip", "-n", p.server, "link", "show", "srv"), "prog/xdp")
}

// ask runs a client in the client's namespace.
func (p *pair) ask(name string, args ...string) string {
	p.t.Helper()
	return run(p.t, "ip", append([]string{"netns", "exec", p.client, name}, args...)...)
}

// dial connects from the client's namespace.
func (p *pair) dial(network string, to string) net.Conn {
	p.t.Helper()
	// The thread must come back and live on: processes that were started from it end with it (see startProcess).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		p.t.Fatal(err)
	}
	defer home.Close()
	ns, err := os.Open(filepath.Join("/run/netns", p.client))
	if err != nil {
		p.t.Fatal(err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		p.t.Fatal(err)
	}
	conn, err := net.Dial(network, to)
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // nothing that came after this on this thread could be trusted
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn
}

// An edge is a gtmd in the server's namespace.
type xdpEdge struct {
	*process
	pair *pair
	http string
}

// startEdge starts gtmd on both of the server's addresses, by a command that may be put before it.
func (p *pair) startEdge(port int, before []string, args ...string) *xdpEdge {
	p.t.Helper()
	e := &xdpEdge{pair: p, http: fmt.Sprintf("127.0.0.1:%d", 8000+port)}
	data := p.t.TempDir()
	if err := os.Chmod(filepath.Dir(data), 0o777); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chmod(data, 0o777); err != nil {
		p.t.Fatal(err)
	}
	all := append([]string{"netns", "exec", p.server}, before...)
	all = append(all, filepath.Join(bin, "gtmd"), "--roles", "edge,control", "--data", filepath.Join(data, "gtm"), "--http", e.http,
		"--http-plain",
		"--dns", fmt.Sprintf("%s:%d,[%s]:%d", xdpServer4, port, xdpServer6, port))
	e.process = startProcess(p.t, exec.Command("ip", append(all, args...)...))
	eventually(p.t, startTimeout, "gtmd is ready", func() error {
		if !e.running() {
			p.t.Fatalf("gtmd ended: %v", e.err)
		}
		_, err := e.page("readyz")
		return err
	})
	return e
}

// page fetches a page of the edge's.
func (e *xdpEdge) page(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, "ip", "netns", "exec", e.pair.server, "curl", "-sfm5", "http://"+e.http+"/"+path).Output()
	return string(output), err
}

// series gives the value of a metric, 0 if there is none.
func (e *xdpEdge) series(name string) (v float64) {
	e.pair.t.Helper()
	body, err := e.page("metrics")
	if err != nil {
		e.pair.t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(rest, &v); err != nil {
				e.pair.t.Fatal(err)
			}
		}
	}
	return v
}

// replies gives how many replies have gone one way, "xdp" or "udp".
func (e *xdpEdge) replies(way string) (n float64) {
	for _, family := range []string{"ipv4", "ipv6"} {
		n += e.series(fmt.Sprintf(`gtm_serve_replies_total{family="%s",transport="%s"}`, family, way))
	}
	return n
}

// queues gives how many queues are served past the kernel's stack in that mode.
func (e *xdpEdge) queues(mode string) float64 {
	return e.series(fmt.Sprintf(`gtm_serve_xdp_queues{interface="srv",mode="%s"}`, mode))
}
