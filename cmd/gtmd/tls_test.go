package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/store/state"
)

// TestControlOffLoopbackSpeaksTLS: without any certificate, it makes one, prints its pin, and gtmctl believes nobody else; its edge is
// asked
// by that, too. Whoever is locked out makes a new admin token on the machine.
func TestControlOffLoopbackSpeaksTLS(t *testing.T) {
	t.Parallel()
	ctl, dir := buildCtl(t), newDir(t)
	d := start(t, dir, "--http", "0.0.0.0:0", "--http-private", "--apply", writeConfig(t, "198.51.100.1"))
	if !strings.HasPrefix(d.web, "https://") {
		t.Fatalf("it listens at %s", d.web)
	}
	shown := regexp.MustCompile(`key +(sha256:[0-9a-f]{64}) `).FindStringSubmatch(d.out.String())
	if shown == nil {
		t.Fatalf("no pin: %s", d.out)
	}
	pin, wrong := shown[1], "sha256:"+strings.Repeat("0", 64)
	ends := func(want int, says string, args ...string) {
		t.Helper()
		text, code := d.ctl(ctl, dir, args...)
		if code != want || !strings.Contains(text, says) {
			t.Errorf("gtmctl %s: exit code %d, want %d and %q\n%s", strings.Join(args, " "), code, want, says, text)
		}
	}
	ends(1, "its key is "+pin, "whoami")
	ends(1, "the server's key is not the one that is known", "whoami", "--pin", wrong)
	ends(0, "admin-token\nadmin of platform", "whoami", "--pin", pin)
	ends(1, "speaks TLS: pass --server https://", "whoami", "--server", strings.Replace(d.web, "https", "http", 1))
	ends(0, "admin-token", "whoami", "--data", dir) // it finds the certificate there
	d.comesToAnswer(webHost, "198.51.100.1")
	d.eventually("its edge is asked by its pin", func() error {
		if text, code := d.ctl(ctl, dir, "edge", "list", "--pin", pin); code != 0 || !strings.Contains(text, state.Current) {
			return errors.New(text)
		}
		return nil
	})

	old := filepath.Join(t.TempDir(), "old")
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, old, string(token))
	renew := exec.Command(os.Args[0], "admin-token", "--data", dir)
	renew.Env = append(os.Environ(), asGtmd+"=1")
	if out, err := renew.CombinedOutput(); err != nil || !strings.Contains(string(out), filepath.Join(dir, "token")) {
		t.Fatalf("gtmd admin-token: %v\n%s", err, out)
	}
	ends(1, "the token is missing or wrong", "whoami", "--pin", pin, "--token-file", old)
	ends(0, "admin of platform", "whoami", "--pin", pin)
}
