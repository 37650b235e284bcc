package edge

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
)

var (
	keyA, keyB = strings.Repeat("0a", 16), strings.Repeat("0b", 16)
	noon       = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	cookieAddr = netip.MustParseAddr("192.0.2.1")
)

// fakeTime is a clock that stands until it is moved.
type fakeTime struct{ t time.Time }

func (f *fakeTime) now() time.Time { return f.t }

func writeSecrets(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// signed gives a cookie that k signs now.
func signed(k *cookieKeeper) *dnswire.Cookie {
	c := &dnswire.Cookie{Present: true, ServerLen: dnswire.ServerCookieLen, Client: [8]byte{1}}
	k.current.Load().Make((*[dnswire.ServerCookieLen]byte)(c.Server[:]), c.Client, cookieAddr, uint32(noon.Unix()))
	return c
}

// takes tells how k finds a cookie: "fresh", "valid" (a new one is due) or "void".
func takes(k *cookieKeeper, c *dnswire.Cookie) string {
	valid, fresh := k.current.Load().Verify(c, cookieAddr, uint32(noon.Unix()))
	switch {
	case fresh:
		return "fresh"
	case valid:
		return "valid"
	}
	return "void"
}

func TestSharedSecretsRollOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	var log bytes.Buffer
	writeSecrets(t, path, "# the first\n\n  "+keyA+"\r\n")
	k, err := newCookies(path, t.TempDir(), time.Now, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	old := signed(k)
	for _, step := range []struct{ text, old string }{
		{keyA, "fresh"}, {keyA + "\n" + keyB, "fresh"}, {keyB + "\n" + keyA, "valid"}, {keyB, "void"},
	} {
		writeSecrets(t, path, step.text)
		k.check()
		if got := takes(k, old); got != step.old {
			t.Errorf("with %q the old cookie is %s, want %s", step.text, got, step.old)
		}
		if got := takes(k, signed(k)); got != "fresh" {
			t.Errorf("with %q its own cookie is %s", step.text, got)
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
}

func TestBadSecretsChangeNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secrets")
	var log bytes.Buffer
	writeSecrets(t, path, keyA)
	k, err := newCookies(path, dir, time.Now, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	old := signed(k)
	for _, tc := range []struct{ text, want string }{
		{"", "there are 0 cookie secrets"},
		{keyA + "\n" + keyA + "\n" + keyB, "there are 3 cookie secrets"},
		{keyA + "\n" + keyB[:30], path + ":2: "},
		{keyB + "00", path + ":1: "},
		{"# x\nnot hex at all, no, not at all.", path + ":2: "},
		{"absent", "no such file"},
	} {
		log.Reset()
		if writeSecrets(t, path, tc.text); tc.text == "absent" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		_, err := newCookies(path, dir, time.Now, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), keyB[:30]) ||
			strings.Contains(err.Error(), "not hex") {
			t.Errorf("at the start %q gives: %v", tc.text, err)
		}
		k.check()
		k.check()
		if got := takes(k, old); got != "fresh" || !k.failed.Load() {
			t.Errorf("after %q the cookie before is %s", tc.text, got)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("after %q there are %d lines in the log: %s", tc.text, n, &log)
		}
	}
	writeSecrets(t, path, keyB)
	if k.check(); takes(k, old) != "void" || k.failed.Load() {
		t.Error("a good file after bad ones is not taken")
	}
}

func TestOwnSecretIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "edge")
	clock := &fakeTime{noon}
	open := func() *cookieKeeper {
		k, err := newCookies("", dir, clock.now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := open()
	info, err := os.Stat(filepath.Join(dir, cookieFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	c := signed(first)
	again := open()
	if got := takes(again, c); got != "fresh" {
		t.Errorf("after a restart the cookie is %s", got)
	}
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{23 * time.Hour, "fresh"}, {24 * time.Hour, "valid"}, {47 * time.Hour, "valid"}, {48 * time.Hour, "void"}} {
		clock.t = noon.Add(step.after)
		again.check()
		if got := takes(again, c); got != step.want {
			t.Errorf("after %v the cookie is %s, want %s", step.after, got, step.want)
		}
		if got := takes(open(), c); got != step.want {
			t.Errorf("after %v and a restart the cookie is %s, want %s", step.after, got, step.want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v %v", entries, err)
	}
}

func TestOwnSecretIsReplacedWhereItIsDamaged(t *testing.T) {
	dir := t.TempDir()
	for _, damage := range []string{"", "\x00\x00", keyA[:20]} {
		path := filepath.Join(dir, cookieFile)
		writeSecrets(t, path, damage)
		k, err := newCookies("", dir, time.Now, slog.New(slog.DiscardHandler))
		if err != nil || k.failed.Load() {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || bytes.Equal(data, []byte(damage)) {
			t.Errorf("%q stays: %v", damage, err)
		}
		if got := takes(k, signed(k)); got != "fresh" {
			t.Errorf("after %q its own cookie is %s", damage, got)
		}
	}
}

func TestOwnSecretWithoutDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeSecrets(t, file, "")
	for _, dir := range []string{"", filepath.Join(file, "below")} {
		k, err := newCookies("", dir, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("%q: %v", dir, err)
		}
		c := signed(k)
		if k.check(); takes(k, c) != "fresh" || k.failed.Load() != (dir != "") {
			t.Errorf("%q: %s", dir, takes(k, c))
		}
	}
}

func FuzzParseSecrets(f *testing.F) {
	for _, s := range []string{"", keyA, keyA + "\n" + keyB, "#\n\r\n" + keyA + " ", "zz"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		secrets, err := parseSecrets("file", data)
		if err != nil {
			if secrets != nil {
				t.Fatal("secrets beside an error")
			}
			return
		}
		if _, err := dnswire.NewCookieSecrets(secrets...); err != nil {
			t.Fatal(err)
		}
		again, err := parseSecrets("file", fmt.Appendf(nil, "%x\n%x", secrets[0], secrets[len(secrets)-1]))
		if err != nil || !bytes.Equal(again[0], secrets[0]) {
			t.Fatalf("%x, then %x, %v", secrets, again, err)
		}
	})
}

// TestOpenSecretsAreRefused: who can read the secrets can make cookies for any address.
func TestOpenSecretsAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	writeSecrets(t, path, keyA)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := newCookies(path, t.TempDir(), time.Now, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("got %v, want what to do", err)
	}
}
