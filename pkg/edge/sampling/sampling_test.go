package sampling

import (
	"encoding/json"
	"math"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/answer"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/table"
)

var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const yaml = `kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.gtm.example.], contact: hostmaster.gtm.example., grants: {shop: [shop.gtm.example.]}}
---
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [198.51.100.1]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., rules: [{pools: [eu]}]}
`

// asker asks for one name, as clients in networks.
type asker struct {
	*answer.Answerer
	t *testing.T
}

func newAsker(t *testing.T, view *atomic.Pointer[table.View], samples *answer.Samples) *asker {
	return &asker{answer.New(answer.Config{View: view, ID: "ams1", Seed: 1, Clock: func() uint32 { return 0 }, Samples: samples}), t}
}

func (a *asker) ask(name, network string, times int) {
	a.t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	m.SetEdns0(1232, false)
	p := netip.MustParsePrefix(network)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()),
		Address: p.Addr().AsSlice()})
	packed, err := m.Pack()
	if err != nil {
		a.t.Fatal(err)
	}
	buf, meta := make([]byte, 4096), &answer.Meta{Source: netip.MustParseAddrPort("192.0.2.1:53")}
	for range times {
		if o := a.Answer(buf, copy(buf, packed), meta); o.Kind != answer.Send {
			a.t.Fatalf("%s: %+v", name, o)
		}
		a.Flush()
	}
}

func told(t *testing.T, c *Counter) *demand.Total {
	t.Helper()
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, httptest.NewRequest("GET", "/edge/demand", nil))
	var said api.EdgeDemand
	if err := json.Unmarshal(rec.Body.Bytes(), &said); err != nil || said.Edge != "ams1" || !said.Started.Equal(clock) {
		t.Fatalf("%s: %v", rec.Body, err)
	}
	if err := demand.Check(said.Counts); err != nil {
		t.Fatal(err)
	}
	return demand.Add(clock, []demand.Word{{Edge: said.Edge, At: clock, Data: said.Counts}}).Service("shop", "web")
}

// TestWhatIsCounted: services by countries of clients; those that were not looked at count with those that were; and of many, few are.
func TestWhatIsCounted(t *testing.T) {
	w := views.New(t, 1)
	w.Put(yaml)
	atlas, now := (*geo.Atlas)(nil), clock
	c, err := New(Config{ID: "ams1", Start: clock, Atlas: func() *geo.Atlas { return atlas }, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	a := newAsker(t, &w.View, c.Samples)
	a.ask("web.shop.gtm.example.", "91.198.174.0/24", 10)
	c.take() // nothing is known of places yet
	atlas = views.Atlas(t)
	a.ask("web.shop.gtm.example.", "91.198.174.0/24", 90) // NL
	a.ask("web.shop.gtm.example.", "81.2.69.0/24", 9)     // GB
	a.ask("web.shop.gtm.example.", "10.0.0.0/24", 1)
	a.ask("gtm.example.", "91.198.174.0/24", 50)
	c.take()
	web := told(t, c)
	for country, want := range map[string]float64{"NL": 90, "GB": 9, "": 1} {
		if got := web.Of(demand.CountryOf(country)); got != want {
			t.Errorf("%q: %v queries, want %v", country, got, want)
		}
	}
	now = now.Add(takeEvery)
	const many = 4 * room
	for range many / 8 {
		a.ask("web.shop.gtm.example.", "91.198.174.0/24", 6)
		a.ask("web.shop.gtm.example.", "81.2.69.0/24", 2)
	}
	c.take() // most did not find room
	for range 2 * many / 8 {
		a.ask("web.shop.gtm.example.", "91.198.174.0/24", 6)
		a.ask("web.shop.gtm.example.", "81.2.69.0/24", 2)
	}
	before := told(t, c).Samples
	now = now.Add(takeEvery)
	c.take()
	now = now.Add(takeEvery)
	web = told(t, c)
	if all := 100.0 + 3*many; math.Abs(web.Queries-all) > 0.02*all || math.Abs(web.Of(demand.CountryOf("GB"))/web.Queries-0.25) > 0.03 {
		t.Errorf("%v queries, %v of them of GB, want %v", web.Queries, web.Of(demand.CountryOf("GB")), all)
	}
	if n := web.Samples - before; n < 0.4*room || n > 0.6*room { // one in 16
		t.Errorf("%v samples of the second part", n)
	}
}

// TestCountsFadeWithoutControl: they faded when somebody asked for them, and after days without control the last minute had faded like the
// first one.
func TestCountsFadeWithoutControl(t *testing.T) {
	w := views.New(t, 1)
	w.Put(yaml)
	atlas, now := views.Atlas(t), clock
	c, err := New(Config{ID: "ams1", Start: clock, Atlas: func() *geo.Atlas { return atlas }, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	a := newAsker(t, &w.View, c.Samples)
	a.ask("web.shop.gtm.example.", "91.198.174.0/24", 1000) // NL
	c.take()
	for range 3 * 24 * 60 {
		now = now.Add(ageEvery)
		c.take()
	}
	a.ask("web.shop.gtm.example.", "81.2.69.0/24", 1000) // GB
	c.take()
	web := told(t, c)
	for country, want := range map[string]float64{"NL": 1000 * math.Exp(-3), "GB": 1000} {
		if got := web.Of(demand.CountryOf(country)); math.Abs(got-want) > 1 {
			t.Errorf("%s: %v queries, want %v", country, got, want)
		}
	}
}

func TestHowManyASampleStandsFor(t *testing.T) {
	for queries, want := range map[uint64]uint32{0: 1, 10: 1, 2 * wanted: 2, 1000 * wanted: 1000, 1 << 60: 1 << 20} {
		if got := every(queries); got != want {
			t.Errorf("of %d queries each %d, want %d", queries, got, want)
		}
	}
}
