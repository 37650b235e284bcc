// Package described reads the API's description of itself, which is OpenAPI 3.1: it makes a page of it for people, and finds what a
// change of it would break for programs.
package described

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// document is what this package reads of an OpenAPI document.
type document struct {
	Info  struct{ Title, Version, Description string }
	Paths map[string]struct {
		Get, Put, Post, Delete, Patch *operation
	}
	Components struct{ Schemas map[string]*schema }
}

type operation struct {
	OperationID, Summary, Description string
	Deprecated                        bool
	Tags                              []string
	Parameters                        []parameter
	RequestBody                       *body
	Responses                         map[string]*body
}

type parameter struct {
	Name, In, Description string
	Required              bool
	Schema                *schema
	Example               json.RawMessage
}

type body struct {
	Description string
	Required    bool
	Content     map[string]struct {
		Schema  *schema
		Example json.RawMessage
	}
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 types
	Format, Description  string
	Properties           map[string]*schema
	Required             []string
	Items                *schema
	AdditionalProperties additional
	Enum                 []json.RawMessage
	Minimum, Maximum     *float64
	MaxLength            *int
}

// types is a type, or several.
type types []string

func (t *types) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = types{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}

// additional is the schema of the values of a mapping; nil: it is no mapping, or one of anything.
type additional struct{ *schema }

func (a *additional) UnmarshalJSON(data []byte) error {
	if string(data) == "true" || string(data) == "false" {
		return nil
	}
	return json.Unmarshal(data, &a.schema)
}

// call is an operation with where it is.
type call struct {
	Method, Path string
	*operation
}

func (c call) String() string { return c.Method + " " + c.Path }

func read(text []byte) (*document, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("this is no OpenAPI document: %w", err)
	}
	return &d, nil
}

// calls lists the operations, by path and method.
func (d *document) calls() []call {
	var all []call
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		p := d.Paths[path]
		for _, c := range []call{{"GET", path, p.Get}, {"PUT", path, p.Put}, {"POST", path, p.Post}, {"PATCH", path, p.Patch},
			{"DELETE", path, p.Delete}} {
			if c.operation != nil {
				all = append(all, c)
			}
		}
	}
	return all
}

// follow gives the schema that a reference leads to, with its name; a schema that is none is given as it is.
func (d *document) follow(s *schema) (*schema, string) {
	if s == nil || s.Ref == "" {
		return s, ""
	}
	name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	return d.Components.Schemas[name], name
}

// text is the types but null, which every reader takes for what is absent.
func (t types) text() string {
	return strings.Join(slices.DeleteFunc(slices.Sorted(slices.Values(t)), func(s string) bool { return s == "null" }), " or ")
}
