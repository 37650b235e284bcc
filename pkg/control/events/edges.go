package events

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/control/api"
)

// edges makes events of generations that edges refuse. All of it is under Recorder.mu.
type edges struct {
	news []api.Event                    // that are not noted yet
	held map[string]map[string]refusing // by edge and tenant
}

// refusing is what an edge does not take.
type refusing struct {
	generation uint64
	to         string
}

// mostRefusing is of how many edges that refuse a generation there are events: the others tell nothing new.
const mostRefusing = 20

// Edges takes what edges say, and keeps nothing of it: whoever asked them goes on to take out what others may not see.
func (r *Recorder) Edges(all []api.Edge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if news := r.edges.look(all, r.cfg.Now()); len(news) > 0 {
		r.edges.news = append(r.edges.news, news...)
		r.rouse()
	}
}

// look gives what edges began to refuse, and what they take by now. Of one that was not heard nothing has changed.
func (l *edges) look(all []api.Edge, now time.Time) (list []api.Event) {
	if l.held == nil {
		l.held = map[string]map[string]refusing{}
	}
	there, n := map[string]bool{}, l.count()
	for i := range all {
		e := &all[i]
		if there[e.ID] = true; e.Status == nil {
			continue
		}
		was, is := l.held[e.ID], map[string]refusing{}
		for j := range e.Status.Held {
			if h := &e.Status.Held[j]; h.Refused != 0 {
				says := refusing{h.Refused, api.EdgeRefuses}
				if h.Crashed {
					says.to = api.EdgeCrashed
				}
				of := fmt.Sprintf("%s@%d", h.Tenant, h.Refused)
				if was[h.Tenant] != says && n[of] >= mostRefusing {
					if r, held := was[h.Tenant]; held { // it has not taken it, though what it refuses by now is not told
						is[h.Tenant] = r
					}
					continue
				}
				is[h.Tenant] = says
				if was[h.Tenant] != says {
					n[of]++
					list = append(list, refusalEvent(e.ID, h, says.to))
				}
			}
		}
		for _, tenant := range slices.Sorted(maps.Keys(was)) {
			if _, still := is[tenant]; !still {
				r := was[tenant]
				event := Subject{Kind: api.EventEdge, Tenant: tenant, Edge: e.ID}.event(e.Status.View.Published, r.to, api.EdgeTakes)
				event.Reason = fmt.Sprintf("it serves %s@%d", tenant, e.Status.Tenants[tenant])
				identify(&event, fmt.Sprint(r.generation, e.Status.Tenants[tenant]))
				list = append(list, event)
			}
		}
		if l.held[e.ID] = is; len(is) == 0 {
			delete(l.held, e.ID)
		}
	}
	return append(list, l.forget(there, now)...)
}

// count counts the edges that refuse each generation.
func (l *edges) count() map[string]int {
	n := map[string]int{}
	for _, held := range l.held {
		for tenant, r := range held {
			n[fmt.Sprintf("%s@%d", tenant, r.generation)]++
		}
	}
	return n
}

// forget ends what edges refuse that are known no more.
func (l *edges) forget(there map[string]bool, now time.Time) (list []api.Event) {
	for id, held := range l.held {
		if there[id] {
			continue
		}
		for tenant, r := range held {
			event := Subject{Kind: api.EventEdge, Tenant: tenant, Edge: id}.event(now, r.to, api.EdgeTakes)
			event.Reason = "the edge was forgotten"
			identify(&event, fmt.Sprint(r.generation))
			list = append(list, event)
		}
		delete(l.held, id)
	}
	return list
}

func refusalEvent(edge string, h *api.HeldTenant, to string) api.Event {
	e := Subject{Kind: api.EventEdge, Tenant: h.Tenant, Edge: edge}.event(h.Since, api.EdgeTakes, to)
	e.Reason = fmt.Sprintf("%s@%d: %s; it serves %s@%d", h.Tenant, h.Refused, h.Reason(), h.Tenant, h.Serves)
	identify(&e, fmt.Sprint(h.Refused, " ", h.Since.UTC().Unix()))
	return e
}
