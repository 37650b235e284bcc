//go:build interop

package interop

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/gtmtest"
)

const updatableZone = `kind: Zone
tenant: platform
name: dyn.test.
spec:
  nameservers: [ns1.dyn.test.]
  contact: hostmaster.dyn.test.
  update:
    - {key: one, names: [_acme-challenge.www.dyn.test., hosts.dyn.test.], types: [TXT, A, AAAA, CNAME]}
`

// nsupdate runs a script against a server, and gives what was said.
func nsupdate(t *testing.T, server netip.AddrPort, secret, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsupdate", "-y", "hmac-sha256:"+tsigName+":"+secret)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("server %s %s\n%s\nsend\n", server.Addr(), port(server), script))
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func TestNsupdate(t *testing.T) {
	apply := writeFile(t, t.TempDir(), "start.yaml", updatableZone)
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply)
	checkUpdates(t, d, d)
}

// TestNsupdateByEdgeAlone sends updates to an edge that has no key and no control in its process.
func TestNsupdateByEdgeAlone(t *testing.T) {
	c := startCluster(t)
	apply := writeFile(t, t.TempDir(), "start.yaml", updatableZone)
	etcd := strings.Join(c.endpoints(), ",")
	control := startGtmd(t, t.TempDir(), "--roles", "control", "--etcd", etcd, "--tsig-keys", keyFile(t), "--apply", apply)
	e := startGtmd(t, t.TempDir(), "--roles", "edge", "--etcd", etcd, "--control", control.http)
	eventually(t, followTime, "the edge has the zone", func() error { _, err := serialOf(e.dns, "dyn.test."); return err })
	checkUpdates(t, e, control)
}

// checkUpdates plays an ACME client and external-dns against an edge.
func checkUpdates(t *testing.T, e, control *daemon) {
	texts := func(name string, typ uint16) (out []string, err error) {
		r, err := lookup(e.dns, name, typ)
		if err != nil {
			return nil, err
		}
		for _, rr := range r.Answer {
			switch rr := rr.(type) {
			case *dns.TXT:
				out = append(out, rr.Txt...)
			case *dns.A:
				out = append(out, rr.A.String())
			}
		}
		return out, nil
	}
	has := func(name string, typ uint16, want ...string) {
		t.Helper()
		eventually(t, followTime, fmt.Sprintf("%s is %v", name, want), func() error {
			if have, err := texts(name, typ); err != nil || fmt.Sprint(have) != fmt.Sprint(want) {
				return fmt.Errorf("it is %v: %v", have, err)
			}
			return nil
		})
	}
	good := func(script string) {
		t.Helper()
		if output, err := nsupdate(t, e.dns, tsigSecret, script); err != nil {
			t.Fatalf("nsupdate: %v\n%s", err, output)
		}
	}
	before, err := serialOf(e.dns, "dyn.test.")
	if err != nil {
		t.Fatal(err)
	}
	good("zone dyn.test.\nupdate add _acme-challenge.www.dyn.test. 60 TXT \"token-1\"")
	has("_acme-challenge.www.dyn.test.", dns.TypeTXT, "token-1")
	if after, err := serialOf(e.dns, "dyn.test."); err != nil || int32(after-before) <= 0 {
		t.Errorf("the serial went from %d to %d: %v", before, after, err)
	}
	good("zone dyn.test.\nupdate delete _acme-challenge.www.dyn.test. TXT")
	has("_acme-challenge.www.dyn.test.", dns.TypeTXT)
	good("zone dyn.test.\nprereq nxdomain a.hosts.dyn.test.\nupdate add a.hosts.dyn.test. 300 A 192.0.2.1\nupdate add a.hosts.dyn.test. " +
		"300 TXT \"heritage=external-dns\"")
	has("a.hosts.dyn.test.", dns.TypeA, "192.0.2.1")
	good("zone dyn.test.\nupdate delete a.hosts.dyn.test. A 192.0.2.1\nupdate add a.hosts.dyn.test. 300 A 192.0.2.2")
	has("a.hosts.dyn.test.", dns.TypeA, "192.0.2.2")

	for _, c := range []struct{ name, secret, script, want string }{
		{"a prerequisite that does not hold", tsigSecret,
			"zone dyn.test.\nprereq nxdomain a.hosts.dyn.test.\nupdate add a.hosts.dyn.test. 300 A 192.0.2.3", "YXDOMAIN"},
		{"a name of others", tsigSecret, "zone dyn.test.\nupdate add www.dyn.test. 60 A 192.0.2.3", "REFUSED"},
		{"a bad signature", "YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw==",
			"zone dyn.test.\nupdate add b.hosts.dyn.test. 60 A 192.0.2.3", "BADSIG"},
		{"another zone", tsigSecret, "zone other.test.\nupdate add www.other.test. 60 A 192.0.2.3", "NOTAUTH"},
	} {
		if output, err := nsupdate(t, e.dns, c.secret, c.script); err == nil || !strings.Contains(output, c.want) {
			t.Errorf("%s: %v\n%s", c.name, err, output)
		}
	}
	has("a.hosts.dyn.test.", dns.TypeA, "192.0.2.2")
	if history := gtmctl(t, control, "history", "platform"); !strings.Contains(history, "key/one") ||
		!strings.Contains(history, "UPDATE from 127.0.0.1") {
		t.Errorf("the history does not tell of updates:\n%s", history)
	}
	gtmctl(t, control, "apply", "-f", writeFile(t, t.TempDir(), "again.yaml", updatableZone))
	has("a.hosts.dyn.test.", dns.TypeA, "192.0.2.2") // a declaration without content keeps what was sent
}

