package main

import (
	"testing"

	"github.com/miekg/dns"
)

func TestEssence(t *testing.T) {
	reply := func(rcode int, records ...string) *dns.Msg {
		m := new(dns.Msg)
		m.SetQuestion("w0.gtm.test.", dns.TypeA)
		m.Rcode, m.Authoritative = rcode, true
		for _, text := range records {
			record, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, record)
		}
		return m
	}
	one := reply(0, "w0.gtm.test. 60 A 192.0.2.1")
	for _, c := range []struct {
		what string
		m    *dns.Msg
		same bool
	}{
		{"another address of the pool", reply(0, "w0.gtm.test. 60 A 192.0.2.2"), true},
		{"another pool's", reply(0, "w0.gtm.test. 60 A 203.0.113.77"), false},
		{"both addresses", reply(0, "w0.gtm.test. 60 A 192.0.2.1", "w0.gtm.test. 60 A 192.0.2.2"), false},
		{"nothing", reply(0), false},
		{"another response code", reply(dns.RcodeNameError, "w0.gtm.test. 60 A 192.0.2.1"), false},
	} {
		if same := essence(one) == essence(c.m); same != c.same {
			t.Errorf("%s: %s; %s", c.what, essence(one), essence(c.m))
		}
	}
	a := reply(0, "s.gtm.test. 60 TXT a", "s.gtm.test. 60 TXT b")
	b := reply(0, "s.gtm.test. 60 TXT b", "s.gtm.test. 60 TXT a")
	if essence(a) != essence(b) || essence(a) == essence(reply(0, "s.gtm.test. 61 TXT a", "s.gtm.test. 60 TXT b")) {
		t.Error("order counts, or TTLs do not")
	}
}
