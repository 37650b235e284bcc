// Package sim runs gtm against a simulated world, faster than real time: clients of many countries, the caches of their resolvers, checks
// from several vantages, endpoints that fail. What decides is gtm's own code: pkg/table compiles and answers, pkg/health judges.
//
// The same configuration gives the same run, to the last bit. A run is for one goroutine.
package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/table"
)

// Config says what is simulated.
type Config struct {
	Seed      uint64
	Land      *Land
	Resources string // YAML, as in zones/demo.yaml. Endpoints have one IPv4 address at least, and sites a location
	Host      string // of the service that clients ask for
	Start     time.Time
	// Warm is how long before the beginning there are clients already, so that it begins with the sessions of an ordinary day. Nothing of
	// that time is recorded.
	Warm   time.Duration
	Length time.Duration
	Audience
	Sessions
	Health
}

// Run is one simulation. Times are those since its beginning.
type Run struct {
	Config
	Endpoints []Endpoint
	Record
	// Told, where it is not nil, hears of every answer that a client is told, dead endpoints among them, but not of those without any.
	Told func(of Country, endpoint int)

	clock    clock
	random   *rand.Rand // of the clients
	arrivals arrivals
	crowd    *crowd
	world    *world
	watch    *watch
	sessions wheel[session]
	waiting  wheel[attempt]
	due      time.Duration // when Compile is to run again
	err      error
}

// New makes a run ready.
func New(c Config) (*Run, error) {
	resources, err := read(c.Resources)
	if err != nil {
		return nil, err
	}
	r := &Run{Config: c, random: rand.New(rand.NewPCG(c.Seed, 1)), sessions: newWheel[session](c.Most),
		waiting: newWheel[attempt](2 * lastRetry)}
	if r.Endpoints, err = endpointsOf(resources); err != nil {
		return nil, err
	}
	start := c.Start.Add(-c.Warm)
	setup := rand.New(rand.NewPCG(c.Seed, 2))
	if r.crowd, err = newCrowd(c.Audience, c.Land.countries, setup); err != nil {
		return nil, err
	}
	r.arrivals = arrivals{demand: newDemand(c.Countries, c.PerSecond, start), crowd: r.crowd, random: rand.New(rand.NewPCG(c.Seed, 3))}
	r.world = newWorld(c.Host, c.Land.atlas, c.Seed, r.Endpoints)
	if err := r.world.put(resources); err != nil {
		return nil, err
	}
	r.compile()
	r.watch = &watch{Health: c.Health, clock: &r.clock, start: start, random: rand.New(rand.NewPCG(c.Seed, 4)),
		declared: r.world.declared, publish: func(verdicts []health.Verdict) {
			r.hear(r, verdicts)
			r.world.tell(verdicts)
			r.compile()
		}}
	if err := r.watch.begin(r.Endpoints); err != nil {
		return nil, err
	}
	r.open(len(r.Endpoints))
	return r, r.err
}

// compile publishes a view of what is known, and again when time alone changes it.
func (r *Run) compile() {
	next, err := r.world.compile(r.Start.Add(r.Now()))
	if err != nil {
		r.fail(err)
		return
	}
	if next.IsZero() {
		return
	}
	if due := next.Sub(r.Start) + r.Warm; due != r.due {
		r.due = due
		r.clock.at(due, func() {
			if r.due == due {
				r.compile()
			}
		})
	}
}

// Now is the time since the beginning; it is less than zero while it warms up.
func (r *Run) Now() time.Duration { return r.clock.now - r.Warm }

// fail ends the run. The first error counts.
func (r *Run) fail(err error) {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("at %s: %w", r.Now(), err)
	}
}

// At has something happen at a time since the beginning.
func (r *Run) At(t time.Duration, do func()) { r.clock.at(t+r.Warm, do) }

// Peak gives the time of the day's beginning at which most sessions begin, if a run begins at start.
func Peak(a Audience, start time.Time) time.Duration {
	return newDemand(a.Countries, a.PerSecond, start).peak()
}

// Play runs to the end.
func (r *Run) Play() error {
	end := r.Warm + r.Length
	r.clock.first(0, r.second)
	r.arrivals.turnMinute(0)
	for r.err == nil { // clients are so many that their arrivals do not go through the clock
		next := r.clock.next()
		if a := r.arrivals.next(); a.at < next {
			if a.at >= end {
				break
			}
			r.clock.now = a.at
			r.arrivals.take()
			r.arrive(a.client)
			continue
		}
		if next >= end {
			break
		}
		r.clock.step()
	}
	r.clock.now = end
	return r.err
}

// second does what falls due each second: sessions end, clients try again, figures are taken.
func (r *Run) second() {
	now := r.clock.now
	if now%time.Minute == 0 {
		r.arrivals.turnMinute(now)
	}
	for _, s := range r.sessions.turn() {
		r.end(s.endpoint)
	}
	for _, a := range r.waiting.turn() {
		r.tries(a)
	}
	r.sample(r)
	r.clock.first(now+time.Second, r.second)
}

func (r *Run) end(endpoint uint16) {
	e := &r.Endpoints[endpoint]
	if e.active--; e.active == 0 {
		e.idle = r.Now()
	}
}

// arrive has a client begin a session.
func (r *Run) arrive(client uint32) {
	r.counts.Starts++
	if !r.begin(client, r.resolve(client)) {
		r.wrong(r.Now())
		r.retry(client, 1)
	}
}

