package jsonscan

import (
	"encoding/json"
	"errors"
	"testing"
)

// FuzzWalk compares the walk over JSON with encoding/json.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{`[]`, `[1, "a\"]", {"b":[2]} ,null]`, `{"a" : [1,2] , "b\u0041":{"c":"}"}}`, ` { } `, `"x"`,
		`[[],[[]]]`, `[-1e5]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		var list []json.RawMessage
		isListFor := json.Unmarshal(data, &list) == nil && list != nil
		var got []string
		isList, err := EachItem(data, func(item []byte) error { got = append(got, string(item)); return nil })
		if err != nil || isList != isListFor || len(got) != len(list) {
			t.Fatalf("%q: list %v, %d items, %v; want %v, %d", data, isList, len(got), err, isListFor, len(list))
		}
		for i := range list {
			if got[i] != string(list[i]) {
				t.Fatalf("%q: item %q, want %q", data, got[i], list[i])
			}
		}
		var fields map[string]json.RawMessage
		isMapFor := json.Unmarshal(data, &fields) == nil && fields != nil
		last := map[string]string{}
		isMap, err := EachField(data, func(name string, value []byte) error { last[name] = string(value); return nil })
		if err != nil || isMap != isMapFor || len(last) != len(fields) {
			t.Fatalf("%q: mapping %v, %d fields, %v; want %v, %d", data, isMap, len(last), err, isMapFor, len(fields))
		}
		for name, value := range fields {
			if last[name] != string(value) {
				t.Fatalf("%q: field %q is %q, want %q", data, name, last[name], value)
			}
		}
	})
}

func TestAnErrorEndsAWalk(t *testing.T) {
	stop := errors.New("stop")
	items, fields := 0, 0
	if is, err := EachItem([]byte(`[1,2,3]`), func([]byte) error { items++; return stop }); !is || err != stop || items != 1 {
		t.Errorf("%v, %v after %d items", is, err, items)
	}
	if is, err := EachField([]byte(`{"a":1,"b":2}`), func(string, []byte) error { fields++; return stop }); !is || err != stop ||
		fields != 1 {
		t.Errorf("%v, %v after %d fields", is, err, fields)
	}
}

func TestCountValues(t *testing.T) {
	for text, want := range map[string]int{`1`: 1, `[]`: 2, `[1,2]`: 3, `{"a":1}`: 3, `{"a,:[":"]{,\",,"}`: 3,
		`[1,2,3,4,5,6,7,8,9,10,11,12]`: 9} {
		if got := CountValues([]byte(text), 8); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}
