package zone

import (
	"fmt"
	"strings"
	"testing"
)

const head = "@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n"

func TestErrorsNameTheirLine(t *testing.T) {
	for _, tc := range []struct{ name, content, want string }{
		{"below a DNAME", head + "a.d A 192.0.2.1\nd DNAME x\n", "f:4: a.d.example.org. is below the DNAME d.example.org."},
		{"below a DNAME at the apex", head + "@ DNAME x.example.\n", "f:3: ns1.example.org. is below the DNAME example.org."},
		{"DNAME beside NS", head + "d DNAME x\nd NS ns1\n", "f:4: d.example.org.: a DNAME stands beside NS records only at the apex"},
		{"an escaped name is the same name", head + "\\*.w CNAME x\n*.w A 192.0.2.1\n", "f:4: *.w.example.org.: a CNAME stands alone"},
		{"two CNAMEs", head + "w CNAME x\nw (\n CNAME y\n )\n", "f:7: w.example.org.: a CNAME stands alone"},
		{"out of zone", head + "\n; comment\nw.example.net. A 192.0.2.1\n", "f:6: w.example.net. A is outside"},
		{"a type of messages", head + "w TYPE250 \\# 1 00\n", "f:4: w.example.org.: the type TSIG"},
		{"syntax in many lines", head + "w MX ( 10\n; b\n a..b )\n", "f:6: "},
		{"bad known type in the form of unknown ones", head + "w TYPE1 \\# 3 000000\n", "f:4: "},
		{"no data", head + "w A\n", "f:4: w.example.org. A has no data"},
		{"odd digits", head + "w SSHFP 4 2 0f0\n", "f:4: w.example.org. SSHFP: its data cannot be encoded"},
		{"a short digest", head + "w DS 1 13 2 abab\n", "f:4: w.example.org. DS: the digest has not the length"},
		{"a bad escape", head + "w TXT \"; \\\" \\0321\" ; \\3\nv TXT a\\25b\n", "f:5: a backslash with a digit"},
		{"too large an escape", head + "w\\256 TXT a\n", "f:4: a backslash with a digit"},
		{"too much is generated", head + strings.Repeat("$GENERATE 0-65535 a$ A 192.0.2.1\n", 6),
			"f:8: $GENERATE makes more than 262144 records"},
		{"$GENERATE has a range of its own", head + "$GENERATE 0-65536 a$ A 192.0.2.1\n", "f:4: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := Canonical("example.org.", "f", tc.content, Defaults{})
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %s...", err, tc.want)
			}
		})
	}
}

func addresses(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "b A 10.0.%d.%d\n", i>>8, i&255)
	}
	return b.String()
}

func TestDoubtsAreWarnings(t *testing.T) {
	for _, tc := range []struct{ name, content, want string }{
		{"name server is a CNAME", head + "w NS c\nc CNAME ns1\n", "f:4: w.example.org. NS c.example.org.: the name server has no address"},
		{"missing glue", head + "w NS ns.w\n", "f:4: w.example.org. NS ns.w.example.org.: the name server has no address"},
		{"glue", head + "w NS ns.w\nns.w A 192.0.2.1\n", ""},
		{"glue by a wildcard", head + "w NS ns.w\n*.w A 192.0.2.1\n", ""},
		{"a loop", head + "b CNAME c\nc CNAME a\na CNAME b\nd CNAME a\n", "f:6: a.example.org.: its CNAME leads back to itself"},
		{"a DNAME into itself", head + "b DNAME c.b\n", "f:4: b.example.org. DNAME c.b.example.org. leads into itself"},
		{"a TTL that is none", head + "b 2147483648 A 192.0.2.1\n",
			"f:4: b.example.org. A: the TTL 2147483648 is above 2147483647, and served as 0"},
		{"a set that fits a message", head + addresses(3840), ""},
		{"a set that fits no message", head + addresses(3841),
			"f:4: b.example.org. A: 3841 records with 61456 bytes never fit a message, which has room for 61440"},
		{"TTLs", head + "b 1 A 192.0.2.1\nb 2 A 192.0.2.2\n", "f:5: b.example.org. A: records of one set have different TTLs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, warnings, err := Canonical("example.org.", "f", tc.content, Defaults{})
			if err != nil {
				t.Fatal(err)
			}
			if got := warnings.Error(); tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) || strings.Contains(got, "\n") {
				t.Errorf("got %s, want %s...", got, tc.want)
			}
		})
	}
}

func TestGenerateTakesTheTTL(t *testing.T) {
	for content, want := range map[string]string{
		"$TTL 60\n$GENERATE 1-2 a$ A 192.0.2.$\n":       "a1.example.org.\t60\t",
		"$TTL 60\n$GENERATE 1-2 a$ 7 A 192.0.2.$\n":     "a1.example.org.\t7\t",
		"$TTL 60\n$GENERATE 1-2 a$ IN 7 A 192.0.2.$\n":  "a1.example.org.\t7\t",
		"$TTL 60\n$GENERATE 1-2 a$ IN TXT 192.0.2.$ \n": "a1.example.org.\t60\t",
	} {
		text, _, err := Canonical("example.org.", "f", head+content, Defaults{})
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v\n%s", content, err, text)
		}
	}
}

func TestNamesOfAnyCaseAreOneRecord(t *testing.T) {
	text, _, err := Canonical("example.org.", "f", head+"w MX 10 Mail\nw MX 10 mail\nw TYPE65280 \\# 1 41\nw TYPE65280 \\# 1 61\n",
		Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	z, err := Parse("example.org.", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range z.Sets {
		if want := map[uint16]int{15: 1, 65280: 2}[s.Type]; want != 0 && len(s.Data) != want {
			t.Errorf("type %d has %d records, want %d", s.Type, len(s.Data), want)
		}
	}
}

// A TTL with its highest bit set is none, and was served as it stood.
func TestTTLsAbove31BitsAreServedAsZero(t *testing.T) {
	z, err := Parse("example.org.", head+"a 2147483647 A 192.0.2.1\nb 4294967295 A 192.0.2.1\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range z.Sets {
		if want := map[string]uint32{"\x01a\x07example\x03org\x00": 1<<31 - 1,
			"\x01b\x07example\x03org\x00": 0}; s.TTL != want[string(s.Owner)] && (s.Owner[1] == 'a' || s.Owner[1] == 'b') {
			t.Errorf("%q is served with the TTL %d", s.Owner, s.TTL)
		}
	}
}
