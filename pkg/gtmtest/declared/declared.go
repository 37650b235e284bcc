// Package declared reads resources for tests.
package declared

import (
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone"
)

// Resources decodes YAML, and makes the content of zones canonical, as a change does before it is stored. A copy of a zone that has not
// come yet stays empty.
func Resources(t testing.TB, yaml ...string) (all []*spec.Resource) {
	t.Helper()
	for _, text := range yaml {
		resources, err := spec.Decode("test.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resources {
			z, ok := r.Spec.(*spec.Zone)
			if !ok || z.Content == "" && len(z.Primaries) > 0 {
				continue
			}
			defaults := zone.Defaults{Nameservers: z.Effective().Nameservers, Contact: z.Effective().Contact}
			if z.Content, _, err = zone.Canonical(r.Name, r.Name, z.Content, defaults); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, resources...)
	}
	return all
}
