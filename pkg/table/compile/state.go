package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/chunks"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
	"github.com/gti/gtm/pkg/zone"
)

// Config is what a Compiler needs from outside.
type Config struct {
	Seed    uint64        // of the hashes; random, so that nobody can choose names that collide
	Workers int           // rows of counters
	Files   *geo.FileMaps // what maps with fromFiles hold; nil: nothing
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
	expiring  map[health.PoolID]time.Time              // when pools next change by the clock
	shifts    map[spec.Key]map[spec.Key]*spec.Override // overrides of rules' weights, by service
	shifting  map[spec.Key]time.Time                   // when these next change a service
	now       time.Time                                // of the Compile that runs, or ran last
	needed    needed
	acts      map[table.Act]int          // as View.Acts
	holds     map[spec.Key]*holds        // by service
	unread    map[spec.Key]error         // resources that could not be read
	keys      map[string]*zones.ZoneKeys // by zone
	alias     aliases

	maps      []geo.Map
	goodMaps  map[spec.Key]geo.Map // the last good form of each
	empty     map[spec.Key]error   // maps that should have networks from files, and have none
	zones     map[string]*zoneState
	listed    map[string]string          // zone to the catalog that lists it
	catalogs  map[string]map[string]bool // the other way round
	apexes    map[string]*zoneState      // by wire name
	pools     map[health.PoolID]*poolState
	services  map[spec.Key]*serviceState
	hosts     map[string]spec.Key // wire host to the service that has it
	parts     map[string]*partState
	partList  []*geo.Partition
	partFree  []uint32
	divisions []*division // of each of partList
	owned     owned       // of parts: those of one policy alone
	shapes    policy.Shapes

	nodes        map[string]*nodeState // those that have arms, by mixKey
	nodeSlots    chunks.Writer[table.Node]
	splits       int // sets in the Splits of nodes
	steps        stepLists
	ahead        ahead // compiled before its turn
	serviceSlots chunks.Writer[table.Service]
	top          names.Table
	depths       [2]uint64
	zoneList     []*zones.Zone // as View.ZoneList
	served       int           // as View.Served

	untold   []*serviceState // see CatchUp
	counted  []*table.ServiceCounts
	counting map[*serviceState]bool // services with counts
	failing  map[*serviceState]bool // services with an err
	steering map[*serviceState]bool // services that go by a policy
	// failingPools are pools with an err
	failingPools map[*poolState]bool

	faults []Broken // what is not served as declared
	dirty  dirt
	// touched is what was dirty when the last Compile ran
	touched dirt
}

// Head gives the generation of a tenant that is compiled; 0: none.
func (c *Compiler) Head(tenant string) uint64 { return c.heads[tenant] }

// Verdict gives the verdict on a pool; nil: there is none.
func (c *Compiler) Verdict(id health.PoolID) *health.Verdict { return c.verdicts[id] }

// Declared gives a resource as it was told last; nil: there is none.
func (c *Compiler) Declared(k spec.Key) *spec.Resource { return c.items[k].Resource }

// Service gives a service as the View that was compiled last has it; nil: that serves it in no form.
func (c *Compiler) Service(k spec.Key) *table.Service {
	if s := c.services[k]; s != nil && s.attached {
		return s.compiled
	}
	return nil
}

// Pool gives what steering makes of a pool for all clients; nil: there is none.
func (c *Compiler) Pool(id health.PoolID) *steer.Pool {
	if p := c.pools[id]; p != nil {
		return p.state
	}
	return nil
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
	compiled *zones.Zone
	services map[string]zones.Hosted // wire host
	touched  zones.Touched           // since compiled
	counts   *zones.ZoneCounts
	signer   *zones.Signer
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
	regions  map[string]*steer.Pool // what it is for clients of continents for whom it is something else
	asked    bool                   // services ask whether it is unsure
	acts     []steer.Act            // as they are counted
	needs
	draws  map[draws.Form]*drawState
	users  map[*serviceState]bool
	placed atomic.Pointer[placedPool] // as policies saw it last
	err    error
}

// placedPool is a pool as policies see it while its site is that one. Services share it.
type placedPool struct {
	policy.Pool
	site *spec.Site
}

func newPoolState(id health.PoolID) *poolState {
	return &poolState{id: id, draws: map[draws.Form]*drawState{}, users: map[*serviceState]bool{}}
}

// drawState is a leaf of policies.
type drawState struct {
	nodeState
	form  draws.Form
	pool  *poolState
	draw  *draws.Draw
	apart bool                // it is held, and would be another one
	told  [rr.Families]uint64 // what secondaries get of it, hashed; 0: not known yet
}

