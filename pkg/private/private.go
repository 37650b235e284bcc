// Package private checks that files with secrets are in nobody else's hands, and makes folders one process's own.
package private

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Check refuses a file or folder that others can read or change, or that belongs to another user, who then can. what names it in the
// error, as in "the API's token".
func Check(path, what string) error { return check(path, what, 0o077, os.Geteuid()) }

// CheckFolder refuses a folder in which others can put and replace files.
func CheckFolder(path, what string) error { return check(path, what, 0o022, os.Geteuid()) }

func check(path, what string, others fs.FileMode, self int) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", what, err)
	}
	if open := info.Mode().Perm() & others; open != 0 {
		done, how := "read", "600"
		switch {
		case others&0o044 == 0:
			done, how = "changed", "go-w"
		case info.IsDir():
			how = "go="
		}
		return fmt.Errorf("%s %s can be %s by others (mode %#o); run: chmod %s %s", what, path, done, info.Mode().Perm(), how, path)
	}
	// root could read and change it whoever owns it, and is who puts secrets in place.
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != self && s.Uid != 0 {
		return fmt.Errorf("%s %s belongs to another user (%d, and this is %d); run: chown %d %s", what, path, s.Uid, self, self, path)
	}
	return nil
}
