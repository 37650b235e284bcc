package agree

import (
	"net"
	"testing"

	"github.com/miekg/dns"

	"github.com/gti/gtm/bench/peers"
)

func TestDiffer(t *testing.T) {
	eu, na := peers.Pools[1], peers.Pools[0]
	one := Answer{aa: true, answer: []string{"s1.gtm.test. 60 IN A 10.0.0.1"}}
	for _, c := range []struct {
		name         string
		ours, theirs Answer
		steers, same bool
	}{
		{"equal", one, one, false, true},
		{"another TTL", one, Answer{aa: true, answer: []string{"s1.gtm.test. 61 IN A 10.0.0.1"}}, false, false},
		{"another code", one, Answer{aa: true, rcode: 3}, false, false},
		{"not authoritative", one, Answer{answer: one.answer}, false, false},
		{"another authority", Answer{authority: []string{"a"}}, Answer{authority: []string{"b"}}, false, false},
		{"the pool's other address", Answer{answer: []string{"a"}, Pool: eu, Addr: eu.Addresses[0]},
			Answer{answer: []string{"b"}, Pool: eu, Addr: eu.Addresses[1]}, true, true},
		{"another pool", Answer{Pool: eu}, Answer{Pool: na}, true, false},
	} {
		if fault := differ(c.ours, c.theirs, c.steers); (fault == "") != c.same {
			t.Errorf("%s: %q", c.name, fault)
		}
	}
}

// TestAsk asks a server that answers with the records given: their order does not count, their number does where one is drawn.
func TestAsk(t *testing.T) {
	var records []string
	asked := "w0.gtm.test."
	at, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: at, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Question[0].Name = asked
		for _, text := range records {
			record, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, record)
		}
		_ = w.WriteMsg(m) // where it fails, the client misses it
	})}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
	conn, err := dns.Dial("udp", at.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func(steers bool, of ...string) (Answer, error) {
		records = of
		return Server{Steers: steers}.ask(conn, peers.Query("w0.gtm.test.", 0, false))
	}
	const drawn, other, foreign = "w0.gtm.test. 60 A 192.0.2.1", "w0.gtm.test. 60 A 192.0.2.2", "w0.gtm.test. 60 A 203.0.113.77"
	if a, err := ask(true, drawn); err != nil || a.Pool.Name != "na" || a.Empty() != nil {
		t.Errorf("an address of a pool: %+v, %v", a, err)
	}
	for _, of := range [][]string{{}, {drawn, other}, {foreign}} {
		if a, err := ask(true, of...); err == nil {
			t.Errorf("%q passes for one address of a pool: %+v", of, a)
		}
	}
	a, errA := ask(false, drawn, other)
	b, errB := ask(false, other, drawn)
	if errA != nil || errB != nil || differ(a, b, false) != "" {
		t.Errorf("order counts: %+v, %v; %+v, %v", a, errA, b, errB)
	}
	if none, err := ask(false); err != nil || none.Empty() == nil {
		t.Errorf("no answer passes for one: %+v, %v", none, err)
	}
	asked = "w1.gtm.test."
	if a, err := ask(true, drawn); err == nil {
		t.Errorf("an answer to another question passes: %+v", a)
	}
}

func TestCompare(t *testing.T) {
	a, b := Answer{answer: []string{"a"}}, Answer{answer: []string{"b"}}
	if err := Compare([]Answer{a, b}, []Answer{a, b}, false); err != nil {
		t.Error(err)
	}
	for _, other := range [][]Answer{{a}, {a, a}} {
		if Compare([]Answer{a, b}, other, false) == nil {
			t.Errorf("%v pass for the same", other)
		}
	}
}
