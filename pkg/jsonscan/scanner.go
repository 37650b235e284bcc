// Package jsonscan reads JSON by hand, for the few places where encoding/json costs more than all else that is done there.
//
// A Scanner reads what encoding/json has written, and gives up on anything else; its user then lets encoding/json have the say. EachItem,
// EachField and CountValues go through any valid JSON, and copy nothing. All of it is pure.
package jsonscan

import "strconv"

// Scanner goes through JSON as encoding/json writes it: without white space. Its methods read what comes next, and give false where that
// is something else, or more than they understand; what is left is then of no use. It is for one goroutine.
type Scanner struct {
	Rest []byte // what is left of the input
}

// Literal goes past text, if it comes next. If it does not, nothing is lost.
func (s *Scanner) Literal(text string) bool {
	if len(s.Rest) < len(text) || string(s.Rest[:len(text)]) != text {
		return false
	}
	s.Rest = s.Rest[len(text):]
	return true
}

// Plain reads a string of ASCII without escapes, and gives it without its quotes. It is a part of the input. If something else comes next,
// nothing is lost.
func (s *Scanner) Plain() ([]byte, bool) {
	if len(s.Rest) == 0 || s.Rest[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(s.Rest); i++ {
		switch c := s.Rest[i]; {
		case c == '"':
			text := s.Rest[1:i:i]
			s.Rest = s.Rest[i+1:]
			return text, true
		case c == '\\', c < ' ', c >= 0x80:
			return nil, false
		}
	}
	return nil, false
}

// Quoted reads any string, and gives it with its quotes and escapes, for encoding/json to read. It is a part of the input.
func (s *Scanner) Quoted() ([]byte, bool) {
	if len(s.Rest) == 0 || s.Rest[0] != '"' {
		return nil, false
	}
	end, ok := textEnd(s.Rest, 0)
	if !ok {
		return nil, false
	}
	quoted := s.Rest[:end:end]
	s.Rest = s.Rest[end:]
	return quoted, true
}

// Whole reads a whole number from 0 to most.
func (s *Scanner) Whole(most int) (int, bool) {
	n, i := 0, 0
	for ; i < len(s.Rest) && isDigit(s.Rest[i]); i++ {
		if n = n*10 + int(s.Rest[i]-'0'); n > most || i > 0 && s.Rest[0] == '0' {
			return 0, false
		}
	}
	s.Rest = s.Rest[i:]
	return n, i > 0
}

// Decimal reads digits with or without a fraction.
func (s *Scanner) Decimal() (float64, bool) {
	n := digits(s.Rest)
	if n == 0 || n > 1 && s.Rest[0] == '0' {
		return 0, false
	}
	if n < len(s.Rest) && s.Rest[n] == '.' {
		fraction := digits(s.Rest[n+1:])
		if fraction == 0 {
			return 0, false
		}
		n += 1 + fraction
	}
	text := s.Rest[:n]
	s.Rest = s.Rest[n:]
	if n == 1 {
		return float64(text[0] - '0'), true
	}
	f, err := strconv.ParseFloat(string(text), 64)
	return f, err == nil
}

// Bool reads true or false.
func (s *Scanner) Bool() (value, ok bool) {
	if s.Literal("true") {
		return true, true
	}
	return false, s.Literal("false")
}

// List reads [item,...]. item reads one.
func (s *Scanner) List(item func() bool) bool { return s.each("[", "]", item) }

// Map reads {member,...}. member reads the name, the colon and the value of one.
func (s *Scanner) Map(member func() bool) bool { return s.each("{", "}", member) }

// Object reads {name:value,...}. value reads that of a name, and gives each name a bit of its own: one that stands twice is not
// understood.
func (s *Scanner) Object(value func(name []byte) (bit int, ok bool)) bool {
	seen := 0
	return s.Map(func() bool {
		name, ok := s.Plain()
		if !ok || !s.Literal(":") {
			return false
		}
		bit, ok := value(name)
		twice := seen&bit != 0
		seen |= bit
		return ok && !twice
	})
}

func (s *Scanner) each(open, shut string, one func() bool) bool {
	if !s.Literal(open) {
		return false
	}
	if s.Literal(shut) {
		return true
	}
	for {
		if !one() {
			return false
		}
		if s.Literal(shut) {
			return true
		}
		if !s.Literal(",") {
			return false
		}
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// digits tells how many stand first.
func digits(b []byte) int {
	n := 0
	for n < len(b) && isDigit(b[n]) {
		n++
	}
	return n
}

// textEnd gives where the string ends whose first quote is at a place; not ok: it does not, and the end is that of data.
func textEnd(data []byte, at int) (end int, ok bool) {
	for at++; at < len(data); at++ {
		switch data[at] {
		case '\\':
			at++
		case '"':
			return at + 1, true
		}
	}
	return len(data), false
}
