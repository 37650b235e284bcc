package probe

import "container/list"

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

// queues hold the tasks that are due, by tenant, and say whose turn it is. See Scheduler for the rule.
type queues struct {
	limit, running, waiting int
	lanes                   map[string]*lane
	active                  int       // lanes with targets
	turns                   list.List // of *lane with waiting tasks, whose turn comes first in front
}

// lane is one tenant's queue. It lives as long as there are targets of the tenant, or checks that run.
type lane struct {
	tenant  string
	targets int
	running int
	waiting list.List // of *task
}

func newQueues(limit int) queues { return queues{limit: limit, lanes: make(map[string]*lane)} }

// join counts one target of a tenant more; leave, one less.
func (q *queues) join(tenant string) {
	l := q.lanes[tenant]
	if l == nil {
		l = &lane{tenant: tenant}
		q.lanes[tenant] = l
	}
	if l.targets == 0 {
		q.active++
	}
	l.targets++
}

func (q *queues) leave(tenant string) {
	l := q.lanes[tenant]
	l.targets--
	if l.targets == 0 {
		q.active--
	}
	q.forget(l)
}

// forget drops a lane that nothing is left of.
func (q *queues) forget(l *lane) {
	if l.targets == 0 && l.running == 0 && l.waiting.Len() == 0 {
		delete(q.lanes, l.tenant)
	}
}

func (q *queues) push(t *task) {
	l := q.lanes[t.target.ID.Tenant]
	if l.waiting.Len() == 0 {
		q.turns.PushBack(l)
	}
	l.waiting.PushBack(t)
	q.waiting++
}

// next takes the task that may run now, or nil. The lane whose turn it was goes to the end.
func (q *queues) next() *task {
	for turn := q.turns.Front(); turn != nil && q.running < q.limit; {
		l := turn.Value.(*lane)
		following := turn.Next()
		if !q.admits(l) {
			turn = following
			continue
		}
		t := l.waiting.Remove(l.waiting.Front()).(*task)
		q.waiting--
		if l.waiting.Len() > 0 {
			q.turns.MoveToBack(turn)
		} else {
			q.turns.Remove(turn)
		}
		if !t.gone {
			l.running++
			q.running++
			return t
		}
		q.forget(l)
		turn = q.turns.Front()
	}
	return nil
}

// admits tells whether a lane may have one more running check.
func (q *queues) admits(l *lane) bool {
	share := max(1, q.limit/max(1, q.active))
	return l.running < share || q.limit-q.running > q.limit/4
}

func (q *queues) done(tenant string) {
	l := q.lanes[tenant]
	l.running--
	q.running--
	q.forget(l)
}
