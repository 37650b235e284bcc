package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/gti/gtm/pkg/spec"
)

// busy shows on a terminal what is being done and for how long, until the function that it gives is called.
func (a *app) busy(what string) (end func()) {
	if !isTerminal(a.err) {
		return func() {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(a.terminal()), progressbar.OptionSetDescription(escaped(line(what))),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionSetElapsedTime(true), progressbar.OptionClearOnFinish())
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(100 * time.Millisecond) // what is over sooner is not shown
		defer tick.Stop()
		for {
			select {
			case <-stop:
				_ = bar.Finish() // a terminal that is gone is no reason to stop
				return
			case <-tick.C:
				_ = bar.Add(1)
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// terminal gives what bars are drawn on, with sequences of their own.
func (a *app) terminal() io.Writer {
	if s, ok := a.err.(*screen); ok {
		return s.raw
	}
	return a.err
}

// patience is how long the server may take over resources.
func (a *app) patience(resources []*spec.Resource) time.Duration {
	if !a.patient {
		return a.timeout
	}
	content := 0
	for _, r := range resources {
		if z, ok := r.Spec.(*spec.Zone); ok {
			content += len(z.Content)
		}
	}
	return a.timeout + time.Duration(len(resources))*10*time.Millisecond + time.Duration(content>>20)*2*time.Second
}
