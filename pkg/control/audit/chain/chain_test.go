package chain

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"
)

// TestEachChangeOfALineIsFound: a log of which one knows the first line and the last is whole as it was written, and not with any one byte
// of it changed, or with a line left out. Without the first it can begin anywhere, as when old segments have gone; Chains tells where.
func TestEachChangeOfALineIsFound(t *testing.T) {
	var lines []string
	prev := ""
	for seq := range uint64(4) {
		line, err := Line(Entry{Seq: seq + 1, Writer: "one-abc", Prev: prev, Time: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
			Act: ActChange, Outcome: Asked, Author: "token:shop/ci", Tenants: []string{"shop"}, Message: "more for a"})
		if err != nil {
			t.Fatal(err)
		}
		lines, prev = append(lines, string(line)), Hash(line)
	}
	known := map[string]string{Name("one-abc", 1): Hash([]byte(lines[0])), Name("one-abc", 4): prev}
	faults := func(lines []string) int {
		v := &Verifier{Expect: maps.Clone(known)}
		if err := v.Add(strings.NewReader(strings.Join(lines, "\n") + "\n")); err != nil {
			return 1
		}
		return len(v.Faults()) + len(v.Missing())
	}
	if n := faults(lines); n != 0 {
		t.Fatalf("as it was written it has %d faults", n)
	}
	for i, line := range lines {
		for at := range line {
			changed := []byte(line)
			changed[at] ^= 1
			with := append(append(append([]string{}, lines[:i]...), string(changed)), lines[i+1:]...)
			if faults(with) == 0 {
				t.Errorf("line %d: byte %d can be changed", i+1, at)
			}
		}
		if faults(append(append([]string{}, lines[:i]...), lines[i+1:]...)) == 0 {
			t.Errorf("line %d can be left out", i+1)
		}
	}
}

// FuzzVerifier: whatever stands in a log is told, within bounds.
func FuzzVerifier(f *testing.F) {
	line, err := Line(Entry{Seq: 1, Writer: "one", Act: ActChange, Outcome: Done})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte("{}\n\n[1]"))
	f.Fuzz(func(_ *testing.T, log []byte) {
		_ = (&Verifier{}).Add(bytes.NewReader(log))
		_, _ = Parse(log)
	})
}
