//go:build interop

package interop

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

// listedZone is a zone that a catalog lists.
func listedZone(name string, notify netip.AddrPort) string {
	return fmt.Sprintf(`---
kind: Zone
tenant: platform
name: %s
spec:
  nameservers: [ns1.gtm.test.]
  contact: hostmaster.gtm.test.
  catalog: cat.test.
  transfer: {allow: [{key: one}], notify: [{address: "%s", key: one}]}
`, name, notify)
}

// answers waits until a server answers for a zone, or no longer does.
func answers(t *testing.T, server netip.AddrPort, zone string, want bool) {
	t.Helper()
	eventually(t, followTime, fmt.Sprintf("%s is answered: %v", zone, want), func() error {
		r, err := lookup(server, zone, dns.TypeSOA)
		if err != nil {
			return err
		}
		if have := r.Rcode == dns.RcodeSuccess && r.Authoritative && len(r.Answer) > 0; have != want {
			return fmt.Errorf("%s", dns.RcodeToString[r.Rcode])
		}
		return nil
	})
}

// TestKnotConsumesCatalog has Knot serve what a catalog of gtm's lists.
func TestKnotConsumesCatalog(t *testing.T) {
	own := gtmtest.FreePort(t)
	catalog := fmt.Sprintf(`kind: Zone
tenant: platform
name: cat.test.
spec:
  nameservers: [invalid.]
  contact: hostmaster.gtm.test.
  transfer: {allow: [{key: one}], notify: [{address: "%s", key: one}]}
`, own)
	apply := writeFile(t, t.TempDir(), "start.yaml", catalog+listedZone("one.test.", own)+listedZone("two.test.", own))
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply)
	dir := t.TempDir()
	startProcess(t, exec.Command("knotd", "-c", writeFile(t, dir, "conf", fmt.Sprintf(`
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
    master: gtm
    acl: news
  - id: member
    storage: %[3]q
    master: gtm
    acl: news
zone:
  - domain: cat.test.
    catalog-role: interpret
    catalog-template: member
`, port(own), port(d.dns), dir, tsigSecret))))
	answers(t, own, "one.test.", true)
	answers(t, own, "two.test.", true)
	applyText(t, d, strings.TrimPrefix(listedZone("three.test.", own), "---\n"))
	answers(t, own, "three.test.", true)
	gtmctl(t, d, "delete", "zone", "platform/two.test.")
	answers(t, own, "two.test.", false)
	answers(t, own, "one.test.", true)
}

// TestCatalogOfNamedIsConsumed has gtm serve what a catalog at named lists.
func TestCatalogOfNamedIsConsumed(t *testing.T) {
	dir, own, dnsPort := t.TempDir(), gtmtest.FreePort(t), gtmtest.FreePort(t)
	writeFile(t, dir, "db", "$TTL 300\n@ SOA ns1 hostmaster 5 86400 86400 864000 60\n@ NS ns1\nns1 A 127.0.0.1\n")
	writeFile(t, dir, "cat", "$TTL 0\n@ SOA invalid. invalid. 5 86400 86400 864000 0\n@ NS invalid.\nversion TXT \"2\"\nx.zones PTR "+
		"one.test.\n")
	primary := func(name, file string) string {
		return fmt.Sprintf("zone %q { type primary; file %q; allow-transfer { key one; }; allow-update { key one; }; notify explicit; "+
			"also-notify { 127.0.0.1 port %s key one; }; };\n",
			name, file, port(dnsPort))
	}
	conf := writeFile(t, dir, "conf", fmt.Sprintf(`
options {
  directory "%[2]s"; listen-on port %[1]s { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none;
  recursion no; dnssec-validation no; notify-delay 0;
};
controls { };
%[3]s`, port(own), dir, tsigKeys)+primary("cat.test", "cat")+
		strings.Replace(primary("one.test", "db"), "allow-update { key one; }; ", "", 1)+
		strings.Replace(primary("two.test", "db"), "allow-update { key one; }; ", "", 1))
	startProcess(t, exec.Command("named", "-g", "-c", conf))
	eventually(t, startTimeout, "named answers", func() error { _, err := serialOf(own, "one.test."); return err })
	apply := writeFile(t, t.TempDir(), "start.yaml", fmt.Sprintf(`kind: Zone
tenant: platform
name: cat.test.
spec:
  primaries: [{address: "%[1]s", key: one}]
  members: {primaries: [{address: "%[1]s", key: one}]}
`, own))
	d := &daemon{dns: dnsPort, data: t.TempDir()}
	d.http = "http://" + gtmtest.FreePort(t).String()
	d.process = startProcess(t, exec.Command(bin+"/gtmd", "--data", d.data, "--dns", d.dns.String(), "--http",
		strings.TrimPrefix(d.http, "http://"), "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply))
	d.waitReady(t)
	answers(t, d.dns, "one.test.", true)
	answers(t, d.dns, "two.test.", false)
	if output, err := nsupdate(t, own, tsigSecret,
		"zone cat.test.\nupdate add y.zones.cat.test. 0 PTR two.test.\nupdate delete x.zones.cat.test. PTR"); err != nil {
		t.Fatalf("nsupdate: %v\n%s", err, output)
	}
	answers(t, d.dns, "two.test.", true)
	answers(t, d.dns, "one.test.", false)
}
