//go:build interop

package rig

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// A Node is a machine of the rig: a network namespace with a cable to the bridge inside, an edge's with one to the bridge outside as
// well, and the program that runs in it.
type Node struct {
	Name string
	// Inside is its address among the others. Clients ask an edge at Outside, which no cut of the cable inside touches.
	Inside, Outside netip.Addr
	Dir             string // its data

	rig     *Rig
	args    []string
	process *process.Process

	mu       sync.Mutex
	troubled bool      // stopped, killed or frozen now
	calm     time.Time // when trouble ended last
	cut      bool
	healed   time.Time
	kills    int
}

// newNode makes the namespace and its cables; nothing runs in it yet.
func (r *Rig) newNode(name string, inside netip.Addr, outside netip.Addr, args ...string) *Node {
	r.T.Helper()
	n := &Node{Name: name, Inside: inside, Outside: outside, rig: r, args: args, Dir: r.path(name)}
	r.must("ip netns add " + name)
	r.T.Cleanup(func() { // the cables first: those of a namespace go later than that itself
		_ = shell("ip link del " + n.port("inside"))
		_ = shell("ip link del " + n.port("outside"))
		_ = shell("ip netns del " + name)
	})
	r.must("ip -n " + name + " link set lo up")
	n.plug("inside", inside)
	r.must("ip -n " + name + " route add default via 10.77.0.1")
	if outside.IsValid() {
		n.plug("outside", outside)
	}
	r.Nodes = append(r.Nodes, n)
	r.T.Cleanup(func() {
		if n.process != nil {
			n.process.Kill()
		}
	})
	return n
}

// plug puts a cable between the node and a bridge.
func (n *Node) plug(bridge string, addr netip.Addr) {
	port := n.port(bridge)
	n.rig.must(fmt.Sprintf("ip link add %s type veth peer name %s netns %s", port, bridge, n.Name))
	n.rig.must(fmt.Sprintf("ip link set %s master %s up", port, bridge))
	n.rig.must(fmt.Sprintf("ip -n %s addr add %s/16 dev %s", n.Name, addr, bridge))
	n.rig.must(fmt.Sprintf("ip -n %s link set %s up", n.Name, bridge))
}

func (n *Node) port(bridge string) string { return n.Name + "-" + bridge[:3] }

// Cut lets nothing through the node's cable inside any more, and nobody is told: packets vanish.
func (n *Node) Cut() {
	n.rig.must("bridge link set dev " + n.port("inside") + " state disabled")
	n.isCut(true)
}

// Heal ends a Cut.
func (n *Node) Heal() {
	n.rig.must("bridge link set dev " + n.port("inside") + " state forwarding")
	n.isCut(false)
}

func (n *Node) isCut(is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut && !is {
		n.healed = time.Now()
	}
	n.cut = is
}

// Healed tells when the node was cut off last.
func (n *Node) Healed() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return time.Now()
	}
	return n.healed
}

// Start runs the node's program, anew or again. It does not wait until that is ready.
func (n *Node) Start() {
	n.rig.T.Helper()
	var err error
	if n.process, err = process.Start(process.Command{Name: n.Name, Args: n.args, Netns: n.Name, Log: n.log()}); err != nil {
		n.rig.T.Fatal(err)
	}
}

// Kill ends the program at once.
func (n *Node) Kill() {
	n.trouble(true)
	n.process.Kill()
	n.Died()
}

// Died notes that the program ended without having been asked to.
func (n *Node) Died() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kills++
}

// Kills tells how often it did. An edge may then have gone back to what was on its disk: what it took seconds before is on trial.
func (n *Node) Kills() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.kills
}

// Stop asks the program to end, and waits for that.
func (n *Node) Stop() {
	n.rig.T.Helper()
	n.trouble(true)
	if err := n.process.Stop(); err != nil {
		n.rig.T.Errorf("stopping %s: %v", n.Name, err)
	}
}

// Freeze stops the program where it is, until Thaw.
func (n *Node) Freeze() {
	n.trouble(true)
	n.signal(syscall.SIGSTOP)
}

// Thaw ends Freeze.
func (n *Node) Thaw() {
	n.signal(syscall.SIGCONT)
	n.trouble(false)
}

func (n *Node) signal(s syscall.Signal) {
	if err := n.process.Signal(s); err != nil {
		n.rig.T.Errorf("%v to %s: %v", s, n.Name, err)
	}
}

func (n *Node) trouble(is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.troubled && !is {
		n.calm = time.Now()
	}
	n.troubled = is
}

// Ready tells that the program is well again, for one of which WaitReady cannot find it out.
func (n *Node) Ready() { n.trouble(false) }

// Troubled reports whether the program was stopped at any time since.
func (n *Node) Troubled(since time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.troubled || since.Before(n.calm)
}

// Calm tells when the program was in trouble last.
func (n *Node) Calm() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.troubled {
		return time.Now()
	}
	return n.calm
}

// Log is the end of what the node's programs wrote.
func (n *Node) Log(limit int) string {
	text, err := os.ReadFile(n.log())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-limit):])
}

func (n *Node) log() string { return n.Dir + ".log" }
