package private

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Only modes were looked at: a token or a data folder of another user was taken, who can change it as he likes.
func TestWhatBelongsToOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	self := os.Geteuid()
	for _, path := range []string{dir, file} {
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := check(path, "the token", 0o077, self); err != nil {
			t.Errorf("own: %v", err)
		}
		owner := self
		if self == 0 { // whose files are anybody's to use
			owner = 4711
			if err := os.Chown(path, owner, -1); err != nil {
				t.Fatal(err)
			}
		}
		if err := check(path, "the token", 0o077, owner+1); err == nil || !strings.Contains(err.Error(),
			"the token "+path+" belongs to another user (") || !strings.Contains(err.Error(), "run: chown ") {
			t.Errorf("another's: %v", err)
		}
		if err := check(path, "the token", 0o077, owner); err != nil {
			t.Errorf("own: %v", err)
		}
	}
	if self == 0 {
		if err := os.Chown(file, 0, -1); err != nil {
			t.Fatal(err)
		}
		if err := check(file, "the token", 0o077, 4711); err != nil {
			t.Errorf("root's: %v", err)
		}
	}
}

func TestWhatOthersCanReadOrChangeIsRefused(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[os.FileMode][2]bool{0o700: {true, true}, 0o755: {false, true}, 0o750: {false, true}, 0o770: {false, false},
		0o702: {false, false}, 0o777: {false, false}} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		secret, folder := Check(dir, "it"), CheckFolder(dir, "it")
		if (secret == nil) != want[0] || (folder == nil) != want[1] {
			t.Errorf("%o: %v, %v", mode, secret, folder)
		}
	}
	if err := Check(filepath.Join(dir, "none"), "it"); err == nil || !strings.Contains(err.Error(), "cannot look at it") {
		t.Errorf("missing: %v", err)
	}
}
