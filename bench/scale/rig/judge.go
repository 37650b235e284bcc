package rig

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/store"
)

// Lead becomes the judge, whose verdicts a store takes, until over is called, which waits for the end of it.
func Lead(ctx context.Context, c *store.Client, patience time.Duration) (over func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var once sync.Once
	elected, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Campaign(ctx, "bench", func(ctx context.Context) error {
			once.Do(func() { close(elected) })
			<-ctx.Done()
			return nil
		})
	}()
	over = func() { cancel(); <-ended }
	select {
	case <-elected:
		return over, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(patience):
		err = errors.New("nobody was elected judge")
	}
	over()
	return nil, err
}
