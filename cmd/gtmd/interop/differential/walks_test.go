//go:build interop

package differential

import (
	"testing"

	"github.com/miekg/dns"
)

// TestWalk has the slow walk, which judges others, look at what the examples of its RFCs are about.
func TestWalk(t *testing.T) {
	c := &cluster{zones: []*masterFile{{"x.", `
x. 60 IN SOA ns.x. admin.x. 1 2 3 4 5
x. 60 IN NS ns.x.
ns.x. 60 IN A 192.0.2.1
a.b.x. 60 IN A 192.0.2.2
*.w.x. 60 IN A 192.0.2.3
a.*.e.x. 60 IN A 192.0.2.4
*.c.x. 60 IN CNAME gone.x.
alias.x. 60 IN CNAME gone.x.
*.n.x. 60 IN NS ns.x.
sub.x. 60 IN NS ns.sub.x.
ns.sub.x. 60 IN A 192.0.2.5
d.x. 60 IN DNAME w.x.
`}, {"y.x.", `
y.x. 60 IN SOA ns.x. admin.x. 1 2 3 4 5
y.x. 60 IN NS ns.x.
`}}}
	const no, yes = "NXDOMAIN", "NOERROR"
	for _, test := range []struct {
		name   string
		typ    uint16
		answer []string
		rcode  string
		ok     bool
	}{
		{name: "x.", typ: dns.TypeMX, rcode: yes, ok: true},
		{name: "A.b.X.", typ: dns.TypeA, rcode: yes, ok: true},
		{name: "b.x.", typ: dns.TypeA, rcode: yes, ok: true}, // an empty non-terminal
		{name: "c.b.x.", typ: dns.TypeA, rcode: no, ok: true},
		{name: "q.r.w.x.", typ: dns.TypeMX, rcode: yes, ok: true},
		{name: "w.x.", typ: dns.TypeA, rcode: yes, ok: true},
		{name: "q.*.w.x.", typ: dns.TypeA, rcode: no, ok: true}, // an asterisk stops others (RFC 4592, 2.2.1)
		{name: "q.e.x.", typ: dns.TypeA, rcode: yes, ok: true},  // made by a wildcard without data
		{name: "q.n.x.", typ: dns.TypeA, rcode: no, ok: true},
		{name: "q.sub.x.", typ: dns.TypeA, rcode: yes, ok: true},
		{name: "q.y.x.", typ: dns.TypeA, rcode: no, ok: true},
		{name: "y.x.", typ: dns.TypeDS, rcode: no, ok: true}, // of the zone above, which does not delegate it
		{name: "q.d.x.", typ: dns.TypeA},
		{name: "z.", typ: dns.TypeA},
		{name: "alias.x.", typ: dns.TypeA, answer: []string{"alias.x.\t60\tin\tcname\tgone.x."}, rcode: no, ok: true},
		{name: "alias.x.", typ: dns.TypeCNAME, answer: []string{"alias.x.\t60\tin\tcname\tgone.x."}, rcode: yes, ok: true},
		{name: "q.c.x.", typ: dns.TypeA, answer: []string{"q.c.x.\t60\tin\tcname\tgone.x."}, rcode: no, ok: true},
		{name: "q.c.x.", typ: dns.TypeCNAME, answer: []string{"q.c.x.\t60\tin\tcname\tgone.x."}, rcode: yes, ok: true},
		{name: "q.d.x.", typ: dns.TypeCNAME, answer: []string{"d.x.\t60\tin\tdname\tw.x.", "q.d.x.\t60\tin\tcname\tq.w.x."},
			rcode: yes, ok: true},
	} {
		rcode, ok := c.rcodeByWalk(question{name: test.name, typ: test.typ}, test.answer)
		if ok != test.ok || ok && rcode != test.rcode {
			t.Errorf("%s %s: %s, %v", test.name, dns.Type(test.typ), rcode, ok)
		}
	}
}
