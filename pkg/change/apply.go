package change

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// Config is what a Changer works with.
type Config struct {
	Store Store
	// State gives the present state. Absent: it is read from Store each time.
	State func(context.Context) (*State, error)
	// Now gives the time of changes. Absent: time.Now.
	Now func() time.Time
	// Verdict gives what is known of a pool; absent: nothing is.
	Verdict func(health.PoolID) *health.Verdict
	// World gives the geography by which the effect of changes is told; absent: the built-in one.
	World func() (*effect.World, error)
	// Seen gives the queries that edges saw, by which clients are weighed; absent, or nil: they are weighed by Internet users.
	Seen func() *demand.Sum
	// Journal is told of every change; nil: nobody is.
	Journal Journal
}

// Journal hears of each change before it is made: its error stops that. ended is called with what became of it. Refused hears of each that
// guards, or the number of changes that a tenant may make, do not let begin.
type Journal interface {
	Begin(*Plan) (ended func(made []state.Record, err error), err error)
	Refused(p *Plan, why error)
}

// Changer plans and applies changes. It is safe for concurrent use; its changes of one tenant are applied one after the
// other, and those of other tenants and processes are met by planning anew.
type Changer struct {
	cfg   Config
	queue queue
	// gate is held for reading by each commit, and for writing by who was overtaken, until its next commit is made: so nobody of this
	// process is overtaken twice without getting on, and others wait for one commit at most.
	gate sync.RWMutex
}

