package stamp

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSetWaitsUntilFilesStay: a change counts once, when all files have stayed as they were for one look.
func TestSetWaitsUntilFilesStay(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	names := []string{a, b}
	write := func(file, s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a, "1")
	s := NewSet(names, []Stamp{Of(a), Of(b)})
	for i, step := range []struct {
		do   func()
		want bool
	}{
		{func() {}, false},
		{func() { write(a, "12") }, false}, // it may be half of it
		{func() { write(b, "1") }, false},  // the one stays, the other does not
		{func() {}, true},
		{func() {}, false},
		{func() { os.Remove(b) }, false},
		{func() {}, true},
		{func() { write(a, "123") }, false},
		{func() { s.Opened([]Stamp{Of(a), Of(b)}) }, false}, // somebody opened it meanwhile
		{func() {}, false},
	} {
		step.do()
		if got := s.Changed(); got != step.want {
			t.Errorf("step %d: changed is %v", i+1, got)
		}
	}
}
