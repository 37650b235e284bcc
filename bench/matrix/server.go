package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gti/gtm/bench/group"
)

// The cores of the server and of the load.
const serverCore, loadCore = "0", "1"

// A server is one process (with its children, in a process group of its own) that answers at a port.
type server struct {
	name string
	port int
	cmd  *exec.Cmd
	log  string
	done chan error
}

// start starts a program on the servers' core. Its output goes to a file in dir.
func start(dir, name string, port int, args ...string) (*server, error) {
	s := &server{name: name, port: port, log: filepath.Join(dir, fmt.Sprintf("%s-%d.log", name, port)), done: make(chan error, 1)}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command("taskset", append([]string{"-c", serverCore}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	return s, nil
}

// await asks until ready no longer gives an error, at most for patience.
func (s *server) await(ctx context.Context, patience time.Duration, ready func() error) error {
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-s.done:
			s.done <- err // for stop
			text, _ := os.ReadFile(s.log)
			return fmt.Errorf("%s ended: %v\n%s", s.name, err, text)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if last = ready(); last == nil {
			return nil
		}
	}
	return fmt.Errorf("%s is not ready after %v (%w); see %s", s.name, patience, last, s.log)
}

// settle waits until the server computes next to nothing by itself, at most for patience: after its start a large one still
// collects garbage, on the core on which others are measured.
func (s *server) settle(ctx context.Context, patience time.Duration) error {
	const look = time.Second
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		before, err := group.CPU(s.cmd.Process.Pid)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
		after, err := group.CPU(s.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if after-before < look/20 {
			return nil
		}
	}
	return nil // the report tells how busy the core was
}

// stop ends the server's process group.
func (s *server) stop() {
	group := -s.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
}
