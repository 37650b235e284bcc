package described

import (
	"slices"
	"strings"
	"testing"
)

const before = `{"openapi": "3.1.0", "info": {"title": "gtm", "version": "1"}, "paths": {
 "/v1/a/{id}": {
  "get": {"operationId": "get-a", "parameters": [
    {"name": "id", "in": "path", "required": true, "schema": {"type": "string", "maxLength": 63}},
    {"name": "kind", "in": "query", "schema": {"type": "string", "enum": ["x", "y"]}}],
   "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}},
    "401": {}}},
  "post": {"operationId": "put-a", "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/In"}}}},
   "responses": {"200": {}}}}},
 "components": {"schemas": {
  "A": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "size": {"type": "integer", "format": "int64"},
    "more": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/A"}}}},
  "In": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 0, "maximum": 9},
    "of": {"type": "object", "additionalProperties": {"type": "string"}}}}}}}`

// TestBreaking changes a description in each way, and says what programs find.
func TestBreaking(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"", "", ""},
		{`"/v1/a/{id}"`, `"/v2/a/{id}"`, "GET /v1/a/{id} is gone\nPOST /v1/a/{id} is gone"},
		{`"name": "kind"`, `"name": "kinds"`, "GET /v1/a/{id}: parameter kind is gone"},
		{`"name": "kind", "in": "query"`, `"name": "kind", "in": "query", "required": true`,
			"GET /v1/a/{id}: parameter kind must be given now"},
		{`"enum": ["x", "y"]`, `"enum": ["x"]`, `GET /v1/a/{id}: parameter kind: "y" is taken no more`},
		{`"enum": ["x", "y"]`, `"enum": ["x", "y", "z"]`, ""},
		{`"enum": ["x", "y"]`, `"format": "text"`, "GET /v1/a/{id}: parameter kind: it was of type string, and is of type string (text)"},
		{`"maxLength": 63`, `"maxLength": 62`, "GET /v1/a/{id}: parameter id: it takes less than before"},
		{`"maxLength": 63`, `"maxLength": 64`, ""},
		{`"200": {"content"`, `"204": {"content"`, "GET /v1/a/{id}: it answers 200 no more"},
		{`"401": {}`, `"403": {}`, ""},
		{`"required": ["name"], `, ``, "A: field name may be absent now"},
		{`"required": ["name"]`, `"required": ["name", "size"]`, ""},
		{`"size": {"type": "integer", "format": "int64"},`, ``, "A: field size is gone"},
		{`"size": {"type": "integer", "format": "int64"}`, `"size": {"type": "string"}`,
			"A.size: it was of type integer (int64), and is of type string"},
		{`["array", "null"]`, `"array"`, ""},
		{`"minimum": 0, `, ``, ""},
		{`"minimum": 0`, `"minimum": 1`, "In.size: it takes less than before"},
		{`"maximum": 9`, `"maximum": 8`, "In.size: it takes less than before"},
		{`"maximum": 9`, `"maximum": 10`, ""},
		{`"In": {"type": "object", `, `"In": {"type": "object", "required": ["size"], `, "In: field size must be given now"},
		{`"of": {"type": "object", "additionalProperties": {"type": "string"}}`, `"off": {"type": "string"}`, "In: field of is gone"},
		{`"additionalProperties": {"type": "string"}`, `"additionalProperties": {"type": "boolean"}`,
			"In.of.*: it was of type string, and is of type boolean"},
		{`"requestBody": {"content"`, `"requestBody": {"required": true, "content"`, "POST /v1/a/{id}: a body must be given now"},
		{`"put-a", "requestBody": {"content": {"application/json"`, `"put-a", "requestBody": {"content": {"text/yaml"`,
			"POST /v1/a/{id}: body: it is application/json no more"},
	} {
		now := before
		if c.old != "" {
			if now = strings.Replace(before, c.old, c.new, 1); now == before {
				t.Fatalf("%s is not there", c.old)
			}
		}
		got, err := Breaking([]byte(before), []byte(now))
		if err != nil || strings.Join(got, "\n") != c.want {
			t.Errorf("%s for %s:\n%s, %v\nwant\n%s", c.new, c.old, strings.Join(got, "\n"), err, c.want)
		}
	}
	if got, err := Breaking([]byte(before), []byte("no")); err == nil {
		t.Errorf("%v of what is no document", got)
	}
}

// TestPage: what is said stands on the page, and what is described by others cannot break out of it.
func TestPage(t *testing.T) {
	hostile := strings.Replace(before, `"operationId": "get-a"`, `"operationId": "get-a", "summary": "<script>alert(1)</script>"`, 1)
	page, err := Page([]byte(hostile))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`id="get-a"`, "/v1/a/{id}", `<a href="#schema-A">A</a>`, "list of A", "mapping to string", "x, y",
		"(required)", "&lt;script&gt;"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%s is not on the page", want)
		}
	}
	if strings.Contains(string(page), "<script") {
		t.Error("a summary is taken for a script")
	}
	if !slices.Equal([]string{groupOf("/v1/a/{id}"), groupOf("/x")}, []string{"a", "x"}) {
		t.Error("groups")
	}
}
