package draws

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/rr"
)

// TestJoinedRecordsAreThoseOfASet: what a sticky answer names is put together as if it had been rendered as one, whether the table is
// filled or not; and signatures are told apart by what is signed.
func TestJoinedRecordsAreThoseOfASet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 125))
	compared := 0
	for _, ech := range []string{"", "AEX+DQBB"} {
		for _, answers := range []int{2, 3, 64} {
			pool := &spec.Pool{}
			for i := range 2 + random.IntN(20) {
				end := spec.Endpoint{Name: fmt.Sprint("e", i), Weight: &[]int{1, 1, 1, 3, 10}[random.IntN(5)]}
				four, six := netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", 1+i))
				more := netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)})
				end.Addresses = [][]netip.Addr{{four}, {six}, {four, six}, {four, more}}[random.IntN(4)]
				pool.Endpoints = append(pool.Endpoints, end)
			}
			x, err := ExtraOf(&spec.Service{HTTPS: &spec.SVCB{ALPN: []string{"h2"}, ECH: ech}, SVCB: &spec.SVCB{Port: 53}})
			if err != nil {
				t.Fatal(err)
			}
			state := steer.NewPool(health.PoolID{Tenant: "shop", Pool: "p"}, pool, nil, nil, time.Time{})
			d, err := New(state, Form{Pick: Sticky, Answers: int32(answers), Extra: x}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for f := range rr.Families {
				if p := d.fams[f].live; p != nil && p.joint != nil {
					compareJoined(t, p, d, f, &x)
					p.table.Fill()
					compareJoined(t, p, d, f, &x)
					compared++
				}
			}
		}
	}
	if compared < 20 {
		t.Errorf("only %d families compared", compared)
	}
}

func compareJoined(t *testing.T, p *Picks, d *Draw, f rr.Family, x *Extra) {
	t.Helper()
	random, ids := rand.New(rand.NewPCG(2, 125)), map[string]uint64{}
	for range 300 {
		drawn := p.Choose(0, random.Uint64())
		var set []int
		for _, c := range p.Named(drawn) {
			set = append(set, int(c))
		}
		var plain Picks
		want, err := plain.render(d.Pool, f, set, x, false)
		if err != nil {
			t.Fatal(err)
		}
		got, count := p.join([]byte("before"), drawn)
		if got, ok := bytes.CutPrefix(got, []byte("before")); !ok || count != want || !bytes.Equal(got, plain.data) {
			t.Fatalf("%s %v: %d records\n%x\nwant %d\n%x", f.Noun(), set, count, got, want, plain.data)
		}
		data := rr.Data(plain.data)
		slices.SortFunc(data, bytes.Compare) // as they are signed
		signed := string(bytes.Join(data, []byte("/")))
		for other, id := range ids {
			if same := id == p.ID(drawn); same && other != signed || !same && other == signed && p.joint.head == "" {
				t.Fatalf("%s %v: one id for %x and %x", f.Noun(), set, other, signed)
			}
		}
		ids[signed] = p.ID(drawn)
	}
	if len(ids) < 2 && len(p.sets) > p.table.Answers() {
		t.Errorf("%s: one content in all buckets", f.Noun())
	}
}
