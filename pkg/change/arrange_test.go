package change

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/spec"
)

// A zone grants its tenant names, the tenant's service stands there, and an alias of the zone leads to it: all at once.
func TestNewAliasesComeLast(t *testing.T) {
	m := newMemStore()
	c := New(Config{Store: m})
	whole := join(zoneWith(toWeb), strings.SplitN(platform, "---\n", 2)[1], shop)
	p := mustPlan(t, c, Input{Put: decode(t, whole)})
	want := "platform@0 create Zone/gtm.example. create Site/fra reads bar,cafe,shop\n" +
		"shop@0 create Pool/eu create Service/web reads platform\n" +
		"platform@1 update Zone/gtm.example. reads bar,cafe,shop\n"
	if diff := cmp.Diff(want, outline(p)); diff != "" {
		t.Error(diff)
	}
	mustApply(t, c, Input{Put: decode(t, whole)})
	if p := mustPlan(t, c, Input{Put: decode(t, whole)}); !p.Empty() {
		t.Errorf("applied again, it still differs: %s", outline(p))
	}
	// An alias that is there stays where a further one waits for a new service of a new tenant.
	more := strings.Replace(zoneWith(toWeb, `{name: more, to: s.new.gtm.example.}`), "{shop:", "{new: [new.gtm.example.], shop:", 1)
	p = mustPlan(t, c, Input{Put: decode(t,
		join(more, poolOf("new", "p", "198.51.100.9"), serviceOf("new", "s", "s.new.gtm.example.", "p")))})
	if len(p.Parts) != 3 {
		t.Fatalf("got %s", outline(p))
	}
	if z := p.Parts[0].Steps[0].new.Spec.(*spec.Zone); len(z.Aliases) != 1 || z.Aliases[0].Name != "@" {
		t.Errorf("at first there are %v", z.Aliases)
	}
	if z := p.Parts[2].Steps[0].new.Spec.(*spec.Zone); len(z.Aliases) != 2 {
		t.Errorf("at last there are %v", z.Aliases)
	}
}