// tries has a client try again.
func (r *Run) tries(a attempt) {
	r.counts.Retries++
	if !r.begin(a.client, r.resolve(a.client)) {
		r.retry(a.client, a.failed+1)
	}
}

func (r *Run) retry(client uint32, failed uint8) {
	r.waiting.add(r.clock.now+pause(failed, r.random), attempt{client, min(failed, 100)})
}

// begin has a session begin at an endpoint, unless that is dead.
func (r *Run) begin(client uint32, endpoint uint16) bool {
	if endpoint == none || !r.Endpoints[endpoint].alive {
		return false
	}
	r.Endpoints[endpoint].active++
	r.counts.Begun[endpoint]++
	c := &r.crowd.clients[client]
	c.last, c.since = endpoint, int32(r.Now()/time.Second)
	r.sessions.add(r.clock.now+r.Sessions.draw(r.random), session{client, endpoint})
	return true
}

// resolve gives the endpoint that a client's resolver names.
func (r *Run) resolve(client uint32) uint16 {
	a := r.lookup(&r.crowd.clients[client])
	r.counts.Squares += uint64(2*a.uses + 1)
	a.uses++
	if r.Told != nil && a.endpoint != none {
		r.Told(r.Countries[r.crowd.countryOf(client)], int(a.endpoint))
	}
	return a.endpoint
}

// lookup gives what the client's resolver has, or else asks for.
func (r *Run) lookup(c *client) *answer {
	at, now := &r.crowd.resolvers[c.resolver], r.clock.now
	if at.many == nil {
		if at.one.expires <= now {
			at.one, _ = r.ask(at, &table.Client{Resolver: at.addr.net()})
		}
		return &at.one
	}
	if a := at.many.find(c.subnet(), &c.memo, now); a != nil {
		return a
	}
	a, scope := r.ask(at, &table.Client{Subnet: c.subnet().net(), Has: true, Resolver: at.addr.net()})
	return at.many.keep(c.subnet(), scope, a)
}

// ask asks gtm. SERVFAIL is kept for no time.
func (r *Run) ask(at *resolver, c *table.Client) (answer, uint8) {
	endpoint, ttl, scope := r.world.ask(c, r.random.Uint64())
	r.answered(endpoint != none && !r.Endpoints[endpoint].alive, r.Now())
	if endpoint == none {
		return answer{endpoint: none}, 0
	}
	return answer{expires: r.clock.now + max(ttl, at.least), endpoint: endpoint}, scope
}

// Fail has endpoints die: their sessions are cut, and checks of them fail. See Of and AtSite.
func (r *Run) Fail(endpoints ...int) {
	dead := make([]bool, len(r.Endpoints))
	for _, at := range endpoints {
		e := &r.Endpoints[at]
		dead[at], e.alive = true, false
	}
	for _, s := range r.sessions.remove(func(s session) bool { return dead[s.endpoint] }) {
		r.counts.Cut++
		r.end(s.endpoint)
		r.retry(s.client, 1)
	}
}

// Heal has endpoints live again.
func (r *Run) Heal(endpoints ...int) {
	for _, at := range endpoints {
		r.Endpoints[at].alive = true
	}
}

// AtSite gives the endpoints at a site.
func (r *Run) AtSite(site string) []int {
	return r.where(func(e *Endpoint) bool { return e.Site == site })
}

// Of gives the endpoints of a pool of those names, or all of it.
func (r *Run) Of(pool string, names ...string) []int {
	return r.where(func(e *Endpoint) bool { return e.Pool == pool && (len(names) == 0 || slices.Contains(names, e.Name)) })
}

// where gives endpoints. None is a mistake of the scenario.
func (r *Run) where(fits func(*Endpoint) bool) (at []int) {
	for i := range r.Endpoints {
		if fits(&r.Endpoints[i]) {
			at = append(at, i)
		}
	}
	if at == nil {
		r.fail(fmt.Errorf("a scenario speaks of endpoints that do not exist"))
	}
	return at
}

// Declare has resources change, which edges hear of after Publish. What is checked stays as it was in the beginning: pools and monitors
// are not to change.
func (r *Run) Declare(yaml string) {
	resources, err := read(yaml)
	if err == nil {
		err = r.world.put(resources)
	}
	if err != nil {
		r.fail(err)
		return
	}
	r.clock.after(r.Publish, r.compile)
}

// Kept gives how long resolvers keep an answer at most.
func (r *Run) Kept() time.Duration {
	return max(r.Least, time.Duration(r.world.service.Spec.LongestTTLSeconds())*time.Second)
}

// Shares gives the part that each endpoint has, as of now, of the answers that the first client gets.
func (r *Run) Shares() []float64 {
	c := &r.crowd.clients[0]
	shares := make([]float64, len(r.Endpoints))
	for _, pool := range r.world.explain(&table.Client{Subnet: c.subnet().net(), Has: true}).Pools {
		for i, share := range pool.Shares {
			for _, addr := range pool.Pool.Candidates[i].Endpoint.Addresses {
				if addr.Is4() {
					shares[r.world.byAddr[addr.As4()]] += share
				}
			}
		}
	}
	return shares
}

// Continent gives the continent of a country, as the geographic database has it.
func (r *Run) Continent(of Country) string { return r.Land.countries[of.Code].continent }

// Idle tells since when none of the endpoints has a session; false: one has.
func (r *Run) Idle(endpoints []int) (since time.Duration, idle bool) {
	for _, at := range endpoints {
		if r.Endpoints[at].active > 0 {
			return 0, false
		}
		since = max(since, r.Endpoints[at].idle)
	}
	return since, true
}
