package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	apiclient "github.com/gti/gtm/pkg/client"
	"github.com/gti/gtm/pkg/control/api"
)

func (a *app) dnssecCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "dnssec",
		Short: "Show and roll the keys of signed zones",
		Long: `Show and roll the keys of signed zones. A zone is signed when its spec has dnssec; its keys are made and rolled by
themselves. Only the DS at the parent wants somebody: put it there when status says so (a parent that reads CDS does it by
itself), and tell with ds-seen once all of the parent's servers have it.`,
		Example: `  gtmctl dnssec status
  gtmctl dnssec ds gtm.example
  gtmctl dnssec ds-seen gtm.example`,
		Args: a.subcommand,
		RunE: showHelp,
	}
	c.AddCommand(a.dnssecStatusCmd(), a.dsCmd(), a.rollCmd(),
		a.dsReportCmd("ds-seen", "Tell that the parent has the DS that ds prints",
			`Tell that all of the parent's servers have the DS that "gtmctl dnssec ds" prints; where the zone goes to another algorithm,
that they have no other. The old key-signing key goes when the old DS has left all caches.`),
		a.dsReportCmd("ds-gone", "Tell that the parent has no DS any more",
			`Tell that none of the parent's servers has a DS any more, of a zone whose spec has no dnssec any more: it becomes unsigned
when the DS has left all caches. Of a zone that is not declared any more the keys are given up.`))
	return c
}

func (a *app) dnssecStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status [ZONE]",
		Short: "Show keys, where they are in their lives, and what comes next",
		Example: `  gtmctl dnssec status
  gtmctl dnssec status gtm.example -o json`,
		Args:              needArgs(0, 1),
		ValidArgsFunction: a.completeSigned,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				z, err := a.signedZone(c.Context(), args[0])
				if err != nil {
					return err
				}
				return a.emit(z, func() { a.showSigned(z) })
			}
			var all api.SignedZones
			if err := a.call(c.Context(), http.MethodGet, "dnssec", nil, nil, &all); err != nil {
				return err
			}
			return a.emit(all, func() { a.listSigned(all.Zones) })
		},
	}
}

func (a *app) dsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "ds ZONE",
		Short: "Print the DS records for the parent",
		Long: `Print the DS records that the parent is to have, as in a master file. While a key-signing key rolls these are the old and
the new one; either add the new beside the old, or put both in their place.`,
		Example:           `  gtmctl dnssec ds gtm.example`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeSigned,
		RunE: func(c *cobra.Command, args []string) error {
			z, err := a.signedZone(c.Context(), args[0])
			if err != nil {
				return err
			}
			if len(z.DS) == 0 && z.State == api.ZoneWithdrawing {
				return fmt.Errorf("%s is on its way to being unsigned: the parent is to have no DS", z.Zone)
			}
			if len(z.DS) == 0 {
				return fmt.Errorf("it is too early for a DS of %s: answers without signatures are in caches%s", z.Zone, nextText(&z))
			}
			return a.emit(map[string][]string{"ds": z.DS}, func() {
				for _, ds := range z.DS {
					a.printf("%s\n", ds)
				}
			})
		},
	}
}

func (a *app) rollCmd() *cobra.Command {
	var ksk bool
	c := &cobra.Command{
		Use:   "roll ZONE",
		Short: "Go to the zone's next key",
		Long: `Go to the zone's next zone-signing key, or with --ksk key-signing key, from now on. It is published first, and used once
caches have it. The next zone-signing key is sealed for the edges that are there when it is used: that is the cure for a
stolen edge, once the store does not let it in any more.`,
		Example: `  gtmctl dnssec roll gtm.example
  gtmctl dnssec roll gtm.example --ksk`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeSigned,
		RunE: func(c *cobra.Command, args []string) error {
			return a.askDNSSEC(c.Context(), args[0], "roll", api.RollRequest{KSK: ksk})
		},
	}
	c.Flags().BoolVar(&ksk, "ksk", false, "the key-signing key, whose DS the parent must take up")
	return c
}

