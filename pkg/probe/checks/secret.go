package checks

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// secretLimit bounds what a header can carry.
const secretLimit = 8 << 10

// addSecrets puts the values of a check's secrets into a header. Errors name the secret alone: neither the folder nor what is in it.
func (k *Checker) addSecrets(header http.Header, secrets []probe.Secret) error {
	for _, s := range secrets {
		value, err := readSecret(k.Secrets, s)
		if err != nil {
			return unable{errors.New("header " + s.Header + ": the secret " + s.Name + " " + err.Error())}
		}
		header.Set(s.Header, value)
	}
	return nil
}

var (
	errNoSecrets  = errors.New("is not to be had: the prober has no secrets")
	errNoSecret   = errors.New("is not to be had: the prober has none of this tenant by that name, or cannot read it")
	errOpenSecret = errors.New("can be read by others at the prober; it needs mode 0600")
	errBadSecret  = errors.New("cannot be a header: it wants one line of at most 8 KiB")
)

// readSecret reads a secret anew, so that one that changes counts from the next check on. Links may not lead out of the tenant's folder.
func readSecret(dir string, s probe.Secret) (string, error) {
	if dir == "" {
		return "", errNoSecrets
	}
	if spec.CheckSecret(s.Tenant) != nil || spec.CheckSecret(s.Name) != nil {
		return "", errNoSecret
	}
	all, err := os.OpenRoot(dir)
	if err != nil {
		return "", errNoSecret
	}
	defer all.Close()
	own, err := all.OpenRoot(s.Tenant)
	if err != nil {
		return "", errNoSecret
	}
	defer own.Close()
	if info, err := own.Stat(s.Name); err != nil || !info.Mode().IsRegular() { // a pipe would hold the check up
		return "", errNoSecret
	} else if info.Mode().Perm()&0o077 != 0 {
		return "", errOpenSecret
	}
	f, err := own.Open(s.Name)
	if err != nil {
		return "", errNoSecret
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, secretLimit+2))
	if err != nil {
		return "", errNoSecret
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	if value == "" || len(value) > secretLimit || strings.ContainsFunc(value, control) {
		return "", errBadSecret
	}
	return value, nil
}
