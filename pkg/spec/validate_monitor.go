package spec

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bounds of a check.
const (
	minInterval = Duration(200 * time.Millisecond)
	maxInterval = Duration(time.Hour)
	minTimeout  = Duration(10 * time.Millisecond)
	minRecheck  = minInterval / 5
	minLatency  = Duration(time.Millisecond)
	maxRise     = 10
)

// The values of Monitor.Score.
const (
	ScoreGraded = "graded"
	ScorePlain  = "plain"
)

// monitorType is what a type of monitor means. How checks of the type are made stands in pkg/probe/checks.
type monitorType struct {
	port   uint16 // the default; 0: there is none
	fields string // those that mean something to it, beside those of all types
	check  func(c *checker, declared, effective *Monitor)
}

// monitorTypes are all there are.
var monitorTypes = map[string]monitorType{
	"dns":       {53, tlsFields + "dns", (*checker).monitorDNS},
	"grpc":      {0, tlsFields + "tls host service", (*checker).monitorGRPC},
	"http":      {80, requestFields + "method status script " + bodyFields, (*checker).monitorHTTP},
	"https":     {443, requestFields + "method status script protocol " + bodyFields + tlsFields, (*checker).monitorHTTP},
	"icmp":      {0, "", nil},
	"signal":    {0, "silent", (*checker).monitorSignal},
	"tcp":       {0, "", nil},
	"tls":       {443, tlsFields, nil},
	"websocket": {80, requestFields + bodyFields + tlsFields + "tls", (*checker).monitorWebsocket},
}

// The types of monitors that know no ports: one that pings, and one that asks nobody but goes by what is pushed.
const (
	TypeICMP   = "icmp"
	TypeSignal = "signal"
)

// HasPort reports whether checks of a type go to a port.
func HasPort(monitorType string) bool { return monitorType != TypeICMP && monitorType != TypeSignal }

// The values of Monitor.Silent: what it means that a signal is not there, or is out of date.
const (
	SilentHold = "hold"
	SilentDown = "down"
)

// Fields of monitors that mean something to some types only.
const (
	requestFields = "path host headers send "
	bodyFields    = "body match json "
	tlsFields     = "serverName ca clientCertificate validFor insecure "
)

// What a dns check can ask for and hear.
var (
	questionTypes = strings.Fields("A AAAA CAA CNAME HTTPS MX NS PTR SOA SRV SVCB TXT")
	rcodes        = strings.Fields("NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED")
)

// Bounds of what a monitor sends and looks for.
const (
	maxSend    = 16 << 10
	maxMatch   = 1 << 10
	maxPointer = 256
	maxJSON    = 16
	maxRecords = 16
	maxToken   = 512 // names of services, data of records
	// maxValidFor is more than certificates are given for.
	maxValidFor = Duration(5 * 366 * 24 * time.Hour)
)

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
	if m.Recheck != 0 && (m.Recheck < minRecheck || m.Recheck > e.Interval) {
		c.fail("spec.recheck", "", "%s is out of range: it can be %s to the interval, %s", m.Recheck, minRecheck, e.Interval)
	}
	c.between("spec.rise", e.Rise, 1, maxRise)
	c.between("spec.fall", e.Fall, 1, maxRise)
	c.score(m, e.Timeout)
	c.vantages(m)
	t, known := monitorTypes[m.Type]
	if !known {
		return
	}
	switch {
	case !HasPort(m.Type) && m.Port != 0:
		c.fail("spec.port", "remove it", "means nothing for a check of type %s", m.Type)
	case HasPort(m.Type) && e.Port == 0:
		c.fail("spec.port", "", "is missing: a %s check has no default port", m.Type)
	}
	c.fieldsOf(m, t.fields)
	c.monitorTLS(m)
	c.monitorBody(m)
	if t.check != nil {
		t.check(c, m, &e)
	}
}

// fieldsOf refuses what is given and means nothing to the monitor's type.
func (c *checker) fieldsOf(m *Monitor, fields string) {
	own := strings.Fields(fields)
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if v.Field(i).IsZero() || slices.Contains(own, name) {
			continue
		}
		var use []string
		for _, other := range MonitorTypes() {
			if slices.Contains(strings.Fields(monitorTypes[other].fields), name) {
				use = append(use, other)
			}
		}
		if len(use) == 0 {
			continue // of any type
		}
		c.fail("spec."+name, "remove it, or use type "+strings.Join(use, ", "), "means nothing for a check of type %s", m.Type)
	}
}

