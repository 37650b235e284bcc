package embedded

import (
	"bufio"
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

	"github.com/gti/gtm/pkg/private"
)

// socketName and readyLine are what parent and child have agreed on.
const (
	socketName = "etcd.sock"
	readyLine  = "gtm: the embedded etcd is ready"
)

// errNotBuilt is what a program says that has no etcd in it.
var errNotBuilt = errors.New("this program was built without an etcd of its own (by the tag noembed): " +
	"give it one with --etcd, or build it without that tag")

// Config says how the embedded etcd is run.
type Config struct {
	// Dir holds its data, socket, lock and log (etcd.log); it is made, for its owner only.
	Dir string
	// Binary and Args make the process that calls Run(ctx, DIR): Dir is added behind Args as the
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
	cfg      Config
	log      *slog.Logger
	lock     *os.File
	output   *boundedLog
	restarts prometheus.Counter

	stop   context.CancelFunc
	exited chan error
	done   chan struct{}
}

// Start starts the child and waits until it is ready. ctx bounds only that wait. A second start on a
// folder in use fails; so does one whose etcd does not come up, with the last lines of its log, and any in a program without an etcd.
func Start(ctx context.Context, cfg Config) (*Child, error) {
	if !Built {
		return nil, errNotBuilt
	}
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

func newChild(cfg Config) (*Child, error) {
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
	if err := private.MakeDir(c.cfg.Dir); err != nil {
		return nil, fmt.Errorf("the folder of the embedded etcd: %w", err)
	}
	c.restarts = prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_store_child_restarts_total",
		Help: "How often the embedded etcd was started again after it died."})
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(c.restarts); err != nil {
			return nil, err
		}
	}
	if c.lock, err = private.LockDir(c.cfg.Dir, "etcd.lock"); err != nil {
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
	for first := true; ; {
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
		hit := interrupted(err)
		err = c.failed(err)
		if first && !hit && time.Since(begun) < childReady {
			select {
			case ready <- err: // it never came up, unless ready was told before
			default:
			}
		}
		first = first && hit
		select {
		case c.exited <- err:
		default:
		}
		if time.Since(begun) > childCalm {
			pause = childPause
		}
		c.log.Error("the embedded etcd died and is started again", "error", err, "in", pause)
		c.restarts.Inc()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, childCalm)
	}
}

// interrupted tells whether a process was ended by Ctrl-C, which can reach it in the instant before it has a process group of its own. The
// parent got that as well, and is about to end: it is no failure to start.
func interrupted(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGINT
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