// TestCopyOfNamed follows a real primary by NOTIFY and IXFR, while its names change, and passes the zone on to a secondary.
func TestCopyOfNamed(t *testing.T) {
	dir, own, dnsPort := t.TempDir(), gtmtest.FreePort(t), gtmtest.FreePort(t)
	writeFile(t, dir, "db", "$TTL 300\n@ SOA ns1 hostmaster 5 86400 86400 864000 60\n@ NS ns1\nns1 A 127.0.0.1\nwww A 192.0.2.1\n")
	conf := writeFile(t, dir, "conf", fmt.Sprintf(`
options {
  directory "%[3]s"; listen-on port %[1]s { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none;
  recursion no; dnssec-validation no; notify-delay 0;
};
controls { };
%[4]s
zone "gtm.test" {
  type primary; file "db"; allow-transfer { key one; }; allow-update { key one; };
  notify explicit; also-notify { 127.0.0.1 port %[2]s key one; };
};
`, port(own), port(dnsPort), dir, tsigKeys))
	startProcess(t, exec.Command("named", "-g", "-c", conf))
	eventually(t, startTimeout, "named answers", func() error { _, err := serialOf(own, "gtm.test."); return err })

	nsd := secondaries(t)[1]
	apply := writeFile(t, t.TempDir(), "start.yaml", fmt.Sprintf(`kind: Zone
tenant: platform
name: gtm.test.
spec:
  primaries: [{address: "%s", key: one}]
  transfer: {allow: [{key: one}], notify: [{address: "%s", key: one}]}
`, own, nsd.addr))
	d := &daemon{dns: dnsPort, data: t.TempDir()}
	d.http = "http://" + gtmtest.FreePort(t).String()
	d.process = startProcess(t, exec.Command(bin+"/gtmd", "--data", d.data, "--dns", d.dns.String(), "--http",
		strings.TrimPrefix(d.http, "http://"), "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply))
	d.waitReady(t)
	followers := []secondary{{name: "gtmd", addr: d.dns}, nsd}
	startProcess(t, nsd.start(t.TempDir(), nsd.addr, d.dns))
	follow := func(want string) {
		t.Helper()
		serial, err := serialOf(own, "gtm.test.")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range followers {
			eventually(t, followTime, fmt.Sprintf("%s follows to %d", s.name, serial), func() error {
				if have, err := serialOf(s.addr, "gtm.test."); err != nil || have != serial {
					return fmt.Errorf("it is at %d: %v", have, err)
				}
				if have, err := addressesOf(s.addr, "www.gtm.test."); err != nil || !strings.Contains(have, want) {
					return fmt.Errorf("it has %s: %v", have, err)
				}
				return nil
			})
		}
	}
	follow("192.0.2.1")
	for i := range 3 {
		address := fmt.Sprintf("198.51.100.%d", i+1)
		if output, err := nsupdate(t, own, tsigSecret, "zone gtm.test.\nupdate delete www.gtm.test. A\nupdate add www.gtm.test. 300 A "+
			address); err != nil {
			t.Fatalf("nsupdate: %v\n%s", err, output)
		}
		follow(address)
	}
}
