package jsonscan

import (
	"encoding/json"
	"reflect"
	"testing"
)

// value reads any value with a Scanner, as encoding/json would into an any.
func value(s *Scanner) (v any, ok bool) {
	if s.Literal("null") {
		return nil, true
	}
	if v, ok := s.Bool(); ok {
		return v, true
	}
	if len(s.Rest) == 0 {
		return nil, false
	}
	switch s.Rest[0] {
	case '"':
		return text(s)
	case '[':
		list := []any{}
		ok := s.List(func() bool {
			item, ok := value(s)
			list = append(list, item)
			return ok
		})
		return list, ok
	case '{':
		fields := map[string]any{}
		ok := s.Map(func() bool {
			name, ok := text(s)
			if !ok || !s.Literal(":") {
				return false
			}
			fields[name], ok = value(s)
			return ok
		})
		return fields, ok
	}
	return s.Decimal()
}

func text(s *Scanner) (text string, ok bool) {
	if plain, ok := s.Plain(); ok {
		return string(plain), true
	}
	if quoted, isText := s.Quoted(); isText {
		ok = json.Unmarshal(quoted, &text) == nil
	}
	return text, ok
}

// FuzzScanner holds what a Scanner reads against encoding/json, and has it read all that encoding/json writes of that.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{`[]`, `[1,"a\"]",{"b":[2]},null,[true,false]]`, `{"a":0.25,"b\u0041":{"c":"}"}}`, `{"é":10,"a":01}`, `"\x"`,
		`"a`, `[1,]`, `{"a":1,"a":2}`, `{}`, `{"a"}`, `[1 ]`, "\"\x00\"", "\"\xff\"", `1.`, `0.5e1`, `-1`, `1e400`, `tru`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := Scanner{data}
		got, ok := value(&s)
		if !ok || len(s.Rest) > 0 {
			return
		}
		var want any
		if err := json.Unmarshal(data, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %#v, want %#v, %v", data, got, want, err)
		}
		written, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		s = Scanner{written}
		if again, ok := value(&s); !reflect.DeepEqual(again, want) && onlyDecimals(want) {
			t.Fatalf("%q, as it is written: %#v, %v", written, again, ok)
		}
	})
}

// onlyDecimals reports whether no number is so large or so small that encoding/json writes it with an exponent.
func onlyDecimals(v any) bool {
	switch v := v.(type) {
	case float64:
		return v == 0 || v >= 1e-6 && v < 1e21
	case []any:
		for _, item := range v {
			if !onlyDecimals(item) {
				return false
			}
		}
	case map[string]any:
		for _, item := range v {
			if !onlyDecimals(item) {
				return false
			}
		}
	}
	return true
}

// FuzzWhole holds whole numbers against encoding/json.
func FuzzWhole(f *testing.F) {
	for _, s := range []string{`0`, `00`, `01`, `10`, `65535`, `65536`, `99999999999999999999`, `-1`, `1.0`, `x`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := Scanner{data}
		got, ok := s.Whole(65535)
		var want uint16
		bare := len(data) > 0 && isDigit(data[0]) && isDigit(data[len(data)-1]) // and no white space
		if ok = ok && len(s.Rest) == 0; ok != (bare && json.Unmarshal(data, &want) == nil) {
			t.Fatalf("%q: understood %v", data, ok)
		}
		if ok && got != int(want) {
			t.Fatalf("%q: %d, want %d", data, got, want)
		}
	})
}

// TestObjectGivesUpOnANameThatStandsTwice: encoding/json takes the last, into the same value.
func TestObjectGivesUpOnANameThatStandsTwice(t *testing.T) {
	for text, want := range map[string]bool{`{}`: true, `{"a":1,"b":2}`: true, `{"a":1,"b":2,"a":3}`: false, `{"c":1}`: false,
		`{"a":1`: false, `{"a":1,}`: false, `["a"]`: false, `{"a",1}`: false, `{"\u0061":1}`: false} {
		s := Scanner{[]byte(text)}
		ok := s.Object(func(name []byte) (int, bool) {
			n, ok := s.Whole(9)
			switch string(name) {
			case "a":
				return 1, ok && n > 0
			case "b":
				return 2, ok && n > 0
			}
			return 0, false
		})
		if ok != want {
			t.Errorf("%s: understood %v", text, ok)
		}
	}
}
