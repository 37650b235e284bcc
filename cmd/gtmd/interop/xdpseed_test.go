//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/answer"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/serve"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// seededEnv, set to a file of resources, makes this test binary two servers with equal seeds instead of tests: one at port
// 53 past the kernel's stack, and one at port 5353 by sockets.
const seededEnv = "GTM_INTEROP_SEEDED"

// runSeeded serves until SIGINT, and gives the exit code.
func runSeeded(file string) int {
	if err := serveSeeded(file); err != nil {
		fmt.Fprintln(os.Stderr, seededEnv+":", err)
		return 1
	}
	return 0
}

func serveSeeded(file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	view, err := compileFile(file)
	if err != nil {
		return err
	}
	newAnswerer := func() *answer.Answerer {
		return answer.New(answer.Config{View: view, ID: "seeded", Seed: 7, Clock: func() uint32 { return seededTime }})
	}
	if err := signAhead(newAnswerer()); err != nil {
		return err
	}
	for _, c := range []serve.Config{{XDP: []string{"srv"}, Addrs: []netip.AddrPort{netip.AddrPortFrom(xdpServer4, 53),
		netip.AddrPortFrom(xdpServer6, 53)}},
		{Addrs: []netip.AddrPort{netip.AddrPortFrom(xdpServer4, 5353), netip.AddrPortFrom(xdpServer6, 5353)}}} {
		c.Workers, c.SlowWorkers = 1, 1
		c.NewHandler = func() serve.Handler { return &seeded{Answerer: newAnswerer()} }
		server, err := serve.Listen(c)
		if err != nil {
			return err
		}
		defer server.Shutdown(context.Background())
	}
	<-ctx.Done()
	return nil
}

// seededTime is the servers' clock, in Unix seconds.
const seededTime = 1795435200

// signAhead has all signed that the queries may draw, so that it does not matter for the draws which server is asked first.
func signAhead(a *answer.Answerer) error {
	buf := make([]byte, 65535)
	for i := range 3 * seededQueries {
		m := seededQuery(i)
		if strings.HasPrefix(m.Question[0].Name, "fresh") {
			continue
		}
		query, err := m.Pack()
		if err != nil {
			return err
		}
		a.Answer(buf, copy(buf, query), &answer.Meta{Source: netip.AddrPortFrom(xdpClient4, 4444), Slow: true})
	}
	return nil
}

// seeded answers, with the draws of its seed, and on the ways of an edge: queries are prefetched, and what must be signed first
// is put off.
type seeded struct{ *answer.Answerer }

var _ serve.Prefetcher = (*seeded)(nil)

func (h *seeded) Handle(r *serve.Request) (int, serve.Action) {
	o := h.Answer(r.Buf, r.N, &answer.Meta{Source: r.Source, Stream: r.Transport != serve.UDP, Slow: r.Slow, Prefetched: r.Prefetched})
	switch {
	case o.Deferred():
		return 0, serve.Defer
	case o.Kind != answer.Send:
		return 0, serve.Drop
	}
	return o.Size, serve.Send
}

// compileFile compiles resources as an edge does, and signs zone gtm.test. by an algorithm that signs the same way each time.
func compileFile(file string) (*atomic.Pointer[table.View], error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	resources, err := spec.Decode(file, text)
	if err != nil {
		return nil, err
	}
	changes := map[string]*compile.TenantChange{}
	for _, r := range resources {
		if z, ok := r.Spec.(*spec.Zone); ok {
			if z.Content, _, err = zone.Canonical(r.Name, r.Name, z.Content, zone.Defaults{}); err != nil {
				return nil, err
			}
		}
		if changes[r.Tenant] == nil {
			changes[r.Tenant] = &compile.TenantChange{Tenant: r.Tenant, Head: 1}
		}
		changes[r.Tenant].Put = append(changes[r.Tenant].Put, compile.Item{Resource: r, Generation: 1})
	}
	atlas, err := geo.Open()
	if err != nil {
		return nil, err
	}
	compiler := compile.New(compile.Config{Seed: 9, Workers: 1}, atlas)
	key, err := dnssec.Generate(dnssec.Ed25519, false)
	if err != nil {
		return nil, err
	}
	compiler.SetKeys("gtm.test.", &compile.ZoneKeys{Keys: []*dnssec.Key{key}})
	var all compile.Change
	for _, c := range changes {
		all.Tenants = append(all.Tenants, *c)
	}
	compiler.Apply(all)
	v, broken, _ := compiler.Compile(time.Now())
	if len(broken) > 0 {
		return nil, fmt.Errorf("broken: %v", broken)
	}
	view := new(atomic.Pointer[table.View])
	view.Store(v)
	return view, nil
}

// seededRecords are in the zone beside xdpZone's: a chain of CNAME records to a steered name.
const seededRecords = "chain CNAME chain2\n    chain2 CNAME www.shop\n"

