package main

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/gti/gtm/pkg/control/audit"
	"github.com/gti/gtm/pkg/control/notify"
	"github.com/gti/gtm/pkg/control/retention"
	"github.com/gti/gtm/pkg/store/state"
)

// openAudit opens the log of who did what, before anything can be done.
func (s *server) openAudit() (err error) {
	s.audit, err = audit.Open(audit.Config{Dir: filepath.Join(s.cfg.data, "audit"), ID: s.cfg.id, Most: int64(s.cfg.auditMiB) << 20,
		Logger: s.cfg.logger, Registerer: s.registry})
	return err
}

// openRetention has what is old leave the store. The audit log has it then.
func (s *server) openRetention() (err error) {
	s.keeper, err = retention.New(retention.Config{ID: s.cfg.id, Store: s.store, Mirror: s.mirror, Removing: s.audit.Pruned,
		Current: func() bool { return s.followed.Load().State == state.Current }, Logger: s.cfg.logger, Registerer: s.registry})
	return err
}

// openAuditTeller has the audit log told to the webhooks that the platform names for that.
func (s *server) openAuditTeller() (err error) {
	s.auditTeller, err = notify.NewAuditTeller(notify.AuditConfig{Log: s.audit, Mirror: s.mirror, Dir: filepath.Join(s.cfg.data, "audit"),
		Secrets: s.cfg.events.secrets, Logger: s.cfg.logger, Registerer: s.registry})
	return err
}

// keep has what is older than the retention removed, and the audit log told, until ctx ends.
func (s *server) keep(ctx context.Context) error {
	var telling sync.WaitGroup
	telling.Go(func() { s.auditTeller.Run(ctx) })
	s.keeper.Run(ctx)
	telling.Wait()
	return nil
}
