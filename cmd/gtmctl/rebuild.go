package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) rebuildCmd() *cobra.Command {
	var paths []string
	var dryRun, wait, drop bool
	var message string
	c := &cobra.Command{
		Use:   "rebuild [-f FILE|DIR|-]",
		Short: "Fill an empty or restored store from files, and let the edges take it when it is whole",
		Long: `Fill a store that is empty, or older than what edges serve, from files, and let the edges take it when it is whole.
Until then they go on with what they have; so do control and the probers. Signed zones keep their keys, as far as
this control still has them.

What is in the store and not in the files stays as it is, and is named; so is what control knew before and is in neither. If something fails
on the way, nothing is taken, and the same command goes on where it ended. Without -f, what control still holds in memory is written:
that of a control which has run since before the store was lost.`,
		Example: `  gtmctl store rebuild -f config/ --dry-run
  gtmctl store rebuild -f config/ --wait
  gtmctl store rebuild --wait`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			request := api.RebuildRequest{FromMemory: len(paths) == 0, DryRun: dryRun, DropUnknown: drop, Message: message}
			var resources []*spec.Resource
			if len(paths) > 0 {
				var err error
				if resources, request.Resources, err = a.load(paths); err != nil {
					return err
				}
			}
			var reply api.RebuildReply
			if err := a.send(c.Context(), "store/rebuild", request, resources, &reply); err != nil {
				return err
			}
			locateIssues(reply.Warnings, resources)
			if err := a.emit(reply, func() { a.showRebuilt(&reply) }); err != nil {
				return err
			}
			if wait && !dryRun {
				return a.waitFor(c.Context(), reply.Heads, func(string) bool { return true })
			}
			return nil
		},
	}
	c.Flags().StringArrayVarP(&paths, "filename", "f", nil, "file or folder with YAML, or - for standard input (repeatable)")
	_ = c.MarkFlagFilename("filename", "yaml", "yml")
	c.Flags().BoolVar(&drop, "drop-unknown", false, "replace resources although they have fields of a newer gtm, which are lost")
	changeFlags(c, &dryRun, &wait, &message)
	return c
}

// maxNamed is how many resources a line for people names.
const maxNamed = 10

func (a *app) showRebuilt(reply *api.RebuildReply) {
	a.showPlan(&reply.ApplyReply)
	a.showRecords(reply.Records)
	if len(reply.Kept) > 0 {
		a.printf("stays as the store has it, in no file: %s\n", named(reply.Kept))
	}
	if len(reply.Lost) > 0 {
		fmt.Fprintf(a.err, "%s: known before, and neither in the files nor in the store: %s\n", a.paint(odd, "warning"),
			line(named(reply.Lost)))
	}
	if len(reply.Keys) > 0 {
		a.printf("with the keys that they had: %s\n", strings.Join(reply.Keys, " "))
	}
	if reply.Accepted == nil {
		a.printf("dry run: nothing was changed\n")
		return
	}
	a.printf("the store is whole: %s; accepted by %s\n", orDash(states(reply.Heads)), reply.Accepted.Author)
}

func named(keys []spec.Key) string {
	words := make([]string, 0, maxNamed)
	for i, k := range keys {
		if i == maxNamed {
			return strings.Join(words, " ") + fmt.Sprintf(" and %d more", len(keys)-maxNamed)
		}
		words = append(words, k.String())
	}
	return strings.Join(words, " ")
}