const seededResources = `kind: Pool
tenant: shop
name: eu
spec:
  endpoints:
    - {name: a, addresses: [192.0.2.1], weight: 3}
    - {name: b, addresses: [192.0.2.2], weight: 2}
    - {name: c, addresses: [192.0.2.3], weight: 1}
---
kind: Pool
tenant: shop
name: rest
spec:
  endpoints:
    - {name: a, addresses: [198.51.100.1], weight: 1}
    - {name: b, addresses: [198.51.100.2], weight: 1}
---
kind: Service
tenant: shop
name: www
spec:
  host: www.shop.gtm.test.
  ttl: 60s
  rules:
    - {when: {geo: [EU]}, pools: [eu]}
    - {pools: [rest]}
---
kind: Service
tenant: shop
name: several
spec: {host: several.shop.gtm.test., answers: 2, rules: [{pools: [eu]}]}
---
kind: Service
tenant: shop
name: sticky
spec: {host: sticky.shop.gtm.test., pick: sticky, rules: [{pools: [eu]}]}
---
kind: Pool
tenant: shop
name: one
spec: {endpoints: [{name: a, addresses: [203.0.113.1, "2001:db8::3"]}]}
---
kind: Service
tenant: shop
name: star
spec: {host: "*.star.shop.gtm.test.", rules: [{pools: [one]}]}
`

// TestXDPSeeds compares whole replies, draws included, of two servers with equal seeds: one past the kernel's stack, one by UDP
// sockets. How UDP sockets compare with all other transports is TestEqualSeedsOverEveryTransport of pkg/answer.
func TestXDPSeeds(t *testing.T) {
	p := newPair(t)
	file := writeFile(t, t.TempDir(), "job.yaml", xdpZone()+"    "+seededRecords+"---\n"+seededResources)
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	servers := exec.Command("ip", "netns", "exec", p.server, self)
	servers.Env = append(os.Environ(), seededEnv+"="+file)
	process := startProcess(t, servers)
	eventually(t, startTimeout, "the program is attached", func() error {
		if !process.running() {
			t.Fatalf("it ended: %v\n%s", process.err, process.log)
		}
		if !p.attached() {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	drawn, signed := map[string]bool{}, 0
	for _, server := range []netip.Addr{xdpServer4, xdpServer6} {
		past, sockets := p.dial("udp", net.JoinHostPort(server.String(), "53")), p.dial("udp", net.JoinHostPort(server.String(), "5353"))
		for _, conn := range []net.Conn{past, sockets} { // what is on its way while the program is being attached may be lost
			eventually(t, 20*time.Second, "an answer", func() error {
				_, err := tryExchange(conn, pack(t, new(dns.Msg).SetQuestion("n7.gtm.test.", dns.TypeA)), time.Second)
				return err
			})
		}
		for i := range seededQueries {
			query := pack(t, seededQuery(i))
			conns := []net.Conn{past, sockets}
			replies := make([][]byte, 2)
			for k := range conns { // by turns one and the other is the first, which has to sign what is fresh
				k = (k + i/2) % 2
				replies[k] = exchange(t, conns[k], query)
			}
			one, two := replies[0], replies[1]
			if !bytes.Equal(one, two) {
				t.Fatalf("query %d at %s: %x past the kernel, %x by sockets", i, server, one, two)
			}
			var reply dns.Msg
			if err := reply.Unpack(one); err != nil {
				t.Fatal(err)
			}
			for _, rr := range reply.Answer {
				if _, ok := rr.(*dns.RRSIG); ok {
					signed++
				}
				drawn[strings.TrimPrefix(rr.String(), rr.Header().String())] = true
			}
		}
	}
	if !drawn["192.0.2.1"] || !drawn["192.0.2.3"] || !drawn["198.51.100.2"] || signed < seededQueries/4 {
		t.Errorf("the answers do not show that anything was drawn, and signed (%d): %v", signed, drawn)
	}
	if err := process.stop(); err != nil {
		t.Error(err)
	}
}

// seededQueries is how many queries are asked at each address.
const seededQueries = 2000

// seededNames are asked in turn.
var seededNames = []struct {
	name string
	typ  uint16
}{
	{"www.shop", dns.TypeA}, {"WWW.shop", dns.TypeA}, {"several.shop", dns.TypeA}, {"www.shop", dns.TypeAAAA}, {"sticky.shop", dns.TypeA},
	{"n7", dns.TypeA},
	{"www.shop", dns.TypeA}, {"fresh", dns.TypeA}, {"several.shop", dns.TypeA}, {"x.star.shop", dns.TypeA}, {"x.star.shop", dns.TypeAAAA},
	{"x.w", dns.TypeTXT},
	{"host.sub", dns.TypeA}, {"chain", dns.TypeA}, {"nothing", dns.TypeA}, {"long", dns.TypeTXT}, {"www", dns.TypeMX},
}

// seededQuery asks for steered and other names in turn, for clients in and out of Europe, signed and not. "fresh" is a name that nobody
// has asked for.
func seededQuery(i int) *dns.Msg {
	q := seededNames[i%len(seededNames)]
	if q.name == "fresh" {
		q.name += fmt.Sprint(i)
	}
	m := new(dns.Msg).SetQuestion(q.name+".gtm.test.", q.typ)
	m.Id = uint16(i)
	if i%7 != 0 {
		m.SetEdns0(1232, i%11 < 5)
		subnet := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(81, 2, byte(i), 0)}
		switch i % 5 {
		case 0:
			subnet.Address = net.IPv4(8, 8, byte(i), 0)
		case 1:
			subnet.Family, subnet.SourceNetmask, subnet.Address = 2, 56, net.ParseIP("2a02:ec80:300::")
		}
		if i%5 != 2 {
			m.IsEdns0().Option = []dns.EDNS0{subnet}
		}
	}
	return m
}
