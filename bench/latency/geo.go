package main

import (
	"context"
	"errors"

	"github.com/gti/gtm/bench/figures"
)

func geography(context.Context, options, *figures.Report) error { return errors.New("no") }
