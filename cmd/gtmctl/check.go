package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/change/lawful"
	"github.com/gti/gtm/pkg/control/files"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) checkCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE|DIR...",
		Short: "Check files without a server (they must be complete by themselves)",
		Long: `Check files without a server: their form, their meaning, what refers to what, and what apply would refuse or
warn of. The files are taken as all there is, so that a pool whose monitor is declared
elsewhere is a fault; gtmctl diff checks against what a server has.`,
		Example: `  gtmctl check zones/
  gtmctl check platform/ shop/`,
		Args: needArgs(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			resources, err := files.Load(args, a.in)
			if err != nil {
				return err
			}
			warnings, err := lawful.Declared(resources)
			warnings.Locate(resources)
			for _, w := range warnings {
				fmt.Fprintf(a.err, "%s: %s\n", a.paint(odd, "warning"), line(w.Error()))
			}
			var faults spec.Errors
			if errors.As(err, &faults) {
				faults.Locate(resources)
				return faults
			}
			a.printf("%s, no faults\n", plural(len(resources), "resource"))
			return nil
		},
	}
}
