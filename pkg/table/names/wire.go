package names

import (
	"strings"

	"github.com/gti/gtm/pkg/dnswire"
)

// Wire gives a host in folded wire form.
func Wire(host string) (string, error) {
	if !strings.HasSuffix(host, ".") {
		host += "."
	}
	wire, err := dnswire.AppendName(nil, host)
	if err != nil {
		return "", err
	}
	dnswire.FoldName(wire)
	return string(wire), nil
}

// IsBelow tells whether a host lies below a name, both in wire form.
func IsBelow(host, name string) bool {
	for host[0] != 0 {
		if host = host[1+int(host[0]):]; host == name {
			return true
		}
	}
	return false
}

// IsAtOrBelow tells whether a name is the other one, or lies below it.
func IsAtOrBelow(name, above string) bool { return name == above || IsBelow(name, above) }

// IsWildcard tells whether a name's first label is an asterisk (RFC 4592, 2.1.1).
func IsWildcard(name string) bool { return name[0] == 1 && name[1] == '*' }
