package private

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// MakeDir makes a folder that only its owner may enter, or takes others' rights to it away.
func MakeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// lockWait is how long a lock may still be held by the child of a parent that just died.
const lockWait = 2 * time.Second

// LockDir takes a folder for this process and its child.
func LockDir(dir, name string) (*os.File, error) {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(50 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			holder, _ := os.ReadFile(path)
			f.Close()
			return nil, &InUseError{dir, cmp.Or(strings.TrimSpace(string(holder)), "unknown")}
		}
	}
	if f.Truncate(0) == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // for messages; a full disk does not take it
	}
	return f, nil
}

// InUseError: another process has taken the folder.
type InUseError struct{ dir, process string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("the folder %s is in use by another gtmd (process %s); stop that one, or give this one another --data folder",
		e.dir, e.process)
}
