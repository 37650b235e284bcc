package described

import (
	"fmt"
	"maps"
	"slices"
)

// Breaking compares two OpenAPI documents of the API, and lists what programs that were written for the old one find broken by the new one,
// sorted: operations, parameters and fields that are gone, that have another type, that must be given now, or that take less; and of
// replies fields that are gone, have another type, or may be absent now. What is new in a reply breaks nobody: clients take what they do
// not know for absent.
func Breaking(old, now []byte) ([]string, error) {
	was, err := read(old)
	if err != nil {
		return nil, err
	}
	is, err := read(now)
	if err != nil {
		return nil, err
	}
	c := comparison{was: was, is: is, seen: map[[2]string]bool{}}
	calls := map[string]call{}
	for _, one := range is.calls() {
		calls[one.String()] = one
	}
	for _, before := range was.calls() {
		after, there := calls[before.String()]
		if !there {
			c.add("%s is gone", before)
			continue
		}
		c.call(before, after)
	}
	slices.Sort(c.found)
	return slices.Compact(c.found), nil
}

type comparison struct {
	was, is *document
	found   []string
	seen    map[[2]string]bool // pairs of named schemas, with which way they go
}

func (c *comparison) add(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

func (c *comparison) call(before, after call) {
	params := map[string]parameter{}
	for _, p := range after.Parameters {
		params[p.In+" "+p.Name] = p
	}
	for _, p := range before.Parameters {
		key, where := p.In+" "+p.Name, fmt.Sprintf("%s: parameter %s", before, p.Name)
		now, there := params[key]
		delete(params, key)
		switch {
		case !there:
			c.add("%s is gone", where)
		case now.Required && !p.Required:
			c.add("%s must be given now", where)
		default:
			c.schema(where, p.Schema, now.Schema, true)
		}
	}
	for _, p := range params {
		if p.Required {
			c.add("%s: parameter %s is new and must be given", before, p.Name)
		}
	}
	c.requests(before, after)
	for _, code := range slices.Sorted(maps.Keys(before.Responses)) {
		if code[0] != '2' {
			continue
		}
		now := after.Responses[code]
		if now == nil {
			c.add("%s: it answers %s no more", before, code)
			continue
		}
		c.contents(fmt.Sprintf("%s: reply", before), before.Responses[code], now, false)
	}
}

func (c *comparison) requests(before, after call) {
	switch {
	case before.RequestBody == nil && after.RequestBody != nil && after.RequestBody.Required:
		c.add("%s: a body must be given now", before)
	case before.RequestBody != nil && after.RequestBody == nil:
		c.add("%s: it takes no body any more", before)
	case before.RequestBody != nil:
		if after.RequestBody.Required && !before.RequestBody.Required {
			c.add("%s: a body must be given now", before)
		}
		c.contents(fmt.Sprintf("%s: body", before), before.RequestBody, after.RequestBody, true)
	}
}

func (c *comparison) contents(where string, before, after *body, sent bool) {
	for _, media := range slices.Sorted(maps.Keys(before.Content)) {
		now, there := after.Content[media]
		if !there {
			c.add("%s: it is %s no more", where, media)
			continue
		}
		c.schema(where, before.Content[media].Schema, now.Schema, sent)
	}
}

// schema compares what is sent to the API, or what it replies.
func (c *comparison) schema(where string, before, after *schema, sent bool) {
	before, name := c.was.follow(before)
	after, nowName := c.is.follow(after)
	if before == nil || after == nil {
		if before != nil {
			c.add("%s is no longer described", where)
		}
		return
	}
	if name != "" {
		key := [2]string{name + fmt.Sprint(sent), nowName}
		if c.seen[key] {
			return
		}
		c.seen[key], where = true, name
	}
	if was, is := before.Type.text(), after.Type.text(); was != is || before.Format != after.Format {
		c.add("%s: it was %s, and is %s", where, kindOf(before), kindOf(after))
		return
	}
	c.values(where, before, after, sent)
	c.properties(where, before, after, sent)
	c.schema(where+"[]", before.Items, after.Items, sent)
	c.schema(where+".*", before.AdditionalProperties.schema, after.AdditionalProperties.schema, sent)
}

func kindOf(s *schema) string {
	if s.Format == "" {
		return "of type " + s.Type.text()
	}
	return fmt.Sprintf("of type %s (%s)", s.Type.text(), s.Format)
}

// values finds what is taken no more.
func (c *comparison) values(where string, before, after *schema, sent bool) {
	if !sent {
		return
	}
	allowed := map[string]bool{}
	for _, v := range after.Enum {
		allowed[string(v)] = true
	}
	for _, v := range before.Enum {
		if len(after.Enum) > 0 && !allowed[string(v)] {
			c.add("%s: %s is taken no more", where, v)
		}
	}
	if len(before.Enum) == 0 && len(after.Enum) > 0 {
		c.add("%s: only some values are taken now", where)
	}
	raised := after.Minimum != nil && (before.Minimum == nil || *after.Minimum > *before.Minimum)
	if raised || less(after.Maximum, before.Maximum) || shorter(after.MaxLength, before.MaxLength) {
		c.add("%s: it takes less than before", where)
	}
}

// less reports whether a bound from above is below another; nil is none.
func less(a, b *float64) bool { return a != nil && (b == nil || *a < *b) }

func shorter(a, b *int) bool { return a != nil && (b == nil || *a < *b) }

func (c *comparison) properties(where string, before, after *schema, sent bool) {
	for _, field := range slices.Sorted(maps.Keys(before.Properties)) {
		now, there := after.Properties[field]
		must, mustNow := slices.Contains(before.Required, field), slices.Contains(after.Required, field)
		switch {
		case !there:
			c.add("%s: field %s is gone", where, field)
			continue
		case sent && mustNow && !must:
			c.add("%s: field %s must be given now", where, field)
		case !sent && must && !mustNow:
			c.add("%s: field %s may be absent now", where, field)
		}
		c.schema(where+"."+field, before.Properties[field], now, sent)
	}
	for _, field := range after.Required {
		if sent && before.Properties[field] == nil {
			c.add("%s: field %s is new and must be given", where, field)
		}
	}
}
