//go:build interop

package interop

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

const (
	tsigName   = "one"
	tsigSecret = "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4u"
	followTime = 60 * time.Second
)

var tsigKeys = fmt.Sprintf("key \"%s\" { algorithm hmac-sha256; secret \"%s\"; };\n", tsigName, tsigSecret)

// keyFile writes a file of TSIG keys.
func keyFile(t *testing.T) string {
	t.Helper()
	file := writeFile(t, t.TempDir(), "tsig.keys", tsigKeys)
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// primaryZone is a zone with a steered name, which secondaries follow by NOTIFY alone: its timers are long.
func primaryZone(notify []netip.AddrPort, more ...string) string {
	peers := make([]string, len(notify))
	for i, a := range notify {
		peers[i] = fmt.Sprintf("{address: \"%s\", key: %s}", a, tsigName)
	}
	return fmt.Sprintf(`kind: Zone
tenant: platform
name: gtm.test.
spec:
  grants: {shop: [shop.gtm.test.]}
  transfer:
    allow: [{key: %s}]
    notify: [%s]
  content: |
    $TTL 300
    @ SOA ns1 hostmaster 0 86400 86400 864000 60
    @ NS ns1
    ns1 A 127.0.0.1
    sub NS ns.sub
    ns.sub A 192.0.2.2
    *.w TXT "any"
    %s
`, tsigName, strings.Join(peers, ", "), strings.Join(more, "\n    "))
}

func shopResources(address string) string {
	return fmt.Sprintf(`kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [%s, "2001:db8::1"]}, {name: b, addresses: [198.51.100.2]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.test., rules: [{pools: [eu]}]}
`, address)
}

// secondary is a server that copies gtm.test from 127.0.0.1.
type secondary struct {
	name string
	addr netip.AddrPort
	// start gives the command, with its configuration in a folder of its own.
	start func(dir string, own, primary netip.AddrPort) *exec.Cmd
}

func secondaries(t *testing.T) []secondary {
	t.Helper()
	config := func(dir, text string) string { return writeFile(t, dir, "conf", text) }
	return []secondary{
		{"knotd", gtmtest.FreePort(t), func(dir string, own, primary netip.AddrPort) *exec.Cmd {
			return exec.Command("knotd", "-c", config(dir, fmt.Sprintf(`
server:
  listen: 127.0.0.1@%[1]s
  rundir: %[3]q
database:
  storage: %[3]q
log:
  - target: stderr
    any: info
key:
  - id: one
    algorithm: hmac-sha256
    secret: %[4]s
remote:
  - id: gtm
    address: 127.0.0.1@%[2]s
    key: one
acl:
  - id: news
    key: one
    action: notify
template:
  - id: default
    storage: %[3]q
zone:
  - domain: gtm.test.
    master: gtm
    acl: news
`, port(own), port(primary), dir, tsigSecret)))
		}},
		{"nsd", gtmtest.FreePort(t), func(dir string, own, primary netip.AddrPort) *exec.Cmd {
			return exec.Command("nsd", "-d", "-c", config(dir, fmt.Sprintf(`
server:
  ip-address: 127.0.0.1@%[1]s
  username: ""
  zonesdir: %[3]q
  database: ""
  pidfile: ""
  xfrdir: %[3]q
  xfrdfile: "%[3]s/xfrd"
  zonelistfile: "%[3]s/zones"
  server-count: 1
remote-control:
  control-enable: no
key:
  name: one
  algorithm: hmac-sha256
  secret: %[4]q
zone:
  name: gtm.test
  zonefile: gtm.test.zone
  allow-notify: 127.0.0.1 one
  request-xfr: 127.0.0.1@%[2]s one
`, port(own), port(primary), dir, tsigSecret)))
		}},
		{"named", gtmtest.FreePort(t), func(dir string, own, primary netip.AddrPort) *exec.Cmd {
			return exec.Command("named", "-g", "-c", config(dir, fmt.Sprintf(`
options {
  directory "%[3]s"; listen-on port %[1]s { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none;
  recursion no; dnssec-validation no;
};
controls { };
key "one" { algorithm hmac-sha256; secret "%[4]s"; };
zone "gtm.test" { type secondary; file "gtm.test.db"; masterfile-format text; primaries port %[2]s { 127.0.0.1 key one; }; };
`, port(own), port(primary), dir, tsigSecret)))
		}},
	}
}

// lookup asks a server over UDP.
func lookup(server netip.AddrPort, name string, typ uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, typ)
	m.SetEdns0(1232, true)
	r, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(m, server.String())
	return r, err
}

func serialOf(server netip.AddrPort, zone string) (uint32, error) {
	r, err := lookup(server, zone, dns.TypeSOA)
	if err != nil {
		return 0, err
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial, nil
		}
	}
	return 0, fmt.Errorf("no SOA record: %s", dns.RcodeToString[r.Rcode])
}

func addressesOf(server netip.AddrPort, name string) (string, error) {
	r, err := lookup(server, name, dns.TypeA)
	if err != nil {
		return "", err
	}
	list := map[string]bool{}
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			list[a.A.String()] = true
		}
	}
	return fmt.Sprint(list), nil
}

