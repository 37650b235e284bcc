package answer

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// TestDirectCookies: whatever cookie a query brings, its reply is the same directly and otherwise, and but for those that are told
// BADCOOKIE, all are answered directly, without allocating.
func TestDirectCookies(t *testing.T) {
	const good = cookieClient + "010000005cf79f111f8130c3eee29480" // of secret1 for 198.51.100.100, made at cookieTime
	src := netip.MustParseAddrPort("198.51.100.100:53")
	for _, require := range []bool{false, true} {
		for name, tt := range map[string]struct {
			cookie       string
			age          uint32
			secrets      []string
			bad          bool
			subnet, sure bool
		}{
			"new":            {cookieClient, 0, []string{secret1}, true, false, false},
			"good":           {good, 60, []string{secret1}, false, true, true},
			"to be renewed":  {good, 2400, []string{secret1}, false, true, true},
			"void":           {good, 3601, []string{secret1}, true, true, false},
			"of old secrets": {good, 1, []string{secret2, secret1}, false, false, true},
			"too long":       {good + "0011", 1, []string{secret1}, true, true, false},
			"unknown here":   {good, 1, nil, false, true, false},
		} {
			t.Run(name, func(t *testing.T) {
				ahead, plain := newServer(t), newServer(t)
				for _, s := range []*server{ahead, plain} {
					s.withCookies(require, secret1).Store(cookieTime + tt.age)
					if s.cookies.Store(nil); tt.secrets != nil {
						s.cookies.Store(newSecrets(t, tt.secrets...))
					}
				}
				msg := packWith(t, "web.shop.gtm.example.", dns.TypeA, func(_ *dns.Msg, o *dns.OPT) {
					o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: tt.cookie})
					if tt.subnet {
						o.Option = append(o.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24,
							Address: []byte{91, 198, 174, 0}})
					}
				})
				got, want := make([]byte, 4096), make([]byte, 4096)
				ahead.a.Parse(0, msg, src)
				ahead.a.Prefetch(1)
				og := ahead.a.Answer(got, copy(got, msg), &Meta{Source: src, Prefetched: 1})
				ow := plain.a.Answer(want, copy(want, msg), &Meta{Source: src})
				if og != ow || og.Exempt != tt.sure || !bytes.Equal(got[:og.Size], want[:ow.Size]) {
					t.Errorf("prefetched %+v %x\notherwise %+v %x", og, got[:og.Size], ow, want[:ow.Size])
				}
				meta, direct := &Meta{Source: src}, 0
				if n := testing.AllocsPerRun(100, func() {
					ahead.a.Parse(0, got[:copy(got, msg)], src)
					ahead.a.Prefetch(1)
					ahead.a.parsedQuery = &ahead.a.queries[0]
					if _, ok := ahead.a.direct(got, meta); ok {
						direct++
					}
				}); n != 0 || direct > 0 != !(require && tt.bad) {
					t.Errorf("%v allocations a query, %d answered directly", n, direct)
				}
			})
		}
	}
}
