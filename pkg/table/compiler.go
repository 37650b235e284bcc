package table

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/zone"
)

// Change is news for a Compiler: resources, heads and verdicts. What is in it is not changed, and must not be later.
type Change struct {
	Full            bool // everything there is: what is not mentioned does not exist
	Tenants         []TenantChange
	Verdicts        []health.Verdict
	VerdictsDeleted []health.PoolID
	VerdictsBroken  []health.PoolID // in a full change: could not be read; the last one holds
}

// TenantChange is one tenant's step to a generation.
type TenantChange struct {
	Tenant  string
	Head    uint64
	Put     []Item
	Deleted []spec.Key
	Broken  []Broken // could not be read: their last good form stays
}

// Item is one version of a resource.
type Item struct {
	Resource   *spec.Resource
	Generation uint64
}

// Broken is a resource that is not served as declared, and why.
type Broken struct {
	Key    spec.Key
	Err    error
	Serves Form // what is served in its place; a Compiler tells it
}

// Form is what is served of a resource that is broken.
type Form uint8

// The forms.
const (
	Nothing  Form = iota // it never had a good form, or that has lost its place
	LastGood             // the form before it
	TheRest              // itself, but for what the error says
)

// String gives the form as a word.
func (f Form) String() string { return [...]string{"nothing", "lastGood", "theRest"}[f] }

// Config is what a Compiler needs from outside.
type Config struct {
	Seed    uint64 // of the hashes; random, so that nobody can choose names that collide
	Workers int    // rows of counters
}

// Compiler keeps what Views are compiled from. It is for one goroutine.
type Compiler struct {
	cfg       Config
	serial    uint64
	today     int64 // days since 1970; never goes back
	atlas     *geo.Atlas
	heads     map[string]uint64
	headsView map[string]uint64 // the copy that views share
	items     map[spec.Key]Item
	verdicts  map[health.PoolID]*health.Verdict
	overrides map[health.PoolID]map[spec.Key]*spec.Override
	expiring  map[health.PoolID]time.Time // pools with an override that ends
	unread    map[spec.Key]error          // resources that could not be read
	keys      map[string]*ZoneKeys        // by zone
	alias     aliases

	maps     []geo.Map
	goodMaps map[spec.Key]geo.Map // the last good form of each
	zones    map[string]*zoneState
	listed   map[string]string          // zone to the catalog that lists it
	catalogs map[string]map[string]bool // the other way round
	apexes   map[string]*zoneState      // by wire name
	pools    map[health.PoolID]*poolState
	services map[spec.Key]*serviceState
	hosts    map[string]spec.Key // wire host to the service that has it
	parts    map[string]*partState
	partList []*geo.Partition
	partFree []uint32

	nodes        map[string]*nodeState // those that have arms, by mixKey
	nodeSlots    writer[decisionNode]
	ahead        ahead // compiled before its turn
	serviceSlots writer[Service]
	top          names
	depths       [2]uint64
	zoneList     []*Zone // as View.zones
	served       int     // as View.served

	untold   []*serviceState // see CatchUp
	counted  []*ServiceCounts
	counting map[*serviceState]bool // services with counts
	failing  map[*serviceState]bool // services with an err
	// failingPools are pools with an err
	failingPools map[*poolState]bool

	faults []Broken // what is not served as declared
	dirty  dirt
}

// dirt is what must be compiled anew.
type dirt struct {
	heads, maps, zoneList bool
	faults                bool         // something broke or was mended
	relisted              []*zoneState // their places in the list of zones stay
	zones                 map[string]bool
	serials               map[string]bool   // zones that change nothing but their serial
	defaults              map[spec.Key]bool // services whose default answers may be others
	pools                 map[health.PoolID]bool
	services              map[spec.Key]bool
}

type zoneState struct {
	key      spec.Key
	wire     string
	res      *spec.Zone
	gen      uint64
	static   *zone.Zone
	compiled *Zone
	services map[string]hosted // wire host
	touched  touched           // since compiled
	counts   *ZoneCounts
	signer   *signer
	err      error

	serial, added, keySerial uint32 // see stampZone
}

type poolState struct {
	id   health.PoolID
	spec *spec.Pool
	has  spec.Families // of spec
	// declared is what spec was made of
	declared *spec.Resource
	ttl      uint32 // seconds, which answers from it have at most
	state    *steer.Pool
	draws    map[drawForm]*drawState
	users    map[*serviceState]bool
	err      error
}

func newPoolState(id health.PoolID) *poolState {
	return &poolState{id: id, draws: map[drawForm]*drawState{}, users: map[*serviceState]bool{}}
}

// drawState is a leaf of policies.
type drawState struct {
	nodeState
	form drawForm
	pool *poolState
	draw *Draw
	told [families]uint64 // what secondaries get of it, hashed; 0: not known yet
}

type partState struct {
	key        string
	slot       uint32
	refs       int
	classifier *geo.Classifier
	err        error // why it could not be compiled anew
}

