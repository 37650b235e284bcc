package main

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) describeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "describe KIND TENANT/NAME",
		Short: "Show a resource with its health, its overrides and who refers to it",
		Example: `  gtmctl describe pool shop/eu
  gtmctl describe service shop/web
  gtmctl describe zone gtm.example`,
		Args:              needArgs(2, 2),
		ValidArgsFunction: a.completeKindThenName,
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := a.kind(c.Context(), args[0])
			if err != nil {
				return err
			}
			key, err := parseName(kind, args[1])
			if err != nil {
				return err
			}
			var d api.Description
			if err := a.call(c.Context(), http.MethodGet, resourcePath(key)+"/describe", nil, nil, &d); err != nil {
				return err
			}
			if a.output == "table" {
				return a.showDescription(&d)
			}
			return a.emit(d, nil)
		},
	}
}

func (a *app) showDescription(d *api.Description) error {
	if err := a.writeManifest([]api.Resource{d.Resource}); err != nil {
		return err
	}
	if o, err := d.ToSpec(spec.Tolerant); err == nil {
		if o, ok := o.Spec.(*spec.Override); ok && o.Ended(a.now()) {
			end, _ := o.Expires.Moment()
			a.printf("\n%s: it ended %s ago, and gives way to the next one of the same\n", a.paint(odd, "expired"), a.age(end))
		}
	}
	a.printf("\nwritten by  %s@%d", d.Tenant, d.Generation)
	if r := d.Record; r != nil {
		a.printf(", %s ago, by %s", a.age(r.Time), orDash(r.Author))
		if r.Message != "" {
			a.printf(": %s", r.Message)
		}
	}
	a.printf("\nrefers to   %s\nused by     %s\n", keys(d.RefersTo), keys(d.ReferredBy))
	for i := range d.Pools {
		a.printf("\n")
		a.showPool(&d.Pools[i])
	}
	if h := d.Health; h != nil && h.StandsStill {
		a.printf("\n%s%s\n", lines(a.healthLine(h)), "what stands above is what was known then")
	}
	return nil
}

func keys(all []spec.Key) string {
	words := make([]string, len(all))
	for i, key := range all {
		words[i] = key.String()
	}
	return orDash(strings.Join(words, ", "))
}
