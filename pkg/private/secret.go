package private

import (
	"errors"
	"io"
	"os"
	"strings"
)

// Errors of ReadSecret. They name neither the folder nor what is in it.
var (
	ErrNone = errors.New("there is none of this tenant by that name, or it cannot be read")
	ErrOpen = errors.New("it can be read by others; it needs mode 0600")
)

// ReadSecret reads what stands in the file name of a tenant's folder below dir, without the line end behind it, and more than most bytes
// of a larger one, so that it can be told from one that fits. Links may not lead out of the tenant's folder.
func ReadSecret(dir, tenant, name string, most int) (string, error) {
	all, err := os.OpenRoot(dir)
	if err != nil {
		return "", ErrNone
	}
	defer all.Close()
	own, err := all.OpenRoot(tenant)
	if err != nil {
		return "", ErrNone
	}
	defer own.Close()
	if info, err := own.Stat(name); err != nil || !info.Mode().IsRegular() { // a pipe would hold the reader up
		return "", ErrNone
	} else if info.Mode().Perm()&0o077 != 0 {
		return "", ErrOpen
	}
	f, err := own.Open(name)
	if err != nil {
		return "", ErrNone
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+2))
	if err != nil {
		return "", ErrNone
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}
