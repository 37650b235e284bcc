package probe

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gti/gtm/pkg/private"
	"github.com/gti/gtm/pkg/spec"
)

// secretLimit bounds what a header can carry.
const secretLimit = 8 << 10

// Secret is a header whose value stands in a file: that of Name in the folder of the tenant.
type Secret struct{ Header, Tenant, Name string }

// addSecrets puts the values of a check's secrets into a header. Errors name the secret alone: neither the folder nor what is in it.
func (k *Checker) addSecrets(header http.Header, secrets []Secret) error {
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
func readSecret(dir string, s Secret) (string, error) {
	if dir == "" {
		return "", errNoSecrets
	}
	if spec.CheckSecret(s.Tenant) != nil || spec.CheckSecret(s.Name) != nil {
		return "", errNoSecret
	}
	value, err := private.ReadSecret(dir, s.Tenant, s.Name, secretLimit)
	switch {
	case errors.Is(err, private.ErrOpen):
		return "", errOpenSecret
	case err != nil:
		return "", errNoSecret
	}
	control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	if value == "" || len(value) > secretLimit || strings.ContainsFunc(value, control) {
		return "", errBadSecret
	}
	return value, nil
}
