package api

import (
	"fmt"
	"strings"
)

// Problem is an error of the API, in the form of RFC 9457 (application/problem+json).
type Problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Errors are all faults that were found, each with its place.
	Errors []Issue `json:"errors,omitempty"`
	// Pending is the change, which waits for a second person now.
	Pending *Pending `json:"pending,omitempty"`
}

// Issue is one fault (or one warning): where, what, and what to do.
type Issue struct {
	// File and Line are those of the resource's Origin.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Resource is the key as text, tenant/Kind/name.
	Resource string `json:"resource,omitempty"`
	// Field is the path in the resource, as in spec.rules[0].pools[1].
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Location is the path in the request, where the request itself is malformed.
	Location string `json:"location,omitempty"`
}

// Error gives the detail, and each issue on a line of its own.
func (p *Problem) Error() string {
	lines := make([]string, 0, len(p.Errors)+1)
	if p.Detail != "" {
		lines = append(lines, p.Detail)
	} else if len(p.Errors) == 0 {
		lines = append(lines, p.Title)
	}
	for _, issue := range p.Errors {
		lines = append(lines, issue.String())
	}
	return strings.Join(lines, "\n")
}

// GetStatus gives the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes JSON the problem type of RFC 9457, section 3.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// String gives "file:line: field: message; hint", without what is absent.
func (i Issue) String() string {
	var b strings.Builder
	switch {
	case i.File != "" && i.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", i.File, i.Line)
	case i.File != "":
		fmt.Fprintf(&b, "%s: ", i.File)
	}
	if i.Resource != "" {
		b.WriteString(i.Resource + ": ")
	}
	if i.Field != "" {
		b.WriteString(i.Field + ": ")
	} else if i.Location != "" {
		b.WriteString(i.Location + ": ")
	}
	b.WriteString(i.Message)
	if i.Hint != "" {
		b.WriteString("; " + i.Hint)
	}
	return b.String()
}
