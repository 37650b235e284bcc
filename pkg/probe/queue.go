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

// room is a number of places that running checks take: see Scheduler.
type room struct{ limit, taken int }

func (r *room) free() int { return r.limit - r.taken }

// The rooms.
const (
	quick = iota
	slow
	rooms
)

// queues hold the tasks that are due, by tenant and pool, and say whose turn it is. See Scheduler for the rules.
type queues struct {
	rooms   [rooms]room
	waiting int
	lanes   map[string]*lane
	active  int       // lanes with targets
	turns   list.List // of *lane with waiting tasks, whose turn comes first in front
	fresh   list.List // of *task that run in the quick room, the oldest in front
	overdue list.List // of *task that wait for a place in the slow room, and run in the quick one
}

// lane is one tenant's pools. It lives as long as they do.
type lane struct {
	tenant string
	taken  [rooms]int
	pools  map[string]*line
	active int       // pools with targets
	turns  list.List // of *line with waiting tasks
}

// line is one pool's queue. It lives as long as there are targets of the pool, or checks that run.
type line struct {
	lane    *lane
	pool    string
	targets int
	taken   [rooms]int
	waiting list.List // of *task
}

func newQueues(quickPlaces, slowPlaces int) queues {
	return queues{rooms: [rooms]room{{limit: quickPlaces}, {limit: slowPlaces}}, lanes: make(map[string]*lane)}
}

// join counts one target of a pool more; leave, one less.
func (q *queues) join(id ID) {
	l := q.lanes[id.Tenant]
	if l == nil {
		l = &lane{tenant: id.Tenant, pools: make(map[string]*line)}
		q.lanes[id.Tenant] = l
	}
	p := l.pools[id.Pool]
	if p == nil {
		p = &line{lane: l, pool: id.Pool}
		l.pools[id.Pool] = p
	}
	if p.targets == 0 {
		if l.active == 0 {
			q.active++
		}
		l.active++
	}
	p.targets++
}

func (q *queues) leave(id ID) {
	l := q.lanes[id.Tenant]
	p := l.pools[id.Pool]
	p.targets--
	if p.targets == 0 {
		l.active--
		if l.active == 0 {
			q.active--
		}
	}
	q.forget(p)
}

// forget drops a line that nothing is left of, and a lane without lines.
func (q *queues) forget(p *line) {
	if p.targets > 0 || p.taken != [rooms]int{} || p.waiting.Len() > 0 {
		return
	}
	delete(p.lane.pools, p.pool)
	if len(p.lane.pools) == 0 {
		delete(q.lanes, p.lane.tenant)
	}
}

func (q *queues) push(t *task) {
	l := q.lanes[t.target.ID.Tenant]
	t.line = l.pools[t.target.ID.Pool]
	if l.turns.Len() == 0 {
		q.turns.PushBack(l)
	}
	if t.line.waiting.Len() == 0 {
		l.turns.PushBack(t.line)
	}
	t.line.waiting.PushBack(t)
	q.waiting++
}

// next takes the task that may run now, or nil, and gives it a place. The lane whose turn it was goes to the end, as does the line.
func (q *queues) next(now time.Time) *task {
	for turn := q.turns.Front(); turn != nil && q.rooms[quick].free() > 0; {
		l, following := turn.Value.(*lane), turn.Next()
		t := q.nextOf(l)
		switch {
		case l.turns.Len() == 0:
			q.turns.Remove(turn)
		case t != nil:
			q.turns.MoveToBack(turn)
		}
		if t != nil {
			q.take(t.line, quick, 1)
			t.began, t.seat = now, q.fresh.PushBack(t)
			return t
		}
		turn = following
	}
	return nil
}

// nextOf takes a lane's next task that may run and is still wanted.
func (q *queues) nextOf(l *lane) *task {
	for turn := l.turns.Front(); turn != nil; {
		p, following := turn.Value.(*line), turn.Next()
		if !q.admits(p, quick) {
			turn = following
			continue
		}
		t := p.waiting.Remove(p.waiting.Front()).(*task)
		q.waiting--
		if p.waiting.Len() > 0 {
			l.turns.MoveToBack(turn)
		} else {
			l.turns.Remove(turn)
		}
		if !t.gone {
			return t
		}
		q.forget(p)
		turn = l.turns.Front()
	}
	return nil
}

// admits tells whether a pool may have more of a room: its tenant has its share of the room, or a quarter of the room is free; and
// the pool has its share of that, or a quarter of that or half of the room is free.
func (q *queues) admits(p *line, kind int) bool {
	r := &q.rooms[kind]
	share := max(1, r.limit/max(1, q.active))
	if p.lane.taken[kind] >= share && r.free() <= r.limit/4 {
		return false
	}
	return p.taken[kind] < max(1, share/max(1, p.lane.active)) || p.lane.taken[kind] < share-share/4 || r.free() > r.limit/2
}

// take gives a pool n places more of a room, or takes them back.
func (q *queues) take(p *line, kind, n int) {
	q.rooms[kind].taken += n
	p.lane.taken[kind] += n
	p.taken[kind] += n
}

// yield moves the checks that are not quick to the slow room, as far as it admits them, and gives when the next one may have to.
func (q *queues) yield(now time.Time) (next time.Time) {
	for e := q.fresh.Front(); e != nil; e = q.fresh.Front() {
		t := e.Value.(*task)
		if next = t.began.Add(quickTime); next.After(now) {
			break
		}
		q.fresh.Remove(e)
		t.seat, t.late = q.overdue.PushBack(t), true
		next = time.Time{}
	}
	for e := q.overdue.Front(); e != nil; {
		t, following := e.Value.(*task), e.Next()
		if r := &q.rooms[slow]; q.admits(t.line, slow) && (t.sockets() <= r.free() || r.taken == 0) {
			q.overdue.Remove(e)
			t.seat = nil
			q.take(t.line, quick, -1)
			q.take(t.line, slow, t.sockets())
		}
		e = following
	}
	return next
}

// done takes the place of a check back.
func (q *queues) done(t *task) {
	switch {
	case t.seat == nil:
		q.take(t.line, slow, -t.sockets())
	case t.late:
		q.overdue.Remove(t.seat)
		q.take(t.line, quick, -1)
	default:
		q.fresh.Remove(t.seat)
		q.take(t.line, quick, -1)
	}
	p := t.line
	t.line, t.seat, t.late = nil, nil, false
	q.forget(p)
}
