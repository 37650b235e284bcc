package events

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// one makes an event of a tenant, the i-th.
func one(tenant string, i int) api.Event {
	e := Subject{Kind: api.EventPool, Tenant: tenant, Pool: "eu"}.event(noon.Add(time.Duration(i)*time.Second), "up", "down")
	identify(&e, "")
	return e
}

func ids(list []Entry) string {
	var words []string
	for _, e := range list {
		words = append(words, fmt.Sprintf("%s%d", e.Tenant[:1], e.Of))
	}
	return strings.Join(words, " ")
}

// TestATenantThatFlapsForgetsItsOwn: where there is too much, whoever has most loses the oldest, and its readers are told how many.
func TestATenantThatFlapsForgetsItsOwn(t *testing.T) {
	l := Open(Config{Most: 10, Now: func() time.Time { return noon }})
	l.Add(1, 0, one("shop", 1), one("shop", 2))
	for i := range 100 {
		l.Add(2, 0, one("flapping", i))
	}
	if got, _ := l.After("shop", Position{}, 100); ids(got) != "s1 s2" {
		t.Errorf("of shop: %s", ids(got))
	}
	got, lost := l.After("flapping", Position{}, 3)
	if ids(got) != "f93 f94 f95" || lost != 92 {
		t.Errorf("%s, and %d lost", ids(got), lost)
	}
	got, lost = l.After("flapping", Position{got[2].Seq, got[2].Of}, 100)
	if ids(got) != "f96 f97 f98 f99 f100" || lost != 0 {
		t.Errorf("%s, and %d lost", ids(got), lost)
	}
	if got, lost := l.After("", Position{}, 100); len(got) != 10 || lost != 92 {
		t.Errorf("of all %d, and %d lost", len(got), lost)
	}
	if s := l.Status(); s.Dropped != 92 || s.Events != 10 {
		t.Errorf("%+v", s)
	}
	found, more := l.Find(Filter{}, 3)
	if len(found) != 3 || !more || found[2].ID != one("flapping", 99).ID || found[0].ID != one("flapping", 97).ID {
		t.Errorf("found %+v, more %v", found, more)
	}
}

// TestTheSameEventIsKeptOnce.
func TestTheSameEventIsKeptOnce(t *testing.T) {
	l := Open(Config{Now: func() time.Time { return noon }})
	e := one("shop", 1)
	away := e
	away.From = "unknown" // as a control says that was away
	identify(&away, "")
	if a, b := l.Add(1, 0, e), l.Add(2, 0, away); len(a) != 1 || len(b) != 0 {
		t.Errorf("added %d, then %d", len(a), len(b))
	}
	if at, known := l.PositionOf(e.ID); !known || at.Seq != 1 {
		t.Errorf("at %v, %v", at, known)
	}
}

// TestAReaderGoesOnWhereAnotherWas, by the store's revisions, since positions are a log's own.
func TestAReaderGoesOnWhereAnotherWas(t *testing.T) {
	l := Open(Config{Now: func() time.Time { return noon }})
	for i := range 6 {
		l.Add(int64(10+i/2), int64(i/4), one([]string{"shop", "other"}[i%2], i)) // revisions 10 to 12, the last of epoch 1
	}
	for _, tc := range []struct {
		tenant          string
		epoch, revision int64
		want            string
	}{
		{"", 0, 1, "s1 o1 s2 o2 s3 o3"}, {"", 0, 11, "s2 o2 s3 o3"}, {"", 0, 13, "s3 o3"}, {"", 1, 12, "s3 o3"}, {"", 1, 13, ""},
		{"shop", 0, 11, "s2 s3"}, {"other", 1, 1, "o3"}, {"nobody", 0, 1, ""},
	} {
		got, lost := l.After(tc.tenant, l.Before(tc.tenant, tc.epoch, tc.revision), 100)
		if ids(got) != tc.want || lost != 0 {
			t.Errorf("%+v: %s, and %d lost", tc, ids(got), lost)
		}
	}
	if got, _ := l.After("shop", l.Newest("shop"), 100); len(got) != 0 {
		t.Errorf("behind the newest: %s", ids(got))
	}
}

