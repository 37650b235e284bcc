//go:build interop

package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

// signedParent is a zone with something of every kind. childDS are the records by which child.gtm.test is secure; as long as there
// are none, the services may be missing too, and so is the alias of one.
func signedParent(ttl int, childDS []string) string {
	lines, aliases := "", ""
	if childDS != nil {
		aliases = fmt.Sprintf(`{name: "@", to: all.shop.gtm.test., ttl: %ds}`, ttl)
	}
	for _, ds := range childDS {
		lines += "\n    " + strings.Replace(ds, " IN ", fmt.Sprintf(" %d IN ", ttl), 1)
	}
	return fmt.Sprintf(`kind: Zone
tenant: platform
name: gtm.test.
spec:
  grants: {shop: [shop.gtm.test.]}
  dnssec: {propagation: 1s, keyTTL: 2s, parentTTL: 2s, zskLifetime: 0s, kskLifetime: 0s}
  aliases: [%[3]s]
  content: |
    $TTL %[1]d
    @ SOA ns1 hostmaster 0 86400 86400 864000 %[1]d
    @ NS ns1
    @ MX 10 mail
    ns1 A 127.0.0.1
    www A 192.0.2.1
    www TXT "several" "strings"
    mail AAAA 2001:db8::25
    to-www CNAME www
    to-to-www CNAME to-www
    to-web CNAME all.shop
    to-nothing CNAME nothing
    a.ent A 192.0.2.2
    *.w TXT "any"
    known.w A 192.0.2.3
    *.c CNAME www
    old DNAME new
    x.new A 192.0.2.4
    new TXT "beside"
    UPPER A 192.0.2.5
    child NS ns1
    open NS ns1
    sub NS ns.sub
    ns.sub A 192.0.2.53
    safe NS ns.safe
    ns.safe A 192.0.2.54
    safe DS 12345 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF%[2]s
`, ttl, lines, aliases)
}

// signedRest is a secure zone and an insecure one below it, and steered names.
func signedRest(ttl int) string {
	return fmt.Sprintf(`---
kind: Zone
tenant: platform
name: child.gtm.test.
spec:
  dnssec: {algorithm: ed25519, propagation: 1s, keyTTL: 2s, parentTTL: 2s, zskLifetime: 0s, kskLifetime: 0s}
  content: |
    $TTL %[1]d
    @ SOA ns1.gtm.test. hostmaster 0 86400 86400 864000 %[1]d
    @ NS ns1.gtm.test.
    www A 192.0.2.11
    *.w A 192.0.2.12
---
kind: Zone
tenant: platform
name: open.gtm.test.
spec:
  content: |
    $TTL %[1]d
    @ SOA ns1.gtm.test. hostmaster 0 86400 86400 864000 %[1]d
    @ NS ns1.gtm.test.
    www A 192.0.2.21
---
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [198.51.100.1, "2001:db8::1"]}, {name: b, addresses: [198.51.100.2, "2001:db8::2"]}]}
---
kind: Pool
tenant: shop
name: us
spec: {endpoints: [{name: a, addresses: [203.0.113.1, "2001:db8:1::1"]}, {name: b, addresses: [203.0.113.2, "2001:db8:1::2"]}]}
---
kind: Pool
tenant: shop
name: hosts
spec: {endpoints: [{name: a, host: www.gtm.test.}]}
---
kind: Service
tenant: shop
name: web
spec:
  host: web.shop.gtm.test.
  ttl: %[1]ds
  https: {alpn: [h2, h3]}
  rules: [{name: eu, when: {geo: [EU]}, pools: [eu]}, {name: rest, pools: [us]}]
---
kind: Service
tenant: shop
name: all
spec: {host: all.shop.gtm.test., ttl: %[1]ds, pick: all, rules: [{pools: [eu]}]}
---
kind: Service
tenant: shop
name: cdn
spec: {host: cdn.shop.gtm.test., ttl: %[1]ds, rules: [{pools: [hosts]}]}
---
kind: Service
tenant: shop
name: rooms
spec: {host: "*.rtc.shop.gtm.test.", ttl: %[1]ds, pick: sticky, sticky: {by: label}, rules: [{pools: [eu]}]}
`, ttl)
}

// A signedJob is a gtmd with signed zones, and the trust anchor of the upper one.
type signedJob struct {
	*daemon
	anchors []*dns.DS
}

