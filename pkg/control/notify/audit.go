package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/audit"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// auditBytes is what one message has of the audit log, at least one entry.
const auditBytes = 1 << 20

// AuditConfig is what an AuditTeller needs.
type AuditConfig struct {
	Log    *audit.Log
	Mirror *state.Mirror
	// Dir keeps how far each target was told.
	Dir     string
	Secrets string // as of Config

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	Pace       Pace
}

// AuditTeller tells the entries of this control's audit log to those targets of the platform that name the kind audit, each in order and
// from when it was declared on. Nothing is dropped: what a target does not take waits in the log.
type AuditTeller struct {
	cfg  AuditConfig
	pace Pace
	post *poster

	mu   sync.Mutex
	told map[string]*auditMark // by target
}

// auditMark is how far a target was told.
type auditMark struct {
	seq   uint64
	fault string
	wait  time.Duration
	next  time.Time // when it is tried again
}

// NewAuditTeller makes one, which tells nobody before Run.
func NewAuditTeller(cfg AuditConfig) (*AuditTeller, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := &AuditTeller{cfg: cfg, pace: cfg.Pace.filled(), post: newPoster(nil), told: map[string]*auditMark{}}
	if cfg.Registerer == nil {
		return t, nil
	}
	return t, cfg.Registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gtm_control_audit_untold_entries",
		Help: "How many entries of the audit log the target that is furthest behind has not taken."}, t.untold))
}

// Run tells until ctx ends. Targets take turns, so that one that hangs makes the others late by some seconds, and no more.
func (t *AuditTeller) Run(ctx context.Context) {
	for ctx.Err() == nil {
		changed, busy := t.cfg.Log.Changed(), false
		targets := t.targets()
		t.forget(targets)
		for i := range targets {
			busy = t.tell(ctx, &targets[i]) || busy
		}
		if busy {
			continue
		}
		timer := time.NewTimer(min(syncEvery, t.pace.Most))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// targets are those that want the audit log.
func (t *AuditTeller) targets() (out []spec.EventTarget) {
	v, _ := t.cfg.Mirror.Tenant(spec.Platform).Resources.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform})
	if v.Resource == nil {
		return nil
	}
	if of, ok := v.Resource.Spec.(*spec.Tenant); ok && of.Events != nil {
		for _, target := range of.Events.Targets {
			if target.WantsAudit() {
				out = append(out, target)
			}
		}
	}
	return out
}

// forget drops what is known of targets that are declared no more.
func (t *AuditTeller) forget(declared []spec.EventTarget) {
	names := map[string]bool{}
	for i := range declared {
		names[declared[i].Name] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.told {
		if !names[name] {
			delete(t.told, name)
			_ = os.Remove(t.path(name)) // declared anew, it hears what is new
		}
	}
}

func (t *AuditTeller) path(target string) string { return filepath.Join(t.cfg.Dir, "told-"+target) }

// mark gives how far a target was told; one that nobody knows hears what is new.
func (t *AuditTeller) mark(target string) *auditMark {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.told[target]
	if m == nil {
		m = &auditMark{seq: t.cfg.Log.Status().Last}
		if text, err := os.ReadFile(t.path(target)); err == nil {
			if seq, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
				m.seq = seq
			}
		}
		t.told[target] = m
		t.save(target, m.seq)
	}
	return m
}

// save writes down how far a target was told. Where that fails, it may be told again what it was told.
func (t *AuditTeller) save(target string, seq uint64) {
	beside := t.path(target) + ".new"
	err := os.WriteFile(beside, []byte(strconv.FormatUint(seq, 10)+"\n"), 0o600)
	if err == nil {
		err = os.Rename(beside, t.path(target))
	}
	if err != nil {
		t.cfg.Logger.Warn("how far a target was told of the audit log cannot be written down", "target", target, "error", err)
	}
}

// tell sends the next entries to a target. more: there is more to tell it at once.
func (t *AuditTeller) tell(ctx context.Context, target *spec.EventTarget) (more bool) {
	m := t.mark(target.Name)
	if t.cfg.Now().Before(m.next) {
		return false
	}
	entries, last, err := t.after(m.seq)
	if err == nil && len(entries) == 0 {
		return false
	}
	if err == nil {
		status := t.cfg.Log.Status()
		body, failed := json.Marshal(auditBody{Version: 1, Target: target.Name, Writer: status.Writer, Audit: entries})
		if err = failed; err == nil {
			err = t.post.do(ctx, target, t.cfg.Secrets, spec.Platform, msg{id: chain.Name(status.Writer, last), body: body}, t.cfg.Now())
		}
	}
	if ctx.Err() != nil {
		return false
	}
	t.note(target.Name, m, last, err)
	return err == nil
}

// auditBody is what is posted of the audit log: its lines, as they stand there.
type auditBody struct {
	Version int               `json:"version"`
	Target  string            `json:"target"`
	Writer  string            `json:"writer"`
	Audit   []json.RawMessage `json:"audit"`
}

var errEnough = errors.New("enough")

// after gives the next entries behind a number.
func (t *AuditTeller) after(seq uint64) (entries []json.RawMessage, last uint64, err error) {
	bytes := 0
	err = t.cfg.Log.Read(seq, func(at uint64, line []byte) error {
		if len(entries) == batch || len(entries) > 0 && bytes+len(line) > auditBytes {
			return errEnough
		}
		entries, last, bytes = append(entries, line), at, bytes+len(line)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return entries, last, err
}

// note notes how a message fared, and tells a fault once.
func (t *AuditTeller) note(target string, m *auditMark, last uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := m.fault
	if err == nil {
		m.seq, m.fault, m.wait, m.next = last, "", 0, time.Time{}
		t.save(target, last)
		if was != "" {
			t.cfg.Logger.Info("a target takes the audit log again", "target", target)
		}
		return
	}
	m.fault = fmt.Sprint(err)
	m.wait = min(max(2*m.wait, t.pace.First), t.pace.Most)
	m.next = t.cfg.Now().Add(max(m.wait, min(retryAfter(err), t.pace.Most)))
	if was == "" {
		t.cfg.Logger.Warn("a target does not take the audit log; what it misses waits", "target", target, "error", err)
	}
}

func (t *AuditTeller) untold() float64 {
	last := t.cfg.Log.Status().Last
	t.mu.Lock()
	defer t.mu.Unlock()
	most := uint64(0)
	for _, m := range t.told {
		most = max(most, last-min(last, m.seq))
	}
	return float64(most)
}
