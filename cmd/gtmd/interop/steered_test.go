//go:build interop

package interop

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
)

// steeredWorld is where the pools of the steered services stand: one at each site, of its name. At two of them there are pools that are
// down too, and at one is a pool of two endpoints.
const steeredWorld = `kind: Zone
tenant: platform
name: gtm.test.
spec: {nameservers: [ns1.example.net.], contact: hostmaster.gtm.test., grants: {shop: [shop.gtm.test.]}}
---
{kind: Site, tenant: platform, name: fra, spec: {location: {lat: 50.11, lon: 8.68}, region: EU-DE}}
---
{kind: Site, tenant: platform, name: lon, spec: {location: {lat: 51.51, lon: -0.13}, region: EU-GB}}
---
{kind: Site, tenant: platform, name: sto, spec: {location: {lat: 59.33, lon: 18.06}, region: EU-SE}}
---
{kind: Site, tenant: platform, name: iad, spec: {location: {lat: 38.95, lon: -77.45}, region: NA-US-VA}}
---
{kind: Site, tenant: platform, name: sjc, spec: {location: {lat: 37.36, lon: -121.93}, region: NA-US-CA}}
---
{kind: Site, tenant: platform, name: gru, spec: {location: {lat: -23.43, lon: -46.47}, region: SA-BR}}
---
{kind: Site, tenant: platform, name: sin, spec: {location: {lat: 1.36, lon: 103.99}, region: AS-SG}}
---
{kind: Site, tenant: platform, name: nrt, spec: {location: {lat: 35.76, lon: 140.39}, region: AS-JP}}
---
{kind: Site, tenant: platform, name: syd, spec: {location: {lat: -33.95, lon: 151.18}, region: OC-AU}}
---
{kind: Site, tenant: platform, name: jnb, spec: {location: {lat: -26.14, lon: 28.25}, region: AF-ZA}}
---
kind: Policy
tenant: platform
name: by-role
spec:
  grants: [shop]
  rules:
    - {name: own, when: {geo: [EU, AF]}, fence: [EU, AF], pools: [main, {nearest: sites}]}
    - {name: named, when: {map: named}, pools: [{site: gru}, spare]}
    - {name: rest, when: {geo: [NA, SA, AS]}, pools: [{nearest: [spare, main]}]}
`

var steeredSites = strings.Fields("fra lon sto iad sjc gru sin nrt syd jnb")

// steeredServices are the services of every kind of policy, by name; that of room. has the wildcard in its place. All but shares answer
// one client always alike.
var steeredServices = map[string]string{
	"rules": `rules: [{when: {map: named}, pools: [syd]}, {when: {geo: [EU-DE, EU-FR, AS-IN]}, pools: [fra-down, two]},
		{when: {geo: [EU, AF]}, pools: [lon]}, {when: {geo: [NA-CA, SA-AR]}, pools: [sjc]}, {pools: [iad]}], pick: sticky`,
	"nearest": `rules: [{pools: [{nearest: [fra, lon, sto, iad, sjc, gru, sin, nrt, syd, jnb], band: 0%}]}]`,
	"biased":  `rules: [{pools: [{nearest: [fra-down, fra, iad, sin], band: 0%, bias: {sin: 20%, iad: -500km}, farthest: 7000km}, gru]}]`,
	"band": `rules: [{pools: [{nearest: [{pool: fra, weight: 3}, lon, {pool: sto, weight: 2}, iad, sjc, sin, nrt], band: 40%}]}],
		coherent: true`,
	"shares":  `rules: [{pools: [{nearest: [{pool: fra, weight: 3}, lon, {pool: sto, weight: 2}, iad, sjc, sin, nrt], band: 40%}]}]`,
	"fastest": `rules: [{pools: [{fastest: [fra, lon, iad, sin, jnb]}]}]`,
	"listed":  `rules: [{pools: [{fastest: [iad, sin, gru], then: listed, margin: 20ms, samples: 20}]}]`,
	"policy": `pools: [{pool: fra, role: main}, {pool: lon-down, role: main}, {pool: sin, role: spare}, {pool: iad, role: spare}, jnb, gru],
		rules: [{when: {geo: [EU-GB]}, pools: [{pool: jnb, weight: 1}, {policy: by-role, weight: 2}]}, {pools: [{policy: by-role}, nrt]}],
		coherent: true`,
	"split": `rules: [
		{when: {geo: [EU, AF]}, pools: [{split: [{nearest: [two, lon, sto], weight: 3},
			{split: [{pool: jnb}, {fastest: [iad, gru], weight: 2}], weight: 1}]}]},
		{pools: [{split: [{nearest: [sin, nrt, syd], weight: 1}, {pool: iad, weight: 1}]}, fra]}], coherent: true, pick: sticky`,
	"fence": `rules: [{when: {geo: [EU, AS-TR]}, fence: [EU], pools: [{nearest: [fra-down, lon-down, iad, sin]}]},
		{pools: [{nearest: [fra-down, lon-down, iad, sin], band: 0%}]}], coherent: true`,
	"trickle": `rules: [{pools: [{nearest: [fra, iad, nrt], band: 0%}, {pool: gru, trickle: 20%}]}], coherent: true`,
	"last": `rules: [{when: {geo: [NA, SA, EU-NL]}, pools: [fra-down]}, {when: {geo: [AS, EU]}, pools: [lon-down, fra-down]}],
		lastResort: [{nearest: [iad, gru, sto, nrt], band: 0%}]`,
	"room.label": `rules: [{when: {geo: [EU]}, pools: [two]}, {pools: [{nearest: [iad, sin, gru], band: 0%}]}], pick: sticky,
		sticky: {by: label}`,
	"resolver": `rules: [{when: {resolver: local}, pools: [sto]}, {when: {geo: [EU]}, pools: [fra]}, {when: {geo: [NA, SA]}, pools: [iad]},
		{pools: [nrt]}]`,
	"ecs": `rules: [{when: {geo: [EU]}, pools: [fra]}, {pools: [{nearest: [sto, iad]}]}], ecs: "off"`,
}

