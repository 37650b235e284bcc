package spec

import (
	"encoding/json"
	"reflect"
	"testing"
)

// storedSamples are resources that Reader reads by itself, and some that it leaves to DecodeJSON.
var storedSamples = []struct {
	text string
	fast bool
}{
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"site":"fra","monitor":"m","minHealthy":"50%","endpoints":[` +
		`{"name":"a","addresses":["192.0.2.1","2001:db8::1"],"weight":3},` +
		`{"name":"b","host":"h.example.","probe":"192.0.2.9:80"},{"name":"c","addresses":[]},` +
		`{"name":"d","addresses":["0.0.0.0","255.10.9.0"],"weight":70000}]}}`, true},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"endpoints":[]}}`, true},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{}}`, true},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"host":"a.b.","ttl":"1m30s","answers":2,"pick":"sticky","rules":[` +
		`{"name":"x","when":{"geo":["EU","NA-US"],"asn":[1,4294967295],"map":["m"]},"pools":["p",{"pool":"q","weight":7}]},` +
		`{"when":{"geo":["EU","NA-US"],"asn":[1,4294967295],"map":["m"]},"pools":["r"]},{"when":{},"pools":[]}],` +
		`"lastResort":["z"],"allDown":"servfail","metrics":true,"coherent":false,"ecs":"off"}}`, true},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"rules":[{"when":{"geo":["EU"],"resolver":["m","n"]},"pools":["r"]}]}}`, true},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"ttl":"20s","rules":[{"name":"x","ttl":"20s","pools":["p"]},` +
		`{"ttl":"0s","pools":["p"]},{"pools":["p"]}]}}`, true},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"fence":["EU"],"rules":[{"fence":["EU-DE"],"pools":["p",` +
		`{"nearest":["p",{"pool":"q","weight":2}],"band":"7%"},{"nearest":"sites","weight":3},{"split":[{"policy":"x","weight":1},` +
		`{"split":[{"pool":"a","weight":1},{"nearest":[]}],"weight":2}],"trickle":"2%"},{"site":"fra"},"z"]}],` +
		`"lastResort":[{"policy":"y"},"p"]}}`, true},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"rules":[{"pools":[{"nearest":"all"}]}]}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"rules":[{"pools":[{"pool":"p","band":""}]}]}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"rules":[{"pools":[{"fastest":["p"]}]}]}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"rules":[{"pools":[{"split":[{"split":[{"split":[{"split":[{"split":[]}]}]}]}]}` +
		`]}]}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"rules":[{"ttl":"-1s","pools":["p"]}]}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"host":"a.b.","alias":{"to":"c.d."}}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"host":"a.b.","families":["ipv4"],"rules":[]}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"rules":[{"when":{"geo":["}"]},"pools":["p"]}]}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"rules":[{"when":{"map":"one"},"pools":["p"]}]}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"ttl":"-1s"}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"answers":01}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"answers":99999999999}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"host":"a","host":"b"}}`, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"host":"a"}} `, false},
	{`{"kind":"Service","tenant":"t","name":"s","spec":{"host":"a"},"x":1}`, false},
	{`{"kind":"Service","tenant":"t","name":"","spec":{}}`, false},
	{`{"tenant":"t","kind":"Service","name":"s","spec":{"unknown":[1,{"a":null}],"host":"\u0061"}}`, false},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"minHealthy":2,"endpoints":[{"name":"é"}]}}`, false},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"endpoints":[{"name":"a","addresses":["1.2.3"]}]}}`, false},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"endpoints":[{"name":"a","addresses":["1.2.3.04"]}]}}`, false},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"endpoints":[{"name":"a","addresses":["fe80::1%eth0"]}]}}`, false},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"endpoints":[{"name":"a","weight":-1}]}}`, false},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"endpoints":[null]}}`, false},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"endpoints":null}}`, false},
	{`{"kind":"Zone","tenant":"platform","name":"X.Example","spec":{"contact":"a@b"}}`, false},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":{"endpoints":[{"name":"a"}]`, false},
	{`{"kind":"Pool","tenant":"t","name":"p","spec":`, false},
	{``, false},
}

func TestReaderReadsAsDecodeJSON(t *testing.T) {
	var r Reader // one for all, so that what it shares is looked at too
	for range 2 {
		for _, s := range storedSamples {
			r.in.Rest = []byte(s.text)
			_, ok := r.resource()
			if fast := ok && len(r.in.Rest) == 0; fast != s.fast {
				t.Errorf("%s: read by itself %v, want %v", s.text, fast, s.fast)
			}
			compareReader(t, &r, []byte(s.text))
		}
	}
}

// compareReader checks a Reader against DecodeJSON.
func compareReader(t *testing.T, r *Reader, data []byte) {
	t.Helper()
	got, err := r.Decode(data)
	want, wantErr := DecodeJSON(data, Tolerant)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%s: error %v, want %v", data, err, wantErr)
	}
	if err != nil {
		return
	}
	if want != nil {
		want.Origin = Origin{}
	}
	if !reflect.DeepEqual(got, want) {
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		t.Fatalf("%s:\n got %s\nwant %s", data, a, b)
	}
}

func FuzzReader(f *testing.F) {
	for _, s := range storedSamples {
		f.Add([]byte(s.text))
	}
	var r Reader
	f.Fuzz(func(t *testing.T, data []byte) { compareReader(t, &r, data) })
}

func BenchmarkReader(b *testing.B) {
	data := []byte(storedSamples[3].text)
	b.Run("reader", func(b *testing.B) {
		var r Reader
		for b.Loop() {
			r.Decode(data)
		}
	})
	b.Run("json", func(b *testing.B) {
		for b.Loop() {
			DecodeJSON(data, Tolerant)
		}
	})
}
