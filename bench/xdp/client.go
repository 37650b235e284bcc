package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// A client is a load, in a process of its own, that is told of its trials one by one.
type client struct {
	*server
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr bytes.Buffer
}

// newClient starts the load of a server, and waits until it is ready. It tries again where the kernel has not given the queue back
// yet that another load had.
func newClient(ctx context.Context, o options, s *server, load string) (c *client, err error) {
	for range 3 {
		if c, err = startClient(ctx, o, s, load); err == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(time.Second)
	}
	return c, err
}

func startClient(ctx context.Context, o options, s *server, load string) (c *client, err error) {
	command := process.Command{Core: strconv.Itoa(loadCore), Netns: s.load, Args: []string{process.Self(),
		"-load", s.loadNIC, "-mac", s.mac.String(), "-queries", o.file(load), "-window", strconv.Itoa(o.window)}}
	c = &client{server: s, cmd: command.Cmd(ctx)} // it ends when its input does
	c.cmd.Stderr = &c.stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if !c.out.Scan() || c.out.Text() != "ready" {
		return nil, c.fault(c.end())
	}
	if o.first {
		for _, pid := range []int{s.Pid(), c.cmd.Process.Pid} {
			if err := program.Prefer(pid); err != nil {
				return nil, err
			}
		}
	}
	return c, s.place(o.first)
}

func (c *client) fault(err error) error {
	return fmt.Errorf("loading %s: %w: %s%s", c.name, err, c.out.Text(), c.stderr.String())
}

// end ends the load.
func (c *client) end() error {
	_ = c.in.Close() // that ends it
	if err := c.cmd.Wait(); err != nil {
		return err
	}
	return errors.New("it ended")
}

// A sum is what trials found, added up: see load.try, and servercpu, the run time of the server's threads.
type sum map[string]float64

func (s sum) add(other sum) {
	for name, value := range other {
		s[name] += value
	}
}

// figures makes what is compared of it. CPU is in us for an answer.
func (s sum) figures(trials int) map[string]float64 {
	each := func(seconds, answers float64) float64 { return seconds * 1e6 / max(1, answers) }
	return map[string]float64{
		"qps": s["intime"] / s["seconds"], "lost": s["lost"], "bytes": s["bytes"] / max(1, s["samples"]),
		"cpu": each(s["worked"], s["intime"]), "servercpu": each(s["servercpu"], s["got"]), "loadcpu": each(s["loaded"], s["intime"]),
		"server": s["server"] / s["seconds"], "waited": s["waited"] / s["seconds"],
		"p50us": s["p50"] * 1e6 / float64(trials), "p99us": s["p99"] * 1e6 / float64(trials),
	}
}

// try makes one trial: as much as the server bears, or with a rate of queries a second.
func (c *client) try(seconds, rate float64) (sum, error) {
	before, err := c.server.worktime()
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(c.in, seconds, rate); err != nil {
		return nil, c.fault(err)
	}
	if !c.out.Scan() {
		return nil, c.fault(c.end())
	}
	after, err := c.server.worktime()
	if err != nil {
		return nil, err
	}
	got := sum{"servercpu": (after - before).Seconds()}
	for field := range strings.FieldsSeq(c.out.Text()) {
		name, value, _ := strings.Cut(field, "=")
		if got[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, c.fault(err)
		}
	}
	if got["bad"] > 0 {
		return nil, c.fault(errors.New("not every answer was NOERROR with records"))
	}
	return got, nil
}
