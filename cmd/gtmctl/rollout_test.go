package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gti/gtm/pkg/control"
	"github.com/gti/gtm/pkg/control/rollout"
	"github.com/gti/gtm/pkg/store/state"
)

// drive runs the rollouts of a script's server until ctx ends; done waits for that.
func (s *server) drive(ctx context.Context, c *control.Server) (done func(), err error) {
	d, err := rollout.New(rollout.Config{ID: "script", Store: s.store, Mirror: s.mirror, Eyes: c})
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Run(ctx)
	}()
	return func() { <-ended }, nil
}

// rollsCmd waits until a tenant's rollout is in a state, on the way to a generation: rolls shop soaking 2.
func rollsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: rolls TENANT STATE GENERATION")
	}
	s := ts.Value(serverKey{}).(*server)
	to, err := strconv.Atoi(args[2])
	ts.Check(err)
	for end := time.Now().Add(30 * time.Second); ; {
		changed := s.mirror.Changed()
		a, _ := state.Aims.Get(s.mirror, args[0])
		r := a.Rollout
		if r != nil && r.State == args[1] && r.To.Generation == state.Generation(to) &&
			(r.State != state.RolloutSoaking || a.Groups[r.Stage].At == r.To) {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Until(end)):
			ts.Fatalf("the rollout of %s is %s", args[0], fmt.Sprintf("%+v", a.Rollout))
		}
	}
}
