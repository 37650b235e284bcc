package main

import (
	"fmt"
	"strings"
	"testing"
)

// Networks that open nothing, or are not what they seem, are refused at the start.
func TestProbeFlags(t *testing.T) {
	for _, tc := range []struct {
		f    probeFlags
		says string
	}{
		{probeFlags{allow: []string{"10.20.0.0/16", "fd00::/8", "127.0.0.0/8", "192.0.2.7/32"},
			deny: []string{"0.0.0.0/0", "203.0.113.0/24"}, secrets: t.TempDir(), region: "EU-DE", network: "AS64500"}, ""},
		{probeFlags{region: "DE"}, `--vantage-region: place "DE" must start with a continent: did you mean "EU-DE"?`},
		{probeFlags{network: "my net"}, `--vantage-network: "my net" must have`},
		{probeFlags{allow: []string{"10.20.0.1"}}, `--probe-allow: "10.20.0.1" is not a network, as in 10.20.0.0/16`},
		{probeFlags{deny: []string{"10.20.0.1/16"}}, "--probe-deny: 10.20.0.1/16 has bits set behind its length; write 10.20.0.0/16"},
		{probeFlags{allow: []string{"0.0.0.0/0"}}, "--probe-allow: 0.0.0.0/0 opens nothing: it lies in no network that is closed"},
		{probeFlags{allow: []string{"203.0.113.0/24"}}, "--probe-allow: 203.0.113.0/24 opens nothing"},
		{probeFlags{secrets: "/nowhere"}, "--probe-secrets: /nowhere is not a folder that can be read"},
	} {
		said := ""
		got := tc.f.check(func(format string, args ...any) { said += fmt.Sprintf(format, args...) })
		if tc.says == "" && (said != "" || len(got.allow) != 4 || len(got.deny) != 2) || !strings.Contains(said, tc.says) {
			t.Errorf("%+v: %q, want %q", tc.f, said, tc.says)
		}
	}
}
