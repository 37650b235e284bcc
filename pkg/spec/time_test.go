package spec

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// TestExpiresIsKeptAsWritten: an override is written again as a person wrote it, whatever the offset and the fraction, and also where a
// newer program wrote what cannot be read here.
func TestExpiresIsKeptAsWritten(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		text   string
		moment time.Time // zero: none
		ended  bool      // at noon
	}{
		{"2026-01-01T13:00:00+01:00", noon, true},
		{"2026-01-01T12:00:00.000Z", noon, true},
		{"2026-01-01T12:00:00.5Z", noon.Add(time.Second / 2), false},
		{"2026-01-01T12:00:01Z", noon.Add(time.Second), false},
		{"tomorrow", time.Time{}, false},
		{"2026-01-01 12:00:00", time.Time{}, false},
	} {
		t.Run(c.text, func(t *testing.T) {
			written := fmt.Sprintf(`{"kind":"Override","tenant":"shop","name":"o","spec":{"pool":"eu","reason":"r","expires":%q}}`, c.text)
			r, err := DecodeJSON([]byte(written), Tolerant)
			if err != nil {
				t.Fatal(err)
			}
			o := r.Spec.(*Override)
			moment, ok := o.Expires.Moment()
			if !moment.Equal(c.moment) || ok != !c.moment.IsZero() || o.Ended(noon) != c.ended {
				t.Errorf("moment %v, %v; ended %v", moment, ok, o.Ended(noon))
			}
			data, err := json.Marshal(r)
			if err != nil || string(data) != written {
				t.Errorf("written again as\n%s\nfrom\n%s\n%v", data, written, err)
			}
			stream, err := EncodeYAML([]*Resource{r})
			if err != nil {
				t.Fatal(err)
			}
			again, err := Decode("o.yaml", stream)
			if err != nil || len(Diff(r, again[0])) > 0 {
				t.Errorf("%s\n%v", stream, err)
			}
		})
	}
}

func TestNoExpiresIsNotWritten(t *testing.T) {
	data, err := json.Marshal(&Override{Pool: "eu", Reason: "r"})
	if err != nil || string(data) != `{"pool":"eu","reason":"r"}` {
		t.Errorf("%s, %v", data, err)
	}
	if got := TimeAt(time.Date(2026, 1, 1, 13, 0, 0, 7, time.FixedZone("", 3600))).String(); got != "2026-01-01T12:00:00Z" {
		t.Error(got)
	}
}
