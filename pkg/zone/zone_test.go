package zone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/dnswire"
)

var defaults = Defaults{Nameservers: []string{"NS1.example.net", "ns2.example.org."}, Contact: "host.master@example.org"}

func TestCanonicalMakesWhatIsMissing(t *testing.T) {
	text, _, err := Canonical("Example.ORG", "f.zone", "$TTL 60\nwww A 192.0.2.1\nwww A 192.0.2.1\n*.x MX 10 www\n", defaults)
	if err != nil {
		t.Fatal(err)
	}
	want := "example.org.\t3600\tIN\tSOA\tns1.example.net. host\\.master.example.org. 0 7200 1800 1209600 60\n" +
		"example.org.\t86400\tIN\tNS\tns1.example.net.\n" +
		"example.org.\t86400\tIN\tNS\tns2.example.org.\n" +
		"www.example.org.\t60\tIN\tA\t192.0.2.1\n" +
		"*.x.example.org.\t60\tIN\tMX\t10 www.example.org.\n"
	if text != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
	again, _, err := Canonical("example.org.", "f.zone", text, Defaults{})
	if err != nil || again != text {
		t.Errorf("canonical text is not its own canonical form: %v\n%s", err, again)
	}
}

func TestProblems(t *testing.T) {
	soa := "@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n"
	for _, tc := range []struct{ name, content, want string }{
		{"no SOA", "@ NS ns1.example.net.\n", "no SOA record"},
		{"no NS", "@ SOA ns1 h 1 2 3 4 5\n", "no NS record"},
		{"syntax", soa + "www A 192.0.2.999\n", "f.zone:4: bad A A"},
		{"unknown type", soa + "www BOGUS x\n", "f.zone:4: "},
		{"out of zone", soa + "www.example.net. A 192.0.2.1\n", "www.example.net. A is outside the zone example.org."},
		{"CNAME and other data", soa + "www A 192.0.2.1\nwww CNAME x\n", "a CNAME stands alone"},
		{"two CNAMEs", soa + "www CNAME y\nwww CNAME x\n", "a CNAME stands alone"},
		{"two SOAs", soa + "@ SOA ns1 h 2 2 3 4 5\n", "one SOA"},
		{"SOA below", soa + "x SOA ns1 h 2 2 3 4 5\n", "one SOA"},
		{"two DNAMEs", soa + "x DNAME a\nx DNAME b\n", "more than one DNAME"},
		{"class", soa + "www CH TXT x\n", "only IN"},
		{"syntax without SOA and NS", "www A 192.0.2.999\n", "f.zone:1: "},
		{"include", soa + "$INCLUDE /etc/passwd\n", "INCLUDE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := Canonical("example.org.", "f.zone", tc.content, Defaults{})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "f.zone") {
				t.Errorf("error %v, want f.zone...%q", err, tc.want)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, _, err := Canonical("example.org.", "f",
		"@ SOA ns1 h 1 2 3 4 5\n@ NS ns1.example.net.\na.example.net. A 192.0.2.1\nb.example.net. A 192.0.2.1\n", Defaults{})
	if ps, ok := err.(Problems); !ok || len(ps) != 2 {
		t.Errorf("%v", err)
	}
}

func TestWarnings(t *testing.T) {
	_, warnings, err := Canonical("example.org.", "f", "@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nwww 60 A 192.0.2.1\nwww 70 A 192.0.2.2\n",
		Defaults{})
	if err != nil || len(warnings) != 2 {
		t.Fatalf("%v, %v", warnings, err)
	}
	for i, want := range []string{"has no address in the zone", "different TTLs"} {
		if !strings.Contains(warnings[i].Text, want) {
			t.Errorf("warning %q, want %q", warnings[i].Text, want)
		}
	}
}

func TestParse(t *testing.T) {
	text, _, err := Canonical("example.org.", "f",
		"$TTL 60\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nNS1 A 192.0.2.1\nwww 60 A 192.0.2.2\nwww 50 A 192.0.2.1\n@ TYPE65280 \\# 3 010203\n",
		Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	z, err := Parse("Example.org", text)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, s := range z.Sets {
		name, _, _ := dns.UnpackDomainName(s.Owner, 0)
		fmt.Fprintf(&got, "%s %s %d %x\n", name, dns.Type(s.Type), s.TTL, s.Data)
	}
	want := "example.org. SOA 60 [036e7331076578616d706c65036f7267000168076578616d706c65036f726700" +
		"0000000100000002000000030000000400000005]\n" +
		"example.org. NS 60 [036e7331076578616d706c65036f726700]\nexample.org. TYPE65280 60 [010203]\nns1.example.org. A 60 [c0000201]\n" +
		"www.example.org. A 50 [c0000201 c0000202]\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

// TestRecordsWithoutText: an RRSIG that covers type 0, and an NSEC3, MX or SOA without data at the end of the file, are read, but their
// text is not, so edges could not take the zone.
func TestRecordsWithoutText(t *testing.T) {
	const soa, ns = "@ SOA ns h 1 2 3 4 5\n", "@ NS ns.example.net.\n"
	for _, content := range []string{soa + ns + "@ RRSIG TYPE0 13 2 60 20270101000000 20260101000000 1 example.org. AAAA\n",
		soa + ns + "x NSEC3 ", soa + ns + "x MX ", ns + "@ SOA "} {
		_, _, err := Canonical("example.org.", "f", content, Defaults{})
		if err == nil || !strings.HasPrefix(err.Error(), "f") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add("$TTL 60\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n*.w CNAME x\nd DNAME e\n")
	f.Add("$GENERATE 1-3 a$ A 192.0.2.$\n@ TXT \"a\\\"b\" c\n\\000.x TXT \"\\255\"\n")
	f.Add("$ORIGIN sub\n@ IN 1w MX 10 a.b\n;c\n( @ A 192.0.2.1 )\n")
	f.Fuzz(func(t *testing.T, content string) {
		if len(content) > 4096 || strings.Contains(content, "GENERATE") && len(content) > 200 {
			return
		}
		text, _, err := Canonical("example.org.", "f", content, defaults)
		if err != nil {
			return
		}
		if _, err := Parse("example.org.", text); err != nil {
			t.Fatalf("canonical text cannot be parsed: %v\n%s", err, text)
		}
	})
}

// Apexes that are a wildcard, the root, of RFC 2317 or of odd bytes were refused, or read and checked as if "." were a label.
func TestAnApexMayBeAnyName(t *testing.T) {
	for origin, written := range map[string]string{
		".": ".", "*.example.": "*.example.", `\*.Example`: "*.example.", "0/25.2.0.192.in-addr.arpa.": "0/25.2.0.192.in-addr.arpa.",
		`a\.b\032c.\000`: `a\.b\ c.\000.`,
	} {
		below := "." + strings.TrimPrefix(written, ".")
		text, warnings, err := Canonical(origin, "f", "@ SOA ns h 1 2 3 4 5\n@ NS ns\n*.d A 192.0.2.1\nw NS x.y.d\nv NS x.y.e\n",
			Defaults{})
		if err != nil {
			t.Errorf("%s: %v", origin, err)
			continue
		}
		if n := len(warnings); n != 2 || !strings.Contains(warnings[0].Text, "NS ns"+below) || !strings.Contains(warnings[1].Text,
			"NS x.y.e"+below) {
			t.Errorf("%s: %v", origin, warnings) // a wildcard has the address of the third
		}
		z, err := Parse(origin, text)
		if err != nil {
			t.Errorf("%s: %v", origin, err)
			continue
		}
		if z.Origin != written || len(z.Sets) != 5 || dnswire.NameString(z.Sets[0].Owner) != written {
			t.Errorf("%s: origin %s, %v", origin, z.Origin, z.Sets)
		}
		if _, changed, ok := z.Edit(strings.Replace(text, "192.0.2.1", "192.0.2.2", 1)); ok && len(changed) != 1 {
			t.Errorf("%s: changed %q", origin, changed)
		}
	}
	made, _, err := Canonical(".", "f", "", defaults)
	if err != nil || !strings.HasPrefix(made, ".\t3600\tIN\tSOA\tns1.example.net. ") {
		t.Errorf("made: %v\n%s", err, made)
	}
}
