package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/gti/gtm/pkg/spec"
)

// duration is a flag that is written as all durations of gtm are, with days and weeks.
type duration time.Duration

// durationVar defines such a flag, whose value p has already.
func durationVar(f *pflag.FlagSet, p *time.Duration, name, usage string) {
	f.Var((*duration)(p), name, usage)
}

func (d *duration) Set(text string) error {
	value, err := spec.ParseDuration(text)
	*d = duration(value)
	return err
}

// String gives "" for none, so that help tells no default.
func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return spec.Duration(*d).String()
}

func (d *duration) Type() string { return "duration" }
