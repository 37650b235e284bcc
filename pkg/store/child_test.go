package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gti/gtm/pkg/store/embedded"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// runParent is a program that starts a child and does not stop it.
func runParent(dir string) {
	c, err := embedded.Start(context.Background(), embedded.Config{Dir: dir, Args: []string{"etcd"}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.Endpoint())
	select {}
}

func childPID(t *testing.T, dir string) int {
	t.Helper()
	tasks, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, task := range tasks {
		line, _ := os.ReadFile(task)
		if strings.HasSuffix(string(line), "\x00etcd\x00"+dir+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(task)))
			return pid
		}
	}
	return 0
}

func TestChildServesAndKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	child := startTestChild(t, dir)
	c := openTest(t, Config{Endpoints: []string{child.Endpoint()}})
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "fra", "EU-DE"))})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the folder is %v (%v), want 0700", info.Mode(), err)
	}
	c.Close()
	if err := child.Stop(); err != nil {
		t.Fatal(err)
	}
	if pid := childPID(t, dir); pid != 0 {
		t.Errorf("process %d still runs after Stop", pid)
	}
	child = startTestChild(t, dir)
	c = openTest(t, Config{Endpoints: []string{child.Endpoint()}})
	state, err := c.Read(storetest.Context(t), "shop", 0)
	if err != nil || state.Head != 1 || state.Resources.Len() != 1 {
		t.Errorf("after a restart: %+v, %v", state, err)
	}
}

func TestChildInAFolderWithALongAndOddName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long name %zz?#", 12))
	child := startTestChild(t, dir)
	c := openTest(t, Config{Endpoints: []string{child.Endpoint()}})
	if err := c.Ping(storetest.Context(t)); err != nil {
		t.Fatal(err)
	}
}

func TestChildIsRestartedWhenItDies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	child := startTestChild(t, dir)
	c := openTest(t, Config{Endpoints: []string{child.Endpoint()}})
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "fra", "EU-DE"))})
	f := follow(t, c, nil)
	f.untilState(state.Current)
	if err := syscall.Kill(childPID(t, dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-child.Exited(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Exited told %v", err)
	}
	ctx := storetest.Context(t)
	for err := c.Ping(ctx); err != nil; err = c.Ping(ctx) { // how long etcd takes to start is the machine's affair
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "fra", "EU-FR"))})
	f.untilHead("shop", 2)
}

func TestSecondStartOnAFolderFails(t *testing.T) {
	t.Parallel()
	sharedEndpoint(t)
	_, err := embedded.Start(storetest.Context(t), embedded.Config{Dir: filepath.Join(shared.dir, "etcd"), Args: []string{"etcd"}})
	want := fmt.Sprintf("in use by another gtmd (process %d)", os.Getpid())
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestChildThatDoesNotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := embedded.Start(storetest.Context(t), embedded.Config{Dir: t.TempDir(), Args: []string{"failing"}})
	if err == nil || !strings.Contains(err.Error(), "disk on fire") || !strings.Contains(err.Error(), "etcd.log") {
		t.Errorf("got %v", err)
	}
}

func TestDamagedDataIsNamedInTheError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startTestChild(t, dir).Stop()
	if err := os.WriteFile(filepath.Join(dir, "member", "snap", "db"), []byte(strings.Repeat("garbage", 10000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.Start(storetest.Context(t), embedded.Config{Dir: dir, Args: []string{"etcd"}})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "invalid database") {
		t.Errorf("got %v", err)
	}
}

func TestChildDiesWithItsParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], "parent", dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(line, "unix://") {
		t.Fatalf("the parent said %q", line)
	}
	pid := childPID(t, dir)
	if pid == 0 {
		t.Fatal("there is no child")
	}
	parent.Process.Kill()
	parent.Wait()
	// The lock is the child's too: that it is free again shows that the child is gone.
	startTestChild(t, dir)
	if now := childPID(t, dir); now == pid {
		t.Errorf("child %d outlives its parent", pid)
	}
}
