// Package recur tells when what recurs begins, by a cron line that is read in a time zone.
//
// It is pure: rules of time zones are those of the database that is compiled in, so that whoever runs the same program agrees on
// them, whatever the machine has.
package recur

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is a cron line in a time zone. It is immutable.
type Schedule struct {
	line cron.Schedule
	zone *time.Location
}

// fields are minute, hour, day of the month, month, day of the week.
var fields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// ErrNever is what Parse gives for a line of which no day comes, as for February 30.
var ErrNever = errors.New("no such day ever comes")

// Parse reads a line of five fields, as in "0 2 * * 1-5", and the IANA name of a zone; empty: UTC.
func Parse(line, zone string) (*Schedule, error) {
	loc, err := location(zone)
	if err != nil {
		return nil, err
	}
	if len(strings.Fields(line)) != 5 || strings.ContainsAny(line, "=@") { // the parser would read a zone of its own there
		return nil, fmt.Errorf("wants five fields, minute, hour, day, month and weekday, as in 0 2 * * 1-5, not %q", line)
	}
	parsed, err := fields.Parse(line)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", line, err)
	}
	s := &Schedule{parsed, loc}
	if parsed.Next(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, ErrNever
	}
	return s, nil
}

// Running gives the earliest time of those that came less than long before now, or at now; running false: there is none, and begin
// is the next one after now.
func (s *Schedule) Running(now time.Time, long time.Duration) (begin time.Time, running bool) {
	after := now.Add(-long)
	for wall := wallOf(after.In(s.zone)); ; {
		if wall = s.line.Next(wall); wall.IsZero() {
			return time.Time{}, false // none within years
		}
		if begin = instant(wall, s.zone); begin.After(after) {
			return begin, !begin.After(now)
		}
	}
}

// Cron lines are read on a clock face: a wall clock time is held as if it were one of UTC, where no hour is left out and none comes twice.

// wallOf gives the clock face at a moment.
func wallOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant gives the moment at which a clock in the zone shows wall: the first, where it does so twice, and the end of what is left out,
// where it never does.
func instant(wall time.Time, zone *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), zone)
	start, end := t.ZoneBounds()
	if shown := wallOf(t); shown.After(wall) { // Date went past what is left out
		return start.In(zone)
	} else if shown.Before(wall) {
		return end.In(zone)
	}
	if start.IsZero() {
		return t
	}
	_, now := t.Zone()
	_, before := start.Add(-time.Nanosecond).Zone()
	if again := time.Duration(before-now) * time.Second; again > 0 && t.Sub(start) < again {
		return t.Add(-again)
	}
	return t
}
