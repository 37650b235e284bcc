package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// The cores of the server and of the load.
const serverCore, loadCore = "0", "1"

// A server is one process (with its children, in a process group of its own) that answers at its ports.
type server struct {
	subject
	cmd  *exec.Cmd
	log  string
	done chan error
}

// startAll starts all of them, and waits until they answer. What it has started it gives back even when something
// failed.
func startAll(ctx context.Context, o options, subjects []subject) ([]*server, error) {
	var servers []*server
	for _, subject := range subjects {
		s, err := start(o, subject)
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
	}
	for _, s := range servers {
		if err := s.await(ctx, o); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

func start(o options, subject subject) (*server, error) {
	s := &server{subject: subject, log: filepath.Join(o.tmp, subject.name+".log"), done: make(chan error, 1)}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command("taskset", append([]string{"-c", serverCore}, s.args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), "OPENSSL_CONF="+filepath.Join(o.tmp, opensslFile))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.name, err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	return s, nil
}

// await waits until the server answers by each of its transports.
func (s *server) await(ctx context.Context, o options) error {
	var last error
	for range 600 {
		select {
		case err := <-s.done:
			text, _ := os.ReadFile(s.log)
			return fmt.Errorf("%s ended: %v\n%s", s.name, err, text)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		if last = s.reachable(ctx, o); last == nil {
			return nil
		}
	}
	return fmt.Errorf("%s did not answer in 2 minutes (%v); see %s", s.name, last, s.log)
}

// stopAll ends what was started, by its process groups.
func stopAll(servers []*server) {
	for _, s := range servers {
		group := -s.cmd.Process.Pid
		_ = syscall.Kill(group, syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(10 * time.Second):
		}
		_ = syscall.Kill(group, syscall.SIGKILL)
	}
}

// rest lets a server that has just been measured come to rest.
func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}
