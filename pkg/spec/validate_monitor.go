package spec

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of a check.
const (
	minInterval = Duration(200 * time.Millisecond)
	maxInterval = Duration(time.Hour)
	minTimeout  = Duration(10 * time.Millisecond)
	maxRise     = 10
)

func (c *checker) monitor(m *Monitor) {
	if m.Type == "" {
		c.fail("spec.type", "it can be http, https, tcp", "is missing")
		return
	}
	c.oneOf("spec.type", m.Type, "http", "https", "tcp")
	e := m.Effective()
	if e.Interval < minInterval || e.Interval > maxInterval {
		c.fail("spec.interval", "", "%s is out of range: it can be %s to %s", e.Interval, minInterval, maxInterval)
	}
	if e.Timeout < minTimeout || e.Timeout > e.Interval {
		c.fail("spec.timeout", "", "%s is out of range: it can be %s to the interval, %s", e.Timeout, minTimeout, e.Interval)
	}
	c.between("spec.rise", e.Rise, 1, maxRise)
	c.between("spec.fall", e.Fall, 1, maxRise)
	c.vantages(m)
	if m.Type == "tcp" {
		c.monitorTCP(m)
		return
	}
	c.monitorHTTP(m)
}

func (c *checker) vantages(m *Monitor) {
	seen := map[string]bool{}
	for i, v := range m.Vantages {
		path := indexed("spec.vantages", i)
		if v == "" || strings.ContainsAny(v, "/ \t\n") {
			c.fail(path, "", "%q is not the name of a prober", shorten(v))
		}
		if seen[v] {
			c.fail(path, "", "%s stands twice", shorten(v))
		}
		seen[v] = true
	}
	switch n := len(m.Vantages); {
	case m.Quorum < 0:
		c.fail("spec.quorum", "", "cannot be negative")
	case n > 0 && m.Quorum > n:
		c.fail("spec.quorum", "", "%d of %d vantages can never agree", m.Quorum, n)
	}
}

func (c *checker) monitorTCP(m *Monitor) {
	if m.Port == 0 {
		c.fail("spec.port", "", "is missing: a tcp check has no default port")
	}
	for _, f := range []struct {
		path  string
		given bool
	}{
		{"spec.path", m.Path != ""}, {"spec.method", m.Method != ""}, {"spec.host", m.Host != ""},
		{"spec.headers", len(m.Headers) > 0}, {"spec.insecure", m.Insecure}, {"spec.ca", m.CA != ""},
		{"spec.status", len(m.Status) > 0}, {"spec.body", m.Body != ""},
	} {
		if f.given {
			c.fail(f.path, "remove it, or use type http", "means nothing for a tcp check")
		}
	}
}

func (c *checker) monitorHTTP(m *Monitor) {
	if m.Path != "" && (m.Path[0] != '/' || strings.ContainsFunc(m.Path, func(r rune) bool { return r <= ' ' || r >= 0x7F })) {
		c.fail("spec.path", "", "wants a path as in /healthz, without spaces, not %q", shorten(m.Path))
	}
	if m.Method != "" {
		c.oneOf("spec.method", m.Method, "GET", "HEAD")
	}
	if m.Method == "HEAD" && m.Body != "" {
		c.fail("spec.body", "use method GET", "the answer to HEAD has no body")
	}
	if m.Host != "" {
		c.hostName("spec.host", m.Host)
	}
	if m.Insecure && m.Type == "http" {
		c.fail("spec.insecure", "", "means nothing without https")
	}
	c.authorities(m)
	c.headers("spec.headers", m.Headers)
	for i, s := range m.Status {
		if _, _, err := ParseStatus(s); err != nil {
			c.fail(indexed("spec.status", i), "", "%v", err)
		}
	}
}

func (c *checker) authorities(m *Monitor) {
	if m.CA == "" {
		return
	}
	switch {
	case m.Type == "http":
		c.fail("spec.ca", "", "means nothing without https")
	case m.Insecure:
		c.fail("spec.ca", "remove one of them", "means nothing where spec.insecure leaves certificates unchecked")
	}
	if _, err := Authorities(m.CA); err != nil {
		c.fail("spec.ca", "", "%v", err)
	}
}

func (c *checker) headers(at string, headers map[string]Header) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value := headers[name]
		path := joinPath(at, name)
		if !isToken(name) {
			c.fail(path, "", "%q is not the name of a header", shorten(name))
		}
		if strings.EqualFold(name, "Host") {
			c.fail(path, "use spec.host", "is not set as a header")
		}
		if strings.ContainsAny(value.Text, "\r\n\x00") {
			c.fail(path, "", "a header is one line")
		}
		if value.File == "" {
			continue
		}
		if err := CheckSecret(value.File); err != nil {
			c.fail(path+".file", "", "%v", err)
		}
	}
}

// isToken reports whether s can be the name of a header (RFC 9110, 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}
