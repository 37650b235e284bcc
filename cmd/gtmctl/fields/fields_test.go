package fields

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

// untold are those that control alone writes.
var untold = map[string]bool{"Zone.memberOf": true, "Zone.expired": true}

// TestEveryFieldIsTold: walking down from each kind, there is something to say of each field, of what it is in, or of what it has.
func TestEveryFieldIsTold(t *testing.T) {
	seen := map[string]bool{}
	var walk func(kind spec.Kind, path []string)
	walk = func(kind spec.Kind, path []string) {
		f, err := Explain(kind, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, sub := range f.Fields {
			seen[sub.Path] = true
			next := strings.Split(sub.Path, ".")[1:]
			inside, err := Explain(kind, next)
			if err != nil {
				t.Fatal(err)
			}
			told := sub.Meaning != "" || sub.With != "" || slices.ContainsFunc(inside.Fields, func(f Field) bool { return f.Meaning != "" })
			if told == untold[sub.Path] {
				t.Errorf("%s: %q, with %q", sub.Path, sub.Meaning, sub.With)
			}
			if len(next) < 5 {
				walk(kind, next)
			}
		}
	}
	for _, kind := range spec.Kinds {
		if f, err := Explain(kind, nil); err != nil || len(f.Fields) == 0 || !strings.Contains(f.Example, "kind: "+string(kind)) {
			t.Errorf("%s: %+v, %v", kind, f, err)
		}
		walk(kind, nil)
	}
	for path := range untold {
		if !seen[path] {
			t.Errorf("%s is no field", path)
		}
	}
}

func TestExplain(t *testing.T) {
	f, err := Explain(spec.KindService, []string{"spec", "rules[0]", "ttl"})
	if err != nil || !strings.HasPrefix(f.Meaning, "of the answers of this rule's pools") || f.Type != "duration" ||
		f.Path != "Service.rules.ttl" {
		t.Errorf("the ttl of a rule: %+v, %v", f, err)
	}
	if f, err = Explain(spec.KindService, []string{"ttl"}); err != nil || f.Default != "30s" || f.Limits != "0s to 2147483647s" {
		t.Errorf("the ttl of a service: %+v, %v", f, err)
	}
	if f, err = Explain(spec.KindZone, []string{"dnssec", "algorithm"}); err != nil || f.Default != "ecdsa-p256" {
		t.Errorf("the algorithm of a zone: %+v, %v", f, err)
	}
	var unknown *UnknownError
	if _, err = Explain(spec.KindPool, []string{"endpoints", "adresses"}); !errors.As(err, &unknown) || unknown.Near != "addresses" ||
		unknown.Path != "Pool.endpoints" {
		t.Errorf("got %v", err)
	}
	if _, err = Explain(spec.KindPool, []string{"site", "x"}); !errors.As(err, &unknown) || unknown.Path != "Pool.site" {
		t.Errorf("got %v", err)
	}
}
