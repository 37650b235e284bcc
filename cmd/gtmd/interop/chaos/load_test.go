//go:build interop

package chaos

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/cmd/gtmd/interop/rig"
)

const (
	loadEvery   = 8 * time.Millisecond // to one edge
	loadTimeout = 3 * time.Second
	// healthBound is when a dead endpoint must be gone from all answers while a live one is known: two checks a second apart and what
	// judging and telling take, on a machine that is busy with much else.
	healthBound = 10 * time.Second
	shownFaults = 5 // of each kind
)

// A load asks every edge again and again, and judges every answer. It is safe for concurrent use.
type load struct {
	rig     *rig.Rig
	writers map[string]*writer // by tenant
	bound   time.Duration      // when a dead endpoint must be gone
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	asked   int
	lost    int // not answered, by edges that were in trouble
	faults  map[string]int
	shown   []string
	era     int
	newest  map[place]seen
	healthy time.Time // health is followed since; zero: it is not now
}

// A place is where a value is looked for: at an edge, under a name.
type place struct{ edge, host string }

// seen is the newest change that was answered at a place, and the era that it was in.
type seen struct{ change, era, kills int }

// startLoad begins to ask. What it found is told at the end of the test, which fails if anything was wrong.
func startLoad(r *rig.Rig, writers ...*writer) *load { return startLoadOf(r, loadEvery, writers...) }

// startLoadOf is startLoad with a time from one query to an edge to the next.
func startLoadOf(r *rig.Rig, pause time.Duration, writers ...*writer) *load {
	l := &load{rig: r, bound: healthBound, stop: make(chan struct{}), faults: map[string]int{}, newest: map[place]seen{},
		writers: map[string]*writer{}, healthy: time.Now()}
	for _, w := range writers {
		l.writers[w.tenant] = w
	}
	for _, edge := range r.Edges {
		l.running.Go(func() { l.askEdge(edge, pause) })
	}
	r.T.Cleanup(l.end)
	return l
}

// end stops asking; it may be called twice.
func (l *load) end() {
	l.mu.Lock()
	select {
	case <-l.stop:
		l.mu.Unlock()
		return
	default:
		close(l.stop)
	}
	l.mu.Unlock()
	l.running.Wait()
	l.rig.T.Logf("load: %d queries, %d unanswered by edges in trouble, faults: %v", l.asked, l.lost, l.faults)
	for _, kind := range slices.Sorted(maps.Keys(l.faults)) {
		l.rig.T.Errorf("load: %s: %d times", kind, l.faults[kind])
	}
	for _, text := range l.shown {
		l.rig.T.Logf("load: %s", text)
	}
}

// newEra lets every edge go back once: a restored store was accepted.
func (l *load) newEra() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.era++
}

// followHealth reports whether health can be followed now: whether there are a store and probers.
func (l *load) followHealth(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !is:
		l.healthy = time.Time{}
	case l.healthy.IsZero():
		l.healthy = time.Now()
	}
}

// a question is a name, and what an answer to it must be.
type question struct {
	host  string
	judge func(edge *rig.Node, asked time.Time, addr netip.Addr)
}

func (l *load) questions() []question {
	all := []question{{healthHost, l.judgeHealth}}
	for tenant := range l.writers {
		for _, pool := range writerPools {
			host := writerHost(tenant, pool)
			all = append(all, question{host, func(edge *rig.Node, _ time.Time, addr netip.Addr) { l.judgeValue(edge, tenant, host, addr) }})
		}
	}
	return all
}

func (l *load) askEdge(edge *rig.Node, pause time.Duration) {
	questions, tick := l.questions(), time.NewTicker(pause)
	defer tick.Stop()
	q := &asker{edge: edge}
	defer q.close()
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		question, asked := questions[i%len(questions)], time.Now()
		reply, err := q.ask(question.host, loadTimeout)
		l.count(edge, asked, err)
		switch {
		case err != nil:
		case reply.Rcode != dns.RcodeSuccess:
			l.fault(dns.RcodeToString[reply.Rcode], "%s of %s", question.host, edge.Name)
		case len(reply.Answer) != 1:
			l.fault("no answer", "%s of %s: %v", question.host, edge.Name, reply.Answer)
		default:
			question.judge(edge, asked, addrOf(reply.Answer[0]))
		}
	}
}

