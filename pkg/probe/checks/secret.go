package checks

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"

	"github.com/gti/gtm/pkg/private"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// Bounds of what a header can carry, and of a certificate with its chain and key.
const (
	secretLimit = 8 << 10
	pairLimit   = 64 << 10
)

// addSecrets puts the values of a check's secrets into a header. Errors name the secret alone: neither the folder nor what is in it.
func (k *Checker) addSecrets(header http.Header, secrets []probe.Secret) error {
	for _, s := range secrets {
		value, err := readSecret(k.Secrets, s, secretLimit)
		if err == nil {
			value, err = headerValue(value)
		}
		if err != nil {
			return unable{errors.New("header " + s.Header + ": the secret " + s.Name + " " + err.Error())}
		}
		header.Set(s.Header, value)
	}
	return nil
}

// clientCertificate reads the certificate that a check shows, with its key.
func (k *Checker) clientCertificate(s probe.Secret) (tls.Certificate, error) {
	text, err := readSecret(k.Secrets, s, pairLimit)
	var pair tls.Certificate
	if err == nil {
		if pair, err = tls.X509KeyPair([]byte(text), []byte(text)); err != nil || len(text) > pairLimit {
			err = errBadPair // what is wrong in it may quote it
		}
	}
	if err != nil {
		return pair, unable{errors.New("client certificate: the secret " + s.Name + " " + err.Error())}
	}
	return pair, nil
}

var (
	errNoSecrets  = errors.New("is not to be had: the prober has no secrets")
	errNoSecret   = errors.New("is not to be had: the prober has none of this tenant by that name, or cannot read it")
	errOpenSecret = errors.New("can be read by others at the prober; it needs mode 0600")
	errBadSecret  = errors.New("cannot be a header: it wants one line of at most 8 KiB")
	errBadPair    = errors.New("is not a certificate and its key, in PEM form, of at most 64 KiB")
)

// headerValue is the one line of a secret.
func headerValue(value string) (string, error) {
	control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	if value == "" || len(value) > secretLimit || strings.ContainsFunc(value, control) {
		return "", errBadSecret
	}
	return value, nil
}

// readSecret reads a secret anew, so that one that changes counts from the next check on. Of one that is longer than limit it gives a bit
// more than that. Links may not lead out of the tenant's folder.
func readSecret(dir string, s probe.Secret, limit int) (string, error) {
	if dir == "" {
		return "", errNoSecrets
	}
	if spec.CheckSecret(s.Tenant) != nil || spec.CheckSecret(s.Name) != nil {
		return "", errNoSecret
	}
	value, err := private.ReadSecret(dir, s.Tenant, s.Name, limit)
	switch {
	case errors.Is(err, private.ErrOpen):
		return "", errOpenSecret
	case err != nil:
		return "", errNoSecret
	}
	return value, nil
}
