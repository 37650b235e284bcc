package store

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
)

// parseVerdict reads a verdict as encoding/json does. In the form in which PutVerdicts writes it, which all but hand-made ones have,
// it is read in one go: with a thousand endpoints encoding/json takes longer than all else between a verdict and the answers that
// obey it. See Changes and verdicts in docs/performance.md.
func parseVerdict(value []byte) (v health.Verdict, err error) {
	s := verdictScanner{rest: value}
	if v, ok := s.verdict(); ok {
		return v, nil
	}
	return v, json.Unmarshal(value, &v)
}

// verdictScanner goes through a verdict whose fields stand in the order of the struct, without white space. Its methods tell whether
// it is so; where it is not, encoding/json has the say.
type verdictScanner struct {
	rest   []byte
	reason string // the last one, which is often the next one's too
	of     string
	texts  strings.Builder // the short ones, side by side: they live as long as the verdict
}

func (s *verdictScanner) verdict() (v health.Verdict, ok bool) {
	if !s.literal(`{"pool":{"tenant":`) || !s.text(&v.Pool.Tenant) || !s.literal(`,"pool":`) || !s.text(&v.Pool.Pool) || !s.literal(`},"endpoints":`) {
		return v, false
	}
	if !s.literal("null") {
		if v.Endpoints, ok = s.findings(); !ok {
			return v, false
		}
	}
	if s.literal(`,"frozen":true`) {
		v.Frozen = true
	}
	if s.literal(`,"frozenSince":`) && !s.time(&v.FrozenSince) {
		return v, false
	}
	if s.literal(`,"judge":`) && !s.text(&v.Judge) {
		return v, false
	}
	if s.literal(`,"cause":`) && !s.text(&v.Cause) {
		return v, false
	}
	if s.literal(`,"neverUp":`) && !s.list(&v.NeverUp) || s.literal(`,"released":`) && !s.list(&v.Released) {
		return v, false
	}
	return v, s.literal("}") && len(s.rest) == 0
}

// list reads a list of strings that is not empty.
func (s *verdictScanner) list(to *[]string) bool {
	if !s.literal("[") {
		return false
	}
	for {
		var text string
		if !s.text(&text) {
			return false
		}
		*to = append(*to, text)
		if s.literal("]") {
			return true
		}
		if !s.literal(",") {
			return false
		}
	}
}

func (s *verdictScanner) findings() (map[string]health.Finding, bool) {
	if !s.literal("{") {
		return nil, false
	}
	all := make(map[string]health.Finding, bytes.Count(s.rest, []byte("{"))) // a map that grows is allocated twice
	if s.literal("}") {
		return all, true
	}
	for {
		var name string
		var f health.Finding
		if !s.text(&name) || !s.literal(":") || !s.finding(&f) {
			return nil, false
		}
		all[name] = f
		if s.literal("}") {
			return all, true
		}
		if !s.literal(",") {
			return nil, false
		}
	}
}

func (s *verdictScanner) finding(f *health.Finding) bool {
	if !s.literal(`{"state":`) || !s.state(&f.State) || !s.literal(`,"score":`) || !s.number(&f.Score) || !s.literal(`,"since":`) || !s.time(&f.Since) {
		return false
	}
	if s.literal(`,"reason":`) {
		if !s.text(&s.reason) {
			return false
		}
		f.Reason = s.reason
	}
	if s.literal(`,"of":`) {
		if !s.text(&s.of) {
			return false
		}
		f.Of = s.of
	}
	return s.literal("}")
}

// literal passes over what stands next, if it is that.
func (s *verdictScanner) literal(text string) bool {
	if len(s.rest) < len(text) || string(s.rest[:len(text)]) != text {
		return false
	}
	s.rest = s.rest[len(text):]
	return true
}

// quoted takes a string with its quotes and escapes.
func (s *verdictScanner) quoted() ([]byte, bool) {
	if len(s.rest) == 0 || s.rest[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '"':
			all := s.rest
			s.rest = s.rest[i+1:]
			return all[: i+1 : i+1], true
		}
	}
	return nil, false
}

// text reads a string. One that is in *to already is not allocated anew.
func (s *verdictScanner) text(to *string) bool {
	quoted, ok := s.quoted()
	if !ok {
		return false
	}
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c < ' ' || c == '\\' || c >= 0x80 {
			return json.Unmarshal(quoted, to) == nil
		}
	}
	if string(inner) != *to {
		*to = s.keep(inner)
	}
	return true
}

// keep gives a string of b, which shares its memory with others: a verdict has two for each endpoint.
func (s *verdictScanner) keep(b []byte) string {
	const least, most = 64, 2048
	if s.texts.Cap()-s.texts.Len() < len(b) {
		s.texts = strings.Builder{}
		s.texts.Grow(max(len(b), min(max(len(s.rest)/6, least), most)))
	}
	from := s.texts.Len()
	s.texts.Write(b)
	return s.texts.String()[from:]
}

func (s *verdictScanner) state(to *health.State) bool {
	for _, known := range [...]struct {
		quoted string
		state  health.State
	}{{`"up"`, health.Up}, {`"down"`, health.Down}, {`"unknown"`, health.Unknown}} {
		if s.literal(known.quoted) {
			*to = known.state
			return true
		}
	}
	var text string
	ok := s.text(&text)
	*to = health.State(text)
	return ok
}

// number reads digits with or without a fraction, as JSON writes them.
func (s *verdictScanner) number(to *float64) bool {
	n := digits(s.rest)
	if n == 0 || n > 1 && s.rest[0] == '0' {
		return false
	}
	if n < len(s.rest) && s.rest[n] == '.' {
		fraction := digits(s.rest[n+1:])
		if fraction == 0 {
			return false
		}
		n += 1 + fraction
	}
	text := s.rest[:n]
	s.rest = s.rest[n:]
	if n == 1 {
		*to = float64(text[0] - '0')
		return true
	}
	var err error
	*to, err = strconv.ParseFloat(string(text), 64)
	return err == nil
}

// digits tells how many stand first.
func digits(b []byte) int {
	n := 0
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	return n
}

func (s *verdictScanner) time(to *time.Time) bool {
	quoted, ok := s.quoted()
	return ok && to.UnmarshalJSON(quoted) == nil
}