type serviceState struct {
	key      spec.Key
	compiled *Service
	slot     uint32 // of View.services
	slotted  bool
	placed   bool
	zone     string
	host     string       // wire
	steps    []*nodeState // of each of compiled.steps
	part     *partState
	uses     []*poolState
	err      error
	defaults uint64 // what secondaries get, hashed
}

// NewCompiler makes a Compiler that knows nothing but geography.
func NewCompiler(cfg Config, atlas *geo.Atlas) *Compiler {
	c := &Compiler{cfg: cfg, atlas: atlas, heads: map[string]uint64{}, items: map[spec.Key]Item{},
		verdicts: map[health.PoolID]*health.Verdict{}, overrides: map[health.PoolID]map[spec.Key]*spec.Override{},
		unread: map[spec.Key]error{}, keys: map[string]*ZoneKeys{}, alias: newAliases(), goodMaps: map[spec.Key]geo.Map{}, zones: map[string]*zoneState{}, listed: map[string]string{}, catalogs: map[string]map[string]bool{}, apexes: map[string]*zoneState{}, expiring: map[health.PoolID]time.Time{}, pools: map[health.PoolID]*poolState{},
		services: map[spec.Key]*serviceState{}, hosts: map[string]spec.Key{}, parts: map[string]*partState{}, nodes: map[string]*nodeState{},
		counting: map[*serviceState]bool{}, failing: map[*serviceState]bool{}, failingPools: map[*poolState]bool{}}
	c.dirty.reset()
	c.dirty.heads, c.dirty.zoneList = true, true
	return c
}

func (d *dirt) reset() {
	*d = dirt{zones: map[string]bool{}, serials: map[string]bool{}, defaults: map[spec.Key]bool{}, pools: map[health.PoolID]bool{}, services: map[spec.Key]bool{}}
}

// Apply takes news. Nothing is compiled before the next Compile.
func (c *Compiler) Apply(ch Change) {
	if ch.Full {
		c.forget(&ch)
	}
	c.dirty.faults = c.dirty.faults || ch.Full || len(ch.Tenants) > 0
	for _, t := range ch.Tenants {
		if c.heads[t.Tenant] != t.Head {
			c.heads[t.Tenant] = t.Head
			c.dirty.heads = true
		}
		for _, k := range t.Deleted {
			c.drop(k)
		}
		for _, it := range t.Put {
			c.put(it)
		}
		for _, b := range t.Broken {
			c.unread[b.Key] = b.Err
			c.dirty.zoneList = c.dirty.zoneList || b.Key.Kind == spec.KindZone
		}
	}
	for i := range ch.Verdicts {
		v := &ch.Verdicts[i]
		c.verdicts[v.Pool] = v
		c.dirty.pools[v.Pool] = true
	}
	for _, id := range ch.VerdictsDeleted {
		delete(c.verdicts, id)
		c.dirty.pools[id] = true
	}
}

// forget drops what a full change does not mention.
func (c *Compiler) forget(ch *Change) {
	keep := map[spec.Key]bool{}
	tenants := map[string]bool{}
	for _, t := range ch.Tenants {
		tenants[t.Tenant] = true
		for _, it := range t.Put {
			keep[it.Resource.Key] = true
		}
		for _, b := range t.Broken {
			keep[b.Key] = true
		}
	}
	for k := range c.items {
		if !keep[k] {
			c.drop(k)
		}
	}
	for t := range c.heads {
		if !tenants[t] {
			delete(c.heads, t)
			c.dirty.heads = true
		}
	}
	told := map[health.PoolID]bool{}
	for _, id := range ch.VerdictsBroken {
		told[id] = true
	}
	for i := range ch.Verdicts {
		told[ch.Verdicts[i].Pool] = true
	}
	for id := range c.verdicts {
		if !told[id] {
			delete(c.verdicts, id)
			c.dirty.pools[id] = true
		}
	}
}

func (c *Compiler) put(it Item) {
	k := it.Resource.Key
	old, had := c.items[k]
	delete(c.unread, k)
	if had && old.Generation == it.Generation && old.Resource == it.Resource {
		return
	}
	c.items[k] = it
	switch s := it.Resource.Spec.(type) {
	case *spec.Zone:
		c.dirty.zones[k.Name] = true
	case *spec.Map:
		c.dirty.maps = true
	case *spec.Pool:
		c.dirty.pools[health.PoolID{Tenant: k.Tenant, Pool: k.Name}] = true
	case *spec.Service:
		c.dirty.services[k] = true
	case *spec.Override:
		if had {
			c.dropOverride(k, old)
		}
		id := health.PoolID{Tenant: k.Tenant, Pool: s.Pool}
		if c.overrides[id] == nil {
			c.overrides[id] = map[spec.Key]*spec.Override{}
		}
		c.overrides[id][k] = s
		c.dirty.pools[id] = true
	}
}

