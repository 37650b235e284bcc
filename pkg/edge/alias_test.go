package edge

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/alias"
	"github.com/gti/gtm/pkg/gtmtest/declared"
)

const aliasYAML = `
kind: Zone
tenant: platform
name: brand.example.
spec:
  content: |
    @ 3600 IN SOA ns1 hostmaster 0 7200 1800 1209600 60
    @ 3600 IN NS ns1.gtm.example.
  aliases:
    - {name: "@", to: web.shop.gtm.example.}
    - {name: cdn, to: www.cdn.example., ttl: 60s}
    - {name: near, to: www.cdn.example., by: continent}
`

// resolver is what an edge asks for hosts outside. Clients of Europe have their own address.
func resolver(t *testing.T, broken *atomic.Bool) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	s := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			m.SetReply(q)
			address := "203.0.113.50"
			for _, o := range q.IsEdns0().Option {
				if e, ok := o.(*dns.EDNS0_SUBNET); ok && netip.MustParsePrefix(european).Contains(netip.MustParseAddr(e.Address.String())) {
					address = "203.0.113.51"
				}
			}
			switch {
			case broken.Load():
				m.Rcode = dns.RcodeServerFailure
			case q.Question[0].Qtype == dns.TypeA:
				m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 20},
					A: net.ParseIP(address)}}
			}
			_ = w.WriteMsg(m)
		})}
	go func() { _ = s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = s.Shutdown() })
	return netip.MustParseAddrPort(pc.LocalAddr().String())
}

func TestAliases(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	at := resolver(t, &broken)
	dir := t.TempDir()
	file := writeGeo(t, t.TempDir(), fixtureGeo)
	with := func(c *Config) {
		c.GeoFiles = []string{file}
		c.Aliases = alias.Config{Resolvers: []netip.AddrPort{at}, Shortest: 20 * time.Millisecond, Longest: 40 * time.Millisecond}
	}
	r := start(t, dir, with)
	r.tell(everything(t, 1))
	r.tell(delta(t, 2, declared.Resources(t, aliasYAML)...))
	r.expect("brand.example.", "A", european, "NOERROR "+euA)
	r.always("brand.example.", "AAAA", american, "NOERROR 2001:db8:2::1")
	for _, host := range []string{"cdn.brand.example.", "near.brand.example."} {
		r.always(host, "A", "", "SERVFAIL")
		r.always(host, "AAAA", "", "SERVFAIL")
	}
	broken.Store(false)
	r.expect("cdn.brand.example.", "A", "", "NOERROR 203.0.113.50")
	r.expect("cdn.brand.example.", "AAAA", "", "NOERROR")
	r.expect("near.brand.example.", "A", european, "NOERROR 203.0.113.51")
	r.expect("near.brand.example.", "A", american, "NOERROR 203.0.113.50")
	states := r.fetchStatus().Aliases
	if len(states) != 2 || states[0].Host != "www.cdn.example." || states[0].Resolved == nil || states[1].By != "continent" {
		t.Errorf("status %+v", states)
	}

	broken.Store(true) // the last good result stays, here and after a restart
	r.valueIs(2, "gtm_alias_failing_targets")
	r.always("near.brand.example.", "A", european, "NOERROR 203.0.113.51")
	r.stop()
	again := start(t, dir, with)
	again.ready()
	again.always("cdn.brand.example.", "A", "", "NOERROR 203.0.113.50")
	again.always("near.brand.example.", "A", european, "NOERROR 203.0.113.51")
	if matches, err := filepath.Glob(filepath.Join(dir, "aliases.json*")); err != nil ||
		strings.Join(matches, " ") != filepath.Join(dir, "aliases.json") {
		t.Errorf("files %v, %v", matches, err)
	}
}
