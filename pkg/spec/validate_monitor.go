package spec

import (
	"maps"
	"reflect"
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

// monitorType is what a type of monitor means. How checks of the type are made stands in pkg/probe/checks.
type monitorType struct {
	port   uint16 // the default; 0: there is none
	fields string // those that mean something to it, beside those of all types
	check  func(*checker, *Monitor)
}

// monitorTypes are all there are.
var monitorTypes = map[string]monitorType{
	"http":  {80, "path method host headers status body", (*checker).monitorHTTP},
	"https": {443, "path method host headers status body ca insecure", (*checker).monitorHTTP},
	"tcp":   {0, "", nil},
}

// Fields of a monitor of any type.
const monitorFields = "type port interval timeout rise fall vantages quorum"

// MonitorTypes are the types that a monitor can be of, in order.
func MonitorTypes() []string { return slices.Sorted(maps.Keys(monitorTypes)) }

func (c *checker) monitor(m *Monitor) {
	if m.Type == "" {
		c.fail("spec.type", "it can be "+strings.Join(MonitorTypes(), ", "), "is missing")
		return
	}
	c.oneOf("spec.type", m.Type, MonitorTypes()...)
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
	t, known := monitorTypes[m.Type]
	if !known {
		return
	}
	if e.Port == 0 {
		c.fail("spec.port", "", "is missing: a %s check has no default port", m.Type)
	}
	c.fieldsOf(m, t.fields)
	if t.check != nil {
		t.check(c, m)
	}
}

// fieldsOf refuses what is given and means nothing to the monitor's type.
func (c *checker) fieldsOf(m *Monitor, fields string) {
	all := strings.Fields(monitorFields + " " + fields)
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if v.Field(i).IsZero() || slices.Contains(all, name) {
			continue
		}
		var use []string
		for _, other := range MonitorTypes() {
			if slices.Contains(strings.Fields(monitorTypes[other].fields), name) {
				use = append(use, other)
			}
		}
		c.fail("spec."+name, "remove it, or use type "+strings.Join(use, ", "), "means nothing for a check of type %s", m.Type)
	}
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
	c.authorities(m)
	c.headers(m)
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
	if m.Insecure {
		c.fail("spec.ca", "remove one of them", "means nothing where spec.insecure leaves certificates unchecked")
	}
	if _, err := Authorities(m.CA); err != nil {
		c.fail("spec.ca", "", "%v", err)
	}
}

func (c *checker) headers(m *Monitor) {
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		value := m.Headers[name]
		path := joinPath("spec.headers", name)
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