type partState struct {
	*division        // that made it
	key       string // of Compiler.parts, unless a newer one stands there
	owner     *owner // who has it for one policy alone; nil: it is for all that ask the same
	slot      uint32
	refs      int
	begin     func() *division // for the next geography
	err       error            // why it could not be compiled anew
}

type serviceState struct {
	key      spec.Key
	compiled *table.Service
	slot     uint32 // of View.Services
	slotted  bool
	attached bool
	zone     string
	host     string       // wire
	steps    []*nodeState // of each of compiled.Steps
	part     *partState
	uses     []*poolState
	policies map[spec.Key]bool // that its policy looked for; nil: it needs none
	err      error
	defaults uint64 // what secondaries get, hashed

	otherPart *partState // beside part, where clients' networks and resolvers' addresses are looked up in two
}

// New makes a Compiler that knows nothing but geography.
func New(cfg Config, atlas *geo.Atlas) *Compiler {
	c := &Compiler{cfg: cfg, atlas: atlas, heads: map[string]uint64{}, items: map[spec.Key]Item{},
		verdicts: map[health.PoolID]*health.Verdict{}, overrides: map[health.PoolID]map[spec.Key]*spec.Override{},
		unread: map[spec.Key]error{}, keys: map[string]*zones.ZoneKeys{}, alias: newAliases(), goodMaps: map[spec.Key]geo.Map{},
		zones: map[string]*zoneState{}, listed: map[string]string{}, catalogs: map[string]map[string]bool{},
		apexes: map[string]*zoneState{}, expiring: map[health.PoolID]time.Time{}, shifts: map[spec.Key]map[spec.Key]*spec.Override{},
		shifting: map[spec.Key]time.Time{}, pools: map[health.PoolID]*poolState{},
		services: map[spec.Key]*serviceState{}, hosts: map[string]spec.Key{}, parts: map[string]*partState{},
		nodes: map[string]*nodeState{}, needed: newNeeded(), acts: map[table.Act]int{}, holds: map[spec.Key]*holds{},
		counting: map[*serviceState]bool{}, failing: map[*serviceState]bool{}, steering: map[*serviceState]bool{},
		failingPools: map[*poolState]bool{}}
	c.owned = owned{}
	c.dirty.reset()
	c.dirty.heads, c.dirty.zoneList = true, true
	return c
}