// steeredAnswers is how many answers a service must have at least, for its scope to make a difference.
func steeredAnswers(kind string) int {
	switch kind {
	case "ecs":
		return 1 // all clients are one to it
	case "resolver":
		return 4 // one of them for clients in special-purpose blocks alone
	}
	return 3
}

// steeredKinds are the services by name, in order.
func steeredKinds() (kinds []string) {
	for kind := range steeredServices {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

func steeredHost(kind string) string { return kind + ".shop.gtm.test." }

// steeredAddr is the address of an endpoint of the pool of a site.
func steeredAddr(site, endpoint int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(10*site + endpoint + 1)})
}

// steeredJob writes the resources of the steered services, with the networks of the map that they name.
func steeredJob(t *testing.T, named []netip.Prefix) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(steeredWorld)
	for i, site := range steeredSites {
		fmt.Fprintf(&b, "---\n{kind: Pool, tenant: shop, name: %s, spec: {site: %[1]s, endpoints: [{name: a, addresses: [%s]}]}}\n",
			site, steeredAddr(i, 0))
	}
	fmt.Fprintf(&b, "---\n{kind: Pool, tenant: shop, name: two, spec: {site: fra, endpoints: [{name: a, addresses: [%s]}, "+
		"{name: b, addresses: [%s]}]}}\n", steeredAddr(0, 1), steeredAddr(0, 2))
	for i, site := range []string{"fra", "lon"} {
		fmt.Fprintf(&b, "---\n{kind: Pool, tenant: shop, name: %s-down, spec: {site: %[1]s, endpoints: [{name: a, addresses: [%s]}]}}\n",
			site, steeredAddr(i, 5))
		fmt.Fprintf(&b, "---\n{kind: Override, tenant: shop, name: %s-down, spec: {pool: %[1]s-down, state: down, reason: a test}}\n", site)
	}
	var networks []string
	for _, network := range named {
		networks = append(networks, fmt.Sprintf("%q", network))
	}
	b.WriteString("---\n{kind: Map, tenant: platform, name: local, spec: {networks: [127.0.0.0/8]}}\n")
	fmt.Fprintf(&b, "---\n{kind: Map, tenant: platform, name: named, spec: {networks: [%s]}}\n", strings.Join(networks, ", "))
	for _, kind := range steeredKinds() {
		fmt.Fprintf(&b, "---\nkind: Service\ntenant: shop\nname: %s\nspec: {host: %s, ttl: 10m, %s}\n",
			strings.TrimPrefix(kind, "room."), strings.Replace(strconv.Quote(steeredHost(kind)), "room.", "*.", 1),
			strings.ReplaceAll(steeredServices[kind], "\t", " "))
	}
	return writeFile(t, t.TempDir(), "steered.yaml", b.String())
}