// New makes a Changer.
func New(cfg Config) *Changer {
	if cfg.State == nil {
		cfg.State = func(ctx context.Context) (*State, error) { return ReadState(ctx, cfg.Store) }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.World == nil {
		cfg.World = builtinWorld
	}
	return &Changer{cfg: cfg}
}

// State gives the present state.
func (c *Changer) State(ctx context.Context) (*State, error) { return c.cfg.State(ctx) }

// Plan works out a change on the present state, with what it does to answers and what guards say to it; see Make for its errors.
func (c *Changer) Plan(ctx context.Context, in Input) (*Plan, error) {
	state, err := c.cfg.State(ctx)
	if err != nil {
		return nil, err
	}
	in.now = c.cfg.Now()
	p, err := Make(state, in)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return p, c.judge(ctx, p)
}

// maxAttempts bounds how often a change is planned anew because others were faster, without having got on in between.
const maxAttempts = 20

// Apply carries a plan out and gives the generations that it made, in their order: one for each part, or
// more where a part is too large for one (dependencies first). Where the state has moved since the
// plan was made, the change is planned anew and checked against what is there now; a pinned tenant that moved
// is a *ConflictError; a change that guards refuse, a *RefusedError. With an error, the records tell what was done before it.
func (c *Changer) Apply(ctx context.Context, p *Plan) ([]state.Record, error) {
	if strings.TrimSpace(p.Author) == "" {
		return nil, errors.New("a change needs an author: say who makes it")
	}
	if err := c.mayBegin(ctx, p); err != nil {
		return nil, err
	}
	if c.cfg.Journal == nil || p.Empty() {
		return c.apply(ctx, p)
	}
	ended, err := c.cfg.Journal.Begin(p)
	if err != nil {
		return nil, fmt.Errorf("nothing was changed: %w", err)
	}
	// gofail: var changeAsked struct{}
	records, err := c.apply(ctx, p)
	// gofail: var changeMade struct{}
	ended(records, err)
	// gofail: var changeNoted struct{}
	return records, err
}

// mayBegin tells why a change must not be made at all.
func (c *Changer) mayBegin(ctx context.Context, p *Plan) error {
	err := c.mayChange(ctx, p)
	if err == nil {
		err = c.judged(ctx, p)
	}
	if c.cfg.Journal != nil && (errors.As(err, new(*TooManyError)) || errors.As(err, new(*RefusedError))) {
		c.cfg.Journal.Refused(p, err)
	}
	return err
}

func (c *Changer) apply(ctx context.Context, p *Plan) ([]state.Record, error) {
	end, err := c.queue.take(ctx, tenantsOf(p))
	if err != nil {
		return nil, err
	}
	defer end()
	run := &run{c: c, message: p.in.Message, author: p.Author, at: c.cfg.Now(), breakGlass: p.in.BreakGlass, approved: p.in.Approved}
	defer run.letOthers()
	made, most := 0, 0 // generations; more of them than steps are made only where somebody undoes them
	for _, part := range p.Parts {
		most += len(part.Steps)
	}
	for attempt := 0; attempt < maxAttempts; attempt++ {
		err := run.parts(ctx, p)
		if n := len(run.records); n > made && n <= most {
			made, attempt = n, 0
		}
		var moved *store.ConflictError
		if !errors.As(err, &moved) {
			return run.records, run.partly(err)
		}
		in := run.again(p.in)
		if want, pinned := in.Expect[moved.Tenant]; pinned {
			return run.records, run.partly(c.explain(ctx, &ConflictError{Tenant: moved.Tenant, Want: want, Have: moved.Have}))
		}
		if p, err = run.anew(ctx, in); err != nil {
			return run.records, run.partly(err)
		}
	}
	return run.records, run.partly(fmt.Errorf("others changed the same %d times while this was tried; try again later", maxAttempts))
}

// run is one Apply.
type run struct {
	c               *Changer
	author, message string // message is empty where each part tells its own
	at              time.Time
	breakGlass      string // as Input has it
	approved        string // likewise
	records         []state.Record
	ids             map[string]string // of the heads that are compared, as far as they are known
	before          bool              // it holds the gate, since it was overtaken
}

// beforeOthers has nobody of this process commit until this run has.
func (r *run) beforeOthers() {
	if !r.before {
		r.c.gate.Lock()
		r.before = true
	}
}

// letOthers ends what beforeOthers began.
func (r *run) letOthers() {
	if r.before {
		r.c.gate.Unlock()
		r.before = false
	}
}

// mostOutside is how often a plan is judged without the gate, where the state that it was judged on moves each time.
const mostOutside = 3

// anew plans again after others came first, and lets nobody come first any more. Judging can take long, and others would wait: so that is
// done before they do, and done again while they wait only where what it was judged on does not stop moving.
func (r *run) anew(ctx context.Context, in Input) (*Plan, error) {
	r.letOthers()
	for range mostOutside {
		p, err := r.plan(ctx, in)
		if err != nil {
			return nil, err
		}
		r.beforeOthers()
		now, err := r.c.cfg.State(ctx)
		if err != nil {
			return nil, err
		}
		if p.standsOn(now) {
			return p, nil
		}
		r.letOthers()
	}
	r.beforeOthers()
	return r.plan(ctx, in)
}

// plan makes a plan that guards let pass.
func (r *run) plan(ctx context.Context, in Input) (*Plan, error) {
	state, err := r.c.cfg.State(ctx)
	if err != nil {
		return nil, err
	}
	p, err := Make(state, in)
	if err != nil {
		return nil, r.c.explain(ctx, err)
	}
	return p, r.c.judged(ctx, p)
}

// standsOn reports whether all that a plan was made and judged on is so in a state: that of the tenants that it changes, that it relies on,
// and whose services it concerns, and the platform's.
func (p *Plan) standsOn(s *State) bool {
	same := func(tenant string) bool {
		return s.Head(tenant) == p.state.Head(tenant) && s.ID(tenant) == p.state.ID(tenant)
	}
	for tenant := range p.ground {
		if !same(tenant) {
			return false
		}
	}
	for tenant := range p.Base() {
		if !same(tenant) {
			return false
		}
	}
	return same(spec.Platform)
}

// put commits, with others or before them.
func (r *run) put(ctx context.Context, ch store.Change) (state.Record, error) {
	if r.before {
		rec, err := r.c.cfg.Store.Commit(ctx, ch)
		if err == nil {
			r.letOthers()
		}
		return rec, err
	}
	r.c.gate.RLock()
	defer r.c.gate.RUnlock()
	return r.c.cfg.Store.Commit(ctx, ch)
}

// parts commits all parts of a plan. The heads that it compares are those of the plan's state, moved on by what
// it commits itself.
func (r *run) parts(ctx context.Context, p *Plan) error {
	heads := map[string]state.Generation{}
	r.ids = map[string]string{}
	for _, t := range p.state.Tenants() {
		heads[t], r.ids[t] = p.state.Head(t), p.state.ID(t)
	}
	for _, part := range p.Parts {
		if err := r.commit(ctx, part, heads, 0); err != nil {
			return err
		}
	}
	return nil
}

// atOnce is how many steps are not even tried in one generation: beside them stand a record and a head.
const atOnce = store.MaxChangeOps - 2

// commit makes one part a generation, or halves it until its pieces fit. piece numbers the pieces from 1; 0: whole.
func (r *run) commit(ctx context.Context, part Part, heads map[string]state.Generation, piece int) error {
	if len(part.Steps) > atOnce {
		return r.halves(ctx, part, heads, piece)
	}
	ch := store.Change{Tenant: part.Tenant, Base: heads[part.Tenant], Author: r.author, Message: r.message, Time: r.at,
		BreakGlass: r.breakGlass, Approved: r.approved,
		Reads: make(map[string]state.Generation, len(part.Reads)), IDs: map[string]string{part.Tenant: r.ids[part.Tenant]}}
	if ch.Message == "" {
		ch.Message = summary(part.Steps) // of this tenant alone: its history is no place for what others have
	}
	if piece > 0 {
		ch.Message += fmt.Sprintf(" (part %d)", piece)
	}
	for _, t := range part.Reads {
		ch.Reads[t], ch.IDs[t] = heads[t], r.ids[t]
	}
	for _, st := range part.Steps {
		if st.Action == Delete {
			ch.Delete = append(ch.Delete, st.Key)
		} else {
			ch.Put = append(ch.Put, st.new)
		}
	}
	rec, err := r.put(ctx, ch)
	var large *store.TooLargeError
	if errors.As(err, &large) && len(part.Steps) > 1 {
		return r.halves(ctx, part, heads, piece)
	}
	if errors.As(err, &large) {
		return fmt.Errorf("%s: %w", part.Steps[0].Key, err)
	}
	if err != nil {
		return err
	}
	heads[part.Tenant], r.ids[part.Tenant] = rec.Generation, rec.ID
	r.records = append(r.records, rec)
	// gofail: var partMade struct{}
	return nil
}

func (r *run) halves(ctx context.Context, part Part, heads map[string]state.Generation, piece int) error {
	first, second := part, part
	half := len(part.Steps) / 2
	first.Steps, second.Steps = part.Steps[:half], part.Steps[half:]
	before := len(r.records)
	if err := r.commit(ctx, first, heads, max(piece, 1)); err != nil {
		return err
	}
	return r.commit(ctx, second, heads, max(piece, 1)+len(r.records)-before)
}

// again gives the input for another attempt: pins move on with what this run did itself.
func (r *run) again(in Input) Input {
	in.again, in.Foresee = true, false // what it does was told
	in.Author, in.Message = r.author, r.message
	in.Match = maps.Clone(in.Match)
	for _, rec := range r.records {
		for _, k := range rec.Put {
			if _, matched := in.Match[k]; matched {
				in.Match[k] = rec.Generation
			}
		}
		for _, k := range rec.Deleted {
			if _, matched := in.Match[k]; matched {
				in.Match[k] = 0
			}
		}
	}
	if len(r.records) == 0 || len(in.Expect) == 0 {
		return in
	}
	expect := make(map[string]state.Generation, len(in.Expect))
	for t, g := range in.Expect {
		expect[t] = g
	}
	for _, rec := range r.records {
		if _, pinned := expect[rec.Tenant]; pinned {
			expect[rec.Tenant] = rec.Generation
		}
	}
	in.Expect = expect
	return in
}

// partly adds to an error what was done before it.
func (r *run) partly(err error) error {
	if err == nil || len(r.records) == 0 {
		return err
	}
	return &PartlyError{Done: r.records, Err: err}
}

// PartlyError: some parts of a change were made, then came an error. Applying it again does the rest.
type PartlyError struct {
	Done []state.Record
	Err  error
}

func (e *PartlyError) Error() string {
	done := make([]string, len(e.Done))
	for i, rec := range e.Done {
		done[i] = fmt.Sprintf("%s@%d", rec.Tenant, rec.Generation)
	}
	return fmt.Sprintf("%s was made, but not the rest: %v", strings.Join(done, ", "), e.Err)
}

func (e *PartlyError) Unwrap() error { return e.Err }

// ConflictError: a pinned tenant is at another generation than the change was prepared on. Nothing of it was
// made there.
type ConflictError struct {
	Tenant     string
	Want, Have state.Generation
	// Since are the changes after Want, newest first, at most ten.
	Since []state.Record
}

func (e *ConflictError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is at generation %d, not %d as expected", e.Tenant, e.Have, e.Want)
	for i, rec := range e.Since {
		sep := "; "
		if i == 0 {
			sep = ": since then "
		}
		fmt.Fprintf(&b, "%s%s wrote %s@%d at %s (%s)", sep, rec.Author, rec.Tenant, rec.Generation,
			rec.Time.UTC().Format(time.RFC3339), rec.Message)
	}
	b.WriteString("; look at what changed, then plan again")
	return b.String()
}

// explain adds to a conflict who wrote what since.
func (c *Changer) explain(ctx context.Context, err error) error {
	var changed *ChangedError
	if errors.As(err, &changed) {
		c.explainChanged(ctx, changed)
		return err
	}
	var conflict *ConflictError
	if !errors.As(err, &conflict) || conflict.Have <= conflict.Want {
		return err
	}
	const most = 10
	records, historyErr := c.cfg.Store.History(ctx, conflict.Tenant, int(min(conflict.Have-conflict.Want, most)))
	if historyErr != nil {
		return err // the conflict is worth telling without its history
	}
	for _, rec := range records {
		if rec.Generation > conflict.Want {
			conflict.Since = append(conflict.Since, rec)
		}
	}
	return err
}

// History gives a tenant's last changes, newest first; limit 0: all.
func (c *Changer) History(ctx context.Context, tenant string, limit int) ([]state.Record, error) {
	return c.cfg.Store.History(ctx, tenant, limit)
}

// Rollback gives the input that makes a tenant's resources what they were at a generation, as a new one.
// store.ErrNotFound: there was no such generation.
//
// Overrides are of now, not of then: those that there are stay, but for those whose pool or endpoint goes, and none comes back; unless
// overrides is set, which takes them back, too. Access is of now in any case: nobody gets back by a rollback what was taken from them.
func (c *Changer) Rollback(ctx context.Context, tenant string, to state.Generation, overrides bool) (Input, error) {
	if to == 0 {
		return Input{}, errors.New("say to which generation: they count from 1")
	}
	then, err := c.cfg.Store.Read(ctx, tenant, to)
	if err != nil {
		return Input{}, undecoded(err)
	}
	edit := func(now *State) (put []*spec.Resource, deleted []spec.Key, err error) {
		for _, v := range then.Resources.All() {
			if (v.Resource.Kind != spec.KindOverride || overrides) && v.Resource.Kind != spec.KindAccess {
				put = append(put, v.Resource)
			}
		}
		for _, r := range now.Tenant(tenant) {
			if r.Kind == spec.KindAccess {
				continue
			}
			_, was := then.Resources.Get(r.Key)
			if r.Kind == spec.KindOverride && !overrides {
				was = hasTarget(func(k spec.Key) *spec.Resource {
					v, _ := then.Resources.Get(k)
					return v.Resource
				}, r)
			}
			if !was {
				deleted = append(deleted, r.Key)
			}
		}
		for k := range now.tenants[tenant].Broken {
			if _, was := then.Resources.Get(k); !was && now.Get(k) == nil && (k.Kind != spec.KindOverride || overrides) &&
				k.Kind != spec.KindAccess {
				deleted = append(deleted, k)
			}
		}
		return put, deleted, nil
	}
	return Input{Edit: edit, Message: fmt.Sprintf("roll back to %s@%d", tenant, to)}, nil
}
