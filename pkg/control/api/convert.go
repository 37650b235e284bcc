package api

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gti/gtm/pkg/spec"
)

// FromSpec gives a declared resource in the form of the wire, without origin.
func FromSpec(r *spec.Resource) (Resource, error) {
	body, err := r.SpecJSON()
	if err != nil {
		return Resource{}, fmt.Errorf("%s cannot be written as JSON: %w", r.Key, err)
	}
	return Resource{Kind: r.Kind, Tenant: r.Tenant, Name: r.Name, Spec: body, Generation: r.Generation}, nil
}

// ToSpec reads a resource. The error is a spec.Errors, whose faults have the resource's origin as their place.
func (r Resource) ToSpec(mode spec.Mode) (*spec.Resource, error) {
	decoded, err := r.decode(mode)
	var faults spec.Errors
	if errors.As(err, &faults) {
		for _, f := range faults {
			f.Line = 0 // a line of JSON means nothing to anyone
			if r.Origin != nil {
				f.File, f.Line = r.Origin.File, r.Origin.Line
			}
		}
		return nil, faults
	}
	if err != nil {
		return nil, err
	}
	decoded.Generation, decoded.Origin = r.Generation, spec.Origin{}
	if r.Origin != nil {
		decoded.Origin = spec.Origin{File: r.Origin.File, Line: r.Origin.Line}
	}
	return decoded, nil
}

func (r Resource) decode(mode spec.Mode) (*spec.Resource, error) {
	if mode == spec.Strict {
		return spec.DecodeSpec(r.Key(), r.Spec)
	}
	data, err := json.Marshal(struct {
		Kind   spec.Kind       `json:"kind"`
		Tenant string          `json:"tenant"`
		Name   string          `json:"name"`
		Spec   json.RawMessage `json:"spec,omitempty"`
	}{r.Kind, r.Tenant, r.Name, r.Spec})
	if err != nil {
		return nil, spec.Errors{{Resource: r.Key().String(), Field: "spec", Msg: "not valid JSON: " + err.Error()}}
	}
	return spec.DecodeJSON(data, mode)
}

// Issues gives the faults of spec in the form of the wire, spec.MaxErrors at most.
func Issues(faults spec.Errors) []Issue {
	var some spec.Errors
	some.Add(faults...)
	issues := make([]Issue, 0, len(some))
	for _, f := range some {
		issues = append(issues, Issue{File: f.File, Line: f.Line, Resource: f.Resource, Field: f.Field, Message: f.Msg, Hint: f.Hint})
	}
	return issues
}
