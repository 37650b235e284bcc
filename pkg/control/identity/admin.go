package identity

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gti/gtm/pkg/private"
)

// MinToken is the least length of a token, in characters: below that it can be guessed.
const MinToken = 16

// CreateToken gives the admin token in the file path, and makes file (mode 0600) and token at the first call. A file that others may
// read, or whose content is too short to be a secret, is an error that says what to do.
func CreateToken(path string) (string, error) {
	token := rand.Text()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return readToken(path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot keep the API's token: %w", err)
	}
	if err := writeToken(file, token); err != nil {
		os.Remove(path)
		return "", err
	}
	return token, nil
}

// ReplaceToken puts a new admin token in the place of the one in the file path, or makes the first. Who holds the one before comes in by
// it no more: a gtmd that runs reads the file anew.
func ReplaceToken(path string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".token-*") // mode 0600
	if err != nil {
		return fmt.Errorf("cannot keep the API's token: %w", err)
	}
	err = writeToken(file, rand.Text())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}

func writeToken(file *os.File, token string) error {
	_, err := file.WriteString(token + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("cannot keep the API's token: %w", err)
	}
	return nil
}

func readToken(path string) (string, error) {
	if err := private.Check(path, "the API's token"); err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the API's token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if len(token) < MinToken {
		return "", fmt.Errorf("the API's token in %s has fewer than %d characters; gtmd admin-token makes a new one", path, MinToken)
	}
	if i := strings.IndexFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }); i >= 0 {
		return "", fmt.Errorf("the API's token in %s has a character at %d that no request can carry; gtmd admin-token makes a new one",
			path, i+1)
	}
	return token, nil
}

// TokenFile is an admin token that is read anew when its file changes. It is safe for concurrent use.
type TokenFile struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	token string
	seen  fs.FileInfo // nil: not read yet
}

// OpenToken gives the admin token in a file, and makes it at the first call.
func OpenToken(path string, log *slog.Logger) (*TokenFile, error) {
	token, err := CreateToken(path)
	if err != nil {
		return nil, err
	}
	t := &TokenFile{path: path, log: log, token: token}
	return t, nil
}

// Token gives the token as it is now. One that can't be read is the one before.
func (t *TokenFile) Token() string {
	info, err := os.Stat(t.path)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil || t.seen != nil && os.SameFile(info, t.seen) && info.ModTime().Equal(t.seen.ModTime()) && info.Size() == t.seen.Size() {
		return t.token
	}
	t.seen = info
	switch token, err := readToken(t.path); {
	case err != nil:
		t.log.Error("the API's token cannot be read anew; the one before stays in use", "error", err)
	case token != t.token:
		t.token = token
		t.log.Warn("the API has a new admin token; the one before opens nothing any more", "file", t.path)
	}
	return t.token
}