func (a *app) dsReportCmd(verb, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ZONE", Short: short, Long: long,
		Example:           "  gtmctl dnssec " + verb + " gtm.example",
		Args:              needArgs(1, 1),
		ValidArgsFunction: a.completeSigned,
		RunE:              func(c *cobra.Command, args []string) error { return a.askDNSSEC(c.Context(), args[0], verb, nil) },
	}
}

// askDNSSEC asks for something, and shows what has become of the keys.
func (a *app) askDNSSEC(ctx context.Context, zone, verb string, in any) error {
	var z api.SignedZone
	if err := a.call(ctx, http.MethodPost, "dnssec/"+apiclient.Segment(zone)+"/"+verb, nil, in, &z); err != nil {
		return err
	}
	return a.emit(z, func() { a.showSigned(z) })
}

func (a *app) signedZone(ctx context.Context, zone string) (z api.SignedZone, err error) {
	err = a.call(ctx, http.MethodGet, "dnssec/"+apiclient.Segment(zone), nil, nil, &z)
	return z, err
}

func (a *app) listSigned(zones []api.SignedZone) {
	if len(zones) == 0 {
		a.printf("no zone is signed: declare dnssec in a zone's spec, as in dnssec: {}\n")
		return
	}
	var rows [][]string
	for i := range zones {
		z := &zones[i]
		rows = append(rows, []string{z.Zone, a.zoneState(z.State), strconv.Itoa(len(z.Keys)), at(z.Until), comes(z)})
	}
	a.table([]string{"zone", "state", "keys", "signed until", "next"}, rows)
	for i := range zones {
		a.note(&zones[i], zones[i].Zone+": ")
	}
}

func (a *app) showSigned(z api.SignedZone) {
	a.printf("%s is %s", z.Zone, a.zoneState(z.State))
	if !z.Until.IsZero() {
		a.printf(", key sets signed until %s (serial %d, zone-signing key sealed for %d)", at(z.Until), z.Serial, z.Recipients)
	}
	a.printf("\n")
	if next := comes(&z); next != "" {
		a.printf("next: %s\n", next)
	}
	a.note(&z, "")
	if len(z.Keys) == 0 {
		return
	}
	var rows [][]string
	for _, k := range z.Keys {
		rows = append(rows, []string{strconv.Itoa(int(k.Tag)), k.Role, k.Algorithm, k.Phase, at(k.Published), at(k.Submitted), at(k.Active),
			at(k.Retired)})
	}
	a.table([]string{"tag", "role", "algorithm", "phase", "published", "ds offered", "active", "retired"}, rows)
}

// note tells what somebody has to look into.
func (a *app) note(z *api.SignedZone, prefix string) {
	if z.Error != "" {
		a.printf("%s %s%s\n", a.paint(bad, "!"), prefix, z.Error)
	}
	if z.Waiting != "" {
		a.printf("%s %swaits for %s\n", a.paint(odd, "!"), prefix, z.Waiting)
	}
}

func (a *app) zoneState(s string) string {
	switch s {
	case api.ZoneSigned:
		return a.paint(good, s)
	case api.ZoneFailing:
		return a.paint(bad, s)
	}
	return a.paint(odd, s)
}

// comes tells what comes next by itself, and when.
func comes(z *api.SignedZone) string {
	if z.Next == "" {
		return ""
	}
	return z.Next + ", " + at(z.NextAt)
}

// nextText continues a sentence with what comes next.
func nextText(z *api.SignedZone) string {
	if z.Next == "" {
		return ""
	}
	return "; " + comes(z)
}

// at writes a time; lives of keys are days.
func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

func (a *app) completeSigned(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if len(args) == 0 {
		var all api.SignedZones
		a.ask(c.Context(), "dnssec", nil, &all)
		for _, z := range all.Zones {
			words = append(words, z.Zone)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
