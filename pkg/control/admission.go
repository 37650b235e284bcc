package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/rate"
	"github.com/gti/gtm/pkg/spec"
)

// withinRate counts a request that is about one tenant, and refuses it where that tenant has had as many as its quota allows. What says
// how endpoints are has a share of its own.
func (s *Server) withinRate(w http.ResponseWriter, r *http.Request, pattern string) bool {
	who, tenant := s.payer(r, pattern)
	if who == "" || r.Method == http.MethodPut {
		return true
	}
	platform := s.platform()
	each := spec.EffectiveQuota(platform, tenant).Requests
	left := s.rates.Take(who, each, s.cfg.Now())
	w.Header().Set("RateLimit-Policy", fmt.Sprintf(`"requests";q=%d;w=%d`, left.Most, int(rate.Window.Seconds())))
	w.Header().Set("RateLimit", fmt.Sprintf(`"requests";r=%d;t=%d`, left.Requests, wholeSeconds(left.Reset)))
	if left.Wait == 0 {
		return true
	}
	s.metrics.limited.Inc()
	w.Header().Set("Retry-After", strconv.Itoa(wholeSeconds(left.Wait)))
	writeProblem(w, problemf(http.StatusTooManyRequests, "%s asks more often than its quota allows, %d requests a second: "+
		"nothing was done, try again in %d s, or %s", who, each, wholeSeconds(left.Wait), spec.AskToRaise(platform, tenant, "requests")))
	return false
}

// payer gives by what name a request is counted, and whose quota that has: a service token's by its tenant, whatever it asks for; others'
// by the tenant that it is about, where they have a role, or else by their own name: so nobody uses up a stranger's, and what names no
// tenant, such as a plan of several, is counted, too. Empty: by none, as for the platform's admins.
func (s *Server) payer(r *http.Request, pattern string) (who, tenant string) {
	c := callerOf(r.Context())
	if tenant = c.who.Tenant; tenant == "" {
		tenant = tenantIn(r, pattern)
	}
	if tenant == spec.Platform {
		tenant = ""
	}
	switch known := tenant != "" && s.cfg.Mirror.Tenant(tenant).Head > 0; {
	case known && c.grants.Allow(access.Read, tenant):
		return tenant, tenant
	case c.grants.SeesAll():
		return "", ""
	}
	return c.who.Name, tenant
}

func wholeSeconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// tenantIn gives the tenant that a request is about, as its path or its query says; empty: it is about none, or about several.
func tenantIn(r *http.Request, pattern string) string {
	_, path, _ := strings.Cut(pattern, " ")
	given := strings.Split(r.URL.Path, "/")
	for i, part := range strings.Split(path, "/") {
		if part == "{tenant}" && i < len(given) {
			return given[i]
		}
	}
	return r.URL.Query().Get("tenant")
}

// platform gives what the platform sets for all; nil: nothing.
func (s *Server) platform() *spec.Tenant {
	v, _ := s.cfg.Mirror.Tenant(spec.Platform).Resources.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform})
	t, _ := specOf[*spec.Tenant](v.Resource)
	return t
}

// admission lets a bounded number of requests work at the same time, and a bounded number wait. Those who wait go on in the order in
// which their authors came round: who has many waiting takes turns with who has one. It is safe for concurrent use.
type admission struct {
	running, waiting atMost
	each             int // of an author may wait

	mu     sync.Mutex
	queues []*queue // of those who have someone waiting; the first is next
}

type atMost struct{ now, most int }

// queue is what waits of one author.
type queue struct {
	author string
	calls  []chan struct{} // each is closed when its turn has come
}

// errBusy: more cannot wait.
var errBusy = errors.New("too many requests are waiting")

func newAdmission(running, waiting, each int) *admission {
	return &admission{running: atMost{most: running}, waiting: atMost{most: waiting}, each: each}
}

// take waits for a turn, which has to be given back by done. errBusy: it would wait behind too many; otherwise the error is the context's.
func (t *admission) take(ctx context.Context, author string) error {
	t.mu.Lock()
	if t.running.now < t.running.most {
		t.running.now++
		t.mu.Unlock()
		return nil
	}
	q := t.queueOf(author)
	if t.waiting.now >= t.waiting.most || q != nil && len(q.calls) >= t.each {
		t.mu.Unlock()
		return errBusy
	}
	if q == nil {
		q = &queue{author: author}
		t.queues = append(t.queues, q)
	}
	call := make(chan struct{})
	q.calls = append(q.calls, call)
	t.waiting.now++
	t.mu.Unlock()
	select {
	case <-call:
		return nil
	case <-ctx.Done():
		t.giveUp(author, call)
		return ctx.Err()
	}
}

func (t *admission) queueOf(author string) *queue {
	for _, q := range t.queues {
		if q.author == author {
			return q
		}
	}
	return nil
}

// giveUp takes back a call. One whose turn has come meanwhile passes it on.
func (t *admission) giveUp(author string, call chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queueOf(author)
	if q != nil {
		for i, c := range q.calls {
			if c == call {
				q.calls = append(q.calls[:i], q.calls[i+1:]...)
				t.waiting.now--
				t.dropIfEmpty(q)
				return
			}
		}
	}
	t.next()
}

// done gives a turn back.
func (t *admission) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next hands a turn on to the author who has waited longest for one, and puts that author behind the others.
func (t *admission) next() {
	if len(t.queues) == 0 {
		t.running.now--
		return
	}
	q := t.queues[0]
	close(q.calls[0])
	q.calls = q.calls[1:]
	t.waiting.now--
	t.queues = append(t.queues[1:], q)
	t.dropIfEmpty(q)
}

func (t *admission) dropIfEmpty(q *queue) {
	if len(q.calls) > 0 {
		return
	}
	for i, other := range t.queues {
		if other == q {
			t.queues = append(t.queues[:i], t.queues[i+1:]...)
			return
		}
	}
}
