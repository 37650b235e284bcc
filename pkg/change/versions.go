package change

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// ChangedError: resources are not any more what the declarations that are to replace them were made from. Nothing of the change was made.
type ChangedError struct{ Resources []Changed }

// Changed is one of them.
type Changed struct {
	Key        spec.Key
	Want, Have state.Generation // Have 0: it is not there
	// By is the change that made it so; zero: history does not tell.
	By state.Record

	file    string
	line    int
	matched bool // Input.Match asked for it, and no declaration
}

// Faults gives one fault for each, at the declaration's place.
func (e *ChangedError) Faults() spec.Errors {
	var faults spec.Errors
	for _, c := range e.Resources {
		fault := &spec.Error{File: c.file, Line: c.line, Resource: c.Key.String(), Field: "generation", Msg: c.what(),
			Hint: "get it again and change that, or remove the line generation: to overwrite"}
		if c.matched {
			fault.Field, fault.Hint = "", "look at what it is now, and ask for this anew"
		}
		faults.Add(fault)
	}
	return faults
}

func (e *ChangedError) Error() string { return e.Faults().Error() }

func (c *Changed) what() string {
	tenant := c.Key.Tenant
	by := ""
	if c.By.Generation != 0 {
		by = fmt.Sprintf(" by %s at %s (%s)", cmp.Or(c.By.Author, "someone"), c.By.Time.UTC().Format(time.RFC3339), c.By.Message)
	}
	switch {
	case c.Have == 0 && by != "":
		return fmt.Sprintf("was deleted in %s@%d%s, since this was made from %s@%d", tenant, c.By.Generation, by, tenant, c.Want)
	case c.Have == 0:
		return fmt.Sprintf("is not there any more, though this was made from %s@%d", tenant, c.Want)
	case c.Want == 0:
		return fmt.Sprintf("was created in %s@%d%s, since this was made", tenant, c.Have, by)
	case c.Have < c.Want:
		return fmt.Sprintf("is that of %s@%d%s, older than the one that this was made from, %s@%d", tenant, c.Have, by, tenant, c.Want)
	}
	return fmt.Sprintf("was changed in %s@%d%s, since this was made from %s@%d", tenant, c.Have, by, tenant, c.Want)
}

// unmatched gives the resources that are not of the versions that a change asks for.
func unmatched(s *State, want map[spec.Key]state.Generation) (changed []Changed) {
	for k, g := range want {
		if have := s.Version(k); have != g {
			changed = append(changed, Changed{Key: k, Want: g, Have: have, matched: true})
		}
	}
	slices.SortFunc(changed, func(a, b Changed) int { return a.Key.Compare(b.Key) })
	return changed
}

// made reports whether a declaration that would change something was made from the version that is there, and notes it if not.
func (m *maker) made(r *spec.Resource) bool {
	have := m.state.Version(r.Key)
	if r.Generation == 0 || state.Generation(r.Generation) == have {
		return true
	}
	m.changed = append(m.changed, Changed{Key: r.Key, Want: state.Generation(r.Generation), Have: have,
		file: r.Origin.File, line: r.Origin.LineOf("generation")})
	return false
}

// whole gives the form in which a declaration is to replace old: what is not understood of old is not lost, but where that is meant.
// A declaration that changes something beside it is a fault.
func (m *maker) whole(old, r *spec.Resource, declared bool) *spec.Resource {
	if !declared || m.dropUnknown || r.Unknown != nil || old == nil || old.Unknown == nil {
		return r
	}
	kept := old.With(r.Spec)
	if len(spec.Diff(old, kept)) == 0 {
		return old // all that is understood is as declared, and the rest stays
	}
	for _, field := range old.Unknown.Fields {
		m.fail(r, field, "apply it through a newer control, or take the field away with gtmctl apply --drop-unknown",
			"would be lost: a newer gtm wrote it, and this one does not know it")
	}
	return kept
}

// explainChanged adds who changed what, where history tells.
func (c *Changer) explainChanged(ctx context.Context, err *ChangedError) {
	const most = 1000
	histories := map[string][]state.Record{}
	for i := range err.Resources {
		ch := &err.Resources[i]
		records, asked := histories[ch.Key.Tenant]
		if !asked {
			records, _ = c.cfg.Store.History(ctx, ch.Key.Tenant, most) // the conflict is worth telling without it
			histories[ch.Key.Tenant] = records
		}
		for _, rec := range records {
			if ch.Have != 0 && rec.Generation == ch.Have || ch.Have == 0 && rec.Generation > ch.Want && deletes(rec, ch.Key) {
				ch.By = rec
				break
			}
		}
	}
}

func deletes(rec state.Record, k spec.Key) bool {
	for _, d := range rec.Deleted {
		if d == k {
			return true
		}
	}
	return false
}

// undecoded makes a rollback's error of a state that is not whole.
func undecoded(err error) error {
	var damaged *store.DamagedError
	if !errors.As(err, &damaged) {
		return err
	}
	return fmt.Errorf("it cannot be rolled back to %s, since not all of that can be read: %s", damaged.State,
		strings.TrimSuffix(damaged.Error(), "; apply them anew, or delete them"))
}