// TestEventsOutliveAProcess, a torn line, and what is too old does not.
func TestEventsOutliveAProcess(t *testing.T) {
	now := noon
	cfg := Config{Dir: filepath.Join(t.TempDir(), "events"), Keep: time.Hour, Most: 100, Now: func() time.Time { return now }}
	l := Open(cfg)
	l.Add(1, 0, one("shop", 1))
	now = now.Add(30 * time.Minute)
	l.Add(2, 3, one("shop", 2), one("other", 3))
	file := filepath.Join(cfg.Dir, fileName)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"seq":4,"of":3,"id":"torn`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	now = now.Add(31 * time.Minute)
	again := Open(cfg)
	got, lost := again.After("", Position{}, 10)
	if ids(got) != "s2 o1" || lost != 1 || got[0].Revision != 2 || got[0].Epoch != 3 {
		t.Errorf("%s, %d lost: %+v", ids(got), lost, got)
	}
	if s := again.Status(); !s.Since.Equal(noon) || s.Fault != "" {
		t.Errorf("%+v", s)
	}
	again.Add(4, 3, one("shop", 4))
	third := Open(cfg)
	if got, _ := third.After("shop", Position{}, 10); ids(got) != "s2 s3" {
		t.Errorf("behind another start: %s", ids(got))
	}
	text, err := os.ReadFile(file)
	if err != nil || bytes.Contains(text, []byte("torn")) {
		t.Errorf("%v:\n%s", err, text)
	}
}

// TestTheFileStaysInProportion to what is kept.
func TestTheFileStaysInProportion(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Most: 10, Now: func() time.Time { return noon }}
	l := Open(cfg)
	lines := func() int {
		text, err := os.ReadFile(filepath.Join(cfg.Dir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(text, []byte("\n"))
	}
	for i := range 3 * rewriteFrom {
		l.Add(1, 0, one("shop", i))
		if i%100 == 0 && lines() > rewriteFrom+2*10+1 {
			t.Fatalf("%d lines for 10 events", lines())
		}
	}
	if got, _ := Open(cfg).After("", Position{}, 100); len(got) != 10 || got[9].ID != one("shop", 3*rewriteFrom-1).ID {
		t.Errorf("%d are left", len(got))
	}
}

// TestADiskThatFailsIsTold, and events are kept all the same, and written when it works again.
func TestADiskThatFailsIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in its place
		t.Fatal(err)
	}
	l := Open(Config{Dir: dir, Now: func() time.Time { return noon }})
	l.Add(1, 0, one("shop", 1))
	if s := l.Status(); s.Fault == "" || s.Events != 1 {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Add(2, 0, one("shop", 2))
	if s := l.Status(); s.Fault != "" {
		t.Errorf("%+v", s)
	}
	if got, _ := Open(l.cfg).After("", Position{}, 10); ids(got) != "s1 s2" {
		t.Errorf("written: %s", ids(got))
	}
}

// FuzzFile: whatever stands in the file, the log is one whose numbers grow, and keeps no more than it may.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"since":"2026-05-04T12:00:00Z"}` + "\n" +
		`{"seq":1,"of":1,"id":"x","tenant":"shop","kind":"pool","time":"2026-05-04T12:00:00Z"}`))
	f.Add([]byte(`{"seq":18446744073709551615,"of":2,"id":"y","tenant":"shop"}` + "\n{}\nnull\n[]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		l := Open(Config{Dir: dir, Most: 3, Keep: 200 * 365 * 24 * time.Hour, Now: func() time.Time { return noon }})
		before := l.Newest("")
		l.Add(1, 0, one("shop", 1))
		list, _ := l.After("", Position{}, 100)
		if len(list) > 3 {
			t.Errorf("%d events", len(list))
		}
		for i := 1; i < len(list); i++ {
			if list[i].Seq <= list[i-1].Seq {
				t.Errorf("%d behind %d", list[i].Seq, list[i-1].Seq)
			}
		}
		if _, kept := l.PositionOf(one("shop", 1).ID); kept && l.Newest("").Seq < before.Seq {
			t.Errorf("the newest is %d, and was %d", l.Newest("").Seq, before.Seq)
		}
	})
}