// crowds draws clients that are near one another: some of all lands and at the ends of special-purpose blocks, and around each of them
// others, in networks up to 256 times as wide, so that many share an answer and many are just outside of its scope.
func crowds(t *testing.T, world *atlas, random *rand.Rand, n int) []netip.Prefix {
	t.Helper()
	seen := map[netip.Prefix]bool{}
	drawn := clients(t, world, random, n/10)
	for _, addr := range besideSpecial() {
		bits := 24
		if addr.Is6() {
			bits = 48
		}
		if client, err := addr.Prefix(bits); err == nil && random.IntN(2) == 0 {
			drawn = append(drawn, client)
		}
	}
	drawn = slices.DeleteFunc(drawn, func(client netip.Prefix) bool {
		twice := seen[client]
		seen[client] = true
		return twice
	})
	firsts := drawn
	for at := 0; len(drawn) < n; at++ {
		first := firsts[at%len(firsts)]
		wider, err := first.Addr().Prefix(first.Bits() - random.IntN(9))
		if err != nil {
			t.Fatal(err)
		}
		longest := 32
		if first.Addr().Is6() {
			longest = 64
		}
		client, err := anyIn(random, wider).Prefix(min(wider.Bits()+random.IntN(13), longest))
		if err != nil {
			t.Fatal(err)
		}
		if !seen[client] {
			seen[client], drawn = true, append(drawn, client)
		}
	}
	return drawn
}

// around gives networks that hold some of the clients, once each, some wider than the client's and some narrower; special-purpose
// blocks lie in none, where a map would make clients of them that have places.
func around(random *rand.Rand, clients []netip.Prefix, n int) (networks []netip.Prefix) {
	for len(networks) < n {
		client := clients[random.IntN(len(clients))]
		bits := 14 + random.IntN(14)
		if client.Addr().Is6() {
			bits = 30 + random.IntN(26)
		}
		network, err := client.Addr().Prefix(bits)
		if err == nil && !slices.Contains(networks, network) && !overlapsAny(network, special) {
			networks = append(networks, network)
		}
	}
	return networks
}

// measured builds a latency table of networks with gtmctl: six sites of each, on some samples.
func measured(t *testing.T, random *rand.Rand, networks []netip.Prefix) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("network,site,ms,samples\n")
	for _, network := range networks {
		for _, site := range random.Perm(len(steeredSites))[:6] {
			fmt.Fprintf(&b, "%s,%s,%d,%d\n", network, steeredSites[site], 5+random.IntN(200), 1+random.IntN(60))
		}
	}
	dir := t.TempDir()
	table := filepath.Join(dir, "latency.mmdb")
	run(t, filepath.Join(bin, "gtmctl"), "latency", "build", "--csv", writeFile(t, dir, "latency.csv", b.String()), "-o", table)
	return table
}

// A question is asked for a client of a service.
type question struct {
	kind   string
	client netip.Prefix
}

