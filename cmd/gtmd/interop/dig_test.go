//go:build interop

package interop

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// crowd is a service whose answer is longer than 512 bytes, for truncation.
func crowd() string {
	var b strings.Builder
	b.WriteString("kind: Pool\ntenant: shop\nname: crowd\nspec:\n  endpoints:\n")
	for i := range 60 {
		fmt.Fprintf(&b, "    - {name: e%d, addresses: [198.51.100.%d]}\n", i, i+1)
	}
	b.WriteString("---\nkind: Service\ntenant: shop\nname: crowd\n" +
		"spec: {host: crowd.shop.gtm.example., pick: all, rules: [{pools: [crowd]}]}\n")
	return b.String()
}

// demo starts gtmd on the demo of zones/ with the crowd added. Without a prober, and so without the demo's own
// endpoints at their fixed port: health that is unknown answers as up.
func demo(t *testing.T) *daemon {
	t.Helper()
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--apply", "../../../zones/demo.yaml", "--id", "edge-7")
	extra := writeFile(t, t.TempDir(), "crowd.yaml", crowd())
	gtmctl(t, d, "apply", "-f", extra, "--wait")
	return d
}

// A digCase is one run of a client: every want must match its output, no avoid may.
type digCase struct {
	name  string
	args  string
	want  []string
	avoid []string
}

// check runs the client for each case and looks at what it printed.
func check(t *testing.T, d *daemon, client string, cases []digCase) {
	for _, c := range cases {
		t.Run(client+" "+c.name, func(t *testing.T) {
			args := append([]string{"-p", port(d.dns), "@" + d.dns.Addr().String()}, strings.Fields(c.args)...)
			output := run(t, client, args...)
			for _, want := range c.want {
				if !regexp.MustCompile("(?m)" + want).MatchString(output) {
					t.Errorf("%s %s: nothing matches %q in\n%s", client, c.args, want, output)
				}
			}
			for _, avoid := range c.avoid {
				if regexp.MustCompile("(?m)" + avoid).MatchString(output) {
					t.Errorf("%s %s: %q is in\n%s", client, c.args, avoid, output)
				}
			}
		})
	}
}

// 81.2.69.0/24 is in Great Britain, 8.8.8.0/24 in the United States, 1.1.8.0/24 in China.
func TestDig(t *testing.T) {
	d := demo(t)
	check(t, d, "dig", digCases)
	check(t, d, "kdig", kdigCases)
	if err := d.stop(); err != nil {
		t.Errorf("gtmd did not end well on SIGINT: %v", err)
	}
	again := startGtmd(t, d.data, "--roles", "edge,control")
	check(t, again, "dig", []digCase{{name: "after a restart", args: "web.shop.gtm.example +subnet=81.2.69.0/24",
		want: []string{`\sA\s+127\.0\.2\.[12]$`}}})
}

