// Package process runs the programs that bench measures and that tests of whole systems consist of, and tells what they cost. It is for
// Linux.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// A Command says how a program is to run.
type Command struct {
	Name  string // in errors; empty: the program's
	Args  []string
	Core  string   // as taskset takes it; empty: any
	Netns string   // the network namespace; empty: that of this process
	Dir   string   // where it runs; empty: here
	Env   []string // beside that of this process
	Log   string   // the file that Start appends output to, whose folder is made
}

// Self is the path of this program, to be run in another of its duties.
func Self() string {
	if program, err := os.Executable(); err == nil {
		return program
	}
	return os.Args[0]
}

// Cmd makes what os/exec runs, for those who need its pipes.
func (c Command) Cmd(ctx context.Context) *exec.Cmd {
	args := c.Args
	if c.Core != "" {
		args = append([]string{"taskset", "-c", c.Core}, args...)
	}
	if c.Netns != "" {
		args = append([]string{"ip", "netns", "exec", c.Netns}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	return cmd
}

func (c Command) name() string {
	if c.Name == "" {
		return c.Args[0]
	}
	return c.Name
}

// Output runs a program to its end, or kills it when ctx ends, and gives all that it printed, which stands in the error, too.
func Output(ctx context.Context, c Command) (string, error) {
	text, err := c.Cmd(ctx).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", c.name(), err, text[max(0, len(text)-2000):])
	}
	return string(text), nil
}

// A Process is a program that runs, with its children in a process group of its own. It does not outlive this process.
type Process struct {
	Executed time.Time
	name     string
	log      string
	cmd      *exec.Cmd
	done     chan struct{}
	err      error // how it ended, once done is closed
}

// Start starts a program.
func Start(c Command) (*Process, error) {
	if err := os.MkdirAll(filepath.Dir(c.Log), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &Process{name: c.name(), log: c.Log, cmd: c.Cmd(context.Background()), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the thread ends that started the program
		defer runtime.UnlockOSThread()
		p.Executed = time.Now()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	return p, nil
}

// Running reports whether it has not ended yet; Ended says how it did.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Ended is how a process ended that does not run any more.
func (p *Process) Ended() error { return p.err }

// Pid is the process's, and its group's.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Await asks until ready gives no error any more, with a pause between, at most for patience. That the program ended is an error.
func (p *Process) Await(ctx context.Context, patience, pause time.Duration, ready func() error) error {
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pause) {
		if !p.Running() {
			text, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s ended: %v\n%s", p.name, p.err, text)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if last = ready(); last == nil {
			return nil
		}
	}
	return fmt.Errorf("%s is not ready after %v (%w); see %s", p.name, patience, last, p.log)
}

// Signal sends a signal to the whole group.
func (p *Process) Signal(s syscall.Signal) error { return syscall.Kill(-p.Pid(), s) }

// Kill ends the whole group at once.
func (p *Process) Kill() {
	if p.Running() { // else its number may be another's by now
		_ = p.Signal(syscall.SIGKILL)
		<-p.done
	}
}

// patience is how long a process may take to end when it is asked to.
const patience = 30 * time.Second

// Stop asks the process to end, as systemd does, and waits for that. It may be called again, and of nil. One that does not end is
// killed, with its group, which is the error.
func (p *Process) Stop() error {
	if p == nil || !p.Running() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		_ = p.Signal(syscall.SIGKILL) // what is left of its children
		return nil
	case <-time.After(patience):
		p.Kill()
		return fmt.Errorf("%s is still there %v after SIGTERM", p.name, patience)
	}
}
