package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gti/gtm/pkg/store/state"
)

// runParent is a program that starts a child and does not stop it.
func runParent(dir string) {
	c, err := StartChild(context.Background(), ChildConfig{Dir: dir, Args: []string{"etcd"}})
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
	mustCommit(t, c, Change{Tenant: "shop", Put: resources(site("shop", "fra", "EU-DE"))})
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
	state, err := c.Read(testContext(t), "shop", 0)
	if err != nil || state.Head != 1 || state.Resources.Len() != 1 {
		t.Errorf("after a restart: %+v, %v", state, err)
	}
}

func TestChildInAFolderWithALongAndOddName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long name %zz?#", 12))
	child := startTestChild(t, dir)
	c := openTest(t, Config{Endpoints: []string{child.Endpoint()}})
	if err := c.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// TestAClosedLogIsClosed, once and for all, and whoever goes on writing to it harms nobody.
func TestAClosedLogIsClosed(t *testing.T) {
	l, err := openBoundedLog(filepath.Join(t.TempDir(), "log"), 100)
	if err != nil {
		t.Fatal(err)
	}
	file := l.file
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := file.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file is open still: %v", err)
	}
	if n, err := l.Write([]byte("late\n")); n != 5 || err != nil || !slices.Contains(l.Tail(), "late") {
		t.Errorf("%d, %v, %q", n, err, l.Tail())
	}
}

func TestChildIsRestartedWhenItDies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	child := startTestChild(t, dir)
	c := openTest(t, Config{Endpoints: []string{child.Endpoint()}})
	mustCommit(t, c, Change{Tenant: "shop", Put: resources(site("shop", "fra", "EU-DE"))})
	f := follow(t, c, nil)
	f.untilState(state.Current)
	if err := syscall.Kill(childPID(t, dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-child.Exited(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Exited told %v", err)
	}
	ctx := testContext(t)
	for err := c.Ping(ctx); err != nil; err = c.Ping(ctx) { // how long etcd takes to start is the machine's affair
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: resources(site("shop", "fra", "EU-FR"))})
	f.untilHead("shop", 2)
}

func TestSecondStartOnAFolderFails(t *testing.T) {
	t.Parallel()
	sharedEndpoint(t)
	_, err := StartChild(testContext(t), ChildConfig{Dir: filepath.Join(shared.dir, "etcd"), Args: []string{"etcd"}})
	want := fmt.Sprintf("in use by another gtmd (process %d)", os.Getpid())
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestChildThatDoesNotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := StartChild(testContext(t), ChildConfig{Dir: t.TempDir(), Args: []string{"failing"}})
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
	_, err := StartChild(testContext(t), ChildConfig{Dir: dir, Args: []string{"etcd"}})
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

func TestBoundedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd.log")
	l, err := openBoundedLog(path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		fmt.Fprintf(l, "line %d of the log\n", i)
	}
	tail := l.Tail()
	if len(tail) != tailLines || tail[tailLines-1] != "line 299 of the log" {
		t.Errorf("tail %q", tail)
	}
	l.Close()
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil || info.Size() > 1100 {
			t.Errorf("%s: %v, %v", name, info.Size(), err)
		}
	}
}
