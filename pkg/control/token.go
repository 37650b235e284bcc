package control

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/gti/gtm/pkg/private"
)

// minToken is the least length of a token, in characters: below that it can be guessed.
const minToken = 16

// CreateToken gives the token in the file path, and makes file (mode 0600) and token at the first call. A file that others may
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
	_, err = file.WriteString(token + "\n")
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(path)
		return "", fmt.Errorf("cannot keep the API's token: %w", err)
	}
	return token, nil
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
	if len(token) < minToken {
		return "", fmt.Errorf("the API's token in %s has fewer than %d characters; remove the file, and gtmd makes a new one at its "+
			"next start", path, minToken)
	}
	if i := strings.IndexFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }); i >= 0 {
		return "", fmt.Errorf("the API's token in %s has a character at %d that no request can carry; remove the file, and gtmd makes "+
			"a new "+
			"one at its next start", path, i+1)
	}
	return token, nil
}

// authorized reports whether a request carries the token. It takes the same time for every wrong one.
func (s *Server) authorized(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	hash := sha256.Sum256([]byte(strings.TrimSpace(given)))
	return subtle.ConstantTimeCompare(hash[:], s.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// unauthorized tells how to send a token. Where it lies on this machine is for those who know the machine: see docs/operating.md.
func (s *Server) unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="gtm"`)
	writeProblem(w, problemf(http.StatusUnauthorized,
		"the token is missing or wrong: send what the file token in gtmd's data folder holds "+
			"as Authorization: Bearer TOKEN, or pass that file to gtmctl by --token-file"))
}
