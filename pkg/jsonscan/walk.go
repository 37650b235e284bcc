package jsonscan

import (
	"encoding/json"
	"strings"
)

// EachItem calls f with each item of a list, as it stands in data, which must be valid JSON. Nothing is copied, so that a walk costs
// nothing beside what f does. An error of f ends it; what is no list has no items, and gives false.
func EachItem(data []byte, f func(item []byte) error) (isList bool, err error) {
	at := skipSpace(data, 0)
	if at >= len(data) || data[at] != '[' {
		return false, nil
	}
	for at = skipSpace(data, at+1); at < len(data) && data[at] != ']'; at = skipComma(data, at) {
		end := skipValue(data, at)
		if err := f(data[at:end]); err != nil {
			return true, err
		}
		at = end
	}
	return true, nil
}

// EachField is EachItem for the fields of a mapping.
func EachField(data []byte, f func(name string, value []byte) error) (isMap bool, err error) {
	at := skipSpace(data, 0)
	if at >= len(data) || data[at] != '{' {
		return false, nil
	}
	for at = skipSpace(data, at+1); at < len(data) && data[at] != '}'; at = skipComma(data, at) {
		end := skipValue(data, at)
		name, err := Text(data[at:end])
		if err != nil {
			return true, err
		}
		at = skipSpace(data, skipSpace(data, end)+1) // behind the colon
		end = skipValue(data, at)
		if err := f(name, data[at:end]); err != nil {
			return true, err
		}
		at = end
	}
	return true, nil
}

// Text reads a JSON string. One without escapes, as nearly all are, takes no decoder: one for each would cost more than all else.
func Text(quoted []byte) (text string, err error) {
	s := Scanner{Rest: quoted}
	if plain, ok := s.Plain(); ok && len(s.Rest) == 0 {
		return string(plain), nil
	}
	err = json.Unmarshal(quoted, &text)
	return text, err
}

// CountValues tells how many values JSON has, roughly: what an unmarshaller makes of it costs by these, not by its bytes. It counts
// no further than most, and 1 more.
func CountValues(data []byte, most int) int {
	n := 1
	for at := 0; at < len(data) && n <= most; at++ {
		switch data[at] {
		case '"':
			end, _ := textEnd(data, at)
			at = end - 1
		case '{', '[', ',', ':':
			n++
		}
	}
	return n
}

func skipSpace(data []byte, at int) int {
	for at < len(data) && strings.IndexByte(" \t\r\n", data[at]) >= 0 {
		at++
	}
	return at
}

func skipComma(data []byte, at int) int {
	if at = skipSpace(data, at); at < len(data) && data[at] == ',' {
		return skipSpace(data, at+1)
	}
	return at
}

// skipValue gives where the value that begins at a place ends.
func skipValue(data []byte, at int) int {
	depth := 0
	for at < len(data) {
		switch data[at] {
		case '"':
			at, _ = textEnd(data, at)
		case '{', '[':
			depth++
			at++
		case '}', ']':
			if depth == 0 {
				return at
			}
			depth--
			at++
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return at
			}
			at++
			continue
		case ':':
			at++
			continue
		default: // of a number or a word
			for at++; at < len(data) && strings.IndexByte(",:]} \t\r\n", data[at]) < 0; at++ {
			}
		}
		if depth == 0 {
			return at
		}
	}
	return at
}
