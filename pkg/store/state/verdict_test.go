package state

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/jsonscan"
)

// checkParsed holds parseVerdict against encoding/json.
func checkParsed(t *testing.T, value []byte) {
	t.Helper()
	var want health.Verdict
	wrong := json.Unmarshal(value, &want)
	got, err := ParseVerdict(value)
	if (err == nil) != (wrong == nil) || err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s\ngives %+v, %v\nwant  %+v, %v", value, got, err, want, wrong)
	}
}

// randomVerdict is one of every sort that there can be.
func randomVerdict(random *rand.Rand) health.Verdict {
	texts := []string{"", "e1", "connect: connection refused", `Get "http://[::1]/": EOF`, "<&>", "zwölf", "a\x00b", "\u2028", "\xff", `\`}
	text := func() string { return texts[random.IntN(len(texts))] }
	moment := func() time.Time {
		zone := []*time.Location{time.UTC, time.Local, time.FixedZone("", 3600*(random.IntN(20)-10))}[random.IntN(3)]
		return time.Unix(random.Int64N(4e9), random.Int64N(2)*random.Int64N(1e9)).In(zone)
	}
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: text()}, Judge: text()}
	if n := random.IntN(20); n > 0 {
		v.Endpoints = map[string]health.Finding{}
		for i := range n - 1 {
			v.Endpoints[fmt.Sprint(text(), i)] = health.Finding{State: []health.State{health.Up, health.Down, health.Unknown,
				health.State(text())}[random.IntN(4)],
				Score: []float64{0, 1, 0.5, random.Float64(), 1e-9, 1e30, -1,
					100}[random.IntN(8)], Since: moment(), Reason: text(), Of: text(),
				Unsure: random.IntN(3) == 0, Recovered: random.IntN(3) == 0, Proven: random.IntN(3) == 0,
				Watched: []string{"", text()}[random.IntN(2)],
				Back:    []time.Time{{}, moment()}[random.IntN(2)], All: []health.State{"", health.Up, health.Down}[random.IntN(3)]}
		}
	}
	if random.IntN(3) == 0 {
		v.Frozen, v.FrozenSince, v.Cause = random.IntN(4) > 0, moment(), text()
		v.HeldSince = moment()
	}
	if random.IntN(3) == 0 {
		v.Out = &health.Out{Since: moment(), Why: text(), Observed: random.IntN(2) == 0}
	}
	for range max(0, random.IntN(6)-3) {
		v.NeverUp, v.Released = append(v.NeverUp, text()), append(v.Released, text(), text())
		v.Vantages = append(v.Vantages, text())
	}
	return v
}

func TestParseVerdict(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 107))
	for range 2000 {
		value, err := MarshalPlain(randomVerdict(random))
		if err != nil {
			t.Fatal(err)
		}
		checkParsed(t, value)
		damaged := append([]byte(nil), value...)
		const harm = "{}[]\",:\\01.-ex \n\x00\xffnull"
		damaged[random.IntN(len(damaged))] = harm[random.IntN(len(harm))]
		checkParsed(t, damaged)
		checkParsed(t, value[:random.IntN(len(value))])
	}
}

// TestParseVerdictInOneGo sees to it that what PutVerdicts writes does not fall back to encoding/json.
func TestParseVerdictInOneGo(t *testing.T) {
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "p"}, Judge: "eu1", Frozen: true, FrozenSince: time.Unix(1e9, 0),
		HeldSince: time.Unix(1e9, 7), Vantages: []string{"eu1", "eu2"},
		Cause: "4 of 4 failed", NeverUp: []string{"x", "y"}, Released: []string{"b"},
		Out: &health.Out{Since: time.Unix(1e9, 0), Why: "0 of 2 endpoints up, 1 needed", Observed: true},
		Endpoints: map[string]health.Finding{
			"a": {State: health.Up, Score: 1, Since: time.Unix(1e9, 5), Of: "192.0.2.1 2001:db8::1", Unsure: true, Recovered: true},
			"b": {State: health.Down, Since: time.Unix(1e9, 0), Reason: `Get "http://192.0.2.1/": EOF`, Watched: "cert: late", Proven: true,
				Back: time.Unix(1e9, 7), All: health.Up},
			"ç": {State: health.Unknown, Score: 0.25}}}
	value, err := MarshalPlain(v)
	if err != nil {
		t.Fatal(err)
	}
	s := verdictScanner{in: jsonscan.Scanner{Rest: value}}
	if _, ok := s.verdict(); !ok {
		t.Errorf("%s is not understood from %q on", value, s.in.Rest)
	}
}

func FuzzParseVerdict(f *testing.F) {
	random := rand.New(rand.NewPCG(2, 107))
	for range 20 {
		value, err := MarshalPlain(randomVerdict(random))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Add([]byte(`{"pool":{"tenant":"","pool":""},"endpoints":{"a":{"state":"up","score":01,"since":"2001-01-01T00:00:00Z"}}}`))
	f.Add([]byte(`{"pool":{"tenant":"","pool":""},"endpoints":{"a":}}`)) // no finding at all, and all in order behind it
	f.Fuzz(func(t *testing.T, value []byte) { checkParsed(t, value) })
}

func BenchmarkParseVerdict(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "p"}, Endpoints: map[string]health.Finding{}, Judge: "eu1"}
			for i := range n {
				v.Endpoints[fmt.Sprint("e", i)] = health.Finding{State: health.Down, Since: time.Unix(1e9, int64(i)).UTC(),
					Reason: "connect: connection refused",
					Of:     fmt.Sprintf("10.0.%d.%d", i>>8, i&255)}
			}
			value, err := MarshalPlain(v)
			if err != nil {
				b.Fatal(err)
			}
			b.Run("written", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = ParseVerdict(value)
				}
			})
			b.Run("json", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					var v health.Verdict
					_ = json.Unmarshal(value, &v)
				}
			})
		})
	}
}
