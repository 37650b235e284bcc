package state

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/jsonscan"
)

// ParseVerdict reads a verdict as encoding/json does. In the form in which PutVerdicts writes it, which all but hand-made ones have,
// it is read in one go: with a thousand endpoints encoding/json takes longer than all else between a verdict and the answers that
// obey it. See Changes and verdicts in docs/performance.md.
func ParseVerdict(value []byte) (v health.Verdict, err error) {
	s := verdictScanner{in: jsonscan.Scanner{Rest: value}}
	if v, ok := s.verdict(); ok {
		return v, nil
	}
	return v, json.Unmarshal(value, &v)
}

// verdictScanner goes through a verdict whose fields stand in the order of the struct, without white space. Its methods tell whether
// it is so; where it is not, encoding/json has the say.
type verdictScanner struct {
	in     jsonscan.Scanner
	reason string // the last one, which is often the next one's too
	of     string
	texts  strings.Builder // the short ones, side by side: they live as long as the verdict
}

func (s *verdictScanner) verdict() (v health.Verdict, ok bool) {
	if !s.in.Literal(`{"pool":{"tenant":`) || !s.text(&v.Pool.Tenant) || !s.in.Literal(`,"pool":`) || !s.text(&v.Pool.Pool) ||
		!s.in.Literal(`},"endpoints":`) {
		return v, false
	}
	if !s.in.Literal("null") {
		if v.Endpoints, ok = s.findings(); !ok {
			return v, false
		}
	}
	if s.in.Literal(`,"frozen":true`) {
		v.Frozen = true
	}
	if s.in.Literal(`,"frozenSince":`) && !s.time(&v.FrozenSince) {
		return v, false
	}
	if s.in.Literal(`,"judge":`) && !s.text(&v.Judge) {
		return v, false
	}
	if s.in.Literal(`,"cause":`) && !s.text(&v.Cause) {
		return v, false
	}
	if s.in.Literal(`,"neverUp":`) && !s.list(&v.NeverUp) || s.in.Literal(`,"released":`) && !s.list(&v.Released) {
		return v, false
	}
	if s.in.Literal(`,"out":`) {
		if v.Out = new(health.Out); !s.out(v.Out) {
			return v, false
		}
	}
	if s.in.Literal(`,"heldSince":`) && !s.time(&v.HeldSince) || s.in.Literal(`,"vantages":`) && !s.list(&v.Vantages) {
		return v, false
	}
	return v, s.in.Literal("}") && len(s.in.Rest) == 0
}

func (s *verdictScanner) out(o *health.Out) bool {
	if !s.in.Literal(`{"since":`) || !s.time(&o.Since) || !s.in.Literal(`,"why":`) || !s.text(&o.Why) {
		return false
	}
	o.Observed = s.in.Literal(`,"observed":true`)
	return s.in.Literal("}")
}

func (s *verdictScanner) list(to *[]string) bool {
	*to = []string{}
	return s.in.List(func() bool {
		*to = append(*to, "")
		return s.text(&(*to)[len(*to)-1])
	})
}

func (s *verdictScanner) findings() (map[string]health.Finding, bool) {
	all := make(map[string]health.Finding, bytes.Count(s.in.Rest, []byte("{"))) // a map that grows is allocated twice
	return all, s.in.Map(func() bool {
		var name string
		var f health.Finding
		ok := s.text(&name) && s.in.Literal(":") && s.finding(&f)
		all[name] = f
		return ok
	})
}

