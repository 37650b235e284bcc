package control

import (
	"net/http"
	"testing"
)

// TestADeletionIsOfTheVersionThatWasRead, where If-Match says so.
func TestADeletionIsOfTheVersionThatWasRead(t *testing.T) {
	w := newWorld(t)
	const path = "/v1/resources/shop/Pool/eu"
	tag := w.ask(t, "GET", path, nil, nil).Header().Get("ETag")
	for match, status := range map[string]int{`"shop@1"`: http.StatusConflict, `"shop@x"`: http.StatusBadRequest,
		`"cafe@1"`: http.StatusBadRequest, `shop@1`: http.StatusBadRequest} {
		problem(t, w.askWith(t, "DELETE", path, "If-Match", match), status)
	}
	for _, match := range []string{tag, "*"} {
		if rec := w.askWith(t, "DELETE", path+"?dryRun=true", "If-Match", match); match == "" || rec.Code == http.StatusConflict ||
			rec.Code == http.StatusBadRequest {
			t.Errorf("If-Match %s: %d %s", match, rec.Code, rec.Body)
		}
	}
}
