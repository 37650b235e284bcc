package control

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/keys"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// fakeKeys has one signed zone, which ds-gone gives up.
type fakeKeys struct {
	kept  map[string]dnssec.Keyset
	asked []string
	err   error
	gone  bool
}

func (f *fakeKeys) Status() []api.SignedZone {
	if f.gone {
		return []api.SignedZone{}
	}
	return []api.SignedZone{{Zone: "example.", State: api.ZoneSigned, Serial: 7, Keys: []api.ZoneKey{}}}
}

func (f *fakeKeys) Roll(_ context.Context, zone string, ksk bool) error {
	f.asked = append(f.asked, "roll "+zone+map[bool]string{true: " ksk"}[ksk])
	return f.err
}

func (f *fakeKeys) DSSeen(_ context.Context, zone string) error {
	f.asked = append(f.asked, "seen "+zone)
	return f.err
}

func (f *fakeKeys) DSGone(_ context.Context, zone string) error {
	f.asked, f.gone = append(f.asked, "gone "+zone), f.err == nil
	return f.err
}

func (f *fakeKeys) Kept() (map[string]dnssec.Keyset, error) { return f.kept, f.err }

func TestKeys(t *testing.T) {
	w, f := newWorld(t), &fakeKeys{}
	p := problem(t, w.ask(t, "GET", "/v1/dnssec", nil, nil), http.StatusNotFound)
	if !strings.Contains(p.Detail, "no keys") {
		t.Errorf("without keys: %+v", p)
	}
	problem(t, w.ask(t, "POST", "/v1/dnssec/example./roll", `{}`, nil), http.StatusNotFound)
	w.cfg.Keys = f
	var all api.SignedZones
	w.ask(t, "GET", "/v1/dnssec", nil, &all)
	var one api.SignedZone
	w.ask(t, "GET", "/v1/dnssec/EXAMPLE", nil, &one)
	if len(all.Zones) != 1 || one.Serial != 7 {
		t.Errorf("all %+v, one %+v", all, one)
	}
	p = problem(t, w.ask(t, "GET", "/v1/dnssec/exampel.", nil, nil), http.StatusNotFound)
	if !strings.Contains(p.Detail, "did you mean example.?") {
		t.Errorf("another name: %+v", p)
	}
	w.ask(t, "POST", "/v1/dnssec/example/roll", api.RollRequest{KSK: true}, &one)
	w.ask(t, "POST", "/v1/dnssec/example./roll", api.RollRequest{}, &one)
	w.ask(t, "POST", "/v1/dnssec/example./ds-seen", nil, &one)
	f.err = &keys.RefusedError{Zone: "example.", Err: errors.New("not now")}
	p = problem(t, w.ask(t, "POST", "/v1/dnssec/example./ds-gone", nil, nil), http.StatusConflict)
	if p.Detail != "example.: not now" {
		t.Errorf("refused: %+v", p)
	}
	f.err = errors.New("etcd is away")
	problem(t, w.ask(t, "POST", "/v1/dnssec/example./ds-gone", nil, nil), http.StatusServiceUnavailable)
	f.err = nil
	w.ask(t, "POST", "/v1/dnssec/example./ds-gone", nil, &one)
	if one.State != api.ZoneUnsigned {
		t.Errorf("given up: %+v", one)
	}
	want := "roll example. ksk,roll example.,seen example.,gone example.,gone example.,gone example."
	if got := strings.Join(f.asked, ","); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}
