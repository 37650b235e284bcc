//go:build interop

package chaos

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
)

// A shape is a service with a primary pool and one behind it, which belongs to a tenant of its own.
type shape struct {
	tenant           string
	primary, backup  []netip.Addr
	oneBySecond, all bool // how the primary dies: one endpoint a second, or all at once
}

// shapes are the pools of which traffic once stayed with a dead primary, each in both ways of dying, and one without a backup.
func shapes() []shape {
	var all []shape
	for _, size := range [][2]int{{4, 1}, {4, 2}, {4, 3}, {5, 3}, {10, 2}} {
		for _, slow := range []bool{false, true} {
			name := fmt.Sprintf("p%db%d", size[0], size[1])
			if slow {
				name += "slow"
			}
			all = append(all, newShape(byte(10+len(all)), name, size[0], size[1], slow))
		}
	}
	return all
}

func newShape(net byte, tenant string, primary, backup int, slow bool) shape {
	s := shape{tenant: tenant, oneBySecond: slow, all: !slow}
	for i := range primary {
		s.primary = append(s.primary, netip.AddrFrom4([4]byte{10, 78, net, byte(1 + i)}))
	}
	for i := range backup {
		s.backup = append(s.backup, netip.AddrFrom4([4]byte{10, 78, net, byte(101 + i)}))
	}
	return s
}

func (s *shape) host() string { return "www." + s.tenant + ".gtm.test." }

// die lets the primary die.
func (s *shape) die(r *rig.Rig) {
	if s.all {
		r.Targets.Fail(s.primary...)
		return
	}
	for i, a := range s.primary {
		if i > 0 {
			time.Sleep(time.Second) // what is tested is that they die one a second
		}
		r.Targets.Fail(a)
	}
}

// worldOf declares the shapes.
func worldOf(all []shape) string {
	var grants, rest strings.Builder
	for _, s := range all {
		fmt.Fprintf(&grants, "    %s: [%s.gtm.test.]\n", s.tenant, s.tenant)
		fmt.Fprintf(&rest, "---\nkind: Monitor\ntenant: %s\nname: quick\n%s", s.tenant, monitor)
		rest.WriteString(poolYAML(s.tenant, "primary", "quick", s.primary...))
		pools := []string{"primary"}
		if len(s.backup) > 0 {
			rest.WriteString(poolYAML(s.tenant, "backup", "quick", s.backup...))
			pools = append(pools, "backup")
		}
		rest.WriteString(serviceYAML(s.tenant, "www", s.host(), pools...))
	}
	return "kind: Zone\ntenant: platform\nname: gtm.test.\n" +
		"spec:\n  nameservers: [ns1.example.net.]\n  contact: hostmaster.gtm.test.\n  grants:\n" + grants.String() + rest.String()
}

// allSeen waits until health knows every endpoint.
func allSeen(t testing.TB, r *rig.Rig) {
	t.Helper()
	rig.Eventually(t, soon, "every endpoint has been seen", func() error {
		out, _ := r.TryGtmctl(0, "status")
		if strings.Contains(out, ":unknown") || !strings.Contains(out, ":up") {
			return errors.New(out)
		}
		return nil
	})
}

// spread counts the answers of an edge.
func spread(edge *rig.Node, host string, n int) (map[netip.Addr]int, error) {
	counts := map[netip.Addr]int{}
	for range n {
		got, err := answer(edge, host)
		if err != nil {
			return nil, err
		}
		counts[got]++
	}
	return counts, nil
}

// Point 1: a primary pool dies, all at once or one endpoint a second, whatever its size beside the backup's. In the end
// all of 50 answers name a backup, which is alive.
func TestPrimaryDies(t *testing.T) {
	all := shapes()
	r := rig.NewSingle(t, worldOf(all))
	allSeen(t, r)
	var dying sync.WaitGroup
	for _, s := range all {
		dying.Go(func() { s.die(r) })
	}
	dying.Wait()
	for _, s := range all {
		t.Run(s.tenant, func(t *testing.T) {
			err := rig.Within(healthBound, func() error { return onlyBackup(r, &s) })
			if err != nil {
				out, _ := r.TryGtmctl(0, "explain", s.host())
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func onlyBackup(r *rig.Rig, s *shape) error {
	counts, err := spread(r.Edges[0], s.host(), 50)
	if err != nil {
		return err
	}
	for _, dead := range s.primary {
		if counts[dead] > 0 {
			return fmt.Errorf("the primary is dead, and of 50 answers these are: %v", counts)
		}
	}
	return nil
}

// Point 1: where there is no backup, what is dead is answered as if it were up, over all of the pool and never on the
// last one alone. Status says so, names the next step and ends with 1; and that step works.
func TestPrimaryAloneDies(t *testing.T) {
	all := []shape{newShape(10, "alone", 4, 0, false)}
	r := rig.NewSingle(t, worldOf(all))
	allSeen(t, r)
	if out, err := r.TryGtmctl(0, "status"); err != nil {
		t.Fatalf("all is well, and status says: %v\n%s", err, out)
	}
	all[0].die(r)
	const release = "gtmctl health release alone"
	rig.Eventually(t, soon, "status ends with 1 and names the next step", func() error {
		out, err := r.TryGtmctl(0, "status")
		if err == nil || !strings.Contains(out, release) {
			return fmt.Errorf("%v\n%s", err, out)
		}
		return nil
	})
	spreadsOver := func(what string) {
		t.Helper()
		rig.Eventually(t, soon, what, func() error {
			counts, err := spread(r.Edges[0], all[0].host(), 80)
			if err == nil && len(counts) != len(all[0].primary) {
				err = fmt.Errorf("80 answers are %v", counts)
			}
			return err
		})
	}
	spreadsOver("what is held shares the traffic")
	r.Gtmctl("health", "release", "alone/primary", "--reason", "they are dead")
	rig.Eventually(t, soon, "what was held is down", func() error {
		out, _ := r.TryGtmctl(0, "status")
		if strings.Contains(out, ":held") || !strings.Contains(out, ":down") {
			return errors.New(out)
		}
		return nil
	})
	spreadsOver("with all down, answers go over all")
	r.Targets.Heal(all[0].primary...)
	rig.Eventually(t, soon, "status is well again", func() error {
		out, err := r.TryGtmctl(0, "status")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		return err
	})
}
