// Package probe has checks made at their intervals, many thousands of them, so that no tenant can take the time of another's. What a check
// is stands here; how each type of them is made, in its room pkg/probe/checks.
package probe

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// ID names what is checked: one endpoint of one pool.
type ID struct{ Tenant, Pool, Endpoint string }

// String gives tenant/pool/endpoint.
func (id ID) String() string { return id.Tenant + "/" + id.Pool + "/" + id.Endpoint }

// Check says what to do, in full: two equal checks do the same. A Check is immutable once shared.
type Check struct {
	Type string // as in spec.Monitor
	// Addrs are all checked, and all must pass, because an answer hands all of them out. Empty: Host is looked up at
	// each check and reached as a client would, by whichever of its addresses answers.
	Addrs []netip.AddrPort
	Host  string // where there are no Addrs
	Port  uint16 // of Host
	// Lent are private networks that the guard lets this check into.
	Lent []netip.Prefix
	// Interval is from one check's beginning to the next one's, give or take 5 %, and Recheck where the result calls for another one.
	// 0: there is none sooner. Timeout is for a whole check.
	Interval, Recheck, Timeout time.Duration

	// With TLS.
	TLS        bool          // grpc and websocket speak it
	ServerName string        // SNI, and the name in the certificate; empty: that of Name
	CA         string        // the authorities, in PEM form; empty: those of the prober
	Client     Secret        // the certificate that the check shows, and its key; its Name empty: none
	ValidFor   time.Duration // how long certificates must hold from now on
	Insecure   bool          // leaves the certificate unchecked

	// With HTTP.
	Path     string // with query; begins with /
	Method   string
	Name     string // for the Host header; empty: the address or host itself
	Headers  map[string]string
	Secrets  []Secret      // further headers, by name
	Send     string        // the body
	Protocol string        // of https, as TLS names it
	Status   []StatusRange // one must hold; a redirect is a status like any other

	Signal  Signal // of signal, which connects to nothing
	Service string // of grpc; empty: the server as a whole
	DNS     *Query // of dns

	// What must be in the first 64 KiB of the body. All empty, and no Script: it is not read.
	Body  string
	Match string            // a regular expression
	JSON  map[string]string // by JSON Pointer
	// Script is an expression over the whole answer, as pkg/probe/script has it.
	Script string
}

// Query is what a dns check asks, and wants to hear.
type Query struct {
	Name, Type, Transport, Rcode string
	Answers                      []string // data of records that must be there
}

// Signal is whose signal a check of that type goes by.
type Signal struct {
	Tenant, Pool, Endpoint string
	SilentDown             bool // nothing said is a failure, and not a check that could not be made
}

// Secret is what stands in a file: that of Name in the folder of the tenant. Header is the header whose value it is, if it is one.
type Secret struct{ Header, Tenant, Name string }

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// String gives 200-299, or 200 for a range of one.
func (r StatusRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// sockets is how many the check has open at most: one for each address that it looks at at a time; those of a host name are resolved
// and tried two at a time. A signal needs none.
func (c *Check) sockets() int {
	if c.Type == spec.TypeSignal {
		return 0
	}
	if len(c.Addrs) == 0 {
		return 2
	}
	return min(len(c.Addrs), spec.MaxAddresses)
}

// address is where the check goes, for the log.
func (c *Check) address() string {
	if len(c.Addrs) == 0 {
		return c.Host
	}
	return c.Addrs[0].String()
}

// Outcome is how a check ended.
type Outcome uint8

// The outcomes. Unable means that the check could not be made (no route, no free port, an address that may not be
// probed), which says nothing of the target.
const (
	Unable Outcome = iota
	Passed
	Failed
)

// String gives unable, passed or failed.
func (o Outcome) String() string { return [...]string{"unable", "passed", "failed"}[o] }

// Result is what came of one check.
type Result struct {
	ID      ID
	Of      string // as in Target
	Outcome Outcome
	Reason  string // why it did not pass, as in "connect: connection refused", "status 503, want 200-299"
	Detail  string // the same for whoever runs the prober alone; empty: there is no more to say
	At      time.Time
	Latency time.Duration // of the whole check; of the slowest address
	Word    *health.Word  // what a signal says; nil: of other checks, or nothing is said
}
