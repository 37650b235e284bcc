package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/geo/latency"
)

func (a *app) latencyCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "latency",
		Short: "Look into, or build, latency tables (no server needed)",
		Args:  a.subcommand,
		RunE:  showHelp,
	}
	c.AddCommand(a.latencyLookupCmd(), a.latencyBuildCmd())
	return c
}

// known is what a latency table knows of one address.
type known struct {
	Address string            `json:"address"`
	Network string            `json:"network"`
	Sites   []api.SiteLatency `json:"sites"` // sorted by name
}

func (a *app) latencyLookupCmd() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "lookup ADDRESS... --latency FILE",
		Short: "Show what a latency table knows of addresses",
		Long: `Show what a latency table knows of addresses: how far sites are in milliseconds, on how many samples that stands, and the
network throughout which the same is known. The numbers are rounded, as edges know them.`,
		Example: `  gtmctl latency lookup 81.2.69.142 2a00:1450:4001::1 --latency latency.mmdb`,
		Args:    needArgs(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			addresses, err := parseAddresses(args)
			if err != nil {
				return err
			}
			table, err := geo.OpenLatency(file)
			if err != nil {
				return err
			}
			list := make([]known, len(addresses))
			for i, address := range addresses {
				l, network := table.Lookup(address)
				list[i] = known{Address: address.String(), Network: network.String(), Sites: []api.SiteLatency{}}
				for s := range l.All() {
					list[i].Sites = append(list[i].Sites, api.SiteLatency(s))
				}
			}
			return a.emit(list, func() { a.showKnown(list) })
		},
	}
	c.Flags().StringVar(&file, "latency", "", "the latency table")
	_ = c.MarkFlagFilename("latency", "mmdb")
	need(c, "latency", "say which table to look into, with --latency FILE")
	return c
}

// parseAddresses reads addresses.
func parseAddresses(words []string) ([]netip.Addr, error) {
	addresses := make([]netip.Addr, len(words))
	for i, word := range words {
		address, err := netip.ParseAddr(word)
		if err != nil || address.Zone() != "" {
			return nil, misusef("%q is not an IP address", word)
		}
		addresses[i] = address.Unmap()
	}
	return addresses, nil
}

func (a *app) showKnown(list []known) {
	var rows [][]string
	for _, k := range list {
		if len(k.Sites) == 0 {
			rows = append(rows, []string{k.Address, k.Network, "-", "-", "-"})
		}
		for _, s := range k.Sites {
			samples := fmt.Sprint(s.Samples)
			if s.Samples == geo.MostSamples {
				samples += "+"
			}
			rows = append(rows, []string{k.Address, k.Network, s.Site, fmt.Sprintf("%gms", s.Milliseconds), samples})
		}
	}
	a.table([]string{"address", "network", "site", "latency", "samples"}, rows)
}

func (a *app) latencyBuildCmd() *cobra.Command {
	var csv []string
	var output, date string
	c := &cobra.Command{
		Use:   "build --csv FILE... -o FILE",
		Short: "Build a latency table from measurements",
		Long: `Build a latency table (an MMDB file, for gtmd --latency) from lines of measurements: network, site, milliseconds, samples.

  192.0.2.0/24,fra,12.5,40
  192.0.2.0/24,iad,98,12

A header that begins with "network", empty lines, and lines that begin with # count for nothing. Several lines of one network and site
are averaged by their samples. A client has what is said of the longest network around it, and that alone: lines of wider networks add
no sites to it. Of a network the 64 fastest sites are kept; a table has at most 1,024 sites.

Milliseconds are rounded to whole ones up to 100, and to steps of 5% above; samples downward to 1, 2, 3, 5, 10 and so on, up to 1,000.
The same lines and date give the same file. It takes some 70 bytes of memory a line. If a line cannot be used, nothing is written.`,
		Example: `  gtmctl latency build --csv latency.csv -o latency.mmdb
  gtmctl latency build --csv fra.csv --csv iad.csv --date 2026-05-01T06:00:00Z -o latency.mmdb`,
		Args: needArgs(0, 0),
		RunE: func(*cobra.Command, []string) error {
			measured, err := measuredAt(date, csv)
			if err != nil {
				return err
			}
			s, err := a.buildLatency(csv, output, measured)
			if err != nil {
				return err
			}
			a.printf("%s: %s, %s, %s, measured %s\n", output, plural(s.Networks, "network"), plural(s.Sites, "site"),
				plural(s.Lines, "line"), measured.Format(time.RFC3339))
			if s.Dropped > 0 {
				fmt.Fprintf(a.err, "%s: %s of networks left out: only the %d fastest of each are kept\n", a.paint(odd, "warning"),
					plural(s.Dropped, "site"), geo.MaxNetworkSites)
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&csv, "csv", nil, "file of measurements (repeatable; - for standard input, with --date)")
	c.Flags().StringVarP(&output, "output", "o", "", "the file to write") // stands here for the global flag of that name
	c.Flags().StringVar(&date, "date", "", "when they were made, as in 2026-05-01 or 2026-05-01T06:00:00Z (default: when the newest of "+
		"the files was written)")
	_ = c.MarkFlagFilename("csv", "csv")
	need(c, "csv", "say where the measurements are, with --csv FILE")
	need(c, "output", "say which file to write, with -o FILE")
	return c
}

// measuredAt reads a date; without one it gives when the newest file was written.
func measuredAt(date string, files []string) (at time.Time, err error) {
	if date != "" {
		for _, form := range []string{time.DateOnly, time.RFC3339} {
			if at, err = time.Parse(form, date); err == nil {
				return at.UTC(), nil
			}
		}
		return at, misusef("--date %s is not a date as in 2026-05-01 or 2026-05-01T06:00:00Z", date)
	}
	for _, file := range files {
		if file == stdin {
			return at, misusef("say when the measurements from standard input were made, with --date")
		}
		info, err := os.Stat(file)
		if err != nil {
			return at, err
		}
		if info.ModTime().After(at) {
			at = info.ModTime().UTC()
		}
	}
	return at, nil
}

// stdin is the name of standard input in the place of a file.
const stdin = "-"

// buildLatency writes the table beside output and then moves it there.
func (a *app) buildLatency(files []string, output string, measured time.Time) (s latency.Summary, err error) {
	cfg := latency.Config{Measured: measured}
	for _, file := range files {
		if file == stdin {
			cfg.Inputs = append(cfg.Inputs, latency.Input{Name: "standard input", Reader: a.in})
			continue
		}
		in, err := os.Open(file)
		if err != nil {
			return s, err
		}
		defer in.Close()
		cfg.Inputs = append(cfg.Inputs, latency.Input{Name: file, Reader: in})
	}
	err = writeWhole(output, func(w io.Writer) error {
		s, err = latency.Build(w, cfg)
		return err
	})
	return s, err
}
