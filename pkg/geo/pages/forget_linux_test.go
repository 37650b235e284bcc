package pages

import (
	"crypto/sha256"
	"os"
	"strconv"
	"strings"
	"testing"

	builtin "github.com/gti/gtm/geo"
)

// residentFile is how many bytes of files are in the process's memory (proc_pid_statm(5)).
func residentFile(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[2])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestForgottenPagesComeBack looks at the built-in database before and after.
func TestForgottenPagesComeBack(t *testing.T) {
	sum := sha256.Sum256(builtin.CountryMMDB)
	there := residentFile(t)
	Forget(builtin.CountryMMDB)
	if gone := there - residentFile(t); gone < len(builtin.CountryMMDB)/2 {
		t.Errorf("%d bytes of %d are gone from memory", gone, len(builtin.CountryMMDB))
	}
	if sha256.Sum256(builtin.CountryMMDB) != sum {
		t.Error("the database is not what it was")
	}
}

// TestForgetKeepsWhatNoFileHolds must not lose what would not come back.
func TestForgetKeepsWhatNoFileHolds(t *testing.T) {
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(i)
	}
	Forget(b)
	for i := range b {
		if b[i] != byte(i) {
			t.Fatalf("byte %d is lost", i)
		}
	}
	Forget(nil)
}
