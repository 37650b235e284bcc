package dnswire

import "testing"

// typical is the query that a public resolver sends for a client.
func typical(tb testing.TB) []byte {
	opt := record([]byte{0}, TypeOPT, 1232, ednsDO, option(optSubnet, 0, 1, 24, 0, 81, 2, 69))
	return message{qd: 1, ar: 1, body: append(question(tb, "wEb.sHop.GTM.example", TypeA), opt...)}.bytes()
}

func TestNoAllocations(t *testing.T) {
	var q Query
	full := typical(t)
	plain := message{qd: 1, body: question(t, "web.shop.gtm.example", TypeA)}.bytes()
	broken := append(typical(t), 0)
	var results [4]Result
	if n := testing.AllocsPerRun(100, func() {
		results[0], _ = q.Parse(plain)
		results[1], _ = q.Parse(broken)
		results[2], _ = q.Parse(full[:11])
		results[3], _ = q.Parse(full)
	}); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
	if results != [4]Result{Answer, Reject, Silent, Answer} {
		t.Errorf("results %v", results)
	}
	o := OPT{UDPSize: 1232, NSID: []byte("edge-1"), Subnet: &q.Subnet, Scope: 16, HasEDE: true, EDE: EDENotReady, EDEText: "no view"}
	buf := make([]byte, 0, 512)
	length := 0
	if n := testing.AllocsPerRun(100, func() { length = len(AppendOPT(buf, &o)) }); n != 0 {
		t.Errorf("AppendOPT allocates %v times", n)
	}
	if length != o.Len() {
		t.Errorf("%d bytes, want %d", length, o.Len())
	}
	if n := testing.AllocsPerRun(100, func() {
		buf, _ = AppendName(buf[:0], "web.shop.gtm.example.")
		FoldName(buf)
		buf = AppendTXT(buf, "a", "b")
	}); n != 0 {
		t.Errorf("AppendName, FoldName or AppendTXT allocate %v times", n)
	}
}

func benchmarkParse(b *testing.B, msg []byte) {
	var q Query
	b.ReportAllocs()
	for b.Loop() {
		if r, _ := q.Parse(msg); r != Answer {
			b.Fatal(r)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		benchmarkParse(b, message{qd: 1, body: question(b, "web.shop.gtm.example", TypeA)}.bytes())
	})
	b.Run("subnet4", func(b *testing.B) { benchmarkParse(b, typical(b)) })
	b.Run("subnet6", func(b *testing.B) {
		opt := record([]byte{0}, TypeOPT, 1232, 0, option(optSubnet, 0, 2, 56, 0, 0x20, 1, 0xD, 0xB8, 1, 2, 3))
		benchmarkParse(b, message{qd: 1, ar: 1, body: append(question(b, "web.shop.gtm.example", TypeAAAA), opt...)}.bytes())
	})
}

func BenchmarkAppendOPT(b *testing.B) {
	s := Subnet{Present: true, Family: 1, Source: 24, OptLen: 3}
	o := OPT{UDPSize: 1232, DO: true, Subnet: &s, Scope: 16}
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendOPT(buf[:0], &o)
	}
}

func BenchmarkFoldName(b *testing.B) {
	name, err := AppendName(nil, "wEb.sHop.GTM.example")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		FoldName(name)
	}
}
