package transfer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

func zoneYAML(transfer string, lines ...string) string {
	return "kind: Zone\ntenant: platform\nname: gtm.example.\nspec:\n  transfer: " + transfer + "\n  content: |\n    $TTL 300\n" +
		"    @ SOA ns1 hostmaster 0 60 10 86400 60\n    @ NS ns1\n    ns1 A 192.0.2.53\n    " + strings.Join(lines, "\n    ") + "\n"
}

const anyone = "{allow: [{network: 127.0.0.0/8}]}"

func (w *world) mustAXFR(addr string) []dns.RR {
	w.t.Helper()
	rrs, err := w.axfr(addr, "gtm.example.", "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	return rrs
}

func TestAXFR(t *testing.T) {
	w := newWorld(t)
	w.put(zoneYAML(anyone, "www A 192.0.2.1", "sub NS ns.sub", "ns.sub A 192.0.2.2", "*.w TXT x"))
	rrs := w.mustAXFR(w.tcp())
	want := `gtm.example. 300 IN NS ns1.gtm.example.
ns1.gtm.example. 300 IN A 192.0.2.53
sub.gtm.example. 300 IN NS ns.sub.gtm.example.
ns.sub.gtm.example. 300 IN A 192.0.2.2
*.w.gtm.example. 300 IN TXT "x"
www.gtm.example. 300 IN A 192.0.2.1
`
	last := len(rrs) - 1
	if rrs[0].Header().Rrtype != dns.TypeSOA || rrs[last].String() != rrs[0].String() || texts(rrs[1:last]) != want {
		t.Errorf("copied:\n%s", texts(rrs))
	}
}

func TestAccess(t *testing.T) {
	for _, c := range []struct {
		allow, key, secret string
		ok                 bool
	}{
		{"{}", "", "", false},
		{"{allow: [{network: 192.0.2.0/24}]}", "", "", false},
		{"{allow: [{network: 192.0.2.0/24}, {network: 127.0.0.0/8}]}", "", "", true},
		{"{allow: [{key: one}]}", "", "", false},
		{"{allow: [{key: One}]}", "one.", oneSecret, true},
		{"{allow: [{key: one}]}", "other.", otherSecret, false},
		{"{allow: [{key: one}]}", "one.", otherSecret, false},
		{"{allow: [{key: one, network: 192.0.2.0/24}]}", "one.", oneSecret, false},
		{"{allow: [{key: one, network: 127.0.0.0/8}]}", "one.", oneSecret, true},
	} {
		w := newWorld(t)
		w.put(zoneYAML(c.allow))
		rrs, err := w.axfr(w.tcp(), "gtm.example.", c.key, c.secret)
		if (err == nil) != c.ok || c.ok && len(rrs) != 4 {
			t.Errorf("%s with key %q: %d records, %v", c.allow, c.key, len(rrs), err)
		}
	}
}

func TestTransferQuestionsThatAreNotServed(t *testing.T) {
	w := newWorld(t)
	w.put(zoneYAML(anyone))
	ask := func(typ uint16, name string, change func(*dns.Msg)) []byte {
		m := new(dns.Msg)
		m.SetQuestion(name, typ)
		if change != nil {
			change(m)
		}
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	for _, c := range []struct {
		name   string
		wire   []byte
		stream bool
		rcode  int
	}{
		{"AXFR over UDP", ask(dns.TypeAXFR, "gtm.example.", nil), false, dns.RcodeFormatError},
		{"another zone", ask(dns.TypeAXFR, "www.gtm.example.", nil), true, dns.RcodeNotAuth},
		{"IXFR without SOA", ask(dns.TypeIXFR, "gtm.example.", nil), true, dns.RcodeFormatError},
		{"NOTIFY", ask(dns.TypeSOA, "gtm.example.", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), true, dns.RcodeRefused},
		{"NOTIFY for another zone", ask(dns.TypeSOA, "example.", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), true, dns.RcodeNotAuth},
		{"UPDATE", ask(dns.TypeSOA, "gtm.example.", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate; m.SetEdns0(1232, false) }), true,
			dns.RcodeRefused},
	} {
		_, _, m := w.handle(c.wire, c.stream)
		if m == nil || m.Rcode != c.rcode {
			t.Errorf("%s: %v", c.name, m)
		}
	}
}

// bigZone is a zone of n names whose addresses depend on seed.
func bigZone(n int, change ...int) string {
	var lines []string
	for i := range n {
		a := i
		if slices.Contains(change, i) {
			a += 7
		}
		lines = append(lines, fmt.Sprintf("host-%d.some.where A 10.%d.%d.%d", i, a>>16, a>>8&0xFF, a&0xFF))
	}
	return zoneYAML("{allow: [{key: one}, {network: 127.0.0.0/8}]}", lines...)
}

func TestSignedStreamOfManyMessages(t *testing.T) {
	w := newWorld(t)
	w.put(bigZone(5000))
	rrs, err := w.axfr(w.tcp(), "gtm.example.", "one.", oneSecret)
	if err != nil || len(rrs) != 5000+4 {
		t.Fatalf("%d records, %v", len(rrs), err)
	}
	plain := w.mustAXFR(w.tcp())
	if texts(plain) != texts(rrs) {
		t.Errorf("with and without TSIG the copies differ")
	}
}

// patch applies an incremental transfer to a copy, as a secondary does, and fails where it does not fit.
func patch(t *testing.T, zone, in []dns.RR) []dns.RR {
	t.Helper()
	have := map[string]bool{}
	for _, r := range zone[:len(zone)-1] {
		have[r.String()] = true
	}
	adding := true
	for _, r := range in[1 : len(in)-1] {
		if r.Header().Rrtype == dns.TypeSOA {
			adding = !adding
		}
		if have[r.String()] == adding {
			t.Fatalf("%v comes or goes twice", r)
		}
		have[r.String()] = adding
	}
	var out []dns.RR
	for text, there := range have {
		if there {
			r, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
	}
	return out
}

func sortedTexts(rrs []dns.RR) string {
	lines := strings.Split(texts(rrs), "\n")
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

func ixfr(serial uint32) *dns.Msg {
	m := new(dns.Msg)
	m.SetIxfr("gtm.example.", serial, "ns1.gtm.example.", "hostmaster.gtm.example.")
	return m
}

func TestIXFR(t *testing.T) {
	for _, sign := range []bool{false, true} {
		w := newWorld(t)
		w.put(bigZone(300))
		if sign {
			w.sign("gtm.example.")
		}
		addr := w.tcp()
		type copied struct {
			serial uint32
			rrs    []dns.RR
		}
		var copies []copied
		for i := range 6 {
			if i > 0 {
				w.put(bigZone(300-i, i, 10*i))
			}
			rrs := w.mustAXFR(addr)
			copies = append(copies, copied{rrs[0].(*dns.SOA).Serial, rrs})
		}
		now := copies[len(copies)-1]
		for i, c := range copies[:len(copies)-1] {
			in, err := w.in(ixfr(c.serial), addr, "one.", oneSecret)
			if err != nil {
				t.Fatal(err)
			}
			if len(in) > len(c.rrs)/2 || in[1].Header().Rrtype != dns.TypeSOA {
				t.Fatalf("from version %d came %d records: not a difference", i, len(in))
			}
			if sortedTexts(patch(t, c.rrs, in)) != sortedTexts(now.rrs[:len(now.rrs)-1]) {
				t.Errorf("signed %v: from version %d the difference leads to another zone", sign, i)
			}
		}
		if in, err := w.in(ixfr(now.serial), addr, "", ""); err != nil || len(in) != 1 {
			t.Errorf("with the present serial: %v, %v", in, err)
		}
		if in, err := w.in(ixfr(now.serial+1), addr, "", ""); err != nil || len(in) != 1 {
			t.Errorf("with a newer serial: %v, %v", in, err)
		}
		if in, err := w.in(ixfr(now.serial-1000), addr, "", ""); err != nil || texts(in) != texts(now.rrs) {
			t.Errorf("with an unknown serial: %d records, %v", len(in), err)
		}
		wire, _ := ixfr(copies[0].serial).Pack()
		if _, _, m := w.handle(wire, false); len(m.Answer) != 1 || m.Answer[0].(*dns.SOA).Serial != now.serial {
			t.Errorf("over UDP: %v", m)
		}
	}
}

func TestJournalIsBounded(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range maxSteps + 20 {
		w.put(zoneYAML(anyone, fmt.Sprintf("a A 192.0.2.%d", r.IntN(250)), fmt.Sprintf("b A 198.51.100.%d", r.IntN(250))))
		if _, err := w.s.journal("gtm.example.").at(w.View.Load(), w.View.Load().Zones()[0]); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.s.journal("gtm.example.").steps); n != maxSteps {
		t.Errorf("%d steps are kept, want %d", n, maxSteps)
	}
	for i := range 4 {
		w.put(bigZone(1500, i))
		w.put(zoneYAML(anyone))
		for range 2 {
			if _, err := w.s.journal("gtm.example.").at(w.View.Load(), w.View.Load().Zones()[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	total := 0
	for i := range w.s.journal("gtm.example.").steps {
		total += w.s.journal("gtm.example.").steps[i].records()
	}
	if total > minRecords {
		t.Errorf("%d records are kept, want %d at most", total, minRecords)
	}
}

func TestSignedTransfer(t *testing.T) {
	w := newWorld(t)
	w.put(zoneYAML(anyone, "www A 192.0.2.1", "www TXT x", "sub NS ns.sub", "sub DS 1 13 2 "+strings.Repeat("00", 32), "ns.sub A 192.0.2.2",
		"sub2 NS ns.sub2", "ns.sub2 A 192.0.2.2", "*.w TXT x", "a.b.c A 192.0.2.9", "d DNAME www"))
	w.sign("gtm.example.")
	addr := w.tcp()
	rrs := w.mustAXFR(addr)
	keys := map[uint16]*dns.DNSKEY{}
	sets := map[string][]dns.RR{}
	var nsecs []*dns.NSEC
	for _, r := range rrs[:len(rrs)-1] {
		id := r.Header().Name + dns.TypeToString[r.Header().Rrtype]
		sets[id] = append(sets[id], r)
		switch r := r.(type) {
		case *dns.DNSKEY:
			keys[r.KeyTag()] = r
		case *dns.NSEC:
			nsecs = append(nsecs, r)
		}
	}
	covered := map[string]bool{}
	for id, set := range sets {
		if !strings.HasSuffix(id, "RRSIG") {
			continue
		}
		for _, r := range set {
			sig := r.(*dns.RRSIG)
			of := sig.Hdr.Name + dns.TypeToString[sig.TypeCovered]
			covered[of] = true
			if err := sig.Verify(keys[sig.KeyTag], sets[of]); err != nil || !sig.ValidityPeriod(w.Now) {
				t.Errorf("%v: %v", sig, err)
			}
		}
	}
	for id := range sets {
		glue := strings.HasPrefix(id, "ns.sub") || id == "sub.gtm.example.NS" || id == "sub2.gtm.example.NS" ||
			strings.HasSuffix(id, "RRSIG")
		if covered[id] == glue {
			t.Errorf("%s is signed: %v", id, covered[id])
		}
	}
	var order []string
	for i, n := range nsecs {
		order = append(order, n.Hdr.Name)
		if n.NextDomain != nsecs[(i+1)%len(nsecs)].Hdr.Name {
			t.Errorf("%v does not lead to the next", n)
		}
	}
	if want := []string{"gtm.example.", "a.b.c.gtm.example.", "d.gtm.example.", "ns1.gtm.example.", "sub.gtm.example.", "sub2.gtm.example.",
		"*.w.gtm.example.", "www.gtm.example."}; !slices.Equal(order, want) {
		t.Errorf("the chain is %q", order)
	}
}

func TestRetransferSignsLittle(t *testing.T) {
	w := newWorld(t)
	w.put(bigZone(200))
	w.sign("gtm.example.")
	addr := w.tcp()
	before := w.mustAXFR(addr)
	w.put(bigZone(200, 5))
	after := w.mustAXFR(addr)
	gone := map[string]bool{}
	for _, r := range before {
		gone[r.String()] = true
	}
	for _, r := range after {
		delete(gone, r.String())
	}
	if len(gone) != 4 { // SOA, host-5's A, and their signatures
		t.Errorf("one address changed, and %d records went: %v", len(gone), gone)
	}
}

// TestEdgesAgree has two edges with the same keys give the same bytes, whatever each did before.
func TestEdgesAgree(t *testing.T) {
	key, err := dnssec.Generate(dnssec.ECDSAP256, false)
	if err != nil {
		t.Fatal(err)
	}
	copyOf := func(days int) string {
		w := newWorld(t)
		w.Now = noon.Add(-time.Duration(days) * 24 * time.Hour)
		w.SetKeys("gtm.example.", &compile.ZoneKeys{Keys: []*dnssec.Key{key}, Serial: 1})
		w.put(bigZone(50))
		for ; days > 0; days-- {
			w.Now = w.Now.Add(24 * time.Hour)
			w.compile()
			w.mustAXFR(w.tcp())
		}
		return texts(w.mustAXFR(w.tcp()))
	}
	if copyOf(0) != copyOf(9) {
		t.Errorf("an edge that started today and one that runs for days give different copies")
	}
}

func TestDiffLeadsFromOneToTheOther(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		draw := func() []rr {
			var list []rr
			for range r.IntN(20) {
				list = append(list, rr{owner: []byte{1, byte('a' + r.IntN(3)), 0}, typ: uint16(1 + r.IntN(3)), ttl: uint32(r.IntN(2)),
					data: []byte{byte(r.IntN(3))}})
			}
			list = slices.DeleteFunc(list, func(x rr) bool { return x.typ == dns.TypeSOA })
			slices.SortFunc(list, func(a, b rr) int { return a.compare(&b) })
			return slices.CompactFunc(list, func(a, b rr) bool { return a.compare(&b) == 0 })
		}
		old, fresh := draw(), draw()
		gone, come := diff(old, fresh)
		got := slices.DeleteFunc(slices.Clone(old), func(x rr) bool {
			return slices.ContainsFunc(gone, func(y rr) bool { return x.compare(&y) == 0 })
		})
		got = append(got, come...)
		slices.SortFunc(got, func(a, b rr) int { return a.compare(&b) })
		if !slices.EqualFunc(got, fresh, func(a, b rr) bool { return a.compare(&b) == 0 }) || len(gone)+len(come) > len(old)+len(fresh) {
			t.Fatalf("from %v to %v: %v, %v", old, fresh, gone, come)
		}
	}
}

func TestNotify(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() { w.s.Run(ctx); close(done) }()
	next := func() (*dns.Msg, []byte, net.Addr) {
		t.Helper()
		buf := make([]byte, 4096)
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(buf[:n]); err != nil {
			t.Fatal(err)
		}
		return m, buf[:n], from
	}
	reply := func(m *dns.Msg, from net.Addr, secret string) {
		t.Helper()
		r := new(dns.Msg).SetReply(m)
		r.SetTsig("one.", dns.HmacSHA256, 300, time.Now().Unix())
		wire, _, err := dns.TsigGenerate(r, secret, m.IsTsig().MAC, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.WriteTo(wire, from); err != nil {
			t.Fatal(err)
		}
	}
	put := func(address string) uint32 {
		w.put(zoneYAML("{allow: [{key: one}], notify: [{address: \""+conn.LocalAddr().String()+"\", key: one}]}", "a A "+address))
		return w.View.Load().Zones()[0].Serial
	}
	serial := put("192.0.2.1")
	m, wire, from := next()
	if err := dns.TsigVerify(bytes.Clone(wire), oneSecret, "", false); err != nil {
		t.Errorf("the NOTIFY's signature: %v", err)
	}
	if m.Opcode != dns.OpcodeNotify || !m.Authoritative || len(m.Answer) != 1 || m.Answer[0].(*dns.SOA).Serial != serial {
		t.Errorf("the NOTIFY: %v", m)
	}
	reply(m, from, otherSecret) // forged: it must go on
	again, _, from := next()
	if again.Id == m.Id && again.Answer[0].String() != m.Answer[0].String() {
		t.Errorf("the second attempt: %v", again)
	}
	reply(again, from, oneSecret)
	serial = put("192.0.2.2")
	for { // attempts that were under way may still come
		m, _, from = next()
		reply(m, from, oneSecret)
		if m.Answer[0].(*dns.SOA).Serial == serial {
			break
		}
	}
	cancel()
	<-done
}
