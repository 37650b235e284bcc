package checks

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

var a1, a6 = netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1")

func TestNew(t *testing.T) {
	both := spec.Endpoint{Name: "a", Addresses: []netip.Addr{a1, a6}}
	second := spec.Duration(time.Second)
	for _, tc := range []struct {
		name string
		m    spec.Monitor
		e    spec.Endpoint
		want probe.Check
	}{
		{"http with defaults", spec.Monitor{Type: "http"}, both,
			probe.Check{Type: "http", Interval: 10 * time.Second, Timeout: 2 * time.Second,
				Addrs: []netip.AddrPort{netip.AddrPortFrom(a1, 80), netip.AddrPortFrom(a6, 80)},
				Path:  "/", Method: "GET", Status: statuses(200, 299)}},
		{"https in full", spec.Monitor{Type: "https", Path: "/h?x=1", Method: "HEAD", Host: "web.example", Insecure: true, Interval: second,
			Headers: map[string]spec.Header{"X": {Text: "y"}, "B": {File: "two"}, "A": {File: "one"}}, Status: []string{"200", "300-399"}},
			spec.Endpoint{Host: "eu.example."},
			probe.Check{Type: "https", Interval: time.Second, Timeout: time.Second, Host: "eu.example", Port: 443,
				Path: "/h?x=1", Method: "HEAD",
				Name: "web.example", Insecure: true, Headers: map[string]string{"X": "y"},
				Secrets: secrets("A", "shop", "one", "B", "shop", "two"), Status: statuses(200, 200, 300, 399)}},
		{"tcp", spec.Monitor{Type: "tcp", Port: 25, Timeout: second, Recheck: second}, spec.Endpoint{Addresses: []netip.Addr{a6}},
			probe.Check{Type: "tcp", Interval: 10 * time.Second, Recheck: time.Second, Timeout: time.Second,
				Addrs: []netip.AddrPort{netip.AddrPortFrom(a6, 25)}}},
		{"probe instead of addresses", spec.Monitor{Type: "tcp", Port: 25},
			spec.Endpoint{Addresses: []netip.Addr{a1}, Probe: "127.0.2.1"},
			probe.Check{Type: "tcp", Interval: 10 * time.Second, Timeout: 2 * time.Second,
				Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.2.1:25")}}},
		{"probe with a port, before host", spec.Monitor{Type: "tcp"}, spec.Endpoint{Host: "h.example.", Probe: "[2001:db8::1]:8080"},
			probe.Check{Type: "tcp", Interval: 10 * time.Second, Timeout: 2 * time.Second,
				Addrs: []netip.AddrPort{netip.AddrPortFrom(a6, 8080)}}},
	} {
		if tc.want.Recheck == 0 {
			tc.want.Recheck = tc.want.Interval / 5
		}
		got, err := New("shop", "eu", &tc.m, tc.e)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if d := cmp.Diff(tc.want, got, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
			t.Errorf("%s: -want +got\n%s", tc.name, d)
		}
	}
}

// TestBothTablesHaveTheSameTypes: what can be declared can be checked.
func TestBothTablesHaveTheSameTypes(t *testing.T) {
	if d := cmp.Diff(spec.MonitorTypes(), slices.Sorted(maps.Keys(types))); d != "" {
		t.Errorf("declared and checked: %s", d)
	}
}

func TestNewRefuses(t *testing.T) {
	one := spec.Endpoint{Name: "a", Addresses: []netip.Addr{a1}}
	for want, tc := range map[string]struct {
		m spec.Monitor
		e spec.Endpoint
	}{
		`type "carp" is none of dns, grpc, http, https, icmp, signal, tcp, tls, websocket`: {spec.Monitor{Type: "carp"}, one},
		`port is missing: a tcp monitor has no default`:                                    {spec.Monitor{Type: "tcp"}, one},
		`it has no address, host or probe`: {spec.Monitor{Type: "http"},
			spec.Endpoint{Name: "a"}},
		`timeout 1m0s does not fit interval 10s`: {
			spec.Monitor{Type: "http", Timeout: spec.Duration(time.Minute)}, one},
		`ca holds no certificate in PEM form`: {spec.Monitor{Type: "https", CA: "x"}, one},
		`path "/%zz" is not part of a URL`:    {spec.Monitor{Type: "http", Path: "/%zz"}, one},
		`status wants a status from 100 to 599 or a range as in 200-399, not "fine"`: {spec.Monitor{Type: "http", Status: []string{"fine"}},
			one},
	} {
		if _, err := New("shop", "eu", &tc.m, tc.e); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
