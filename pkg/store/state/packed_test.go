package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/jsonscan"
)

// crowded is what a vantage has to say of so many endpoints.
func crowded(n int) health.Observation {
	o := health.Observation{Vantage: "fra", Pool: health.PoolID{Tenant: "shop", Pool: "p"}, Endpoints: map[string]health.Sight{}}
	for i := range n {
		o.Endpoints[fmt.Sprint("e", i)] = health.Sight{State: health.Up, Score: 1, Since: time.Unix(1e9, int64(i)*1e6).UTC(),
			Of: fmt.Sprintf("10.0.%d.%d", i>>8, i&255)}
	}
	return o
}

// TestPacked: what was packed is what it was, and of many endpoints takes a fraction; what is small stays plain, and plain is read.
func TestPacked(t *testing.T) {
	for _, n := range []int{0, 1, 8, 20, 4096} {
		plain, err := MarshalPlain(crowded(n))
		if err != nil {
			t.Fatal(err)
		}
		packed := Pack(plain)
		if small := len(plain) < packLeast; bytes.Equal(packed, plain) != small || !small && len(packed) > len(plain)/2 {
			t.Errorf("%d endpoints are packed from %d to %d bytes", n, len(plain), len(packed))
		}
		got, err := Unpack(packed, len(plain))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d endpoints: %d bytes of %d, %v", n, len(got), len(plain), err)
		}
		if got, err := Unpack(packed, len(plain)-1); !bytes.Equal(packed, plain) && (err == nil || got != nil) {
			t.Errorf("%d endpoints are unpacked beyond what is read", n)
		}
	}
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "p"}, Cause: strings.Repeat("so many ", 1000)}
	value, err := Verdicts.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Verdicts.Read(v.Pool, Pack(value)); err != nil || !got.Equal(v) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := Verdicts.Read(v.Pool, []byte("\x1f\x8bno")); err == nil {
		t.Error("what cannot be unpacked is a verdict")
	}
}

// FuzzUnpack: foreign bytes are unpacked within bounds, or not at all.
func FuzzUnpack(f *testing.F) {
	plain, _ := MarshalPlain(crowded(50))
	f.Add(Pack(plain))
	f.Add(plain[:10])
	f.Add(Pack(bytes.Repeat([]byte("a"), 1<<20)))
	f.Fuzz(func(t *testing.T, value []byte) {
		const most = 1 << 16
		if got, err := Unpack(value, most); err == nil && len(got) > max(most, len(value)) {
			t.Errorf("%d bytes came of %d", len(got), len(value))
		}
	})
}

// checkObservation holds ParseObservation against encoding/json.
func checkObservation(t *testing.T, value []byte) {
	t.Helper()
	var want health.Observation
	wrong := json.Unmarshal(value, &want)
	got, err := ParseObservation(value)
	if (err == nil) != (wrong == nil) || err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s\ngives %+v, %v\nwant  %+v, %v", value, got, err, want, wrong)
	}
}

// randomObservation says what a random verdict does.
func randomObservation(random *rand.Rand) health.Observation {
	v := randomVerdict(random)
	o := health.Observation{Vantage: v.Judge, Pool: v.Pool}
	for name, f := range v.Endpoints {
		if o.Endpoints == nil {
			o.Endpoints = map[string]health.Sight{}
		}
		o.Endpoints[name] = health.Sight{State: f.State, Score: f.Score, Since: f.Since, Reason: f.Reason, Blind: f.Proven, Of: f.Of,
			Unsure: f.Unsure, Said: f.Proven, Watched: f.Watched}
	}
	return o
}

func TestParseObservation(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 166))
	for range 2000 {
		value, err := MarshalPlain(randomObservation(random))
		if err != nil {
			t.Fatal(err)
		}
		checkObservation(t, value)
		damaged := append([]byte(nil), value...)
		const harm = "{}[]\",:\\01.-ex \n\x00\xffnull"
		damaged[random.IntN(len(damaged))] = harm[random.IntN(len(harm))]
		checkObservation(t, damaged)
		checkObservation(t, value[:random.IntN(len(value))])
	}
	o := crowded(2)
	o.Endpoints["b"] = health.Sight{State: health.Down, Reason: "refused", Blind: true, Of: "x", Unsure: true, Said: true,
		Watched: "cert: late"}
	value, err := MarshalPlain(o)
	if err != nil {
		t.Fatal(err)
	}
	s := verdictScanner{in: jsonscan.Scanner{Rest: value}}
	if _, ok := s.observation(); !ok {
		t.Errorf("%s is not understood in one go from %q on", value, s.in.Rest)
	}
}

func FuzzParseObservation(f *testing.F) {
	random := rand.New(rand.NewPCG(4, 166))
	for range 20 {
		value, err := MarshalPlain(randomObservation(random))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value []byte) { checkObservation(t, value) })
}