// followed waits until every secondary is at the primary's serial and holds the addresses of a name.
func followed(t *testing.T, d *daemon, list []secondary, name string, addresses ...string) {
	t.Helper()
	want := map[string]bool{}
	for _, a := range addresses {
		want[a] = true
	}
	serial, err := serialOf(d.dns, "gtm.test.")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		eventually(t, followTime, fmt.Sprintf("%s follows to %d with %s at %v", s.name, serial, name, addresses), func() error {
			if have, err := serialOf(s.addr, "gtm.test."); err != nil || have != serial {
				return fmt.Errorf("it is at %d: %v", have, err)
			}
			if have, err := addressesOf(s.addr, name); err != nil || have != fmt.Sprint(want) {
				return fmt.Errorf("it has %s: %v", have, err)
			}
			return nil
		})
	}
}

func applyText(t *testing.T, d *daemon, text string) {
	t.Helper()
	gtmctl(t, d, "apply", "-f", writeFile(t, t.TempDir(), "resources.yaml", text), "--wait")
}

func TestSecondariesFollow(t *testing.T) {
	list := secondaries(t)
	var addrs []netip.AddrPort
	for _, s := range list {
		addrs = append(addrs, s.addr)
	}
	apply := writeFile(t, t.TempDir(), "start.yaml", primaryZone(addrs, "www A 192.0.2.1")+"---\n"+shopResources("198.51.100.1"))
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply)
	for _, s := range list {
		startProcess(t, s.start(t.TempDir(), s.addr, d.dns))
	}
	followed(t, d, list, "www.gtm.test.", "192.0.2.1")
	followed(t, d, list, "web.shop.gtm.test.", "198.51.100.1", "198.51.100.2")

	before := series(t, d, `gtm_transfer_out_total{kind="ixfr",result="sent"}`)
	applyText(t, d, primaryZone(addrs, "www A 192.0.2.77", "new A 192.0.2.3"))
	followed(t, d, list, "www.gtm.test.", "192.0.2.77")
	followed(t, d, list, "new.gtm.test.", "192.0.2.3")
	if after := series(t, d, `gtm_transfer_out_total{kind="ixfr",result="sent"}`); after-before < float64(len(list)) {
		t.Errorf("%v transfers were incremental, want one for each of the %d secondaries", after-before, len(list))
	}

	applyText(t, d, shopResources("203.0.113.99")) // a tenant's change moves the zone's serial too
	followed(t, d, list, "web.shop.gtm.test.", "203.0.113.99", "198.51.100.2")
}

// series reads one series of gtmd's; 0 where it is not there.
func series(t *testing.T, d *daemon, name string) float64 {
	t.Helper()
	_, body, err := get(d.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			var v float64
			if _, err := fmt.Sscan(rest, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// copyZone copies a zone with dig, and gives it as a master file.
func copyZone(t *testing.T, d *daemon, zone string) string {
	t.Helper()
	return run(t, "dig", "@127.0.0.1", "-p", port(d.dns), "-y", "hmac-sha256:"+tsigName+":"+tsigSecret, "+noall", "+answer", "+onesoa",
		"+nosplit", zone, "AXFR")
}

func TestCopyLoadsElsewhere(t *testing.T) {
	apply := writeFile(t, t.TempDir(), "start.yaml", primaryZone(nil, "www A 192.0.2.1")+"---\n"+shopResources("198.51.100.1"))
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply)
	file := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(file, []byte(copyZone(t, d, "gtm.test.")), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "kzonecheck", "-o", "gtm.test.", file)
}

// runAny runs a client to its end, whatever that is.
func runAny(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(output), err
}

// TestSignedCopyIsVerified has gtmd sign a zone with a steered name, and ldns look at a copy of it.
func TestSignedCopyIsVerified(t *testing.T) {
	apply := writeFile(t, t.TempDir(), "start.yaml", primaryZone(nil, "www A 192.0.2.1")+"  dnssec: {}\n---\n"+
		shopResources("198.51.100.1"))
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply)
	verified := func() {
		t.Helper()
		var copied string
		eventually(t, followTime, "the zone is signed", func() error {
			if copied = copyZone(t, d, "gtm.test."); !strings.Contains(copied, "DNSKEY") ||
				!strings.Contains(copied, "web.shop.gtm.test.") {
				return fmt.Errorf("the copy is\n%s", copied)
			}
			return nil
		})
		var anchor strings.Builder
		for line := range strings.Lines(copied) {
			if strings.Contains(line, "DNSKEY\t257") {
				anchor.WriteString(line)
			}
		}
		dir := t.TempDir()
		output, err := runAny(t, "ldns-verify-zone", "-k", writeFile(t, dir, "anchor", anchor.String()), writeFile(t, dir, "zone", copied))
		if err != nil || !strings.Contains(output, "Zone is verified and complete") {
			t.Errorf("ldns-verify-zone: %v\n%s\n%s", err, output, copied)
		}
	}
	verified()
	before, err := serialOf(d.dns, "gtm.test.")
	if err != nil {
		t.Fatal(err)
	}
	applyText(t, d, shopResources("203.0.113.99"))
	eventually(t, followTime, "the serial rises", func() error {
		if after, err := serialOf(d.dns, "gtm.test."); err != nil || int32(after-before) <= 0 {
			return fmt.Errorf("from %d to %d: %v", before, after, err)
		}
		return nil
	})
	verified()
}