// askAll asks a server the questions from several sockets, each in its order, and gives the addresses of each answer, sorted: resolvers
// turn them round.
func askAll(t *testing.T, server netip.AddrPort, questions []question) map[question]string {
	t.Helper()
	const sockets = 8
	answers := make([]string, len(questions))
	var group errgroup.Group
	for first := range sockets {
		asker := newQuestioner(t, server)
		group.Go(func() error {
			for i := first; i < len(questions); i += sockets {
				reply, err := asker.ask(steeredHost(questions[i].kind), questions[i].client)
				if err == nil {
					answers[i], err = sortedAddresses(reply)
				}
				if err != nil {
					return fmt.Errorf("%v: %w", questions[i], err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	by := make(map[question]string, len(questions))
	for i, q := range questions {
		by[q] = answers[i]
	}
	return by
}

func sortedAddresses(reply *dns.Msg) (string, error) {
	var all []string
	for _, record := range reply.Answer {
		if a, ok := record.(*dns.A); ok {
			all = append(all, a.A.String())
		}
	}
	if reply.Rcode != dns.RcodeSuccess || len(all) == 0 {
		return "", fmt.Errorf("%s with %d addresses", dns.RcodeToString[reply.Rcode], len(all))
	}
	slices.Sort(all)
	return strings.Join(all, " "), nil
}

// Through unbound, clients of services of every kind of policy get what they get directly, whoever asked before: where answers are by
// chance, one of those that the policy gives this client.
func TestUnboundCachesEveryPolicy(t *testing.T) {
	random := rand.New(rand.NewPCG(runSeed(t), 3))
	all := crowds(t, openAtlas(t), random, 2000)
	named := around(random, all, 100)
	job := steeredJob(t, named)
	d := startGtmd(t, t.TempDir(), "--apply", job, "--latency", measured(t, random, around(random, all, 1000)))
	between := startRelay(t, d.dns)
	resolver := startUnbound(t, between.front.LocalAddr().(*net.UDPAddr).AddrPort())

	var questions []question
	for _, kind := range steeredKinds() {
		for _, client := range all {
			questions = append(questions, question{kind, client})
		}
	}
	direct := askAll(t, d.dns, questions)
	different := map[string]map[string]bool{}
	for q, answer := range direct {
		if different[q.kind] == nil {
			different[q.kind] = map[string]bool{}
		}
		different[q.kind][answer] = true
	}
	for kind, answers := range different {
		if len(answers) < steeredAnswers(kind) {
			t.Errorf("%s has %d answers only: %v", kind, len(answers), answers)
		}
	}
	shares := sharesOf(t, job, named)
	asked := map[string]int64{}
	for _, pass := range []string{"cold", "warm"} {
		before := between.count.Load()
		random.Shuffle(len(questions), func(i, j int) { questions[i], questions[j] = questions[j], questions[i] })
		wrong := map[string]int{}
		for q, answer := range askAll(t, resolver, questions) {
			want := []string{direct[q]}
			if q.kind == "shares" {
				want = shares(q.client.Addr())
			}
			if !slices.Contains(want, answer) {
				if wrong[q.kind]++; wrong[q.kind] <= 3 {
					t.Errorf("%s: %s for %s is %s through unbound, and %v directly", pass, q.kind, q.client, answer, want)
				}
			}
		}
		asked[pass] = between.count.Load() - before
		t.Logf("%s: %d questions, wrong %v; unbound asked us %d times", pass, len(questions), wrong, asked[pass])
	}
	if n := int64(len(questions)); asked["cold"] > n*2/3 || asked["warm"] > n/20 {
		t.Errorf("unbound asked %d and %d times of %d: its cache was not what answered", asked["cold"], asked["warm"], n)
	}
}

// sharesOf gives a function that tells what a client of the service shares can get: the addresses of all pools of the first step that
// the policy has for it. It reads policy and place plainly: no partition, no scope.
func sharesOf(t *testing.T, job string, named []netip.Prefix) func(client netip.Addr) []string {
	t.Helper()
	p := policyOf(t, job, "shares")
	atlas, err := geo.Open(database)
	if err != nil {
		t.Fatal(err)
	}
	return func(client netip.Addr) (all []string) {
		place, _ := geo.PlaceAt(atlas, []geo.Map{{Name: "named", Networks: named}}, client)
		row, _ := p.Row(p.Where(place, geo.Hits{}), nil)
		rows := policy.RowsOf([]policy.Row{row})
		for pool := range rows.Steps[rows.Orders[0].Steps[0]].Pools() {
			site := slices.Index(steeredSites, p.Pools[pool].Name)
			all = append(all, steeredAddr(site, 0).String())
		}
		return all
	}
}

// A declaration is the resources of a file, for policies to look things up in.
type declaration []*spec.Resource

func (d declaration) find(kind spec.Kind, name string) any {
	for _, r := range d {
		if r.Kind == kind && r.Name == name {
			return r.Spec
		}
	}
	return nil
}

// Pool gives a pool, with its site.
func (d declaration) Pool(_, name string) *policy.Pool {
	p, _ := d.find(spec.KindPool, name).(*spec.Pool)
	if p == nil {
		return policy.PoolAt(name, "", nil)
	}
	site, _ := d.find(spec.KindSite, p.Site).(*spec.Site)
	return policy.PoolAt(name, p.Site, site)
}

// Policy gives a policy of the platform.
func (d declaration) Policy(_, name string) (string, *spec.Policy) {
	p, _ := d.find(spec.KindPolicy, name).(*spec.Policy)
	return "platform", p
}

// policyOf gives the policy of a service that a file declares.
func policyOf(t *testing.T, job, service string) *policy.Policy {
	t.Helper()
	text, err := os.ReadFile(job)
	if err != nil {
		t.Fatal(err)
	}
	resources, err := spec.Decode(job, text)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := declaration(resources).find(spec.KindService, service).(*spec.Service)
	if !ok {
		t.Fatalf("%s has no service %s", job, service)
	}
	eff := s.Effective()
	p, err := policy.New("shop", &eff, declaration(resources), time.Now().Unix()/86400)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