func (c *checker) score(m *Monitor, timeout Duration) {
	if m.Score != "" {
		c.oneOf("spec.score", m.Score, ScoreGraded, ScorePlain)
	}
	switch {
	case m.Latency == 0:
	case m.Latency < minLatency || m.Latency > timeout:
		c.fail("spec.latency", "", "%s is out of range: it can be %s to the timeout, %s", m.Latency, minLatency, timeout)
	case m.Score == ScorePlain:
		c.fail("spec.latency", "remove one of them", "means nothing where spec.score is plain")
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
	c.agree(m)
}

// maxAgree is how many regions a monitor can name.
const maxAgree = 16

func (c *checker) agree(m *Monitor) {
	if len(m.Agree) > maxAgree {
		c.fail("spec.agree", "", "%d regions are too many: it can be %d", len(m.Agree), maxAgree)
	}
	for _, region := range slices.Sorted(maps.Keys(m.Agree)) {
		path, n := joinPath("spec.agree", region), m.Agree[region]
		c.place(path, region)
		switch {
		case n < 1:
			c.fail(path, "leave the region out", "cannot be %d", n)
		case len(m.Vantages) > 0 && n > len(m.Vantages):
			c.fail(path, "", "%d of %d vantages can never agree", n, len(m.Vantages))
		}
	}
}

// monitorRequest checks what begins a conversation over HTTP.
func (c *checker) monitorRequest(m *Monitor) {
	if m.Path != "" && (m.Path[0] != '/' || strings.ContainsFunc(m.Path, func(r rune) bool { return r <= ' ' || r >= 0x7F })) {
		c.fail("spec.path", "", "wants a path as in /healthz, without spaces, not %q", shorten(m.Path))
	}
	if m.Host != "" {
		c.hostName("spec.host", m.Host)
	}
	c.headers("spec.headers", m.Headers)
}

func (c *checker) monitorWebsocket(m, _ *Monitor) {
	c.monitorRequest(m)
	c.needTLS(m, m.TLS, addTLS)
}

const addTLS = "add tls: true"

// needTLS refuses what means nothing without TLS where that is a choice. hint tells how to make it.
func (c *checker) needTLS(m *Monitor, has bool, hint string) {
	if has {
		return
	}
	for _, f := range []struct {
		path  string
		given bool
	}{{"spec.serverName", m.ServerName != ""}, {"spec.ca", m.CA != ""}, {"spec.clientCertificate", m.ClientCertificate != nil},
		{"spec.validFor", m.ValidFor != 0}, {"spec.insecure", m.Insecure}} {
		if f.given {
			c.fail(f.path, hint, "means nothing without TLS")
		}
	}
}

// monitorSignal refuses what has to do with asking: nobody is asked.
func (c *checker) monitorSignal(m, _ *Monitor) {
	if m.Silent != "" {
		c.oneOf("spec.silent", m.Silent, SilentHold, SilentDown)
	}
	for _, f := range []struct {
		path  string
		given bool
	}{{"spec.timeout", m.Timeout != 0}, {"spec.recheck", m.Recheck != 0}, {"spec.latency", m.Latency != 0}} {
		if f.given {
			c.fail(f.path, "remove it", "means nothing for a check of type signal, which waits for nobody")
		}
	}
}

func (c *checker) monitorGRPC(m, _ *Monitor) {
	if m.Host != "" {
		c.hostName("spec.host", m.Host)
	}
	if n := len(m.Service); n > maxToken || strings.ContainsFunc(m.Service, func(r rune) bool { return r <= ' ' || r >= 0x7F }) {
		c.fail("spec.service", "", "wants the name of a service as in shop.v1.Cart, not %q", shorten(m.Service))
	}
	c.needTLS(m, m.TLS, addTLS)
}

func (c *checker) monitorDNS(m, e *Monitor) {
	q := e.DNS
	if m.DNS == nil {
		c.fail("spec.dns", "write what to ask, as in dns: {name: www.example.com, type: A}", "is missing")
		return
	}
	c.named("spec.dns.name", m.DNS.Name, CanonicalName)
	c.oneOf("spec.dns.type", q.Type, questionTypes...)
	c.oneOf("spec.dns.transport", q.Transport, "udp", "tcp", "tls")
	c.oneOf("spec.dns.rcode", q.Rcode, rcodes...)
	if n := len(q.Answers); n > maxRecords {
		c.fail("spec.dns.answers", "", "has %d answers: it can have at most %d", n, maxRecords)
	}
	for i, text := range q.Answers {
		path := indexed("spec.dns.answers", i)
		a, err := netip.ParseAddr(text)
		switch {
		case text == "" || len(text) > maxToken:
			c.fail(path, "", "wants 1 to %d bytes, not %d", maxToken, len(text))
		case q.Type == "A" && (err != nil || !a.Is4()), q.Type == "AAAA" && (err != nil || !a.Is6()):
			c.fail(path, "write an address as a record of this type has it", "%q is no data of %s", shorten(text), q.Type)
		}
	}
	if q.Rcode != "NOERROR" && len(q.Answers) > 0 {
		c.fail("spec.dns.answers", "remove one of them", "there is none with rcode %s", q.Rcode)
	}
	c.needTLS(m, q.Transport == "tls", "use transport tls")
}

func (c *checker) monitorHTTP(m, _ *Monitor) {
	c.monitorRequest(m)
	if m.Method != "" {
		c.oneOf("spec.method", m.Method, "GET", "HEAD", "OPTIONS", "POST", "PUT")
	}
	if m.Method == "HEAD" && (m.Body != "" || m.Match != "" || len(m.JSON) > 0 || m.Script != nil) {
		c.fail("spec.method", "use method GET", "the answer to HEAD has no body to look at")
	}
	if m.Send != "" && m.Method != "POST" && m.Method != "PUT" {
		c.fail("spec.send", "use method POST or PUT", "a request of %s has no body", orDefault(m.Method, "GET"))
	}
	if m.Protocol != "" {
		c.oneOf("spec.protocol", m.Protocol, "http/1.1", "h2", "h3")
	}
	for i, s := range m.Status {
		if _, _, err := ParseStatus(s); err != nil {
			c.fail(indexed("spec.status", i), "", "%v", err)
		}
	}
}

// monitorTLS checks what any type says of TLS.
func (c *checker) monitorTLS(m *Monitor) {
	if m.ServerName != "" {
		c.hostName("spec.serverName", m.ServerName)
	}
	if m.CA != "" {
		if m.Insecure {
			c.fail("spec.ca", "remove one of them", "means nothing where spec.insecure leaves certificates unchecked")
		}
		if _, err := Authorities(m.CA); err != nil {
			c.fail("spec.ca", "", "%v", err)
		}
	}
	if f := m.ClientCertificate; f != nil {
		if err := CheckSecret(f.File); err != nil {
			c.fail("spec.clientCertificate.file", "", "%v", err)
		}
	}
	if m.ValidFor > maxValidFor {
		c.fail("spec.validFor", "write days as in 14d", "%s is longer than certificates are given for", m.ValidFor)
	}
}

// monitorBody checks what any type sends, and looks for in what comes.
func (c *checker) monitorBody(m *Monitor) {
	if n := len(m.Send); n > maxSend {
		c.fail("spec.send", "", "is %d bytes long: it can have at most %d", n, maxSend)
	}
	if n := len(m.Match); n > maxMatch {
		c.fail("spec.match", "", "is %d bytes long: it can have at most %d", n, maxMatch)
	} else if _, err := regexp.Compile(m.Match); err != nil {
		c.fail("spec.match", "it is written as on https://github.com/google/re2/wiki/Syntax", "%v", err)
	}
	if m.Script != nil && m.Script.CEL == "" {
		c.fail("spec.script.cel", "write an expression as in status == 200 && json.ready", "is missing")
	}
	if n := len(m.JSON); n > maxJSON {
		c.fail("spec.json", "", "has %d fields: it can have at most %d", n, maxJSON)
	}
	for _, pointer := range slices.Sorted(maps.Keys(m.JSON)) {
		if _, err := ParsePointer(pointer); err != nil {
			c.fail(joinPath("spec.json", shorten(pointer)), "", "%v", err)
		}
	}
}

// ParsePointer reads a JSON Pointer, which names a field of a JSON text: "" is all of it, /checks/0/state the first check's state.
func ParsePointer(text string) ([]string, error) {
	switch {
	case text == "":
		return nil, nil
	case text[0] != '/':
		return nil, fmt.Errorf("%q is not a JSON Pointer: write it as in /status or /checks/0/state", shorten(text))
	case len(text) > maxPointer:
		return nil, fmt.Errorf("is longer than %d bytes", maxPointer)
	}
	words := strings.Split(text[1:], "/")
	for i, w := range words {
		words[i] = strings.ReplaceAll(strings.ReplaceAll(w, "~1", "/"), "~0", "~")
	}
	return words, nil
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