func (c *Compiler) drop(k spec.Key) {
	old, had := c.items[k]
	delete(c.unread, k)
	if !had {
		return
	}
	delete(c.items, k)
	switch old.Resource.Spec.(type) {
	case *spec.Zone:
		c.dirty.zones[k.Name] = true
	case *spec.Map:
		c.dirty.maps = true
	case *spec.Pool:
		c.dirty.pools[health.PoolID{Tenant: k.Tenant, Pool: k.Name}] = true
	case *spec.Service:
		c.dirty.services[k] = true
	case *spec.Override:
		c.dropOverride(k, old)
	}
}

func (c *Compiler) dropOverride(k spec.Key, old Item) {
	if o, ok := old.Resource.Spec.(*spec.Override); ok {
		id := health.PoolID{Tenant: k.Tenant, Pool: o.Pool}
		delete(c.overrides[id], k)
		c.dirty.pools[id] = true
	}
}

// Compile makes a View of all that was applied. It always succeeds: what cannot be compiled keeps its last good
// form, or is not served if it never had one, and is listed as broken. next is when an override ends and Compile
// should run again; zero: never.
func (c *Compiler) Compile(now time.Time) (v *View, broken []Broken, next time.Time) {
	c.CatchUp()
	c.turnDay(now)
	c.compileMaps()
	for id, end := range c.expiring {
		if !now.Before(end) {
			c.dirty.pools[id] = true
		}
	}
	if c.dirty.heads {
		c.headsView = maps.Clone(c.heads)
	}
	c.compilePools(now)
	c.compileZoneContent()
	c.compileServices()
	c.compileDefaults()
	c.compileZones()
	if len(c.dirty.services) > 0 {
		c.listCounted()
	}
	c.serial++
	v = &View{Serial: c.serial, Published: now, Atlas: c.atlas, Maps: c.maps, seed: c.cfg.Seed, Heads: c.headsView,
		top: c.top, depths: c.depths, zones: c.zoneList, served: c.served, parts: slices.Clone(c.partList),
		services: c.serviceSlots.freeze(), nodes: c.nodeSlots.freeze(),
		serviceCount: len(c.hosts), counted: c.counted}
	next = c.nextDay()
	for _, end := range c.expiring {
		if next.IsZero() || end.Before(next) {
			next = end
		}
	}
	if c.dirty.faults || len(c.dirty.services)+len(c.dirty.zones) > 0 || c.dirty.maps || c.dirty.heads {
		c.faults = c.broken() // a verdict alone breaks and mends nothing: it costs no walk over everything
	}
	c.dirty.reset()
	return v, slices.Clone(c.faults), next
}

// maxCounted bounds how many services have series of their own; the first by name get them.
const maxCounted = 1000

func (c *Compiler) listCounted() {
	c.counted = nil
	for s := range c.counting {
		if s.placed {
			c.counted = append(c.counted, s.compiled.counts)
		}
	}
	slices.SortFunc(c.counted, func(a, b *ServiceCounts) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Service, b.Service))
	})
	c.counted = c.counted[:min(len(c.counted), maxCounted)]
}

// broken lists what is not served as declared, sorted.
func (c *Compiler) broken() []Broken {
	var out []Broken
	for k, err := range c.unread {
		out = append(out, Broken{k, err, c.form(k)})
	}
	for _, z := range c.zones {
		if z.err != nil {
			out = append(out, Broken{z.key, z.err, c.form(z.key)})
		} else if z.compiled != nil {
			for _, p := range z.compiled.Problems {
				out = append(out, Broken{z.key, fmt.Errorf("%s", p), TheRest})
			}
		}
	}
	for p := range c.failingPools {
		k := spec.Key{Tenant: p.id.Tenant, Kind: spec.KindPool, Name: p.id.Pool}
		out = append(out, Broken{k, p.err, c.form(k)})
	}
	for s := range c.failing {
		k := s.key
		if zone, ok := c.alias.zones[k]; ok {
			out = append(out, Broken{zone, fmt.Errorf("alias %s: %w", k.Name, s.err), c.form(k)})
			continue
		}
		out = append(out, Broken{k, s.err, c.form(k)})
	}
	slices.SortFunc(out, func(a, b Broken) int {
		return cmp.Or(a.Key.Compare(b.Key), cmp.Compare(a.Err.Error(), b.Err.Error()))
	})
	return out
}

// form tells whether a resource whose newest version is broken is served in its last good form.
func (c *Compiler) form(k spec.Key) Form {
	good := false
	switch k.Kind {
	case spec.KindZone:
		z := c.zones[k.Name]
		good = z != nil && z.compiled != nil
	case spec.KindMap:
		good = slices.ContainsFunc(c.maps, func(m geo.Map) bool { return m.Name == k.Name })
	case spec.KindPool:
		p := c.pools[health.PoolID{Tenant: k.Tenant, Pool: k.Name}]
		good = p != nil && p.state != nil
	case spec.KindService:
		s := c.services[k]
		good = s != nil && s.compiled != nil && s.placed
	default:
		_, good = c.items[k]
	}
	if good {
		return LastGood
	}
	return Nothing
}

// guard runs f and turns a panic into an error, so that one bad resource harms only itself.
func guard(what any, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v: the compiler failed: %v", what, r)
		}
	}()
	return f()
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
