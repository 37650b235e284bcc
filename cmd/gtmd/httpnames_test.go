package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// TestTheHTTPPortAnswersToItsNames: a page in a browser whose own name leads here (DNS rebinding) could read status and metrics.
func TestTheHTTPPortAnswersToItsNames(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	h := newWebNames("edge1.example:8053", []string{"GTM.example.org."}).only(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	for host, want := range map[string]int{
		"127.0.0.1:8053": 200, "127.0.0.1": 200, "[::1]:8053": 200, "[2001:db8::1]": 200, "localhost": 200, "LOCALHOST.:8053": 200,
		"a.localhost": 200, "gtm.example.org:8053": 200, "gtm.example.org": 200, "edge1.example": 200, own + ":8053": 200, "": 200,
		"evil.example": 421, "evil.example:8053": 421, "gtm.example.org.evil.example": 421, "xlocalhost": 421,
		"127.0.0.1.evil.example": 421,
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Host = host
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != want || want != 200 && !strings.Contains(rec.Body.String(), "--http-name") {
			t.Errorf("%q: %d %s", host, rec.Code, rec.Body)
		}
	}
}

func TestHTTPNamesAreNames(t *testing.T) {
	for _, bad := range []string{"", "http://gtm.example.org", "gtm.example.org:8053", "a b"} {
		f := flags{httpNames: []string{bad}}
		if _, err := f.config(); err == nil || !strings.Contains(err.Error(), "--http-name") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
