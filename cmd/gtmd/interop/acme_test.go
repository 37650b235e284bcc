//go:build interop

package interop

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// certbotScript has certbot's own DNS-01 client (its rfc2136 plugin) put a challenge up, and take it away.
const certbotScript = `
import sys, dns.tsig
from certbot_dns_rfc2136._internal.dns_rfc2136 import _RFC2136Client
host, port, name, secret, act = sys.argv[1:]
client = _RFC2136Client(host, int(port), name, secret, dns.tsig.HMAC_SHA256)
if act == "add":
    client.add_txt_record("_acme-challenge.www.dyn.test", "challenge-token", 60)
else:
    client.del_txt_record("_acme-challenge.www.dyn.test", "challenge-token")
`

func TestCertbotPutsUpItsChallenge(t *testing.T) {
	apply := writeFile(t, t.TempDir(), "start.yaml", updatableZone)
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply)
	script := writeFile(t, t.TempDir(), "challenge.py", certbotScript)
	for _, step := range []struct{ act, want string }{{"add", "challenge-token"}, {"delete", ""}} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		output, err := exec.CommandContext(ctx, "/usr/bin/python3", script, d.dns.Addr().String(), port(d.dns), tsigName, tsigSecret,
			step.act).CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v\n%s", step.act, err, output)
		}
		eventually(t, followTime, "the challenge after "+step.act, func() error {
			r, err := lookup(d.dns, "_acme-challenge.www.dyn.test.", dns.TypeTXT)
			if err != nil {
				return err
			}
			var have []string
			for _, rr := range r.Answer {
				have = append(have, rr.(*dns.TXT).Txt...)
			}
			if strings.Join(have, " ") != step.want {
				return &unexpected{have}
			}
			return nil
		})
	}
}

// unexpected tells what was found in the place of what was wanted.
type unexpected struct{ have []string }

func (u *unexpected) Error() string { return "it is " + strings.Join(u.have, " ") }
