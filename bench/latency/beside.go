package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// beside is what the machine takes for two things that every change contains, measured between the changes: to start a program and
// wait for its end, and to bring some bytes to the disk. Where these are late, changes are, whatever gtm does.
type beside struct{ exec, disk []time.Duration }

// besideBytes is about what etcd writes for a change.
const besideBytes = 3000

var besideHead = []string{"the machine alone", "start of gtmctl, p50 ms", "p99 ms", "most ms", "3 kB to the disk, p50 ms",
	"p99 ms", "most ms"}

// measure runs gtmctl version, and appends to a file in dir.
func (b *beside) measure(ctx context.Context, gtmctl, dir string) error {
	began := time.Now()
	if _, err := process.Output(ctx, process.Command{Args: []string{gtmctl, "version"}}); err != nil {
		return err
	}
	b.exec = append(b.exec, time.Since(began))
	f, err := os.OpenFile(filepath.Join(dir, "beside"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	began = time.Now()
	if _, err := f.Write(make([]byte, besideBytes)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	b.disk = append(b.disk, time.Since(began))
	return nil
}

func (b *beside) row(name string) []string {
	row := []string{name}
	for _, times := range [][]time.Duration{b.exec, b.disk} {
		row = append(row, figures.Percentiles(millis(times), 0.5, 0.99, 1)...)
	}
	return row
}
