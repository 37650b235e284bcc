package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// webNames are the names by which the HTTP port may be called, in small letters and without a final dot. A page in somebody's browser can
// have its own name lead to this address (DNS rebinding) and then read what it says; but it cannot have the browser say another name.
type webNames []string

// newWebNames gives the names that are always right, and those given.
func newWebNames(http string, given []string) webNames {
	names := webNames{"localhost"}
	if host, err := os.Hostname(); err == nil { // as which a wildcard address is announced
		names = append(names, canonicalHost(host))
	}
	if host, _, err := net.SplitHostPort(http); err == nil && host != "" {
		names = append(names, canonicalHost(host))
	}
	for _, n := range given {
		names = append(names, canonicalHost(n))
	}
	return names
}

func canonicalHost(name string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), "."))
}

// accept reports whether a request's Host is one of ours: a name, a name below localhost (RFC 6761, 6.3), or an address, which nobody can
// have lead elsewhere.
func (n webNames) accept(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = canonicalHost(host)
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || host == "" { // HTTP/1.0 says none, and no browser does that
		return true
	}
	return slices.Contains(n, host) || strings.HasSuffix(host, ".localhost")
}

// only serves requests for these names.
func (n webNames) only(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !n.accept(r.Host) {
			http.Error(w, fmt.Sprintf("this server is not known as %.100q: use its address, or start gtmd with --http-name", r.Host),
				http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}
