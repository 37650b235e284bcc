package zone

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// keyEnd ends each label of a key. No label holds it as it is written, and all that one holds is behind it.
const keyEnd = "\x00"

// wildcard is the label * in a key.
const wildcard = "*" + keyEnd

// keyOf gives the labels of a name from right to left, each with an end: keys sort as names do, and that of a name begins with those of
// the names above it. The root's is empty.
func keyOf(name string) string {
	labels := dns.SplitDomainName(name)
	if len(labels) == 0 {
		return ""
	}
	slices.Reverse(labels)
	return strings.Join(labels, keyEnd) + keyEnd
}

// below reports whether one key's name is another's, or lies below it.
func below(key, above string) bool { return strings.HasPrefix(key, above) }

// shared gives the length of the key of the lowest name that two lie at or below.
func shared(a, b string) int {
	return strings.LastIndex(a[:commonPrefix(a, b)], keyEnd) + 1
}
