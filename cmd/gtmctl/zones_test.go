package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
)

// granting is a control that knows who asks, and what it grants; nil: it is too old to tell.
func granting(roles map[string]string, heads map[string]uint64, granted map[string][]api.GrantedZone) http.Handler {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	mux.HandleFunc("GET /v1/resources", func(w http.ResponseWriter, _ *http.Request) {
		say(w, api.ResourceList{Resources: []api.Resource{}, Heads: heads})
	})
	mux.HandleFunc("GET /v1/whoami", func(w http.ResponseWriter, _ *http.Request) { say(w, api.Whoami{Name: "x", Roles: roles}) })
	if granted != nil {
		mux.HandleFunc("GET /v1/tenants/{tenant}/zones", func(w http.ResponseWriter, r *http.Request) {
			say(w, api.GrantedZones{Zones: granted[r.PathValue("tenant")]})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		say(w, api.Problem{Title: "Not Found", Status: http.StatusNotFound, Detail: "there is no GET " + r.URL.Path})
	})
	return mux
}

// runAt runs a command against a control.
func runAt(t *testing.T, control http.Handler, args ...string) (code int, out, errs string) {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a-token-for-tests-only\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(control)
	defer web.Close()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), world{in: strings.NewReader(""), out: &stdout, err: &stderr, getenv: func(string) string { return "" },
		now: time.Now}, append(args, "--server", web.URL, "--token-file", token))
	return code, stdout.String(), stderr.String()
}

// TestGetZonesTellsWhatIsGranted: to those with a role in a tenant, or in every tenant. There are none where control is too old to tell.
func TestGetZonesTellsWhatIsGranted(t *testing.T) {
	granted := map[string][]api.GrantedZone{"shop": {{Zone: "gtm.example.", Names: []string{"shop.gtm.example."}}},
		"cafe": {{Zone: "gtm.example.", Names: []string{"cafe.gtm.example."}}}}
	many := map[string]uint64{}
	for i := range mostAsked + 7 {
		many[fmt.Sprintf("t%03d", i)] = 1
	}
	for name, c := range map[string]struct {
		roles           map[string]string
		heads           map[string]uint64
		granted         map[string][]api.GrantedZone
		args            []string
		want, wantOnErr string
	}{
		"a tenant's": {roles: map[string]string{"shop": "viewer"}, granted: granted, want: "shop.gtm.example."},
		"everybody's": {roles: map[string]string{"*": "viewer"}, heads: map[string]uint64{"cafe": 1}, granted: granted,
			want: "cafe.gtm.example."},
		"too old":         {roles: map[string]string{"shop": "viewer"}, wantOnErr: "there are none"},
		"too old, tenant": {args: []string{"--tenant", "shop"}, wantOnErr: "there are none"},
		"many":            {roles: map[string]string{"*": "viewer"}, heads: many, granted: granted, wantOnErr: "and not of 7 more"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := runAt(t, granting(c.roles, c.heads, c.granted), append([]string{"get", "zones"}, c.args...)...)
			if code != exitOK || !strings.Contains(out, c.want) || !strings.Contains(errs, c.wantOnErr) {
				t.Errorf("ended with %d: %s%s", code, out, errs)
			}
		})
	}
}

// TestInitPinsWhatItSaw: what others make between the look at what is there and the change is not replaced.
func TestInitPinsWhatItSaw(t *testing.T) {
	var sent []api.ApplyRequest
	mux := http.NewServeMux()
	mux.Handle("/", granting(map[string]string{"platform": "admin"}, map[string]uint64{"me": 7}, nil))
	mux.HandleFunc("POST /v1/apply", func(w http.ResponseWriter, r *http.Request) {
		var in api.ApplyRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		sent = append(sent, in)
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(api.Problem{Title: "Conflict", Status: http.StatusConflict, Detail: "me is at 8"})
	})
	file := filepath.Join(t.TempDir(), "web.yaml")
	code, _, errs := runAt(t, mux, "init", file, "--zone", "example.org", "--tenant", "me", "--host", "www.example.org", "--pool", "eu=::1",
		"--pool", "us=::2", "--check", "none", "--edge", "::1", "--yes")
	if code != exitFail || !strings.Contains(errs, "me is at 8") || !strings.Contains(errs, "is kept") {
		t.Errorf("ended with %d: %s", code, errs)
	}
	want := map[string]uint64{"me": 7, "platform": 0}
	if len(sent) != 1 || !maps.Equal(sent[0].Expect, want) {
		t.Errorf("sent was %+v", sent)
	}
}
