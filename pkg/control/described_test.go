package control

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/described"
)

// release takes the present description of the API as the last released one.
var release = flag.Bool("release", false, "what the API says of itself now is what it said in the last release")

const released = "described/released/v1.json"

// TestTheAPIBreaksNobody: what programs were written for by the last released description of the API still is. With -release it becomes the
// last one, unless it breaks that before it.
func TestTheAPIBreaksNobody(t *testing.T) {
	rec := open(newWorld(t), "/v1/openapi.json")
	old, err := os.ReadFile(released)
	if err != nil {
		t.Fatal(err)
	}
	found, err := described.Breaking(old, rec.Body.Bytes())
	if err != nil || len(found) > 0 {
		t.Fatalf("%v; what programs use is broken:\n%s\nkeep the old form beside the new one: docs/api.md", err, strings.Join(found, "\n"))
	}
	if *release {
		var doc any
		_ = json.Unmarshal(rec.Body.Bytes(), &doc)
		text, _ := json.MarshalIndent(doc, "", " ")
		if err := os.WriteFile(released, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// open asks without a token.
func open(w *world, path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec
}

// TestThePageOfTheAPI: it is for everybody, has each operation, and loads nothing.
func TestThePageOfTheAPI(t *testing.T) {
	w := newWorld(t)
	rec := open(w, "/v1/docs")
	page := rec.Body.String()
	if rec.Code != http.StatusOK || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") ||
		rec.Header().Get("Content-Security-Policy") != described.Policy {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	for _, loads := range []string{"<script", "src=", "<link", "@import", "url(", "http://", "https://"} {
		if strings.Contains(page, loads) {
			t.Errorf("the page has %s", loads)
		}
	}
	var doc struct {
		Paths map[string]map[string]struct{ OperationID, Summary string }
	}
	if err := json.Unmarshal(open(w, "/v1/openapi.json").Body.Bytes(), &doc); err != nil || len(doc.Paths) < 30 {
		t.Fatal(len(doc.Paths), err)
	}
	for path, item := range doc.Paths {
		for method, op := range item {
			if !strings.Contains(page, `id="`+op.OperationID+`"`) || op.Summary == "" {
				t.Errorf("%s %s is not on the page, or has no summary", method, path)
			}
		}
	}
}

// TestExamplesAreTaken: each operation that takes a body shows one, and that is well formed: what is at fault with it at most is that this
// small world lacks what it names.
func TestExamplesAreTaken(t *testing.T) {
	w := newWorld(t)
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			RequestBody *struct {
				Content map[string]struct{ Example json.RawMessage }
			}
		}
	}
	if err := json.Unmarshal(open(w, "/v1/openapi.json").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{tenant}", "shop", "{pool}", "eu", "{service}", "web", "{endpoint}", "a",
		"{zone}", "example.", "{source}", "own", "{action}", "pause")
	left := described.Examples()
	for path, item := range doc.Paths {
		for method, op := range item {
			if op.RequestBody == nil {
				continue
			}
			example := op.RequestBody.Content["application/json"].Example
			if delete(left, op.OperationID); len(example) == 0 || string(example) == "null" {
				t.Errorf("%s has no example: add one to described/examples.json", op.OperationID)
				continue
			}
			rec := w.ask(t, strings.ToUpper(method), fill.Replace(path), string(example), nil)
			var p api.Problem
			_ = json.Unmarshal(rec.Body.Bytes(), &p)
			malformed := rec.Code == http.StatusBadRequest || rec.Code == http.StatusUnprocessableEntity && len(p.Errors) == 0
			for _, e := range p.Errors {
				malformed = malformed || e.Resource == "" || op.OperationID == "apply"
			}
			if malformed {
				t.Errorf("%s: %d %s", op.OperationID, rec.Code, rec.Body)
			}
		}
	}
	for id := range left {
		t.Errorf("there is no operation %s, which takes a body", id)
	}
}
