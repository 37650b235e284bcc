package change

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/spec"
)

func zoneWith(aliases ...string) string {
	return strings.TrimSuffix(platform[:strings.Index(platform, "---")], "\n") + "\n  aliases: [" + strings.Join(aliases, ", ") + "]\n"
}

const toWeb = `{name: "@", to: web.shop.gtm.example.}`

func aliasOf(tenant, name, host, to string) string {
	return "kind: Service\ntenant: " + tenant + "\nname: " + name + "\nspec: {host: " + host + ", alias: {to: " + to + "}}\n"
}

func TestAliasesThatAreLawful(t *testing.T) {
	for name, put := range map[string]string{
		"the apex to a service":  zoneWith(toWeb),
		"to content":             zoneWith(`{name: www, to: static.shop.gtm.example.}`),
		"outside":                zoneWith(`{name: www, to: www.cdn.example., by: country}`),
		"below a delegation":     zoneWith(`{name: www, to: x.away.shop.gtm.example.}`),
		"of a service":           aliasOf("shop", "www", "www.shop.gtm.example.", "WEB.shop.gtm.example"),
		"the platform's service": aliasOf("platform", "www", "www.gtm.example.", "web.shop.gtm.example."),
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := house(t)
			mustApply(t, c, Input{Put: decode(t, put)})
		})
	}
}

func TestAliasErrors(t *testing.T) {
	cafe := join(poolOf("cafe", "p", "198.51.100.9"), serviceOf("cafe", "s", "s.cafe.gtm.example.", "p"))
	for _, c := range []struct{ name, before, put, del, want string }{
		{"to nothing", "", zoneWith(`{name: www, to: nothing.gtm.example.}`), "",
			"c.yaml:14: platform/Zone/gtm.example.: spec.aliases: www.gtm.example. leads to nothing.gtm.example., but zone gtm.example. " +
				"has neither a service nor addresses there; correct the alias, or change it first where it is not yours"},
		{"to a name without addresses", "", aliasOf("shop", "s", "s.shop.gtm.example.", "mail.shop.gtm.example."), "",
			"c.yaml:4: shop/Service/s: spec.alias.to: s.shop.gtm.example. leads to mail.shop.gtm.example., but zone gtm.example. has " +
				"neither a service nor addresses there; correct the alias, or change it first where it is not yours"},
		{"the end is taken away", zoneWith(toWeb), "", "shop/Service/web",
			"platform/Zone/gtm.example.: spec.aliases: gtm.example. leads to web.shop.gtm.example., but zone gtm.example. has neither a " +
				"service nor addresses there; correct the alias, or change it first where it is not yours"},
		{"the end moves", zoneWith(toWeb), serviceOf("shop", "web", "other.shop.gtm.example.", "eu"), "",
			"platform/Zone/gtm.example.: spec.aliases: gtm.example. leads to web.shop.gtm.example., but zone gtm.example. has neither a " +
				"service nor addresses there; correct the alias, or change it first where it is not yours"},
		{"beside a CNAME", "", zoneWith(`{name: alias.shop, to: web.shop.gtm.example.}`), "",
			"c.yaml:14: platform/Zone/gtm.example.: spec.aliases: zone gtm.example. has a CNAME at alias.shop.gtm.example.; remove one " +
				"of the two"},
		{"of another tenant", "", join(cafe, aliasOf("cafe", "a", "a.cafe.gtm.example.", "web.shop.gtm.example.")), "",
			"c.yaml:14: cafe/Service/a: spec.alias.to: web.shop.gtm.example. is steered by shop/Service/web: an alias of a service leads " +
				"to services of its own tenant; have the tenant platform put the alias into the zone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch, _ := house(t)
			if c.before != "" {
				mustApply(t, ch, Input{Put: decode(t, c.before)})
			}
			in := Input{Put: decode(t, c.put)}
			for k := range strings.FieldsSeq(c.del) {
				in.Delete = append(in.Delete, key(k))
			}
			_, err := ch.Plan(context.Background(), in)
			if _, ok := err.(spec.Errors); !ok {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAliasAndItsEndInOneChange(t *testing.T) {
	c, _ := house(t)
	p := mustPlan(t, c, Input{Put: decode(t,
		join(zoneWith(`{name: new, to: new.shop.gtm.example.}`), serviceOf("shop", "new", "new.shop.gtm.example.", "eu")))})
	if _, err := c.Apply(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	want := "shop@1 create Service/new reads platform\nplatform@1 update Zone/gtm.example. reads bar,cafe,shop\n"
	if diff := cmp.Diff(want, outline(p)); diff != "" {
		t.Error(diff)
	}
	gone := mustPlan(t, c, Input{Put: decode(t, zoneWith()), Delete: []spec.Key{key("shop/Service/new")}})
	if _, err := c.Apply(context.Background(), gone); err != nil {
		t.Fatal(err)
	}
}
