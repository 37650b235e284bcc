//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
)

// oddApexes are names of zones that no host has, as dig and YAML between single quotes take them, and the root. One that begins with *
// is not among them: dig cannot read its signatures, of which a plan warns.
var oddApexes = []string{".", `a.*.odd.test.`, `\000\.x.odd.test.`, `\255\064b.odd.test.`, strings.Repeat("l", 63) + ".odd.test.", "x."}

// Zones whose apexes are no host names were not to be had, signed ones neither: each is signed, with odd names in it, and what ldns
// gets by AXFR is whole and in order, with NSEC and signatures that lead all the way round.
func TestSignedZonesOfOddNamesAreVerified(t *testing.T) {
	var b strings.Builder
	for _, apex := range oddApexes {
		fmt.Fprintf(&b, `---
kind: Zone
tenant: platform
name: '%s'
spec:
  dnssec: {}
  transfer: {allow: [{key: one}]}
  content: |
    $TTL 300
    @ SOA ns.invalid. hostmaster.invalid. 0 86400 86400 864000 60
    @ NS ns.invalid.
    * TXT "any"
    *.* TXT "two"
    \000 A 192.0.2.1
    a\000 A 192.0.2.2
    \255.b\.c A 192.0.2.3
    B.\200 A 192.0.2.4
    \; TXT "mark"
    %s A 192.0.2.5
`, apex, strings.Repeat("m", 63))
		if apex == "." {
			b.WriteString("    ns.invalid. A 192.0.2.53\n") // the name server stands in no other zone
		}
	}
	apply := writeFile(t, t.TempDir(), "start.yaml", strings.TrimPrefix(b.String(), "---\n"))
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--tsig-keys", keyFile(t), "--apply", apply)
	for _, apex := range oddApexes {
		t.Run(apex, func(t *testing.T) {
			var copied string
			eventually(t, followTime, "the zone is signed", func() error {
				if copied = spaced(copyZone(t, d, apex)); !strings.Contains(copied, " DNSKEY 257") || !strings.Contains(copied, " RRSIG ") {
					return fmt.Errorf("the copy is\n%s", copied)
				}
				return nil
			})
			var anchor strings.Builder
			for line := range strings.Lines(copied) {
				if strings.Contains(line, " DNSKEY 257") {
					anchor.WriteString(line)
				}
			}
			dir := t.TempDir()
			file := writeFile(t, dir, "zone", copied)
			output, err := runAny(t, "ldns-verify-zone", "-k", writeFile(t, dir, "anchor", anchor.String()), file)
			if err != nil || !strings.Contains(output, "Zone is verified and complete") {
				t.Errorf("ldns-verify-zone: %v\n%s\n%s", err, output, copied)
			}
			if output, err = runAny(t, "kzonecheck", "-o", apex, file); err != nil {
				t.Errorf("kzonecheck: %v\n%s", err, output)
			}
		})
	}
}

// spaced gives lines with one space between fields: dig has tabs, but where names are long.
func spaced(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return b.String()
}