func (s *verdictScanner) finding(f *health.Finding) bool {
	if !s.in.Literal(`{"state":`) || !s.state(&f.State) || !s.in.Literal(`,"score":`) || !s.score(&f.Score) || !s.in.Literal(`,"since":`) ||
		!s.time(&f.Since) {
		return false
	}
	if s.in.Literal(`,"reason":`) {
		if !s.text(&s.reason) {
			return false
		}
		f.Reason = s.reason
	}
	if s.in.Literal(`,"of":`) {
		if !s.text(&s.of) {
			return false
		}
		f.Of = s.of
	}
	f.Unsure = s.in.Literal(`,"unsure":true`)
	f.Recovered = s.in.Literal(`,"recovered":true`)
	if s.in.Literal(`,"watched":`) && !s.text(&f.Watched) {
		return false
	}
	f.Proven = s.in.Literal(`,"proven":true`)
	if s.in.Literal(`,"all":`) && !s.state(&f.All) || s.in.Literal(`,"back":`) && !s.time(&f.Back) {
		return false
	}
	return s.in.Literal("}")
}

// ParseObservation is ParseVerdict for an observation.
func ParseObservation(value []byte) (o health.Observation, err error) {
	s := verdictScanner{in: jsonscan.Scanner{Rest: value}}
	if o, ok := s.observation(); ok {
		return o, nil
	}
	return o, json.Unmarshal(value, &o)
}

func (s *verdictScanner) observation() (o health.Observation, ok bool) {
	if !s.in.Literal(`{"vantage":`) || !s.text(&o.Vantage) || !s.in.Literal(`,"pool":{"tenant":`) || !s.text(&o.Pool.Tenant) ||
		!s.in.Literal(`,"pool":`) || !s.text(&o.Pool.Pool) || !s.in.Literal(`},"endpoints":`) {
		return o, false
	}
	o.Endpoints = make(map[string]health.Sight, bytes.Count(s.in.Rest, []byte("{")))
	ok = s.in.Map(func() bool {
		var name string
		var sight health.Sight
		ok := s.text(&name) && s.in.Literal(":") && s.sight(&sight)
		o.Endpoints[name] = sight
		return ok
	})
	return o, ok && s.in.Literal("}") && len(s.in.Rest) == 0
}

func (s *verdictScanner) sight(to *health.Sight) bool {
	if !s.in.Literal(`{"state":`) || !s.state(&to.State) || !s.in.Literal(`,"score":`) || !s.score(&to.Score) ||
		!s.in.Literal(`,"since":`) || !s.time(&to.Since) {
		return false
	}
	if s.in.Literal(`,"reason":`) {
		if !s.text(&s.reason) {
			return false
		}
		to.Reason = s.reason
	}
	to.Blind = s.in.Literal(`,"blind":true`)
	if s.in.Literal(`,"of":`) {
		if !s.text(&s.of) {
			return false
		}
		to.Of = s.of
	}
	to.Unsure = s.in.Literal(`,"unsure":true`)
	to.Said = s.in.Literal(`,"said":true`)
	if s.in.Literal(`,"watched":`) && !s.text(&to.Watched) {
		return false
	}
	return s.in.Literal("}")
}

// text reads a string. One that is in *to already is not allocated anew.
func (s *verdictScanner) text(to *string) bool {
	plain, ok := s.in.Plain()
	if !ok {
		quoted, ok := s.in.Quoted()
		return ok && json.Unmarshal(quoted, to) == nil
	}
	if string(plain) != *to {
		*to = s.keep(plain)
	}
	return true
}

// keep gives a string of b, which shares its memory with others: a verdict has two for each endpoint.
func (s *verdictScanner) keep(b []byte) string {
	const least, most = 64, 2048
	if s.texts.Cap()-s.texts.Len() < len(b) {
		s.texts = strings.Builder{}
		s.texts.Grow(max(len(b), min(max(len(s.in.Rest)/6, least), most)))
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
		if s.in.Literal(known.quoted) {
			*to = known.state
			return true
		}
	}
	var text string
	ok := s.text(&text)
	*to = health.State(text)
	return ok
}

func (s *verdictScanner) score(to *float64) (ok bool) {
	*to, ok = s.in.Decimal()
	return ok
}

func (s *verdictScanner) time(to *time.Time) bool {
	quoted, ok := s.in.Quoted()
	return ok && to.UnmarshalJSON(quoted) == nil
}
