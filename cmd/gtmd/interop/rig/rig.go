//go:build interop

package rig

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const startTimeout = 60 * time.Second // a loaded machine of two cores starts slowly

// A Size is how many nodes of each role a rig has, beside three etcd members.
type Size struct{ Control, Edges, Probers int }

// Whole is the size that the manual advises, and one edge more.
var Whole = Size{Control: 2, Edges: 4, Probers: 3}

// edgeNames are the edges' names; the manual has some of them.
var edgeNames = []string{"fra1", "ams1", "iad1", "sin1"}

// A Rig is a whole gtm. It is for one goroutine, but for what says otherwise.
type Rig struct {
	T                                        testing.TB
	Nodes, Members, Controls, Edges, Probers []*Node
	Etcd                                     *clientv3.Client
	Targets                                  *Targets

	dir     string
	cluster string   // as --initial-cluster
	etcd    []string // URLs of the members
}

// New starts a rig with the resources of a YAML text, and waits until every edge answers from them.
func New(t testing.TB, size Size, resources string) *Rig {
	t.Helper()
	began := time.Now()
	r := &Rig{T: t, dir: t.TempDir()}
	t.Cleanup(func() {
		if t.Failed() {
			r.tellLogs()
		}
	})
	r.Targets = StartTargets(t)
	r.startMembers()
	file := r.Write("resources.yaml", resources)
	for i := range size.Control {
		r.Controls = append(r.Controls, r.gtmd("control", fmt.Sprintf("c%d", i+1), i, 2))
	}
	for i := range size.Edges {
		r.Edges = append(r.Edges, r.gtmd("edge", edgeNames[i], i, 3))
	}
	for i := range size.Probers {
		r.Probers = append(r.Probers, r.gtmd("prober", fmt.Sprintf("p%d", i+1), i, 4))
	}
	r.WaitReady(r.Controls...)
	if resources != "" {
		r.Gtmctl("apply", "-f", file, "-m", "rig")
	}
	r.WaitReady(append(r.Edges[:len(r.Edges):len(r.Edges)], r.Probers...)...)
	if resources != "" {
		r.Gtmctl("wait", "--all", "--timeout", "1m")
	}
	t.Logf("the rig is ready after %v", time.Since(began).Round(time.Millisecond))
	return r
}

// NewSingle starts one gtmd with all roles and an etcd of its own.
func NewSingle(t testing.TB, resources string) *Rig {
	t.Helper()
	r := &Rig{T: t, dir: t.TempDir()}
	t.Cleanup(func() {
		if t.Failed() {
			r.tellLogs()
		}
	})
	r.Targets = StartTargets(t)
	n := r.gtmd("edge,control,prober", "one", 0, 5, "--apply", r.Write("resources.yaml", resources))
	r.Controls, r.Edges, r.Probers = []*Node{n}, []*Node{n}, []*Node{n}
	r.WaitReady(n)
	return r
}

// gtmd makes a node of a role and starts it.
func (r *Rig) gtmd(role, name string, i, net int, more ...string) *Node {
	inside := netip.AddrFrom4([4]byte{10, 77, byte(net), byte(i + 1)})
	var outside netip.Addr
	args := []string{Bin("gtmd"), "--roles", role, "--id", name, "--vantage", name, "--data", r.path(name),
		"--http", inside.String() + ":8053", "--http-plain"}
	if len(r.etcd) > 0 {
		args = append(args, "--etcd", strings.Join(r.etcd, ","))
	}
	if strings.Contains(role, "edge") {
		outside = netip.AddrFrom4([4]byte{10, 76, byte(net), byte(i + 1)})
		args = append(args, "--dns", outside.String()+":53", "--explain-from", "10.76.0.0/16", "--workers", "1")
	}
	if strings.Contains(role, "prober") {
		args = append(args, "--probe-allow", endpointNet)
	}
	n := r.newNode(name, inside, outside, append(args, more...)...)
	n.Start()
	return n
}

// WaitReady waits until the nodes say that they are ready. A load counts them as being there from then on.
func (r *Rig) WaitReady(nodes ...*Node) {
	r.T.Helper()
	for _, n := range nodes {
		Eventually(r.T, startTimeout, n.Name+" is ready", func() error {
			if !n.process.Running() {
				r.T.Fatalf("%s ended: %v\n%s", n.Name, n.process.Ended(), n.Log(4000))
			}
			_, err := r.Page(n, "/readyz")
			return err
		})
		n.trouble(false)
	}
}

// Gtmctl runs gtmctl against the first control, and gives what it printed; it must succeed.
func (r *Rig) Gtmctl(args ...string) string {
	r.T.Helper()
	out, err := r.TryGtmctl(0, args...)
	if err != nil {
		r.T.Fatalf("gtmctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TryGtmctl runs gtmctl against a control.
func (r *Rig) TryGtmctl(control int, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c := r.Controls[control]
	command := exec.CommandContext(ctx, Bin("gtmctl"), append([]string{"--server", r.URL(c), "--token-file", r.Token(c)}, args...)...)
	command.Dir = r.dir
	out, err := command.CombinedOutput()
	return string(out), err
}

// URL is where a node's HTTP is; Token is the file with a control's token.
func (r *Rig) URL(n *Node) string { return "http://" + n.Inside.String() + ":8053" }

// Token is the file with a control's token.
func (r *Rig) Token(n *Node) string { return filepath.Join(n.Dir, "token") }

// Run runs a program to its end, and gives what it printed; it must succeed.
func (r *Rig) Run(name string, args ...string) string {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		r.T.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Write writes a file of the rig's own and gives its path.
func (r *Rig) Write(name, text string) string {
	r.T.Helper()
	file := r.path(name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.T.Fatal(err)
	}
	return file
}

func (r *Rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *Rig) must(command string) {
	r.T.Helper()
	if err := shell(command); err != nil {
		r.T.Fatal(err)
	}
}

// tellLogs prints the ends of all logs.
func (r *Rig) tellLogs() {
	for _, n := range r.Nodes {
		r.T.Logf("%s said at last:\n%s", n.Name, n.Log(2000))
	}
}
