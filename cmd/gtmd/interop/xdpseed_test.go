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
	"github.com/gti/gtm/pkg/zone"
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
	for _, c := range []serve.Config{{XDP: []string{"srv"}, Addrs: []netip.AddrPort{netip.AddrPortFrom(xdpServer4, 53), netip.AddrPortFrom(xdpServer6, 53)}},
		{Addrs: []netip.AddrPort{netip.AddrPortFrom(xdpServer4, 5353), netip.AddrPortFrom(xdpServer6, 5353)}}} {
		c.Workers = 1
		c.NewHandler = func() serve.Handler {
			return &seeded{Answerer: answer.New(answer.Config{View: view, ID: "seeded", Seed: 7, Clock: func() uint32 { return 1 }})}
		}
		server, err := serve.Listen(c)
		if err != nil {
			return err
		}
		defer server.Shutdown(context.Background())
	}
	<-ctx.Done()
	return nil
}

// seeded answers, with the draws of its seed.
type seeded struct{ *answer.Answerer }

func (h *seeded) Handle(r *serve.Request) (int, serve.Action) {
	o := h.Answer(r.Buf, r.N, &answer.Meta{Source: r.Source, Stream: r.Transport != serve.UDP, Slow: r.Slow})
	if o.Size <= 0 {
		return 0, serve.Drop
	}
	return o.Size, serve.Send
}

// compileFile compiles resources as an edge does.
func compileFile(file string) (*atomic.Pointer[table.View], error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	resources, err := spec.Decode(file, text)
	if err != nil {
		return nil, err
	}
	changes := map[string]*table.TenantChange{}
	for _, r := range resources {
		if z, ok := r.Spec.(*spec.Zone); ok {
			if z.Content, _, err = zone.Canonical(r.Name, r.Name, z.Content, zone.Defaults{}); err != nil {
				return nil, err
			}
		}
		if changes[r.Tenant] == nil {
			changes[r.Tenant] = &table.TenantChange{Tenant: r.Tenant, Head: 1}
		}
		changes[r.Tenant].Put = append(changes[r.Tenant].Put, table.Item{Resource: r, Generation: 1})
	}
	atlas, err := geo.Open()
	if err != nil {
		return nil, err
	}
	compiler := table.NewCompiler(table.Config{Seed: 9, Workers: 1}, atlas)
	var all table.Change
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
`

// TestXDPSeeds compares whole replies, draws included, of two servers with equal seeds.
func TestXDPSeeds(t *testing.T) {
	p := newPair(t)
	file := writeFile(t, t.TempDir(), "job.yaml", xdpZone()+"---\n"+seededResources)
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
	drawn := map[string]bool{}
	for _, server := range []netip.Addr{xdpServer4, xdpServer6} {
		past, sockets := p.dial("udp", net.JoinHostPort(server.String(), "53")), p.dial("udp", net.JoinHostPort(server.String(), "5353"))
		for _, conn := range []net.Conn{past, sockets} { // what is on its way while the program is being attached may be lost
			eventually(t, 20*time.Second, "an answer", func() error {
				_, err := tryExchange(conn, pack(t, new(dns.Msg).SetQuestion("n7.gtm.test.", dns.TypeA)), time.Second)
				return err
			})
		}
		for i := range 2000 {
			query := pack(t, seededQuery(i))
			one, two := exchange(t, past, query), exchange(t, sockets, query)
			if !bytes.Equal(one, two) {
				t.Fatalf("query %d at %s: %x past the kernel, %x by sockets", i, server, one, two)
			}
			var reply dns.Msg
			if err := reply.Unpack(one); err != nil {
				t.Fatal(err)
			}
			for _, rr := range reply.Answer {
				drawn[strings.TrimPrefix(rr.String(), rr.Header().String())] = true
			}
		}
	}
	if !drawn["192.0.2.1"] || !drawn["192.0.2.3"] || !drawn["198.51.100.2"] {
		t.Errorf("the answers do not show that anything was drawn: %v", drawn)
	}
	if err := process.stop(); err != nil {
		t.Error(err)
	}
}

// seededQuery asks for steered and other names in turn, for clients in and out of Europe.
func seededQuery(i int) *dns.Msg {
	name := []string{"www.shop.gtm.test.", "www.shop.gtm.test.", "n7.gtm.test.", "nothing.gtm.test.", "www.shop.gtm.test."}[i%5]
	m := new(dns.Msg).SetQuestion(name, []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA}[i/5%3])
	m.Id = uint16(i)
	if i%7 != 0 {
		m.SetEdns0(1232, i%11 == 0)
		subnet := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(81, 2, byte(i), 0)}
		if i%3 == 0 {
			subnet.Address = net.IPv4(8, 8, byte(i), 0)
		}
		m.IsEdns0().Option = []dns.EDNS0{subnet}
	}
	return m
}