func (l *load) count(edge *rig.Node, asked time.Time, err error) {
	if err != nil && !edge.Troubled(asked) {
		l.fault("unanswered", "%s: %v", edge.Name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if err != nil {
		l.lost++
	}
}

// told gives how many queries there were, and what was wrong.
func (l *load) told() (int, map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked, maps.Clone(l.faults)
}

func (l *load) fault(kind, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults[kind]++
	if l.faults[kind] <= shownFaults {
		l.shown = append(l.shown, time.Now().Format("15:04:05.000 ")+kind+": "+fmt.Sprintf(format, args...))
	}
}

// judgeValue: a value is one that was written, and no edge goes back, but once for each time that it was killed.
func (l *load) judgeValue(edge *rig.Node, tenant, host string, addr netip.Addr) {
	change := changeOf(addr)
	if change < 0 || change > int(l.writers[tenant].tried.Load()) {
		l.fault("never written", "%s of %s is %s", host, edge.Name, addr)
		return
	}
	kills := edge.Kills()
	l.mu.Lock()
	at := place{edge.Name, host}
	was, now := l.newest[at], seen{change, l.era, kills}
	back := change < was.change && was.era == l.era && was.kills == kills
	if change < was.change && !back || change >= was.change {
		if change == was.change {
			now.era, now.kills = was.era, was.kills // it need not have gone back yet
		}
		l.newest[at] = now
	}
	l.mu.Unlock()
	if back {
		l.fault("went back", "%s of %s is change %d, was %d", host, edge.Name, change, was.change)
	}
}

// judgeHealth: an endpoint that is dead for longer than the bound is not answered while another one is alive for as long.
func (l *load) judgeHealth(edge *rig.Node, asked time.Time, addr netip.Addr) {
	dead := l.rig.Targets.DeadSince(addr)
	l.mu.Lock()
	healthy := l.healthy
	l.mu.Unlock()
	if dead.IsZero() || healthy.IsZero() {
		return
	}
	for _, since := range []time.Time{healthy, l.rig.Targets.Changed(), edge.Calm(), edge.Healed()} {
		if since.After(dead) {
			dead = since
		}
	}
	if asked.Sub(dead) < l.bound {
		return
	}
	for _, other := range []netip.Addr{mainA, mainB, backup} {
		if l.rig.Targets.DeadSince(other).IsZero() {
			l.fault("dead endpoint", "%s of %s answers %s, dead for %v, and %s is alive", healthHost, edge.Name, addr,
				asked.Sub(dead), other)
			return
		}
	}
}

// An asker asks one edge over one socket, one question at a time.
type asker struct {
	edge *rig.Node
	conn *dns.Conn
	id   uint16
}

func (q *asker) close() {
	if q.conn != nil {
		q.conn.Close()
	}
}

// ask asks for the addresses of a host.
func (q *asker) ask(host string, limit time.Duration) (*dns.Msg, error) {
	if q.conn == nil {
		conn, err := net.Dial("udp", netip.AddrPortFrom(q.edge.Outside, 53).String())
		if err != nil {
			return nil, err
		}
		q.conn = &dns.Conn{Conn: conn, UDPSize: 1232}
	}
	q.id++
	query := new(dns.Msg).SetQuestion(host, dns.TypeA)
	query.Id = q.id
	if err := q.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if err := q.conn.WriteMsg(query); err != nil {
		return nil, err
	}
	for {
		reply, err := q.conn.ReadMsg()
		if err != nil || reply.Id == query.Id {
			return reply, err
		}
	}
}

func addrOf(rr dns.RR) netip.Addr {
	if a, ok := rr.(*dns.A); ok {
		addr, _ := netip.AddrFromSlice(a.A.To4())
		return addr
	}
	return netip.Addr{}
}

// answer asks an edge once, and gives the address.
func answer(edge *rig.Node, host string) (netip.Addr, error) {
	q := &asker{edge: edge}
	defer q.close()
	reply, err := q.ask(host, loadTimeout)
	if err != nil {
		return netip.Addr{}, err
	}
	if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 1 {
		return netip.Addr{}, fmt.Errorf("%s of %s: %s %v", host, edge.Name, dns.RcodeToString[reply.Rcode], reply.Answer)
	}
	return addrOf(reply.Answer[0]), nil
}

// answers waits until all edges given answer a host with one of some addresses.
func answers(t testing.TB, limit time.Duration, edges []*rig.Node, host string, want ...netip.Addr) {
	t.Helper()
	for _, edge := range edges {
		rig.Eventually(t, limit, fmt.Sprintf("%s answers %s with %v", edge.Name, host, want), func() error {
			got, err := answer(edge, host)
			if err == nil && !slices.Contains(want, got) {
				err = fmt.Errorf("it answers %s", got)
			}
			return err
		})
	}
}

// text asks an edge for a text of several lines, over TCP, since it can be long.
func text(edge *rig.Node, host string) (string, error) {
	client := &dns.Client{Net: "tcp", Timeout: loadTimeout}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(host, dns.TypeTXT), netip.AddrPortFrom(edge.Outside, 53).String())
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, rr := range reply.Answer {
		b.WriteString(rr.String() + "\n")
	}
	return b.String(), nil
}
