package figures

import (
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSaveBars(t *testing.T) {
	panels := []Panel{
		{"steered", "answers/s", []Bar{{"gtm", Summary{11, 290000, 285000, 295000}}, {"gdnsd", Summary{11, 250000, 240000, 254000}},
			{"floor", Summary{11, 305000, 303000, 310000}}}},
		{"static", "answers/s", []Bar{{"gtm", Summary{11, 300000, 295000, 305000}}, {"nsd", Summary{11, 150000, 140000, 154000}}}},
		{"alone", "us", []Bar{{"gtm", Summary{11, 3, 2.5, 3.1}}}},
	}
	for _, name := range []string{"bars.svg", "bars.png"} {
		file := filepath.Join(t.TempDir(), name)
		if err := SaveBars(file, panels...); err != nil {
			t.Fatal(err)
		}
		drawn, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(drawn) > 100_000 {
			t.Errorf("%s has %d bytes", name, len(drawn))
		}
		for _, want := range []string{"gdnsd", "290 000", "answers/s", "300k", "Liberation Sans,Arial"} {
			if strings.HasSuffix(name, ".svg") && !strings.Contains(string(drawn), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
	}
	if err := SaveBars(filepath.Join(t.TempDir(), "none.svg")); err == nil {
		t.Error("a picture of nothing was drawn")
	}
}

func TestSaveLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines.svg")
	err := SaveLines(file, Chart{Title: "start", X: "names", Y: "s", LogX: true, LogY: true, Mark: 3, Series: []Series{
		{Name: "gtm", X: []float64{1e3, 1e6}, Y: []float64{0.1, 2}},
		{Name: "other", X: []float64{1e3, 1e6}, Y: []float64{0.2, 4}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"start", "mark", "other", "1M"} {
		if !strings.Contains(string(drawn), want) {
			t.Errorf("the chart lacks %q", want)
		}
	}
	if err := SaveLines(file, Chart{Series: []Series{{X: []float64{1}}}}); err == nil {
		t.Error("a series with an x and no y was drawn")
	}
}

func TestColours(t *testing.T) {
	got := colours([]Series{{Name: "gtm"}, {Name: "floor"}, {Name: "gtm unsigned"}, {Name: "nsd"}, {Name: "floor unsigned"}})
	if got[0] != standOut || got[1] != standBack {
		t.Errorf("gtm is %v, floor %v", got[0], got[1])
	}
	seen := map[color.RGBA]bool{}
	for _, c := range got {
		if seen[c] {
			t.Errorf("two of %v are alike", got)
		}
		seen[c] = true
	}
}

func TestReport(t *testing.T) {
	root := t.TempDir()
	r := NewReport(root, "job", "A job", time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC), "peer 1.0")
	r.Section("First")
	r.Table([]string{"a", "b"}, [][]string{{"1", "x|y"}, {"2"}})
	r.Ratios([]Ratio{
		{Of: "gtm", Over: "peer", Figure: "answers/s", Ratios: []float64{1.1, 1.2, 1.3, 1.4, 1.5, 1.6}, Mark: 1.2},
		{Of: "gtm", Over: "slow", Figure: "answers/s", Ratios: []float64{1.1, 1.2, 1.3, 1.4, 1.5, 1.6}, Mark: 1.1},
		{Of: "gtm", Over: "floor", Figure: "answers/s", Ratios: []float64{1, 1, 1, 1, 1, 1}},
	})
	err := r.Picture("bars", "answers", func(file string) error { return os.WriteFile(file, []byte("<svg/>"), 0o644) })
	if err != nil {
		t.Fatal(err)
	}
	file, err := r.Save()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, "bench", "results", "2026-11-23-0405-job.md"); file != want {
		t.Errorf("saved as %s, want %s", file, want)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# A job, 23 November 2026, 04:05 UTC\n\n", "; peer 1.0\n", "\n## First\n\n| a | b |\n|---|---|\n| 1 | x\\|y |\n| 2 |  |\n",
		"| gtm / peer | answers/s | 6 | 1.300 | 1.100 | 1.600 | at least 1.20 | no |\n",
		"| gtm / slow | answers/s | 6 | 1.300 | 1.100 | 1.600 | at least 1.10 | yes |\n",
		"| gtm / floor | answers/s | 6 | 1.000 | 1.000 | 1.000 |  |  |\n",
		"\n![answers](2026-11-23-0405-job-bars.svg)\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}
