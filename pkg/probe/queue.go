package probe

import (
	"container/list"
	"time"
)

// dueHeap holds idle tasks, the next one due on top.
type dueHeap []*task

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	t := x.(*task)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *dueHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

// budget is a number of slots, one for each socket, that running checks take: see Scheduler.
type budget struct {
	limit, taken int
	leaving      int  // taken by checks that were cut off, and come free at once
	exhausted    bool // nobody is left who could be cut off; true until the next dispatch
}

func (r *budget) free() int { return r.limit - r.taken }

// The budgets.
const (
	quick = iota
	slow
	budgets
)

// queues hold the tasks that are due, by their owners' tenants and pools, and say whose turn it is. See Scheduler for the rules. A task
// takes as many slots as it has sockets.
type queues struct {
	budgets [budgets]budget
	waiting int
	lanes   map[string]*lane
	active  int       // lanes with targets
	ready   list.List // of *lane with waiting tasks, whose turn comes first in front
	fresh   list.List // of *task that run in the quick budget, the oldest in front
	overdue list.List // of *task that wait for slots in the slow budget, and run in the quick one
	hung    list.List // of *task that run in the slow budget, the latest to come at the back
}

// lane is one tenant's pools. It lives as long as they do.
type lane struct {
	tenant  string
	turn    *list.Element // in the queues' ready; nil: nothing waits
	taken   [budgets]int
	leaving [budgets]int
	pools   map[string]*line
	active  int       // pools with targets
	ready   list.List // of *line with waiting tasks
}

// line is one pool's queue. It lives as long as there are targets of the pool, or checks that run.
type line struct {
	lane    *lane
	pool    string
	targets int
	taken   [budgets]int
	waiting list.List     // of *owner
	turn    *list.Element // in the lane's ready; nil: nothing waits
}

func newQueues(quickSlots, slowSlots int) queues {
	return queues{budgets: [budgets]budget{{limit: quickSlots}, {limit: slowSlots}}, lanes: make(map[string]*lane)}
}

// join gives an owner its line, and has it wait there if its task does.
func (q *queues) join(o *owner) {
	l := q.lanes[o.id.Tenant]
	if l == nil {
		l = &lane{tenant: o.id.Tenant, pools: make(map[string]*line)}
		q.lanes[o.id.Tenant] = l
	}
	p := l.pools[o.id.Pool]
	if p == nil {
		p = &line{lane: l, pool: o.id.Pool}
		l.pools[o.id.Pool] = p
	}
	if p.targets == 0 {
		if l.active == 0 {
			q.active++
		}
		l.active++
	}
	p.targets++
	if o.line = p; o.task.queued {
		q.enqueue(o)
	}
}

// leave is called when the owner is none of its task any more.
func (q *queues) leave(o *owner) {
	if q.dequeue(o); o.task.queued && len(o.task.owners) == 0 {
		o.task.queued = false
		q.waiting--
	}
	p := o.line
	p.targets--
	if p.targets == 0 {
		p.lane.active--
		if p.lane.active == 0 {
			q.active--
		}
	}
	q.forget(p)
}

// forget drops a line that nothing is left of, and a lane without lines.
func (q *queues) forget(p *line) {
	if p.targets > 0 || p.taken != [budgets]int{} {
		return
	}
	delete(p.lane.pools, p.pool)
	if len(p.lane.pools) == 0 {
		delete(q.lanes, p.lane.tenant)
	}
}

// push has a task wait, in the lines of all of its owners.
func (q *queues) push(t *task) {
	t.queued = true
	q.waiting++
	for _, o := range t.owners {
		q.enqueue(o)
	}
}

func (q *queues) enqueue(o *owner) {
	p, l := o.line, o.line.lane
	if o.wait = p.waiting.PushBack(o); p.turn == nil {
		p.turn = l.ready.PushBack(p)
	}
	if l.turn == nil {
		l.turn = q.ready.PushBack(l)
	}
}

func (q *queues) dequeue(o *owner) {
	if o.wait == nil {
		return
	}
	p, l := o.line, o.line.lane
	p.waiting.Remove(o.wait)
	o.wait = nil
	if p.waiting.Len() == 0 {
		l.ready.Remove(p.turn)
		p.turn = nil
	}
	if l.ready.Len() == 0 {
		q.ready.Remove(l.turn)
		l.turn = nil
	}
}

// next takes the task that may run now, or nil, and gives it slots. The lane whose turn it was goes to the end, as does the line.
func (q *queues) next(now time.Time) *task {
	for e := q.ready.Front(); e != nil; e = e.Next() {
		p := q.nextOf(e.Value.(*lane))
		if p == nil {
			continue
		}
		t := p.waiting.Front().Value.(*owner).task
		if t.slots <= q.budgets[quick].free() {
			q.begin(t, p, now)
			return t
		}
		if q.vacate(p.lane, t.slots, quick) {
			q.ready.MoveToFront(e) // what leaves is for this one
			return nil
		}
	}
	return nil
}

