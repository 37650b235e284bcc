package spec

import (
	"testing"
	"time"
)

// 1d was refused, although that is how people write a day.
func TestADayIsADuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"1d": day, "2w": 14 * day, "1w2d": 9 * day, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour, "-1d": -day, "1d0s": day, "0d": 0,
		"30s": 30 * time.Second, "1m30s": 90 * time.Second, "0": 0, "1h": time.Hour, "-5s": -5 * time.Second, "106751d": 106751 * day,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-", "d", "1", "1d2w", "1d1d", "1dd", "1d-5s", "1d+5s", "--1d", "+1d", "1e3d", "1 d", "1D", "106752d",
		"99999999999w", "1x", "infd", "nand", "0x1d", "1_0d", ".d"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	if m := one(t, KindMonitor, "shop", "m", "type: http, interval: "+
		"1d").Spec.(*Monitor); m.Interval != Duration(day) || m.Interval.String() != "24h" {
		t.Errorf("an interval of 1d is %v", m.Interval)
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"1w2d3h", "1.5d", "-1d", "106752d", "1m30s", "d", "1d-5s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			return
		}
		if again, err := ParseDuration(Duration(d).String()); err != nil || again != d {
			t.Errorf("%q is %v, which is read as %v, %v", text, d, again, err)
		}
		if plain, err := time.ParseDuration(text); err == nil && plain != d {
			t.Errorf("%q is %v, want %v as of time.ParseDuration", text, d, plain)
		}
	})
}
