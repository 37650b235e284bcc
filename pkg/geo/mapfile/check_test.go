package mapfile

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest"
)

// joined gives the runs of files, those of the same map as one.
func (f *Files) joined() (out []string) {
	for _, v4 := range []bool{true, false} {
		last := -2
		for start, i := range f.Runs(v4) {
			if i != last {
				out = append(out, fmt.Sprint(start, " ", f.names[i+1]))
			}
			last = i
		}
	}
	return out
}

// TestIdleLinesAreThoseThatChangeNothing: of random files, a line is told as idle just if all is the same without it.
func TestIdleLinesAreThoseThatChangeNothing(t *testing.T) {
	rnd := gtmtest.Random(t)
	idle := 0
	for range 400 {
		text, _ := randomText(rnd, 1+rnd.IntN(maxIdle))
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
		file := write(t, filepath.Join(t.TempDir(), "maps"), text)
		r, err := Check(file)
		if err != nil {
			t.Fatal(err)
		}
		told := map[int]string{}
		for _, i := range r.Examples {
			told[i.Line] = i.Why
		}
		want := fmt.Sprint(open(t, text).joined())
		for i := range lines {
			without := strings.Join(append(append([]string(nil), lines[:i]...), lines[i+1:]...), "")
			same := fmt.Sprint(open(t, without).joined()) == want
			if why, is := told[i+1]; is != same {
				t.Fatalf("line %d (%s) changes nothing: %v, told: %q\n%s", i+1, strings.TrimSpace(lines[i]), same, why, text)
			}
			if same {
				idle++
			}
		}
		if r.Idle != len(told) {
			t.Fatalf("%d lines are idle, %d are told", r.Idle, len(told))
		}
	}
	if idle < 200 {
		t.Errorf("only %d idle lines", idle)
	}
}

// TestReportsOfSeveralFiles tell the file of each line.
func TestReportsOfSeveralFiles(t *testing.T) {
	one := write(t, filepath.Join(t.TempDir(), "one"), "10.0.0.0/8 a\n\n10.1.0.0/16 a\n")
	two := write(t, filepath.Join(t.TempDir(), "two"), "# more\n10.0.0.0/8 b\n10.2.0.0/16 a\n10.3.0.0/16 b\n")
	r, err := Check(one, two)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range r.Examples {
		got = append(got, fmt.Sprintf("%s:%d %s", filepath.Base(i.File), i.Line, i.Network))
	}
	if text := strings.Join(got, ", "); text != "one:3 10.1.0.0/16, two:2 10.0.0.0/8, two:3 10.2.0.0/16" {
		t.Errorf("idle: %s", text)
	}
	if fmt.Sprint(r.Maps) != "[{a 3} {b 1}]" || r.Files[1].Networks != 3 {
		t.Errorf("maps %v, files %+v", r.Maps, r.Files)
	}
}
