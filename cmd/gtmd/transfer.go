package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/transfer"
)

// openTransfers makes control's part of updates and of zones that come from elsewhere.
func (s *server) openTransfers() (err error) {
	s.tsig = &transfer.Keyring{}
	if s.cfg.tsigKeys != "" {
		if s.tsig, err = transfer.OpenKeys(s.cfg.tsigKeys); err != nil {
			return fmt.Errorf("--tsig-keys: %w", err)
		}
	}
	changer := change.New(change.Config{Store: s.store, State: change.FollowState(s.store, s.mirror),
		Verdict: change.Known(s.mirror), World: s.world, Journal: s.audit})
	s.moves, err = transfer.NewControl(transfer.ControlConfig{Changer: changer, Changed: s.mirror.Changed, Keys: s.tsig,
		Logger: s.cfg.logger, Registerer: s.registry})
	return err
}

func (s *server) runTransfers(ctx context.Context) {
	go s.tsig.Watch(ctx, 5*time.Second, func(err error) {
		if err != nil {
			s.cfg.logger.Error("a new file of TSIG keys is refused; control holds on to the old keys", "error", err)
		}
	})
	s.moves.Run(ctx)
}

// forward gives the edge its way to control: in this process, or that of --control.
func (s *server) forward() func(context.Context, []byte, netip.AddrPort) ([]byte, error) {
	switch {
	case s.cfg.roles[roleControl]:
		return func(ctx context.Context, msg []byte, source netip.AddrPort) ([]byte, error) {
			return s.moves.Handle(ctx, msg, source), nil
		}
	case len(s.cfg.control) > 0:
		return (&transfer.Forwarder{URLs: s.cfg.control, Client: s.cfg.forward}).Forward
	}
	return nil
}
