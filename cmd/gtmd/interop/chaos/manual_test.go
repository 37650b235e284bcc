//go:build interop

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/store/state"
)

const manualFile = "../../../../docs/operating.md"

// manual gives the commands of a section of docs/operating.md: the lines that begin with "    $ ". Those between which
// there is no other text but what they print are one block.
func manual(t *testing.T, heading string) [][]string {
	t.Helper()
	data, err := os.ReadFile(manualFile)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(data), "\n"+heading+"\n")
	if !found {
		t.Fatalf("docs/operating.md has no section %q", heading)
	}
	var blocks [][]string
	var block []string
	for line := range strings.Lines(section + "\n#") {
		command, is := strings.CutPrefix(line, "    $ ")
		switch {
		case is:
			block = append(block, strings.TrimSpace(command))
		case !strings.HasPrefix(line, "    ") && strings.TrimSpace(line) != "" && len(block) > 0:
			blocks = append(blocks, block)
			block = nil
		}
		if strings.HasPrefix(line, "#") {
			break
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("the section %q of docs/operating.md has no commands", heading)
	}
	return blocks
}

// An operator has a shell in a folder of theirs, with the programs at hand.
type operator struct {
	t   *testing.T
	rig *rig.Rig
	dir string
	env []string
}

func newOperator(t *testing.T, r *rig.Rig) *operator {
	t.Helper()
	o := &operator{t: t, rig: r, dir: t.TempDir()}
	control := r.Controls[0]
	o.env = append(os.Environ(), "PATH="+filepath.Dir(rig.Bin("gtmctl"))+":"+os.Getenv("PATH"), "GTM_SERVER="+r.URL(control),
		"GTM_TOKEN_FILE="+r.Token(control), "ETCDCTL_ENDPOINTS="+r.URLs()[0])
	if err := os.Mkdir(filepath.Join(o.dir, "config"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(o.dir, "config", "world.yaml"), world())
	return o
}

// types runs commands as they stand. Each must succeed, but for status, which tells by its exit code how things are.
func (o *operator) types(commands []string, env ...string) {
	o.t.Helper()
	for _, command := range commands {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		shell := exec.CommandContext(ctx, "bash", "-c", command)
		shell.Dir, shell.Env = o.dir, append(o.env[:len(o.env):len(o.env)], env...)
		out, err := shell.CombinedOutput()
		cancel()
		o.t.Logf("$ %s\n%s", command, bytes.TrimSpace(out))
		var ended *exec.ExitError
		if strings.HasPrefix(command, "gtmctl status") && errors.As(err, &ended) && ended.ExitCode() == 1 {
			continue
		}
		if err != nil {
			o.t.Fatalf("the manual says: %s; it ends with %v", command, err)
		}
	}
}

// The manual's way through a restore, as it stands there: save, restore on every member, accept.
func TestManualRestore(t *testing.T) {
	save, restore, accept := manual(t, "### Save"), manual(t, "### Restore"), manual(t, "### Accept")
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	l := startLoad(r, w)
	o := newOperator(t, r)
	w.writeMany(t, 2, soon)
	head := headOf(t, r, "t1")
	for _, block := range save {
		o.types(block)
	}
	w.writeMany(t, 4, soon)
	agree(t, r)
	l.followHealth(false)
	r.StopMembers()
	for _, member := range r.Members {
		r.Wipe(member)
		for _, block := range restore {
			o.types(block, r.MemberEnv(member)...)
		}
	}
	r.StartMembers()
	stateIs(t, r, state.Refused, r.Edges...)
	w.forget(head)
	l.newEra()
	for _, block := range accept {
		o.types(block)
	}
	agree(t, r)
	l.followHealth(true)
	w.writeMany(t, 2, soon)
	agree(t, r)
	wellAgain(t, r)
	w.checkNothingLost(t)
}

// The manual's ways to fill a new, empty cluster: every block is one.
func TestManualEmptyCluster(t *testing.T) {
	blocks := manual(t, "### A new, empty cluster")
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	l := startLoad(r, w)
	for _, block := range blocks {
		o := newOperator(t, r)
		w.writeMany(t, 2, soon)
		agree(t, r)
		l.followHealth(false)
		r.Empty()
		stateIs(t, r, state.Refused, r.Edges...)
		controlRefuses(t, r)
		l.newEra()
		o.types(block)
		agree(t, r)
		l.followHealth(true)
		wellAgain(t, r)
	}
}

// controlRefuses waits until control has seen, as the edges have, that the store went back.
func controlRefuses(t *testing.T, r *rig.Rig) {
	t.Helper()
	rig.Eventually(t, soon, "control refuses the store", func() error {
		var status api.Status
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := r.API(ctx, r.Controls[0], http.MethodGet, "/status", nil, &status)
		if err == nil && status.Store.State != state.Refused {
			err = fmt.Errorf("it is %s: %s", status.Store.State, status.Store.Error)
		}
		return err
	})
}

// The manual's way to take leave of an edge that is lost.
func TestManualLostEdge(t *testing.T) {
	blocks := manual(t, "## A lost edge")
	r := rig.New(t, small, world())
	w := newWriter(r, "t1")
	startLoad(r, w)
	o := newOperator(t, r)
	lost := r.Edges[1]
	if text := fmt.Sprint(blocks); !strings.Contains(text, "forget "+lost.Name) {
		t.Fatalf("the manual forgets another edge than %s, which this test loses: %s", lost.Name, text)
	}
	lost.Kill()
	w.writeMany(t, 1, soon)
	leaseGone(t, r, lost)
	for _, block := range blocks {
		o.types(block)
	}
	wellAgain(t, r)
}

// leaseGone waits until an edge does not count as alive any more.
func leaseGone(t *testing.T, r *rig.Rig, edge *rig.Node) {
	t.Helper()
	rig.Eventually(t, time.Minute, "the lease of "+edge.Name+" is gone", func() error {
		if r.Get("world/edge/"+edge.Name) != "" {
			return errors.New("it is there")
		}
		return nil
	})
}
