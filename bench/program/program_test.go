package program

import (
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	all := []string{"dot", "doh", "doq"}
	for list, want := range map[string][]string{"": all, "doh": {"doh"}, "doq, dot": {"doq", "dot"}} {
		if got, err := Choose(list, all); !slices.Equal(got, want) || err != nil {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	if _, err := Choose("dot,fax", all); err == nil || !strings.Contains(err.Error(), "doq") {
		t.Errorf("fax: %v", err)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		options Options
		good    bool
	}{
		{Options{Root: dir, Gtmd: dir, Pairs: 6}, true},
		{Options{Root: dir, Gtmd: dir, Pairs: 5}, false},
		{Options{Root: dir, Pairs: 6}, false}, // it has no bin/gtmd
	} {
		if err := c.options.Check(); (err == nil) != c.good {
			t.Errorf("%+v: %v", c.options, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	set := flag.NewFlagSet("test", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	var n []int
	Numbers(set, &n, "sizes", "sizes", 10, 10, 20)
	if !slices.Equal(n, []int{10, 20}) {
		t.Errorf("without the flag: %v", n)
	}
	if err := set.Parse([]string{"-sizes", "30,10"}); err != nil || !slices.Equal(n, []int{10, 30}) {
		t.Errorf("%v, %v", n, err)
	}
	for _, bad := range []string{"9", "x", ""} {
		if err := set.Parse([]string{"-sizes", bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
