//go:build interop

package interop

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

// unboundConfig is a resolver that sends the client's own subnet on to the authority, and caches by it.
// The authority is asked at the port of the relay.
const unboundConfig = `server:
  module-config: "subnetcache iterator"
  interface: 127.0.0.1
  port: %[1]s
  access-control: 127.0.0.0/8 allow
  send-client-subnet: 127.0.0.1
  max-client-subnet-ipv4: 32
  max-client-subnet-ipv6: 128
  max-ecs-tree-size-ipv4: 100000
  max-ecs-tree-size-ipv6: 100000
  qname-minimisation: no
  msg-cache-size: 64m
  do-not-query-localhost: no
  local-zone: "test." nodefault
  num-threads: 1
  do-daemonize: no
  username: ""
  chroot: ""
  directory: %[3]q
  pidfile: ""
  use-syslog: no
  logfile: ""
remote-control:
  control-enable: no
stub-zone:
  name: "gtm.test"
  stub-addr: 127.0.0.1@%[2]s
`

// A relay passes datagrams on to a server and counts them, so that a test sees what a cache did not answer.
type relay struct {
	front net.PacketConn
	count atomic.Int64
}

// startRelay starts a relay that ends with the test.
func startRelay(t *testing.T, server netip.AddrPort) *relay {
	t.Helper()
	front, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	r := &relay{front: front}
	go r.run(server)
	return r
}

func (r *relay) run(server netip.AddrPort) {
	buf := make([]byte, 65536)
	for {
		n, client, err := r.front.ReadFrom(buf)
		if err != nil {
			return
		}
		r.count.Add(1)
		go r.pass(slices.Clone(buf[:n]), client, server)
	}
}

// pass asks the server and hands the reply back; a loss is a loss, as on any network.
func (r *relay) pass(query []byte, client net.Addr, server netip.AddrPort) {
	back, err := net.Dial("udp4", server.String())
	if err != nil {
		return
	}
	defer back.Close()
	reply := make([]byte, 65536)
	if back.SetDeadline(time.Now().Add(5*time.Second)) != nil {
		return
	}
	if _, err := back.Write(query); err != nil {
		return
	}
	if n, err := back.Read(reply); err == nil {
		_, _ = r.front.WriteTo(reply[:n], client)
	}
}

// startUnbound starts unbound in front of a server.
func startUnbound(t *testing.T, server netip.AddrPort) netip.AddrPort {
	t.Helper()
	at := gtmtest.FreePort(t)
	dir := t.TempDir()
	config := writeFile(t, dir, "unbound.conf", fmt.Sprintf(unboundConfig, port(at), port(server), dir))
	unbound := startProcess(t, exec.Command("unbound", "-d", "-d", "-c", config))
	eventually(t, startTimeout, "unbound answers", func() error {
		if !unbound.running() {
			t.Fatalf("unbound ended: %v", unbound.err)
		}
		query := new(dns.Msg).SetQuestion("localhost.", dns.TypeA)
		_, err := dns.Exchange(query, at.String())
		return err
	})
	return at
}

// clients draws networks as resolvers and their clients send them, of all lands alike, near the borders between them,
// and next to each other, so that many share an answer: IPv4 of length 20 to 32, IPv6 of length 40 to 64.
func clients(t *testing.T, world *atlas, random *rand.Rand, n int) []netip.Prefix {
	t.Helper()
	seen := map[netip.Prefix]bool{}
	perLand := map[string]int{}
	var drawn []netip.Prefix
	add := func(addr netip.Addr, bits int) {
		client, err := addr.Prefix(bits)
		if err != nil {
			t.Fatal(err)
		}
		land := landOf(world.place(t, client.Addr()))
		if !seen[client] && perLand[land] <= n/20 && len(drawn) < n {
			seen[client] = true
			perLand[land]++
			drawn = append(drawn, client)
		}
	}
	for len(drawn) < n {
		for _, addr := range world.addresses(random, n) {
			bits := 20 + random.IntN(13)
			if addr.Is6() {
				bits = 40 + random.IntN(25)
			}
			add(addr, bits)
			if next := last(netip.PrefixFrom(addr, bits)).Next(); next.IsValid() {
				add(next, bits)
			}
		}
	}
	if len(perLand) < len(lands)*3/4 {
		t.Fatalf("the clients are of %d lands only", len(perLand))
	}
	return drawn
}

// Through unbound, whose cache believes our scopes, every client must get the land that it gets directly, whoever
// asked before it.
func TestUnboundCachesByScope(t *testing.T) {
	seed := runSeed(t)
	random := rand.New(rand.NewPCG(seed, 2))
	world := openAtlas(t)
	d := startGtmd(t, t.TempDir(), "--apply", landsJob(t))
	between := startRelay(t, d.dns)
	resolver := startUnbound(t, between.front.LocalAddr().(*net.UDPAddr).AddrPort())

	all := clients(t, world, random, 2000)
	direct := newQuestioner(t, d.dns)
	want := map[netip.Prefix]string{}
	for _, client := range all {
		land, _, err := direct.askLand(client)
		if err != nil {
			t.Fatal(err)
		}
		want[client] = land
		if plain := landOf(world.place(t, client.Addr())); land != plain && !inAny(client.Addr(), special) {
			t.Errorf("%s directly: %s; the database says %s", client, land, plain)
		}
	}
	through := newQuestioner(t, resolver)
	asked := map[string]int64{}
	for _, pass := range []string{"cold", "warm", "warm again"} {
		before := between.count.Load()
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		wrong := 0
		for _, client := range all {
			land, _, err := through.askLand(client)
			if err != nil {
				t.Fatal(err)
			}
			if land != want[client] {
				if wrong++; wrong <= 10 {
					t.Errorf("%s: %s is in %s through unbound, and in %s directly", pass, client, land, want[client])
				}
			}
		}
		asked[pass] = between.count.Load() - before
		t.Logf("%s: %d clients, of whom %d got the wrong land; unbound asked us %d times", pass, len(all), wrong, asked[pass])
	}
	if asked["cold"] < 100 || asked["warm"] > int64(len(all)/2) {
		t.Errorf("unbound asked %d times cold and %d times warm: its cache was not what answered", asked["cold"], asked["warm"])
	}
}