func (d *dirt) reset() {
	*d = dirt{zones: map[string]bool{}, serials: map[string]bool{}, defaults: map[spec.Key]bool{}, pools: map[health.PoolID]bool{},
		services: map[spec.Key]bool{}}
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

// nodeState is what the Compiler knows of a node of View.Nodes.
type nodeState struct {
	slot    uint32 // its place there
	refs    int32  // how many steps of services, and arms, lead to it
	leaf    *drawState
	mix     *mixState // nil: it is a leaf
	parents []above   // the arms that lead to it, in any order
}

// mixState is a node that has arms.
type mixState struct {
	key  string // of Compiler.nodes
	kind table.Kind
	need rr.FamilySet // an arm counts by health only if it gives all of these
	arms []share
	near *nearState // of a table.NearestNode
	sets int        // of its Split, which count in Compiler.splits
}

// nearState is what a node goes by that chooses the nearest of its arms. It has taken its columns.
type nearState struct {
	of    *division
	slot  uint32 // of View.PartList
	table *table.Near
}

// share is one arm.
type share struct {
	node   *nodeState
	weight uint16
	at     uint32 // in node.parents
}

// above is an arm of a node, seen from what it leads to.
type above struct {
	node *nodeState
	arm  int
}

// ahead holds draws and partitions that were compiled before their turn, by all CPUs. Who takes from it cannot tell: what is
// not in it is compiled when it is wanted. The zero value is empty.
type ahead struct {
	draws map[aheadKey]*aheadDraw
	parts map[string]*aheadPart
	own   owned // of parts: those of one policy alone
	// policies are of services that are about to be compiled
	policies map[spec.Key]*aheadPolicy

	geography *Geography // compiled beside; nil: none is new
}

type aheadKey struct {
	pool health.PoolID
	form draws.Form
}

type aheadDraw struct {
	pool *steer.Pool
	draw *draws.Draw
	err  error
}

// aheadPolicy is the policy of a service, filled in.
type aheadPolicy struct {
	policy   *policy.Policy
	owner    owner             // of a partition of its own
	asked    map[spec.Key]bool // the policies that it looked for
	key      string            // of a partition of its own
	shared   string            // of one that it shares with others
	err      error
	division *division // for which rows are; nil: they are not made yet
	rows     *policy.Rows
}

// owner is a tenant that has a partition for one policy alone.
type owner struct {
	tenant string
	timed  bool // the policy goes by latencies
}

// owned counts such partitions, by what stands for their owners.
type owned map[owner]int

// count adds n to those of an owner, and to those of all.
func (o owned) count(of *owner, n int) {
	for _, k := range []owner{*of, {timed: of.timed}} {
		if o[k] += n; o[k] == 0 {
			delete(o, k)
		}
	}
}

// timed reports whether the policy goes by latencies.
func (f *aheadPolicy) timed() bool {
	_, timed := f.policy.Asks()
	return timed
}

type aheadPart struct {
	begin func() *division
	divided
}

// aliases is what a Compiler knows of them.
type aliases struct {
	declared  map[spec.Key]*spec.Service          // what the aliases of zones stand for
	zones     map[spec.Key]spec.Key               // the zone of each of those
	leads     map[spec.Key]lead                   // of services with an alias
	followers map[string]map[spec.Key]bool        // by the wire form of the host that they lead to
	resolved  map[Target]*Resolved                // never nil inside
	pools     map[health.PoolID]*spec.Resource    // made of what was resolved, and of zones' content
	ttls      map[health.PoolID]uint32            // of each of pools: seconds
	content   map[health.PoolID]bool              // those of zones' content
	places    map[Target]map[health.PoolID]string // the pools of a target
}

// lead is where an alias leads.
type lead struct {
	host    string // wire
	target  Target
	outside bool // as it was found when last compiled
}

func newAliases() aliases {
	return aliases{map[spec.Key]*spec.Service{}, map[spec.Key]spec.Key{}, map[spec.Key]lead{}, map[string]map[spec.Key]bool{},
		map[Target]*Resolved{}, map[health.PoolID]*spec.Resource{}, map[health.PoolID]uint32{}, map[health.PoolID]bool{},
		map[Target]map[health.PoolID]string{}}
}

// Geography is a new atlas, or new files of maps, with the partitions that a Compiler will want of it. They take long, so they are
// compiled beside the Compiler, which takes other news meanwhile; see Changes and verdicts in docs/performance.md.
type Geography struct {
	atlas *geo.Atlas
	files *geo.FileMaps // nil: the atlas is what is new
	maps  []geo.Map
	parts map[string]*aheadPart
}

// plan is what a service is compiled from.
type plan struct {
	eff     *spec.Service
	tenant  string         // whose pools the rules name
	rules   spec.Key       // the service whose rules they are; the zero Key: they are made of what an alias leads to
	aliasOf string         // what it leads to, for people; empty: it is no alias
	pending bool           // it leads to what has never been resolved
	order   [][]string     // as table.ServiceInfo has it
	next    time.Time      // when overrides next change its rules; zero: never
	ttl     *spec.Duration // of the alias, which bounds those of the service that it leads to; nil: it has none
}

// atMost bounds the TTL of a row, in seconds, by that of the alias.
func (p *plan) atMost(ttl uint32) uint32 {
	if p.ttl == nil {
		return ttl
	}
	return min(ttl, p.ttl.WholeSeconds())
}

// needs is what a pool depends on.
type needs struct {
	onPools    []health.PoolID // also those of the rules of services
	onServices []spec.Key
}

// needed is the way back: who depends on a pool or on a service, and the pools of which these must hear.
type needed struct {
	pools    map[health.PoolID]map[health.PoolID]bool
	services map[spec.Key]map[health.PoolID]bool
	news     map[health.PoolID]bool // pools that went up or down, or are down for another reason
}

func newNeeded() needed {
	return needed{map[health.PoolID]map[health.PoolID]bool{}, map[spec.Key]map[health.PoolID]bool{}, map[health.PoolID]bool{}}
}

// holds are the overrides that freeze one service. Of several in force the first by key counts.
type holds struct {
	all map[spec.Key]*spec.Override
	now *spec.Override // that counts; nil: none is in force
	end time.Time      // when that ends; zero: never
}

// heldBy gives the hold on a service; nil: it is not held.
func (c *Compiler) heldBy(service spec.Key) *spec.Override {
	if h := c.holds[service]; h != nil {
		return h.now
	}
	return nil
}

// sooner gives the earlier of two moments, of which a zero one never comes.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