// startSigned starts gtmd with the signed zones, of which the lower one is secure. Their TTLs are short until the DS may be
// published, so that this takes seconds, and then as asked for.
func startSigned(t *testing.T, ttl int, more string) *signedJob {
	t.Helper()
	const short = 1
	apply := writeFile(t, t.TempDir(), "start.yaml", signedParent(short, nil)+signedRest(short)+more)
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--id", "edge-7", "--apply", apply)
	s := &signedJob{daemon: d}
	child := s.ds(t, "child.gtm.test")
	for _, line := range s.ds(t, "gtm.test") {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		s.anchors = append(s.anchors, rr.(*dns.DS))
	}
	applyText(t, d, signedParent(ttl, child)+signedRest(ttl))
	gtmctl(t, d, "dnssec", "ds-seen", "gtm.test")
	gtmctl(t, d, "dnssec", "ds-seen", "child.gtm.test")
	return s
}

// ds gives what gtmctl dnssec ds prints, once it does.
func (s *signedJob) ds(t *testing.T, zone string) (lines []string) {
	t.Helper()
	eventually(t, 30*time.Second, "the DS of "+zone+" may be published", func() error {
		output, err := exec.Command(bin+"/gtmctl", "--server", s.http, "--token-file", s.data+"/token", "dnssec", "ds",
			zone).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		lines = strings.Split(strings.TrimSpace(string(output)), "\n")
		return nil
	})
	return lines
}

// A zoneKey is what gtmctl dnssec status tells of a key, as far as the tests look.
type zoneKey struct {
	Tag         uint16
	Role, Phase string
}

// keys gives the keys of a zone.
func (s *signedJob) keys(t *testing.T, zone string) []zoneKey {
	t.Helper()
	var status struct{ Keys []zoneKey }
	if err := json.Unmarshal([]byte(gtmctl(t, s.daemon, "dnssec", "status", zone, "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	return status.Keys
}

// unboundSigned is a validating resolver; what differs is filled in: port, gtmd, folder, modules, anchors, more.
const unboundSigned = `server:
  module-config: %[4]q
  interface: 127.0.0.1
  port: %[1]s
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  val-permissive-mode: no
  harden-algo-downgrade: yes
  val-log-level: 2
  root-hints: ""
  local-zone: "test." nodefault
  num-threads: 1
  msg-cache-size: 64m
  rrset-cache-size: 64m
  neg-cache-size: 16m
  do-daemonize: no
  username: ""
  chroot: ""
  directory: %[3]q
  pidfile: ""
  use-syslog: no
  logfile: ""
  log-servfail: yes
%[5]s%[6]sremote-control:
  control-enable: no
stub-zone:
  name: "gtm.test"
  stub-addr: 127.0.0.1@%[2]s
stub-zone:
  name: "child.gtm.test"
  stub-addr: 127.0.0.1@%[2]s
stub-zone:
  name: "open.gtm.test"
  stub-addr: 127.0.0.1@%[2]s
`

// The kinds of unbound that validate.
var validators = []struct{ name, modules, more string }{
	{"validator", "validator iterator", ""},
	{"validator with subnets", "subnetcache validator iterator", "  send-client-subnet: 127.0.0.1\n  max-client-subnet-ipv4: 32\n"},
	{"aggressive validator", "validator iterator", "  aggressive-nsec: yes\n"},
}

// startValidator starts unbound in front of a server.
func (s *signedJob) startValidator(t *testing.T, server netip.AddrPort, modules, more string) netip.AddrPort {
	t.Helper()
	at, dir := gtmtest.FreePort(t), t.TempDir()
	anchors := ""
	for _, ds := range s.anchors {
		anchors += fmt.Sprintf("  trust-anchor: \"%s\"\n", strings.ReplaceAll(ds.String(), "\t", " "))
	}
	config := writeFile(t, dir, "unbound.conf", fmt.Sprintf(unboundSigned, port(at), port(server), dir, modules, anchors, more))
	unbound := startProcess(t, exec.Command("unbound", "-d", "-d", "-c", config))
	eventually(t, startTimeout, "unbound validates", func() error {
		if !unbound.running() {
			t.Fatalf("unbound ended: %v", unbound.err)
		}
		r, err := askValidated(at, "gtm.test.", dns.TypeSOA, "")
		if err == nil && (r.Rcode != dns.RcodeSuccess || !r.AuthenticatedData) {
			err = errors.New(r.String())
		}
		return err
	})
	return at
}

// askValidated asks with DO and AD, for a client in a network unless that is empty.
func askValidated(at netip.AddrPort, name string, typ uint16, subnet string) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(name, typ)
	m.AuthenticatedData = true
	m.SetEdns0(1232, true)
	if subnet != "" {
		p := netip.MustParsePrefix(subnet)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()),
			Address: p.Addr().AsSlice()})
	}
	r, _, err := (&dns.Client{Timeout: 10 * time.Second}).Exchange(m, at.String())
	if err == nil && r.Truncated {
		r, _, err = (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Exchange(m, at.String())
	}
	return r, err
}
