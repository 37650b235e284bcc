package spec

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gti/gtm/pkg/dnswire"
)

// maxLabel and maxName bound a label and a whole name in text (RFC 1035, 2.3.4, without escapes).
const (
	maxLabel = 63
	maxName  = 254 // with the final dot
)

// CanonicalName gives a host name in lower case with its final dot: web.example. The error says what is wrong with it.
// Labels are of letters, digits, - and _ (names that need other bytes cannot be steered).
func CanonicalName(name string) (string, error) {
	c := strings.ToLower(name)
	if !strings.HasSuffix(c, ".") {
		c += "."
	}
	if c == "." {
		return "", fmt.Errorf("is empty")
	}
	if len(c) > maxName {
		return "", fmt.Errorf("is longer than %d letters", maxName-1)
	}
	for label := range strings.SplitSeq(c[:len(c)-1], ".") {
		if err := checkLabel(label, "_"); err != nil {
			return "", err
		}
	}
	return c, nil
}

// CanonicalHost is CanonicalName for the host of a service, whose first label may be an asterisk (RFC 4592).
func CanonicalHost(host string) (string, error) {
	below, wild := strings.CutPrefix(host, "*.")
	if !wild {
		return CanonicalName(host)
	}
	c, err := CanonicalName(below)
	switch {
	case err != nil:
		return "", err
	case len(c)+2 > maxName:
		return "", fmt.Errorf("is longer than %d letters", maxName-1)
	}
	return "*." + c, nil
}

// checkLabel checks one label of letters, digits, - and what extra has.
func checkLabel(label, extra string) error {
	switch {
	case label == "":
		return fmt.Errorf("has an empty label")
	case len(label) > maxLabel:
		return fmt.Errorf("has a label of more than %d letters", maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("has a - at the edge of a label")
	}
	for _, c := range label {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && !strings.ContainsRune(extra, c) {
			return fmt.Errorf("has the letter %q", c)
		}
	}
	return nil
}

// CanonicalZone gives the name of a zone, or of what stands in one, in lower case, with its final dot and in the one way of writing that
// master files and messages have here: any byte will do (RFC 2181, 11), as \. or \DDD where it is no plain letter, and "." is
// the root. The error says what is wrong with it.
func CanonicalZone(name string) (string, error) {
	for i := range len(name) {
		if c := name[i]; c > '~' || c <= ' ' && (c != ' ' || i == 0 || name[i-1] != '\\') {
			return "", fmt.Errorf("has the byte %q: write it as \\%03d", c, c)
		}
	}
	wire, err := dnswire.AppendName(nil, name)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	dnswire.FoldName(wire)
	return dnswire.NameString(wire), nil
}

// Parent gives the name without its first label, and "." for the root. name is canonical.
func Parent(name string) string {
	for i := 0; i+1 < len(name); i++ {
		switch name[i] {
		case '\\':
			i++
		case '.':
			return name[i+1:]
		}
	}
	return "."
}

// Under reports whether a canonical name is the other one or stands below it.
func Under(name, above string) bool {
	for ; name != above; name = Parent(name) {
		if name == "." || len(name) < len(above) {
			return above == "."
		}
	}
	return true
}

// canonicalOr gives the canonical form, or the name as it is where it has none.
func canonicalOr(name string) string {
	if c, err := CanonicalName(name); err == nil {
		return c
	}
	return name
}

// canonicalHostOr is canonicalOr for the host of a service.
func canonicalHostOr(host string) string {
	if c, err := CanonicalHost(host); err == nil {
		return c
	}
	return host
}

// canonicalZoneOr is canonicalOr for names that may have any byte.
func canonicalZoneOr(name string) string {
	if c, err := CanonicalZone(name); err == nil {
		return c
	}
	return name
}
