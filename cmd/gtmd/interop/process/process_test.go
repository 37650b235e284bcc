package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// start starts a script of the shell.
func start(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Command{Name: "script", Args: []string{"sh", "-c", script}, Env: []string{"WORD=hello"},
		Log: filepath.Join(t.TempDir(), "logs", "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// A group's account has children and theirs in it, and ends with it.
func TestGroup(t *testing.T) {
	p := start(t, `sh -c "echo $WORD; sh -c 'while :; do :; done' & wait" & wait`)
	err := p.Await(t.Context(), 20*time.Second, time.Millisecond, func() error {
		if text, err := os.ReadFile(p.log); err != nil || string(text) != "hello\n" {
			return errors.New("not ready")
		}
		if computed, err := p.CPU(); err != nil || computed < 50*time.Millisecond {
			return errors.New("the grandchild has computed little")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if own, err := CPU(p.Pid()); err != nil || own <= 0 || own > 50*time.Millisecond {
		t.Errorf("the process alone computed %v: %v", own, err)
	}
	rss, peak, err := p.Memory()
	if err != nil || rss < 1<<16 || peak < rss {
		t.Errorf("%d bytes, %d at most: %v", rss, peak, err)
	}
	if all, err := p.GroupMemory(); err != nil || all <= rss {
		t.Errorf("the group has %d bytes, the process alone %d: %v", all, rss, err)
	}
	if err := errors.Join(p.Bind("0"), p.ResetPeak()); err != nil {
		t.Error(err)
	}
	if err := errors.Join(p.Stop(), p.Stop()); err != nil || p.Running() {
		t.Errorf("stopped: %v, runs: %v", err, p.Running())
	}
	for deadline := time.Now().Add(20 * time.Second); ; { // the child's end is not waited for by Stop
		if _, err := p.CPU(); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a group that is not there has computed")
		}
	}
}

func TestAwaitTellsOfTheEnd(t *testing.T) {
	p := start(t, "echo broken; exit 3")
	err := p.Await(t.Context(), 20*time.Second, time.Millisecond, func() error { return errors.New("not ready") })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "broken") {
		t.Errorf("%v", err)
	}
	never := func() error { return errors.ErrUnsupported }
	err = start(t, "sleep 60").Await(t.Context(), time.Millisecond, time.Millisecond, never)
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

func TestOutput(t *testing.T) {
	text, err := Output(t.Context(), Command{Args: []string{"pwd"}, Dir: "/", Core: "0"})
	if text != "/\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	_, err = Output(context.Background(), Command{Args: []string{"sh", "-c", "echo why >&2; exit 1"}})
	if err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("%v", err)
	}
}

func TestStat(t *testing.T) {
	before, err := parseStat("cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 5 100 5 0 0 0 0 0\ncpu1 1 1 1 1 1 1 1 1 9 9\nintr 1 2\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseStat("cpu0 40 5 15 140 10 3 2 5 30 0\ncpu1 1 1 1 1 1 1 1 1 9 9\n")
	if err != nil {
		t.Fatal(err)
	}
	if busy := after.Busy(before, 0); busy != 0.55 {
		t.Errorf("busy %v", busy)
	}
	if worked, idle := after.Worked(before), after.Idle(before); worked != 550*time.Millisecond || idle != 450*time.Millisecond {
		t.Errorf("worked %v, idle %v", worked, idle)
	}
	if _, err := parseStat("intr 1 2\n"); err == nil {
		t.Error("no core, and no error")
	}
}
