package edge

import (
	"context"
	"fmt"
	"time"

	"github.com/gti/gtm/pkg/transfer"
)

// newTransfer makes what answers messages that are not ordinary questions.
func (e *Edge) newTransfer() (err error) {
	e.tsig = &transfer.Keyring{}
	if e.cfg.TSIGKeys != "" {
		if e.tsig, err = transfer.OpenKeys(e.cfg.TSIGKeys); err != nil {
			return fmt.Errorf("TSIG keys: %w", err)
		}
	}
	cfg := transfer.Config{View: e.view.Load, Keys: e.tsig, Logger: e.cfg.Logger, Registerer: e.cfg.Registerer, Now: e.cfg.Now,
		Forward: e.cfg.Forward}
	for _, a := range e.cfg.DNS {
		cfg.From = append(cfg.From, a.Addr())
	}
	e.transfer, err = transfer.New(cfg)
	return err
}

// tsigCheck is how often the file of TSIG keys is looked at.
const tsigCheck = 5 * time.Second

func (e *Edge) watchTSIG(ctx context.Context) {
	e.tsig.Watch(ctx, tsigCheck, func(err error) {
		if err != nil {
			e.log.Error("a new file of TSIG keys is refused; the old keys hold on", "error", err)
			return
		}
		e.log.Info("TSIG keys were read anew")
	})
}
