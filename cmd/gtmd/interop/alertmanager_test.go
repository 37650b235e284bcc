//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest"
)

const eventfulYAML = `
kind: Tenant
tenant: platform
name: platform
spec:
  events:
    targets: [{name: am, format: alertmanager, url: "http://%[2]s"}, {name: ops, url: %[3]q}]
---
kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.example.net.], contact: hostmaster.gtm.example., grants: {shop: [shop.gtm.example.]}}
---
kind: Monitor
tenant: shop
name: tcp
spec: {type: tcp, port: %[1]s, interval: 1s, timeout: 500ms, rise: 1, fall: 1}
---
kind: Pool
tenant: shop
name: eu
spec: {monitor: tcp, endpoints: [{name: a, addresses: [198.51.100.1], probe: 127.0.0.1}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., rules: [{pools: [eu]}]}
`

// TestAlertmanagerHearsOfAPool: it fires when the pool goes down, and is over when it is up again; a webhook hears of both.
func TestAlertmanagerHearsOfAPool(t *testing.T) {
	at := gtmtest.FreePort(t).String()
	config := writeFile(t, t.TempDir(), "am.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n")
	am := startProcess(t, exec.Command("prometheus-alertmanager", "--web.listen-address="+at, "--cluster.listen-address=",
		"--storage.path="+t.TempDir(), "--config.file="+config))
	hears := make(chan api.Event, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct{ Events []api.Event }
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &m); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		for _, e := range m.Events {
			hears <- e
		}
	}))
	defer hook.Close()
	endpoint, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := endpoint.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	apply := writeFile(t, t.TempDir(), "start.yaml", fmt.Sprintf(eventfulYAML, port, at, hook.URL))
	d := startGtmd(t, t.TempDir(), "--apply", apply, "--probe-allow", "127.0.0.0/8")
	heard := func(kind, to string) {
		t.Helper()
		for {
			select {
			case e := <-hears:
				if e.Kind == kind && e.To == to {
					if kind == api.EventEndpoint && len(e.Vantages) == 0 {
						t.Errorf("no vantage saw it: %+v", e)
					}
					return
				}
			case <-time.After(startTimeout):
				t.Fatalf("the webhook was not told that a %s is %s", kind, to)
			}
		}
	}
	eventually(t, startTimeout, "the endpoint is up, and events are told", func() error {
		for _, line := range []string{"an endpoint is up", "this control tells events"} {
			if !strings.Contains(d.log.String(), line) {
				return &unexpected{[]string{"without", line}}
			}
		}
		return nil
	})
	alerts := func() (names []string) {
		code, body, err := get("http://" + at + "/api/v2/alerts?active=true")
		var list []struct{ Labels map[string]string }
		if err == nil {
			err = json.Unmarshal(body, &list)
		}
		if err != nil || code != http.StatusOK {
			t.Logf("alertmanager: %d, %v: %s", code, err, body)
		}
		for _, a := range list {
			names = append(names, strings.TrimSpace(strings.Join([]string{a.Labels["alertname"], a.Labels["tenant"], a.Labels["pool"],
				a.Labels["endpoint"]}, " ")))
		}
		slices.Sort(names)
		return names
	}
	become := func(want ...string) {
		t.Helper()
		eventually(t, startTimeout, fmt.Sprint("alerts are ", want), func() error {
			if got := alerts(); !slices.Equal(got, want) {
				return &unexpected{got}
			}
			if !am.running() {
				t.Fatal("alertmanager ended")
			}
			return nil
		})
	}
	endpoint.Close()
	heard(api.EventEndpoint, "down")
	heard(api.EventPool, "down")
	become("GtmEndpointDown shop eu a", "GtmPoolDown shop eu")
	if endpoint, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer endpoint.Close()
	heard(api.EventPool, "up")
	become()
}
