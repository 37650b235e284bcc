//go:build interop

package differential

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/zone"
)

// brokenZones is how many zones kzonecheck and gtm judge.
const brokenZones = 300

// Of zones with faults of all kinds, gtm refuses those that kzonecheck finds a serious fault in, and warns of missing glue
// where it does. What gtm refuses beyond is out of zone, which kzonecheck skips.
func TestKzonecheckAgrees(t *testing.T) {
	seed := uint64(usualSeed)
	if os.Getenv(casesEnv) != "" {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	refused, warned := 0, 0
	for range brokenZones {
		z := breakZone(newCluster(rng.Uint64(), 0).zones[0], rng)
		file := filepath.Join(dir, "zone")
		writeFile(t, file, z.text)
		output, err := exec.Command("kzonecheck", "-d", "off", "-o", z.origin, file).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		// without a serious fault, glue may still be missing
		theirs := err != nil && !onlyGlue(string(output))
		_, warnings, err := zone.Canonical(z.origin, "zone", z.text, zone.Defaults{})
		if ours := err != nil; ours != theirs {
			t.Fatalf("refused by kzonecheck: %v, by gtm: %v\n%s%v\n%s", theirs, ours, output, err, z.text)
		}
		if err != nil {
			refused++
			continue
		}
		got, want := glueOf(warnings), kzonecheckGlue(string(output))
		if !slices.Equal(got, want) {
			t.Fatalf("glue is missing for %q, kzonecheck says %q\n%s\n%s", got, want, warnings, z.text)
		}
		warned += len(want)
	}
	t.Logf("%d of %d zones refused, %d warnings of missing glue in the others", refused, brokenZones, warned)
	if refused < brokenZones/10 || refused > brokenZones*9/10 || warned < brokenZones/10 {
		t.Error("that shows too little")
	}
}

// breakZone adds up to two faults.
func breakZone(z *masterFile, rng *rand.Rand) *masterFile {
	lines := strings.Split(strings.TrimSpace(z.text), "\n")
	owner := func() string { return strings.Fields(lines[rng.IntN(len(lines))])[0] }
	for range rng.IntN(3) {
		switch rng.IntN(10) {
		case 0:
			lines = append(lines, owner()+" 60 IN CNAME "+owner())
		case 1:
			lines = append(lines, owner()+" 60 IN DNAME "+owner())
		case 2:
			lines = append(lines, owner()+" 60 IN NS "+owner())
		case 3:
			lines = append(lines, "x."+owner()+" 60 IN A 192.0.2.1")
		case 4:
			lines = append(lines, owner()+" 60 IN TYPE1 \\# 5 0102030405")
		case 5:
			lines = lines[1:]
		case 6:
			lines = append(lines, "y."+owner()+" 60 IN A 192.0.2.256")
		case 7:
			lines = append(lines, owner()+" 60 IN NS ns."+owner())
		case 8:
			i := rng.IntN(len(lines))
			lines[i] = strings.TrimRight(lines[i][:rng.IntN(len(lines[i]))+1], `\`)
		case 9:
			lines = append(lines, "y."+owner()+` 60 IN TYPE65280 \# 3 41`)
		}
	}
	return &masterFile{z.origin, strings.Join(lines, "\n") + "\n"}
}

var kzonecheckLine = regexp.MustCompile(`(?m)^\[(.+)\] (.*)$`)

func onlyGlue(output string) bool {
	found := kzonecheckLine.FindAllStringSubmatch(output, -1)
	return len(found) > 0 && !slices.ContainsFunc(found, func(m []string) bool { return m[2] != "missing glue record" }) &&
		!strings.Contains(output, "Serious")
}

func kzonecheckGlue(output string) (owners []string) {
	for _, m := range kzonecheckLine.FindAllStringSubmatch(output, -1) {
		if m[2] == "missing glue record" {
			owners = append(owners, key(m[1]))
		}
	}
	slices.Sort(owners)
	return owners
}

func glueOf(warnings zone.Problems) (owners []string) {
	for _, w := range warnings {
		if owner, _, ok := strings.Cut(w.Text, " NS "); ok && strings.Contains(w.Text, "has no address") {
			owners = append(owners, key(fmt.Sprint(dns.Fqdn(owner))))
		}
	}
	slices.Sort(owners)
	return owners
}
