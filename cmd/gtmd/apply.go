package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/files"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// apply puts the resources of --apply into the store where they differ, and gives the generations that it made. Where that
// fails, a server that has a configuration serves on with it; one that has none has nothing to do.
func (s *server) apply(ctx context.Context) ([]state.Record, error) {
	if len(s.cfg.apply) == 0 {
		return nil, nil
	}
	if err := s.waitStore(ctx); err != nil {
		return nil, err
	}
	records, err := s.applyFiles(ctx)
	if err == nil || ctx.Err() != nil {
		return records, nil
	}
	if heads, hErr := s.store.Heads(ctx); hErr == nil && len(heads) > 0 {
		s.cfg.logger.Error("--apply failed; serving on with what the store holds", "error", err)
		return records, nil
	}
	return nil, fmt.Errorf("--apply failed, and the store holds nothing to serve:\n%w", err)
}

// waitStore waits until etcd answers.
func (s *server) waitStore(ctx context.Context) error {
	warned := false
	for {
		err := s.store.Ping(ctx)
		if err == nil {
			return nil
		}
		if !warned && ctx.Err() == nil {
			s.cfg.logger.Warn("--apply waits for the store", "error", err)
			warned = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (s *server) applyFiles(ctx context.Context) ([]state.Record, error) {
	if s.cfg.applyOnce {
		switch heads, err := s.store.Heads(ctx); {
		case err != nil:
			return nil, err
		case len(heads) > 0:
			s.cfg.logger.Info("--apply-once: the store holds a configuration, which stays as it is")
			return nil, nil
		}
	}
	resources, err := loadResources(s.cfg.apply)
	if err != nil {
		return nil, err
	}
	c, done, err := s.applier(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	me := "gtmd@" + s.cfg.id
	plan, err := c.Plan(ctx, change.Input{Put: resources, Author: me, Message: "gtmd --apply"})
	if err != nil {
		return nil, err
	}
	for _, w := range plan.Warnings {
		s.cfg.logger.Warn("--apply", "warning", w.Error())
	}
	undone := c.SetBack(ctx, plan, me)
	records, err := c.Apply(ctx, plan)
	if err == nil {
		s.tellSetBack(undone)
	}
	for _, r := range records {
		s.cfg.logger.Info("applied", "state", fmt.Sprintf("%s@%d", r.Tenant, r.Generation), "put", len(r.Put))
	}
	return records, err
}

// applier makes a Changer by whose plans guards are asked with what the store knows now of health and of found endpoints. done ends what
// it follows.
func (s *server) applier(ctx context.Context) (c *change.Changer, done func(), err error) {
	following, stop := context.WithCancel(ctx)
	ended, first := make(chan error, 1), make(chan struct{})
	m, told := state.NewMirror(), sync.OnceFunc(func() { close(first) })
	go func() {
		ended <- s.store.Follow(following, store.FollowConfig{OnUpdate: func(u state.Update) error {
			m.Apply(u)
			told()
			return nil
		}})
	}()
	select {
	case <-first:
	case err = <-ended:
		stop()
		return nil, nil, err
	}
	done = func() {
		stop()
		<-ended
	}
	return change.New(change.Config{Store: s.store, State: change.FollowState(s.store, m), Verdict: change.Known(m), World: s.world,
		Journal: s.audit}), done, nil
}

// tellSetBack logs what --apply took back of what others had changed, so that nobody has to find out by its effect.
func (s *server) tellSetBack(undone []change.Undone) {
	const most = 50
	for i, u := range undone {
		if i == most {
			s.cfg.logger.Warn("--apply set back more of what others had changed", "resources", len(undone)-most)
			return
		}
		s.cfg.logger.Warn("--apply set back what was changed since", "resource", u.Key.String(), "fields", u.Fields(), "by", u.By.Author,
			"at", u.By.Time.UTC().Format(time.RFC3339), "message", u.By.Message,
			"was", fmt.Sprintf("%s@%d", u.By.Tenant, u.By.Generation), "to keep it", "change the files too, or start with --apply-once")
	}
}

func loadResources(paths []string) ([]*spec.Resource, error) { return files.Load(paths, os.Stdin) }
