//go:build interop

package interop

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// h2spec is what judges HTTP/2, by its module and version.
const h2spec = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

// notOurs are what h2spec finds and we leave so: two rules of RFC 7540 on priorities, which RFC 9113 took away; and two where it sends on
// in a stream that has had its whole answer by then, since GET needs no more than its header.
var notOurs = []string{
	"8: closed: Sends a DATA frame after sending RST_STREAM frame",
	"1: Sends HEADERS frame that depend on itself",
	"2: Sends PRIORITY frame that depend on itself",
	"3: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
}

func TestH2spec(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "install", h2spec)
	build.Env = append(build.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	address := startGuarded(t).https
	out, _ := exec.Command(filepath.Join(dir, "h2spec"), "-t", "-k", "-h", address.Addr().String(), "-p", strconv.Itoa(int(address.Port())),
		"-P", "/dns-query").CombinedOutput()
	counted := regexp.MustCompile(`(\d+) tests, (\d+) passed, \d+ skipped, (\d+) failed`).FindStringSubmatch(string(out))
	if counted == nil {
		t.Fatalf("h2spec says %s", out)
	}
	t.Logf("h2spec: %s", counted[0])
	_, failures, _ := strings.Cut(string(out), "Failures:")
	for line := range strings.Lines(failures) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "× "); ok {
			known := false
			for _, other := range notOurs {
				known = known || strings.HasPrefix(name, other)
			}
			if !known {
				t.Errorf("h2spec: %s", name)
			}
		}
	}
	if n, _ := strconv.Atoi(counted[1]); n < 140 {
		t.Errorf("only %d tests ran", n)
	}
}
