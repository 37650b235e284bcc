package spec

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration as people give it: as time.ParseDuration, and with weeks and days (of 24 hours) before the rest, as in
// 1d, 2w or 1d12h.
func ParseDuration(text string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(text, "-")
	var sum float64 // in nanoseconds
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, behind, has := strings.Cut(rest, unit.letter)
		if !has {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || strings.Trim(number, "0123456789.") != "" {
			return 0, notDuration(text)
		}
		sum, rest = sum+n*float64(unit.length), behind
		if rest == "" {
			rest = "0"
		}
	}
	if rest == "" || strings.ContainsAny(rest[:1], "+-") {
		return 0, notDuration(text)
	}
	d, err := time.ParseDuration(rest)
	if err != nil || sum+float64(d) >= math.MaxInt64 {
		return 0, notDuration(text)
	}
	d += time.Duration(sum)
	if negative {
		d = -d
	}
	return d, nil
}

func notDuration(text string) error {
	return fmt.Errorf("%q is not a duration: write it as in 30s, 1m30s or 1d", shorten(text))
}
