package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// loadVariable is what the process that is the load finds in its environment.
const loadVariable = "GTM_BENCH_LOAD"

// loadTask is what it has to do.
type loadTask struct {
	File       string
	Port, Core int
	Length     time.Duration
	Rate       float64
}

// Load asks the questions of a file at a port at 127.0.0.1 for so long, or until ctx ends, at a rate a second, from one core: in a process
// of its own, so that nothing that this program does comes between. A program that uses it calls LoadProcess first of all.
func Load(ctx context.Context, file string, port, core int, length time.Duration, rate float64) (Figures, error) {
	var f Figures
	task, err := json.Marshal(loadTask{file, port, core, length, rate})
	if err != nil {
		return f, err
	}
	// It ends with its input, since it is to tell what it saw; ctx does not kill it.
	cmd := process.Command{Args: []string{process.Self()}, Env: []string{loadVariable + "=" + string(task)}}.Cmd(context.Background())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return f, err
	}
	defer context.AfterFunc(ctx, func() { _ = in.Close() })()
	output, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("the load: %w", err)
	}
	return f, json.Unmarshal(output, &f)
}

// LoadProcess is the load, where this process was started to be it, and then does not return.
func LoadProcess() {
	text, ok := os.LookupEnv(loadVariable)
	if !ok {
		return
	}
	if err := beLoad(text); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func beLoad(text string) error {
	var t loadTask
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	l, err := newLoader(t.File)
	if err != nil {
		return err
	}
	debug.SetGCPercent(-1) // it makes no garbage worth collecting
	ctx, stop := context.WithCancel(context.Background())
	go func() { // who started it ends it, or has died
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	f, err := l.run(ctx, t.Port, t.Core, t.Length, t.Rate)
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(f))
}
