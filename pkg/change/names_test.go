package change

import (
	"context"
	"strings"
	"testing"
)

// In the root, looking for the delegation above a service never came to its apex; and the owner of a line was cut at its spaces.
func TestServicesInZonesOfAnyName(t *testing.T) {
	ch, _ := house(t)
	root := "kind: Zone\ntenant: platform\nname: .\nspec: {nameservers: [ns1.gtm.example.], contact: a.b, content: \"away NS " +
		"ns1.gtm.example.\\n\", " +
		"grants: {shop: [free.]}}\n"
	odd := "kind: Zone\ntenant: platform\nname: \"my\\\\032zone\"\nspec: {nameservers: [ns1.gtm.example.], contact: a.b, " +
		"content: \"@ NS ns2.gtm.example.\\n\"}\n"
	p := mustPlan(t, ch, Input{Put: decode(t, join(root, odd, serviceOf("shop", "free", "www.free.", "eu")))})
	mustApply(t, ch, Input{Put: decode(t, join(root, odd, serviceOf("shop", "free", "www.free.", "eu")))})
	warnings := p.Warnings.Error()
	for _, want := range []string{
		`platform/Zone/my\ zone.: name: the name has the letter`, "platform/Zone/.: name: is the root",
		`platform/Zone/my\ zone.: spec.nameservers: is not used: the content has NS records of its own: ns2.gtm.example.`,
	} {
		if !strings.Contains(warnings, want) {
			t.Errorf("no warning has %q:\n%s", want, warnings)
		}
	}
	_, err := ch.Plan(context.Background(), Input{Put: decode(t, serviceOf("platform", "lost", "x.away.", "eu")+"---\n"+poolOf("platform",
		"eu", "198.51.100.7"))})
	if err == nil || !strings.Contains(err.Error(), "x.away. cannot be reached: zone . gives it away by the NS record of away.") {
		t.Errorf("got %v", err)
	}
}

// TestWildcardServices are looked at like those of other names: who has the host, who was granted it, and what the zone says there. Nobody
// leads to what a wildcard makes.
func TestWildcardServices(t *testing.T) {
	const rooms = `"*.Rtc.shop.gtm.example"`
	ch, _ := house(t)
	mustApply(t, ch, Input{Put: decode(t, serviceOf("shop", "rooms", rooms, "eu"))})
	mustApply(t, ch, Input{Put: decode(t, serviceOf("shop", "one", "one.rtc.shop.gtm.example.", "eu"))})
	for what, tc := range map[string]struct{ put, want string }{
		"the same host": {serviceOf("shop", "two", `"*.rtc.shop.gtm.example."`, "eu"),
			"*.rtc.shop.gtm.example. is already steered by shop/Service/rooms"},
		"not granted": {join(poolOf("cafe", "p", "198.51.100.9"), serviceOf("cafe", "s", `"*.rtc2.shop.gtm.example."`, "p")),
			"*.rtc2.shop.gtm.example. is not granted"},
		"an alias to what it makes": {aliasOf("shop", "a", "a.shop.gtm.example.", "x.rtc.shop.gtm.example."),
			"has neither a service nor addresses there"},
		"an alias to the wildcard": {aliasOf("shop", "a", "a.shop.gtm.example.", `"*.rtc.shop.gtm.example."`), `has the letter '*'`},
		"below a delegation":       {serviceOf("shop", "s", `"*.away.shop.gtm.example."`, "eu"), "cannot be reached"},
	} {
		_, err := ch.Plan(context.Background(), Input{Put: decode(t, tc.put)})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
