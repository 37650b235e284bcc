//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
)

const (
	startTimeout = 60 * time.Second // a loaded machine of two cores compiles and starts slowly
	stopTimeout  = 30 * time.Second
)

// A process is a program that a test started; it ends with the test, by its own pid.
type process struct {
	cmd  *exec.Cmd
	log  *gtmtest.Log
	done chan struct{}
	err  error // valid when done is closed
}

// A daemon is one running gtmd.
type daemon struct {
	*process
	dns  netip.AddrPort
	http string // base URL
	data string
}

// startProcess starts a command, in a process group of its own, and sees to its end.
func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, log: &gtmtest.Log{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s (%d) said:\n%s", filepath.Base(cmd.Path), cmd.Process.Pid, tail(p.log.String(), 8000))
		}
		p.kill()
	})
	return p
}

func tail(text string, limit int) string {
	if len(text) > limit {
		return "..." + text[len(text)-limit:]
	}
	return text
}

// running reports whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process's whole group at once.
func (p *process) kill() {
	if p.running() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// stop asks the process to end, as Ctrl-C does, and gives how it ended.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(stopTimeout):
		p.kill()
		return fmt.Errorf("still there %v after SIGINT", stopTimeout)
	}
}

// startGtmd starts gtmd with a DNS and an HTTP port of its own, and waits until it is ready.
func startGtmd(t *testing.T, data string, args ...string) *daemon {
	t.Helper()
	d := &daemon{dns: gtmtest.FreePort(t), data: data}
	d.http = "http://" + gtmtest.FreePort(t).String()
	all := append([]string{"--data", data, "--dns", d.dns.String(), "--http", strings.TrimPrefix(d.http, "http://"),
		"--edge-networks", "127.0.0.0/8"}, args...)
	d.process = startProcess(t, exec.Command(filepath.Join(bin, "gtmd"), all...))
	d.waitReady(t)
	return d
}

// waitReady waits until gtmd answers, and from what --apply wrote: the generations of several tenants come one after the other.
func (d *daemon) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, startTimeout, "gtmd is ready", func() error {
		if !d.running() {
			t.Fatalf("gtmd ended: %v", d.err)
		}
		status, body, err := get(d.http + "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz says %d: %s", status, body)
		}
		if err == nil && !strings.Contains(d.log.String(), " is ready\n") {
			err = errors.New("it has not said so yet")
		}
		return err
	})
}

// get fetches a small page.
func get(url string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	return response.StatusCode, body, err
}

// eventually tries until there is no error, or fails with the last one.
func eventually(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", limit, what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// writeFile writes a file of the test's own and gives its path.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// run runs a client to its end and gives what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, output)
	}
	return string(output)
}

// port gives the number as programs want it.
func port(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }

// gtmctl runs gtmctl against a gtmd.
func gtmctl(t *testing.T, d *daemon, args ...string) string {
	t.Helper()
	return run(t, filepath.Join(bin, "gtmctl"),
		append([]string{"--server", d.http, "--token-file", filepath.Join(d.data, "token")}, args...)...)
}
