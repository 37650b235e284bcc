package health

import (
	"fmt"
	"slices"
	"time"
)

// StayOut applies resume: manual to the verdict on a pool, behind the brake. The rules:
//
//	S1  A pool goes out when fewer of the endpoints that count are up than it needs, and one of them failed: it is down by evidence,
//	    and was up once. An operator's word, a drain or a weight of 0 is no failure.
//	S2  It stays out, whatever its endpoints do, until a person resumes it. That does nothing while it is still down.
//	S3  What was only observed is forgotten when it would begin to act: a pool that answers does not go out by a change of mode.
func (d *Declared) StayOut(previous, v Verdict, resumed bool, now time.Time) Verdict {
	v.Out = nil
	if d.Resume != Enforce && d.Resume != Observe {
		return v
	}
	observed := d.Resume == Observe
	up, counted, failed := d.count(&v)
	needs := d.needs(counted)
	down := failed && up < needs
	switch {
	case previous.Out != nil && (down || !resumed && (observed || !previous.Out.Observed)): // S2
		out := *previous.Out
		out.Observed = observed
		v.Out = &out
	case down: // S1
		v.Out = &Out{Since: now, Why: fmt.Sprintf("%d of %d endpoints up, %d needed", up, counted, needs), Observed: observed}
	}
	return v
}

// count tells how many endpoints are up of those that count for whether the pool is, and whether one of these failed.
func (d *Declared) count(v *Verdict) (up, counted int, failed bool) {
	for name, f := range v.Endpoints {
		switch stand := d.Stands[name]; {
		case stand == Drained, stand == Weightless:
			continue
		case stand == SaidUp, stand == Judged && f.State != Down:
			up++
		case stand == Judged:
			failed = failed || !slices.Contains(v.NeverUp, name)
		}
		counted++
	}
	return up, counted, failed
}

// needs gives how many of n endpoints must be up.
func (d *Declared) needs(n int) int {
	if d.Needs == nil {
		return 1
	}
	return max(1, d.Needs(n))
}

// Enforced reports whether the pool is kept out, and not only observed. o may be nil.
func (o *Out) Enforced() bool { return o != nil && !o.Observed }

func (o *Out) equal(p *Out) bool {
	if o == nil || p == nil {
		return o == p
	}
	return o.Since.Equal(p.Since) && o.Why == p.Why && o.Observed == p.Observed
}