// nextOf gives a lane's next line whose first task may run.
func (q *queues) nextOf(l *lane) *line {
	for e := l.ready.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*line); q.admits(p, p.waiting.Front().Value.(*owner).task.slots, quick) {
			return p
		}
	}
	return nil
}

// begin gives slots to a task on account of a line, which has this turn.
func (q *queues) begin(t *task, p *line, now time.Time) {
	p.lane.ready.MoveToBack(p.turn)
	q.ready.MoveToBack(p.lane.turn)
	for _, o := range t.owners {
		q.dequeue(o)
	}
	t.queued = false
	q.waiting--
	t.line, t.began = p, now
	q.take(t, quick, 1)
	t.move(&q.fresh)
}

// share is how many slots of a budget each tenant may always have.
func (q *queues) share(kind int) int { return max(1, q.budgets[kind].limit/max(1, q.active)) }

// within reports whether a tenant has no more than its share of a budget with n slots more. It may have one check, however large.
func (q *queues) within(l *lane, kind, n int) bool {
	return l.taken[kind] == 0 || l.taken[kind]+n <= q.share(kind)
}

// admits reports whether a line may have n slots more of a budget. Its tenant must stay within its share of the budget, or leave a quarter
// of the budget free. Its pool must stay within its share of that, or leave a quarter of that free, or half of the budget must be free.
// Where the tenant stays within its share, the slots need not be free.
func (q *queues) admits(p *line, n, kind int) bool {
	r := &q.budgets[kind]
	if !q.within(p.lane, kind, n) && r.free()-n < r.limit/4 {
		return false
	}
	share := q.share(kind)
	return p.taken[kind] == 0 || p.taken[kind]+n <= share/max(1, p.lane.active) || p.lane.taken[kind]+n <= share-share/4 ||
		r.free() > r.limit/2
}

// vacate cuts off checks that hang until n slots for a lane are free or come free: those of tenants that have more than their share of
// the budget, and more than its own would have, so that nobody takes from who takes from it. The latest go first: those who began before
// come to their end. It reports whether any come free.
func (q *queues) vacate(newcomer *lane, n, kind int) bool {
	r, from := &q.budgets[kind], &q.overdue
	if kind == slow {
		from = &q.hung
	}
	most := max(q.share(kind), newcomer.taken[kind]+n)
	for e := from.Back(); e != nil && !r.exhausted && r.free()+r.leaving < n; e = e.Prev() {
		t := e.Value.(*task)
		if l := t.line.lane; !t.cut && l.taken[kind]-l.leaving[kind] > most {
			t.cut = true
			r.leaving += t.slots
			l.leaving[kind] += t.slots
			t.cancel()
		}
	}
	r.exhausted = r.exhausted || r.free()+r.leaving < n && most == q.share(kind)
	return r.leaving > 0
}

// take gives a task its slots in a budget, or with -1 takes them back.
func (q *queues) take(t *task, kind, sign int) {
	n, p := sign*t.slots, t.line
	q.budgets[kind].taken += n
	p.lane.taken[kind] += n
	p.taken[kind] += n
}

// yield moves the checks that are not quick to the slow budget, as far as it admits them, and gives when the next one may have to.
func (q *queues) yield(now time.Time) (next time.Time) {
	for kind := range q.budgets {
		q.budgets[kind].exhausted = false
	}
	for e := q.fresh.Front(); e != nil; e = q.fresh.Front() {
		t := e.Value.(*task)
		if next = t.began.Add(quickTime); next.After(now) {
			break
		}
		t.move(&q.overdue)
		next = time.Time{}
	}
	for e := q.overdue.Front(); e != nil; {
		t, following := e.Value.(*task), e.Next()
		switch {
		case t.cut || !q.admits(t.line, t.slots, slow):
		case t.slots <= q.budgets[slow].free():
			q.take(t, quick, -1)
			q.take(t, slow, 1)
			t.move(&q.hung)
		case q.vacate(t.line.lane, t.slots, slow):
			q.overdue.MoveToFront(e) // what leaves is for this one
			return next
		}
		e = following
	}
	return next
}

// done takes the slots of a check back.
func (q *queues) done(t *task) {
	kind := quick
	if t.in == &q.hung {
		kind = slow
	}
	q.take(t, kind, -1)
	if t.cut {
		q.budgets[kind].leaving -= t.slots
		t.line.lane.leaving[kind] -= t.slots
	}
	t.in.Remove(t.seat)
	p := t.line
	t.line, t.seat, t.in, t.cut = nil, nil, nil, false
	q.forget(p)
}
