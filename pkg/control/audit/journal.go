package audit

import (
	"cmp"
	"errors"
	"slices"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// Begin notes that a change is about to be made, and what became of it. So a Log is a change.Journal.
func (l *Log) Begin(p *change.Plan) (ended func([]state.Record, error), err error) {
	if l == nil {
		return func([]state.Record, error) {}, nil
	}
	e := chain.Entry{Act: chain.ActChange, Outcome: chain.Asked, Author: p.Author, Approved: p.Approved(), Tenants: tenantsOf(p),
		Message: p.Message}
	if why := p.BreakGlass(); why != "" {
		e.Act, e.Reason = chain.ActBreakGlass, why
	}
	asked, err := l.Write(e)
	if err != nil {
		return nil, err
	}
	return func(made []state.Record, err error) {
		l.end(asked, Generations(made), err)
	}, nil
}

// Refused notes that a change was not let begin: by whom, and of guards which one was the first to say so; also to who broke the glass.
func (l *Log) Refused(p *change.Plan, why error) {
	act, message, target := chain.ActChange, p.Message, ""
	if glass := p.BreakGlass(); glass != "" {
		act, message = chain.ActBreakGlass, glass
	}
	if guarded := new(change.RefusedError); errors.As(why, &guarded) && len(guarded.Refusals) > 0 {
		target = guarded.Refusals[0].Guard.String()
	}
	l.Refuse(act, p.Author, tenantsOf(p), target, message, why)
}

// tenantsOf lists whose resources a plan changes.
func tenantsOf(p *change.Plan) []string {
	tenants := []string{}
	for i := range p.Parts {
		tenants = append(tenants, p.Parts[i].Tenant)
	}
	slices.Sort(tenants)
	return slices.Compact(tenants)
}

// Ask notes that something else than a change is about to be done; ended notes what became of it. A nil Log notes nothing.
func (l *Log) Ask(act, author, tenant, target, message string) (ended func(error), err error) {
	if l == nil {
		return func(error) {}, nil
	}
	e := chain.Entry{Act: act, Outcome: chain.Asked, Author: author, Target: target, Message: message}
	if tenant != "" {
		e.Tenants = []string{tenant}
	}
	asked, err := l.Write(e)
	if err != nil {
		return nil, err
	}
	return func(err error) { l.end(asked, nil, err) }, nil
}

// end notes what became of what was asked. Where that cannot be written, what was asked stands there, and the log says so.
func (l *Log) end(asked chain.Entry, made []chain.Generation, err error) {
	e := chain.Entry{Act: asked.Act, Outcome: chain.Done, Of: asked.Seq, Author: asked.Author, Tenants: asked.Tenants, Target: asked.Target,
		Generations: made}
	if err != nil {
		e.Reason = err.Error()
		if len(made) == 0 {
			e.Outcome = cmp.Or(outcomeOf(err), chain.Failed)
		}
	}
	if _, err := l.Write(e); err != nil {
		l.cfg.Logger.Error("what became of an act is not in the audit log, which has that it was asked for", "act", e.Act,
			"asked", asked.Seq, "outcome", e.Outcome, "author", e.Author, "generations", len(made), "error", err)
	}
}

// Refuse notes that an act was refused: by its checks, or since whoever asked may not. Nothing was done, whatever becomes of the note.
func (l *Log) Refuse(act, author string, tenants []string, target, message string, why error) {
	if l == nil || !l.mayNote() {
		return
	}
	_, err := l.Write(chain.Entry{Act: act, Outcome: chain.Refused, Author: author, Tenants: tenants, Target: target, Message: message,
		Reason: why.Error()})
	if err != nil {
		l.cfg.Logger.Warn("that something was refused is not in the audit log", "act", act, "author", author, "reason", why, "error", err)
	}
}

// What is refused costs who asks nothing, so it must not fill the log: so many entries at once, and then so many a second.
const (
	refusedAtOnce   = 1000
	refusedEach     = 5
	refusedOverflow = "refused_dropped"
)

// mayNote takes one of the entries that tell of what was refused.
func (l *Log) mayNote() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.cfg.Now()
	l.refusals = min(refusedAtOnce, l.refusals+now.Sub(l.refusedAt).Seconds()*refusedEach)
	l.refusedAt = now
	if l.refusals < 1 {
		l.metrics.entries.WithLabelValues(refusedOverflow).Inc()
		return false
	}
	l.refusals--
	return true
}

// Pruned notes that generations leave the store. They do not where that cannot be noted.
func (l *Log) Pruned(records []state.Record) error {
	if l == nil || len(records) == 0 {
		return nil
	}
	_, err := l.Write(chain.Entry{Act: chain.ActPrune, Outcome: chain.Asked, Tenants: []string{records[0].Tenant},
		Generations: Generations(records),
		Message:     "older than the retention"})
	return err
}

// outcomeOf tells refusals from failures: after the former it is sure that nothing was done.
func outcomeOf(err error) string {
	var faults spec.Errors
	var conflict *store.ConflictError
	var pinned *change.ConflictError
	var changed *change.ChangedError
	var many *change.TooManyError
	var guarded *change.RefusedError
	switch {
	case errors.As(err, &guarded):
		return chain.Refused
	case errors.As(err, &faults), errors.As(err, &conflict), errors.As(err, &pinned), errors.As(err, &changed), errors.As(err, &many):
		return chain.Refused
	}
	return ""
}

// Generations makes entries' generations of records.
func Generations(records []state.Record) []chain.Generation {
	out := make([]chain.Generation, len(records))
	for i, r := range records {
		out[i] = chain.Generation{Tenant: r.Tenant, Generation: uint64(r.Generation), ID: r.ID, Time: r.Time,
			Author: r.Author, Message: r.Message, Approved: r.Approved, Put: r.Put, Deleted: r.Deleted}
	}
	return out
}