var digCases = []digCase{
	{name: "europe", args: "web.shop.gtm.example +subnet=81.2.69.0/24",
		want: []string{`flags: qr aa rd;`, `^web\.shop\.gtm\.example\.\s+5\s+IN\s+A\s+127\.0\.2\.[12]$`,
			`CLIENT-SUBNET: 81\.2\.69\.0/24/([1-9]|[12][0-9]|3[0-2])$`}},
	{name: "america", args: "web.shop.gtm.example +subnet=8.8.8.0/24", want: []string{`\sA\s+127\.0\.3\.[12]$`}},
	{name: "asia", args: "web.shop.gtm.example +subnet=1.1.8.0/24", want: []string{`\sA\s+127\.0\.4\.[12]$`}},
	{name: "asia by IPv6", args: "web.shop.gtm.example +subnet=240e::/32",
		want: []string{`\sA\s+127\.0\.4\.[12]$`, `CLIENT-SUBNET: 240e::/32/\d+$`}},
	{name: "AAAA", args: "AAAA web.shop.gtm.example +subnet=81.2.69.0/24", want: []string{`\sAAAA\s+2001:db8:2::[12]$`}},
	{name: "no subnet in, none out", args: "web.shop.gtm.example +nosubnet",
		want: []string{`\sA\s+127\.0\.`, `EDNS: version: 0`}, avoid: []string{`CLIENT-SUBNET`}},
	{name: "no EDNS in, none out", args: "web.shop.gtm.example +noedns", want: []string{`\sA\s+127\.0\.`}, avoid: []string{`EDNS`}},
	{name: "subnet of length 0", args: "web.shop.gtm.example +subnet=0",
		want: []string{`\sA\s+127\.0\.`, `CLIENT-SUBNET: 0\.0\.0\.0/0/0$`}},
	{name: "special-purpose subnet", args: "web.shop.gtm.example +subnet=10.1.2.0/24",
		want: []string{`\sA\s+127\.0\.3\.[12]$`, `CLIENT-SUBNET: 10\.1\.2\.0/24/8$`}},
	{name: "subnet with bits past its prefix", args: "web.shop.gtm.example +ednsopt=8:00011400510245ff", want: []string{`status: FORMERR`}},
	{name: "subnet too long for its prefix", args: "web.shop.gtm.example +ednsopt=8:0001100051024500", want: []string{`status: FORMERR`}},
	{name: "subnet with a scope in the query", args: "web.shop.gtm.example +ednsopt=8:00011818510245", want: []string{`status: FORMERR`}},
	{name: "subnet of an unknown family", args: "web.shop.gtm.example +ednsopt=8:00091800510245", want: []string{`status: FORMERR`}},
	{name: "unknown version of EDNS", args: "web.shop.gtm.example +edns=1 +noednsnegotiation", want: []string{`status: BADVERS`}},
	{name: "no such type", args: "MX web.shop.gtm.example +subnet=81.2.69.0/24",
		want: []string{`status: NOERROR`, `ANSWER: 0, AUTHORITY: 1`, `\sSOA\s+ns1\.gtm\.example\.`, `CLIENT-SUBNET: 81\.2\.69\.0/24/0$`}},
	{name: "no such name", args: "nowhere.gtm.example +subnet=81.2.69.0/24",
		want: []string{`status: NXDOMAIN`, `^gtm\.example\.\s+60\s+IN\s+SOA\s`, `CLIENT-SUBNET: 81\.2\.69\.0/24/0$`}},
	{name: "no zone of ours", args: "example.com", want: []string{`status: REFUSED`, `ANSWER: 0, AUTHORITY: 0`}},
	{name: "static name", args: "mail.gtm.example +subnet=81.2.69.0/24", want: []string{`\sA\s+192\.0\.2\.25$`, `81\.2\.69\.0/24/0$`}},
	{name: "wildcard", args: "a.b.apps.gtm.example", want: []string{`^a\.b\.apps\.gtm\.example\.\s+3600\s+IN\s+A\s+192\.0\.2\.80$`}},
	{name: "beside the wildcard", args: "status.apps.gtm.example", want: []string{`\sA\s+192\.0\.2\.81$`},
		avoid: []string{`192\.0\.2\.80`}},
	{name: "delegation", args: "host.lab.gtm.example", want: []string{`flags: qr rd;`, `ANSWER: 0, AUTHORITY: 2`,
		`^lab\.gtm\.example\.\s+3600\s+IN\s+NS\s+ns\.lab\.gtm\.example\.$`, `^ns\.lab\.gtm\.example\.\s+3600\s+IN\s+A\s+203\.0\.113\.53$`}},
	{name: "MX", args: "MX gtm.example", want: []string{`\sMX\s+10 mail\.gtm\.example\.$`, `\sMX\s+20 mail\.backup\.example\.net\.$`}},
	{name: "alias of a static name", args: "smtp.gtm.example", want: []string{`\sCNAME\s+mail\.gtm\.example\.$`, `\sA\s+192\.0\.2\.25$`}},
	{name: "alias of a steered name, alone with a subnet", args: "www.gtm.example +subnet=81.2.69.0/24",
		want: []string{`\sCNAME\s+web\.shop\.gtm\.example\.$`}, avoid: []string{`\sA\s+127\.`}},
	{name: "over TCP", args: "web.shop.gtm.example +tcp +subnet=81.2.69.0/24", want: []string{`\sA\s+127\.0\.2\.[12]$`, `\(TCP\)`}},
	{name: "truncated", args: "crowd.shop.gtm.example +bufsize=512 +ignore", want: []string{`flags: qr aa tc rd;`}},
	{name: "truncated and retried", args: "crowd.shop.gtm.example +bufsize=512", want: []string{`retrying in TCP mode`, `ANSWER: 60,`}},
	{name: "long enough over UDP", args: "crowd.shop.gtm.example +bufsize=1232", want: []string{`ANSWER: 60,`, `\(UDP\)`}},
	{name: "case is kept", args: "wEb.ShOp.GtM.eXaMpLe", want: []string{`^;wEb\.ShOp\.GtM\.eXaMpLe\.`, `^wEb\.ShOp\.GtM\.eXaMpLe\.\s+5\s`}},
	{name: "who answers", args: "CH TXT id.server", want: []string{`^id\.server\.\s+0\s+CH\s+TXT\s+"edge-7"$`}},
	{name: "NSID", args: "web.shop.gtm.example +nsid", want: []string{`NSID: .*"edge-7"`}},
	{name: "whoami", args: "TXT whoami.gtm.example +subnet=81.2.69.0/24",
		want: []string{`^whoami\.gtm\.example\.\s+0\s+IN\s+TXT\s.*127\.0\.0\.1`, `TXT\s.*81\.2\.69\.0/24`, `TXT\s.*EU-GB`,
			`CLIENT-SUBNET: 81\.2\.69\.0/24/24$`}},
	{name: "explain", args: "TXT web.shop.gtm.example._explain.gtm.example +subnet=81.2.69.0/24",
		want: []string{`TXT\s.*EU-GB`, `TXT\s.*europe`, `TXT\s.*shop@\d+`}},
	{name: "cookie is ignored", args: "web.shop.gtm.example +cookie", want: []string{`\sA\s+127\.0\.`}},
	{name: "checking and recursion asked", args: "web.shop.gtm.example +cd +rd +ad", want: []string{`flags: qr aa rd( ad)?( cd)?;`}},
}

var kdigCases = []digCase{
	{name: "europe", args: "web.shop.gtm.example +subnet=81.2.69.0/24",
		want: []string{`\sA\s+127\.0\.2\.[12]$`, `CLIENT-SUBNET: 81\.2\.69\.0/24/\d+`}},
	{name: "over TCP", args: "web.shop.gtm.example +tcp +subnet=81.2.69.0/24", want: []string{`\sA\s+127\.0\.2\.[12]$`, `\(TCP\)`}},
	{name: "two queries on one stream", args: "+tcp +keepopen web.shop.gtm.example mail.gtm.example",
		want: []string{`\sA\s+127\.0\.`, `\sA\s+192\.0\.2\.25$`}},
	{name: "NSID", args: "+nsid web.shop.gtm.example", want: []string{`NSID: .*edge-7`}},
	{name: "truncated and retried", args: "+bufsize=512 crowd.shop.gtm.example", want: []string{`truncated reply.*TCP`, `ANSWER: 60;`}},
	{name: "padding and cookie", args: "+padding=64 +cookie web.shop.gtm.example", want: []string{`status: NOERROR`, `\sA\s+127\.0\.`}},
}
