package recur

import (
	"testing"
	"time"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func mustParse(t *testing.T, line, zone string) *Schedule {
	t.Helper()
	s, err := Parse(line, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRunning: what began less than so long ago runs; otherwise the next beginning is told. Clocks that are put forward or back take no
// beginning away and give none twice.
func TestRunning(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct {
		name, line, zone string
		long             time.Duration
		now, begin       string
		running          bool
	}{
		{"before", "0 2 * * 1-5", "Asia/Shanghai", 2 * hour, "2030-01-30T17:59:59Z", "2030-01-30T18:00:00Z", false}, // a Thursday there
		{"from its first moment", "0 2 * * 1-5", "Asia/Shanghai", 2 * hour, "2030-01-30T18:00:00Z", "2030-01-30T18:00:00Z", true},
		{"to its last", "0 2 * * 1-5", "Asia/Shanghai", 2 * hour, "2030-01-30T19:59:59.999Z", "2030-01-30T18:00:00Z", true},
		{"and not at its end", "0 2 * * 1-5", "Asia/Shanghai", 2 * hour, "2030-01-30T20:00:00Z", "2030-01-31T18:00:00Z", false},
		{"over a weekend", "0 2 * * 1-5", "Asia/Shanghai", 2 * hour, "2030-01-31T20:00:00Z", "2030-02-03T18:00:00Z", false},
		{"UTC without a zone", "30 4 1 * *", "", hour, "2030-01-02T00:00:00Z", "2030-02-01T04:30:00Z", false},
		{"the earliest of several that run", "0 * * * *", "", 3 * hour, "2030-01-02T12:30:00Z", "2030-01-02T10:00:00Z", true},

		// Clocks go from 02:00 to 03:00 on 2030-03-31, and back from 03:00 to 02:00 on 2030-10-27.
		{"the day before", "30 2 * * *", "Europe/Berlin", hour, "2030-03-30T00:00:00Z", "2030-03-30T01:30:00Z", false},
		{"left out: when the clocks have moved", "30 2 * * *", "Europe/Berlin", hour, "2030-03-31T00:00:00Z", "2030-03-31T01:00:00Z",
			false},
		{"and then runs as long", "30 2 * * *", "Europe/Berlin", hour, "2030-03-31T01:59:00Z", "2030-03-31T01:00:00Z", true},
		{"and no longer", "30 2 * * *", "Europe/Berlin", hour, "2030-03-31T02:00:00Z", "2030-04-01T00:30:00Z", false},
		{"over the hour that is left out: as long, by every clock", "0 1 * * *", "Europe/Berlin", 2 * hour, "2030-03-31T01:59:59Z",
			"2030-03-31T00:00:00Z", true},
		{"twice: the first", "30 2 * * *", "Europe/Berlin", 30 * time.Minute, "2030-10-27T00:30:00Z", "2030-10-27T00:30:00Z", true},
		{"twice: not the second", "30 2 * * *", "Europe/Berlin", 30 * time.Minute, "2030-10-27T01:30:00Z", "2030-10-28T01:30:00Z", false},
		{"over the hour that comes twice: as long", "30 1 * * *", "Europe/Berlin", 2 * hour, "2030-10-27T01:29:59Z",
			"2030-10-26T23:30:00Z", true},
		{"and no longer, though the clock shows 02:30", "30 1 * * *", "Europe/Berlin", 2 * hour, "2030-10-27T01:30:00Z",
			"2030-10-28T00:30:00Z", false},
		{"each quarter, while an hour comes twice", "*/15 * * * *", "Europe/Berlin", time.Minute, "2030-10-27T00:50:00Z",
			"2030-10-27T02:00:00Z", false},
		{"half an hour of saving", "45 1 * * *", "Australia/Lord_Howe", time.Minute, "2030-04-06T14:45:00Z", "2030-04-06T14:45:00Z", true},
		{"half an hour of saving, the second", "45 1 * * *", "Australia/Lord_Howe", time.Minute, "2030-04-06T15:15:00Z",
			"2030-04-07T15:15:00Z", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin, running := mustParse(t, c.line, c.zone).Running(at(t, c.now), c.long)
			if !begin.Equal(at(t, c.begin)) || running != c.running {
				t.Errorf("%v %v, want %s %v", begin.UTC(), running, c.begin, c.running)
			}
		})
	}
}

// TestEachDayOnce, in all zones, through all that their clocks do.
func TestEachDayOnce(t *testing.T) {
	zones := []string{"Europe/Berlin", "Africa/Casablanca", "America/Santiago", "Australia/Lord_Howe", "Asia/Shanghai", "Antarctica/Troll"}
	if !testing.Short() {
		zones = Zones()
	}
	for _, zone := range zones {
		s := mustParse(t, "10 2 * * *", zone)
		from := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
		last, days := from, 0
		for last.Before(from.AddDate(1, 0, 0)) {
			begin, running := s.Running(last, 0)
			if gap := begin.Sub(last); running || gap <= 0 || days > 0 && (gap < 21*time.Hour || gap > 27*time.Hour) {
				t.Fatalf("%s: %v follows %v", zone, begin, last)
			}
			last, days = begin, days+1
		}
		if days < 365 || days > 367 {
			t.Errorf("%s: %d days", zone, days)
		}
	}
	if len(zones) < 6 {
		t.Errorf("only %d zones", len(zones))
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ line, zone, err string }{
		{"0 2 * * 1-5", "Mars/Olympus",
			`there is no time zone "Mars/Olympus"; write an IANA name, as in Europe/Berlin, Asia/Shanghai or UTC`},
		{"0 2 * * 1-5", "Local", `there is no time zone "Local"; write an IANA name, as in Europe/Berlin, Asia/Shanghai or UTC`},
		{"0 2 * *", "", `wants five fields, minute, hour, day, month and weekday, as in 0 2 * * 1-5, not "0 2 * *"`},
		{"TZ=UTC 0 2 * *", "", `wants five fields, minute, hour, day, month and weekday, as in 0 2 * * 1-5, not "TZ=UTC 0 2 * *"`},
		{"60 2 * * *", "", `"60 2 * * *" cannot be read: end of range (60) above maximum (59): 60`},
		{"0 0 30 2 *", "", ErrNever.Error()},
	} {
		if _, err := Parse(c.line, c.zone); err == nil || err.Error() != c.err {
			t.Errorf("%s %s: %v", c.line, c.zone, err)
		}
	}
	if _, err := Parse("0 0 29 2 *", "UTC"); err != nil {
		t.Errorf("February 29: %v", err)
	}
}

// FuzzParse: no line panics (TZ= without a space did, in the parser), and what is read gives beginnings that follow one another.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"0 2 * * 1-5", "*/15 0-6 1,15 JAN-MAR SUN", "TZ=", "CRON_TZ=UTC * * * *", "@every 1s", "0 0 29 2 *"} {
		f.Add(line, "Europe/Berlin")
	}
	now := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, line, zone string) {
		s, err := Parse(line, zone)
		if err != nil {
			return
		}
		first, running := s.Running(now, 0)
		if running || !first.IsZero() && !first.After(now) {
			t.Fatalf("%q %s: %v %v", line, zone, first, running)
		}
		if begin, running := s.Running(first, time.Minute); !first.IsZero() && (!running || begin.After(first)) {
			t.Fatalf("%q %s: %v does not run at %v", line, zone, begin, first)
		}
	})
}
