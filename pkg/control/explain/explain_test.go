package explain

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/table"
)

const world = `kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.gtm.example.], contact: h@gtm.example., grants: {shop: [shop.gtm.example.]}}
---
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [192.0.2.1], weight: 3}, {name: b, addresses: [192.0.2.2]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., rules: [{pools: [eu]}]}
---
kind: Service
tenant: shop
name: rooms
spec: {host: "*.rtc.shop.gtm.example.", rules: [{pools: [eu]}]}
`

func ask(t *testing.T, query ...string) (*api.Explanation, *Error) {
	t.Helper()
	w := views.New(t, 1)
	w.Put(world)
	return of(w.View.Load(), query...)
}

func of(v *table.View, query ...string) (*api.Explanation, *Error) {
	params := map[string]string{}
	for _, q := range query {
		name, value, _ := strings.Cut(q, "=")
		params[name] = value
	}
	return Of(v, "edge fra1", 1, func(name string) string { return params[name] })
}

func TestOf(t *testing.T) {
	x, err := ask(t, "host=web.shop.gtm.example", "subnet=81.2.69.77/24", "type=a", "count=400")
	if err != nil {
		t.Fatal(err)
	}
	if x.Service != "shop/web" || x.Client.Address != "81.2.69.0/24" || x.Client.Source != "subnet" || x.Drawn != 400 ||
		len(x.Pools) != 1 || len(x.Text) == 0 {
		t.Errorf("%+v", x)
	}
	drawn := 0
	for _, e := range x.Pools[0].Endpoints {
		drawn += *e.Drawn
	}
	if drawn != 400 {
		t.Errorf("%d of 400 draws are told of endpoints", drawn)
	}
	if x, err := ask(t, "host=Blue.rtc.shop.gtm.example."); err != nil || x.Host != "Blue.rtc.shop.gtm.example." || len(x.Notes) == 0 {
		t.Errorf("below a wildcard: %+v, %v", x, err)
	}
}

// TestOfTellsWhatIsWrong: each parameter that makes no sense is named, and what would.
func TestOfTellsWhatIsWrong(t *testing.T) {
	const web = "host=web.shop.gtm.example"
	tooMany := strconv.Itoa(api.MostDraws + 1)
	for query, want := range map[string]string{
		"":                                   "no host is given",
		"host=other.shop.gtm.example":        "no service stands at",
		web + " type=AAAA":                   "it has A",
		web + " subnet=81.2.69.0/33":         "neither a network",
		web + " subnet=fe80::1%eth0/64":      "neither a network",
		web + " subnet=x":                    "neither a network",
		web + " resolver=192.0.2.0/24":       "is not an address",
		web + " count=0":                     "is not a number from 1 to",
		web + " count=-5":                    "is not a number from 1 to",
		web + " count=999999999999999999999": "is not a number from 1 to",
		web + " count=" + tooMany:            "is not a number from 1 to",
	} {
		code := http.StatusBadRequest
		if strings.HasPrefix(want, "no service") {
			code = http.StatusNotFound
		}
		if _, err := ask(t, strings.Fields(query)...); err == nil || err.Code != code || !strings.Contains(err.Text, want) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func TestClientOf(t *testing.T) {
	for subnet, want := range map[string]string{
		"81.2.69.77/24":         "81.2.69.0/24",
		"81.2.69.77":            "81.2.69.77/32",
		"::ffff:81.2.69.77":     "81.2.69.77/32",
		"::ffff:81.2.69.77/120": "81.2.69.0/24",
		"2001:db8:1:2::3/48":    "2001:db8:1::/48",
		"2001:db8::1%eth0":      "2001:db8::1/128",
		"0.0.0.0/0":             "-",
		"":                      "-",
	} {
		c, err := clientOf(subnet, "")
		if err != nil {
			t.Errorf("%q: %v", subnet, err)
			continue
		}
		got := "-"
		if c.Has {
			got = c.Subnet.Prefix().String()
		}
		if got != want {
			t.Errorf("%q is %s, want %s", subnet, got, want)
		}
	}
	if c, err := clientOf("81.2.69.0/24", "::ffff:192.0.2.53"); err != nil || c.Resolver.Prefix().String() != "192.0.2.53/32" {
		t.Errorf("resolver %v, %v", c, err)
	}
}
