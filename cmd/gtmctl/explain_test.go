package main

import (
	"testing"
	"time"
)

func TestTimeAt(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 30, 0, 0, time.FixedZone("", 2*3600))
	for text, want := range map[string]string{
		"12:03":                     "2026-05-04T12:03:00+02:00",
		"12:30":                     "2026-05-04T12:30:00+02:00",
		"12:03:10":                  "2026-05-04T12:03:10+02:00",
		"12:31":                     "2026-05-03T12:31:00+02:00", // it is not yet so late
		"-2h":                       "2026-05-04T10:30:00+02:00",
		"-1d":                       "2026-05-03T12:30:00+02:00",
		"2026-05-04T09:03:00Z":      "2026-05-04T09:03:00Z",
		"2026-05-04T09:03:00+05:00": "2026-05-04T09:03:00+05:00",
	} {
		if got, err := timeAt("at", text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"noon", "25:00", "2h", "-", "--2h", "2026-05-04"} {
		if got, err := timeAt("at", text, now); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}
