package views

import (
	"testing"

	"github.com/gti/gtm/pkg/table/compile"
)

const zone = `kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.gtm.example.], contact: h@gtm.example., grants: {shop: [web.gtm.example.]}}
---
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [192.0.2.1]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.gtm.example., rules: [{pools: [eu]}]}
`

func TestWorld(t *testing.T) {
	w := New(t, 1)
	w.Put(zone)
	if w.View.Load().FindService("web.gtm.example.") == nil || w.Generation != 1 {
		t.Errorf("generation %d serves no web.gtm.example.", w.Generation)
	}
	before := w.View.Load()
	w.Down("shop", "eu", "a")
	if w.View.Load() == before {
		t.Error("a verdict makes no view")
	}
	w.Change(compile.Change{})
}
