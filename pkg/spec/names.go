package spec

import (
	"fmt"
	"strings"
)

// maxLabel and maxName bound a label and a whole name in text (RFC 1035, 2.3.4, without escapes).
const (
	maxLabel = 63
	maxName  = 254 // with the final dot
)

// CanonicalName gives a host or zone name in lower case with its final dot: web.example. The error says what is wrong with it.
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

// Under tells whether a canonical name is the other one or stands below it.
func Under(name, above string) bool {
	return name == above || above == "." || strings.HasSuffix(name, "."+above)
}

// canonicalOr gives the canonical form, or the name as it is where it has none.
func canonicalOr(name string) string {
	if c, err := CanonicalName(name); err == nil {
		return c
	}
	return name
}
