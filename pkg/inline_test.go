package pkg_test

import (
	"maps"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"testing"
)

// inlined are small functions on the way of a query, by package. Each is called so often that a call would show in what an answer costs;
// the compiler inlines them by their size, and a line more can end that silently.
var inlined = map[string][]string{
	"dnswire":     {"(*Query).reset", "(*sipState).round", "SetHeader", "flagsOf", "fold", "skipName"},
	"geo":         {"(*Partition).class", "(*Search).Result", "(*Search).Top", "(*table).find4", "(*values).at", "u128.less", "wholeCell"},
	"table":       {"(*Arm).weightFor", "(*Path).Direct", "(*Path).Draw", "(*Path).Records", "(*Service).Serves", "(*Service).needs"},
	"table/draws": {"(*Draw).From", "(*Picks).Ahead", "(*Picks).Records", "(*Picks).Sticky", "(*famDraw).pick"},
	"table/names": {"lastWord", "mix", "tagOf"},
	"table/rr":    {"FamilySet.Holds"},
	"table/zones": {"(*Node).Stands", "(*SteeredSigs).Ahead", "(*Zone).Ahead", "(*Zone).Line", "(*Zone).NodeAt",
		"(*Zone).RecordsAhead", "(*Zone).SetAhead"},
	"answer":   {"(*generator).next", "(*reply).appendWire", "(*reply).fits", "be32", "foldByte"},
	"prefetch": {"Lines", "prefetch.At[uint8]"},
}

// TestHotFunctionsAreInlined asks the compiler what it inlines. What it says of a package that did not change comes from the build cache.
func TestHotFunctionsAreInlined(t *testing.T) {
	args := []string{"build", "-gcflags=-m"}
	for _, pkg := range slices.Sorted(maps.Keys(inlined)) {
		args = append(args, "./"+pkg)
	}
	said, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, said)
	}
	can := map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^(?:.*/)?(\w+)/\w+\.go:\d+:\d+: can inline (.*)$`).FindAllSubmatch(said, -1) {
		can[string(line[1])+" "+string(line[2])] = true
	}
	for _, pkg := range slices.Sorted(maps.Keys(inlined)) {
		for _, function := range inlined[pkg] {
			if !can[path.Base(pkg)+" "+function] {
				t.Errorf("pkg/%s: %s is not inlined, or is there no more: make it smaller again, or take it out of the table",
					pkg, function)
			}
		}
	}
}
