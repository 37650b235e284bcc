package snapshot

import (
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

// TestDamageAtTheFirstByteHasAPlace, and a file that cannot be opened has none.
func TestDamageAtTheFirstByteHasAPlace(t *testing.T) {
	for offset, want := range map[int64]string{0: "f is damaged at byte 0: r; s", 7: "f is damaged at byte 7: r; s",
		-1: "f cannot be read: r; s"} {
		if got := (&CorruptError{File: "f", Offset: offset, Reason: "r", Serves: "s"}).Error(); got != want {
			t.Errorf("%d: %q, want %q", offset, got, want)
		}
	}
}

// TestVersionsThatAreCutSayWhatIsMissing: their bytes are intact by their checksum, but another program may have written them.
func TestVersionsThatAreCutSayWhatIsMissing(t *testing.T) {
	for _, tc := range []struct {
		kind    byte
		payload string
		want    string
	}{
		{frameDigested, "1234567", "a version has no digest"},
		{frameDigested, "12345678", "a version has no generation"},
		{frameVersion, "", "a version has no generation"},
		{frameVersion, "\x80", "a version has no generation"},
		{frameVersion, strings.Repeat("\xff", 11), "a version has no generation"},
		{frameVersion, "\x01", "a length in a record points past its end"},
		{frameVersion, "\x01\x09{}", "a length in a record points past its end"},
	} {
		it := item{kind: tc.kind}
		if err := it.decode([]byte(tc.payload), &spec.Reader{}); err == nil || err.Error() != tc.want {
			t.Errorf("%q: got %v, want %s", tc.payload, err, tc.want)
		}
	}
}
