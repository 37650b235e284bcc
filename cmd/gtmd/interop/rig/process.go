//go:build interop

package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// StopTimeout is how long a process may take to end when it is asked to.
const StopTimeout = 30 * time.Second

// A Process is a program that a test started; it ends with the test, by its own pid.
type Process struct {
	cmd  *exec.Cmd
	log  *tailBuffer
	done chan struct{}
	err  error // valid when done is closed
}

// tailBuffer keeps the end of what a process wrote, for the day that its test fails.
type tailBuffer struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 64 << 10

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf = append(b.buf, p...); len(b.buf) > 2*tailSize {
		b.buf = bytes.Clone(b.buf[len(b.buf)-tailSize:])
	}
	return len(p), nil
}

// Start starts a command in a process group of its own, and sees to its end. Its output goes to log.
func start(cmd *exec.Cmd, log *tailBuffer) (*Process, error) {
	p := &Process{cmd: cmd, log: log, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *Process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process's whole group at once.
func (p *Process) kill() {
	if p.running() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// stop asks the process to end, as systemd does, and gives how it ended.
func (p *Process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(StopTimeout):
		p.kill()
		return fmt.Errorf("still there %v after SIGTERM", StopTimeout)
	}
}

// Eventually tries until there is no error, or fails with the last one.
func Eventually(t testing.TB, limit time.Duration, what string, try func() error) {
	t.Helper()
	if err := Within(limit, try); err != nil {
		t.Fatalf("not within %v: %s: %v", limit, what, err)
	}
}

// Within tries until there is no error, or gives the last one.
func Within(limit time.Duration, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
