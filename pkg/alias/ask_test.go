package alias

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/resolve"
)

// asker is a Keeper that only asks.
func asker(t *testing.T, at ...netip.AddrPort) *Keeper {
	t.Helper()
	k, err := New(Config{Resolvers: at, Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatIsTakenFromAnswers(t *testing.T) {
	r := newRecursor(t)
	rcode := func(code int) func(*dns.Msg, string, string) {
		return func(m *dns.Msg, _, _ string) { m.Rcode = code }
	}
	records := func(list ...string) func(*dns.Msg, string, string) {
		return func(m *dns.Msg, _, _ string) { fill(t, m, list...) }
	}
	many := make([]string, 0, 2*maxAddresses)
	for i := range cap(many) {
		many = append(many, fmt.Sprintf("@ 60 A 192.0.2.%d", i))
	}
	for _, tc := range []struct {
		name string
		ans  func(*dns.Msg, string, string)
		want string // addresses and TTL, or part of the error
	}{
		{"both families", records("@ 300 A 192.0.2.2", "@ 300 A 192.0.2.1", "@ 60 AAAA 2001:db8::1"), "192.0.2.1 192.0.2.2 2001:db8::1 60"},
		{"one family", records("@ 30 AAAA 2001:db8::1"), "2001:db8::1 30"},
		{"twice the same", records("@ 30 A 192.0.2.1", "@ 30 A 192.0.2.1"), "192.0.2.1 30"},
		{"chain", records("b.example. 500 A 192.0.2.9", "@ 20 CNAME a.EXAMPLE.", "a.example. 600 CNAME b.example."), "192.0.2.9 20"},
		{"chain that leads nowhere", records("@ 20 CNAME a.example.", "b.example. 5 A 192.0.2.9"), "no addresses"},
		{"loop", records("@ 20 CNAME a.example.", "a.example. 20 CNAME b.example.", "b.example. 20 CNAME a.example."), "no addresses"},
		{"another owner", records("other.example. 20 A 192.0.2.9"), "no addresses"},
		{"nothing", records(), "no addresses"},
		{"NXDOMAIN", rcode(dns.RcodeNameError), "does not exist"},
		{"SERVFAIL", rcode(dns.RcodeServerFailure), "answered SERVFAIL"},
		{"REFUSED", rcode(dns.RcodeRefused), "answered REFUSED"},
		{"loopback", records("@ 30 A 127.0.0.1", "@ 30 AAAA ::1"), "refused: loopback"},
		{"one of them is loopback", records("@ 30 A 127.9.9.9", "@ 40 A 192.0.2.1"), "192.0.2.1 30"},
		{"link-local", records("@ 30 A 169.254.169.254", "@ 30 AAAA fe80::1"), "refused: link-local"},
		{"unspecified", records("@ 30 A 0.0.0.0", "@ 30 AAAA ::"), "refused: unspecified"},
		{"this network", records("@ 30 A 0.1.2.3"), "refused: unspecified"},
		{"multicast", records("@ 30 A 224.0.0.1", "@ 30 AAAA ff02::1"), "refused: multicast"},
		{"broadcast", records("@ 30 A 255.255.255.255"), "refused: reserved"},
		{"private", records("@ 30 A 10.1.2.3"), "10.1.2.3 30"},
		{"too many", records(many...), "192.0.2.0 192.0.2.1 "},
		{"another question", func(m *dns.Msg, _, _ string) { m.Question[0].Name = "other.example." }, "another question"},
		{"no question", func(m *dns.Msg, _, _ string) { m.Question = nil }, "another question"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.set(tc.ans)
			f, err := asker(t, r.addr).ask(t.Context(), question{host: cdn.Host})
			got := strings.Trim(fmt.Sprint(f.addresses), "[]") + fmt.Sprint(" ", f.ttl)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tc.want) || len(f.addresses) > maxAddresses {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestFallsBackToTCP(t *testing.T) {
	for name, change := range map[string]func(m *dns.Msg){
		"cut":            func(m *dns.Msg) { m.Truncated, m.Answer = true, nil },
		"case not kept":  func(m *dns.Msg) { m.Question[0].Name = strings.ToUpper(m.Question[0].Name) },
		"other question": func(m *dns.Msg) { m.Question[0].Name, m.Answer = "forged.example.", nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecursor(t)
			r.set(func(m *dns.Msg, network, _ string) {
				fill(t, m, "@ 30 A 192.0.2.1")
				if network == "udp" {
					change(m)
				}
			})
			k := asker(t, r.addr)
			k.cfg.Random = func() uint64 { return 1 } // all lower case
			f, err := k.ask(t.Context(), question{host: cdn.Host})
			if err != nil || len(f.addresses) != 1 {
				t.Errorf("%v, %v", f, err)
			}
			if got := r.questions(); !slices.Contains(got, "tcp www.cdn.example. A") {
				t.Errorf("questions %v", got)
			}
		})
	}
}

func TestNextResolverWhenOneFails(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	bad, good := newRecursor(t), newRecursor(t)
	bad.set(func(m *dns.Msg, _, _ string) { m.Rcode = dns.RcodeServerFailure })
	good.zone("@ 30 A 192.0.2.1")
	k := asker(t, netip.MustParseAddrPort(silent.LocalAddr().String()), bad.addr, good.addr)
	if f, err := k.ask(t.Context(), question{host: cdn.Host}); err != nil || len(f.addresses) != 1 {
		t.Errorf("%v, %v", f, err)
	}
	good.set(func(m *dns.Msg, _, _ string) { m.Rcode = dns.RcodeNameError })
	asked := len(bad.questions())
	if _, err := k.ask(t.Context(), question{host: cdn.Host, skip: 2}); !errors.Is(err, resolve.ErrNoHost) ||
		len(bad.questions()) != asked {
		t.Errorf("%v; others were asked whether it does not exist", err)
	}
	if _, err := asker(t).ask(t.Context(), question{host: cdn.Host}); err == nil || !strings.Contains(err.Error(), "--resolver") {
		t.Errorf("without resolvers: %v", err)
	}
}
