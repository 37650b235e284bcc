package store

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ChildConfig says how the embedded etcd is run.
type ChildConfig struct {
	// Dir holds its data, socket, lock and log (etcd.log); it is made, for its owner only.
	Dir string
	// Binary and Args make the process that calls RunEmbedded(ctx, DIR): Dir is added behind Args as the
	// last argument. Binary's default is this very program.
	Binary string
	Args   []string
	// Logger and Registerer may be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

const (
	childReady = 30 * time.Second // a large WAL takes a while to replay
	childStop  = 10 * time.Second
	childPause = 250 * time.Millisecond // before the first restart; doubles up to childCalm
	childCalm  = 15 * time.Second       // having run so long, the next crash counts as the first
)

// Child is an etcd that runs as a child process, since etcd may exit the process that it is in. It is
// restarted when it dies, and dies with its parent.
type Child struct {
	cfg      ChildConfig
	log      *slog.Logger
	lock     *os.File
	output   *boundedLog
	restarts prometheus.Counter

	stop   context.CancelFunc
	exited chan error
	done   chan struct{}
}

// StartChild starts the child and waits until it is ready. ctx bounds only that wait. A second start on a
// folder in use fails; so does one whose etcd does not come up, with the last lines of its log.
func StartChild(ctx context.Context, cfg ChildConfig) (*Child, error) {
	c, err := newChild(cfg)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.Background())
	c.stop = stop
	ready := make(chan error, 1)
	go c.supervise(run, ready)
	ctx, cancel := context.WithTimeout(ctx, childReady)
	defer cancel()
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = c.failed(fmt.Errorf("it was not ready in time: %w", ctx.Err()))
	}
	if err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func newChild(cfg ChildConfig) (*Child, error) {
	c := &Child{cfg: cfg, log: cfg.Logger, exited: make(chan error, 8), done: make(chan struct{})}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if c.cfg.Binary == "" {
		if c.cfg.Binary, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("the program to run etcd with is not known: %w", err)
		}
	}
	if c.cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, err
	}
	if err := privateDir(c.cfg.Dir); err != nil {
		return nil, fmt.Errorf("the folder of the embedded etcd: %w", err)
	}
	c.restarts = prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_store_child_restarts_total",
		Help: "How often the embedded etcd was started again after it died."})
	if err := register(cfg.Registerer, c.restarts); err != nil {
		return nil, err
	}
	if c.lock, err = lockDir(c.cfg.Dir, "etcd.lock"); err != nil {
		return nil, err
	}
	if c.output, err = openBoundedLog(filepath.Join(c.cfg.Dir, "etcd.log"), childLogBytes); err != nil {
		c.lock.Close()
		return nil, err
	}
	return c, nil
}

// Endpoint is what Config.Endpoints takes.
func (c *Child) Endpoint() string { return "unix://" + filepath.Join(c.cfg.Dir, socketName) }

// Exited tells each time that the child died without being asked to; it is restarted by itself. The
// channel is closed when the child was stopped. Nobody has to listen.
func (c *Child) Exited() <-chan error { return c.exited }

// Stop ends the child, gently at first, and returns when it is gone. It may be called twice.
func (c *Child) Stop() error {
	c.stop()
	<-c.done
	return nil
}

// supervise runs the child again and again until ctx ends. It keeps its thread, because the kernel sends
// the signal that ends an orphan when the thread that started it ends.
func (c *Child) supervise(ctx context.Context, ready chan<- error) {
	runtime.LockOSThread()
	defer close(c.done)
	defer close(c.exited)
	defer c.lock.Close()
	defer c.output.Close()
	pause := childPause
	for first := true; ; first = false {
		begun := time.Now()
		err := c.once(ctx, func() {
			if first {
				ready <- nil
			}
			c.log.Info("the embedded etcd is ready", "dir", c.cfg.Dir, "after", time.Since(begun).Round(time.Millisecond))
		})
		if ctx.Err() != nil {
			return
		}
		err = c.failed(err)
		if first && time.Since(begun) < childReady {
			select {
			case ready <- err: // it never came up, unless ready was told before
			default:
			}
		}
		select {
		case c.exited <- err:
		default:
		}
		if time.Since(begun) > childCalm {
			pause = childPause
		}
		c.log.Error("the embedded etcd died and is started again", "error", err, "in", pause)
		c.restarts.Inc()
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, childCalm)
	}
}

// once runs the process until it ends; when ctx ends, it is asked to.
func (c *Child) once(ctx context.Context, ready func()) error {
	cmd := exec.Command(c.cfg.Binary, append(append([]string(nil), c.cfg.Args...), c.cfg.Dir)...)
	cmd.SysProcAttr = childAttr()
	cmd.ExtraFiles = []*os.File{c.lock} // it holds the lock as long as it lives
	cmd.Stderr = c.output
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	watching := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		stdin.Close()
		select {
		case <-watching:
		case <-time.After(childStop):
			_ = cmd.Process.Kill()
		}
	})()
	var once sync.Once
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if lines.Text() == readyLine {
			once.Do(ready)
		}
	}
	_, _ = io.Copy(io.Discard, stdout)
	err = cmd.Wait()
	close(watching)
	if err == nil {
		return errors.New("it ended without being asked to")
	}
	return err
}

// failed adds the last lines of the log to an error.
func (c *Child) failed(err error) error {
	tail := c.output.Tail()
	if len(tail) == 0 {
		return fmt.Errorf("the embedded etcd in %s: %w", c.cfg.Dir, err)
	}
	return fmt.Errorf("the embedded etcd in %s: %w; its last words (more in etcd.log there):\n  %s",
		c.cfg.Dir, err, strings.Join(tail, "\n  "))
}

// lockWait is how long a lock may still be held by the child of a parent that just died.
const lockWait = 2 * time.Second

// lockDir takes a folder for this process and its child.
func lockDir(dir, name string) (*os.File, error) {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(50 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			holder, _ := os.ReadFile(path)
			f.Close()
			return nil, &inUseError{dir, cmp.Or(strings.TrimSpace(string(holder)), "unknown")}
		}
	}
	if f.Truncate(0) == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // for messages; a full disk does not take it
	}
	return f, nil
}

// inUseError: another process has taken the folder.
type inUseError struct{ dir, process string }

func (e *inUseError) Error() string {
	return fmt.Sprintf("the folder %s is in use by another gtmd (process %s); stop that one, or give this one another --data folder",
		e.dir, e.process)
}
