package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/geo/mapfile"
)

func (a *app) geoCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "geo",
		Short: "Look into, or build, geographic databases (no server needed)",
		Args:  a.subcommand,
		RunE:  showHelp,
	}
	c.AddCommand(a.geoLookupCmd(), a.geoBuildCmd())
	return c
}

// found is one address's place.
type found struct {
	Address string `json:"address"`
	Place   string `json:"place"`
	ASN     uint32 `json:"asn,omitempty"`
	Network string `json:"network"`
	Point   string `json:"point,omitempty"`     // latitude and longitude
	From    string `json:"pointFrom,omitempty"` // where the point comes from
	Map     string `json:"map,omitempty"`
}

func (a *app) geoLookupCmd() *cobra.Command {
	var databases, maps []string
	c := &cobra.Command{
		Use:   "lookup ADDRESS...",
		Short: "Show the place, ASN, network and point of addresses",
		Long: `Show the place, ASN, network and point of addresses, as the built-in database or the given files say. The point is what
distances are measured from: coordinates in whole degrees, or else the centroid of the subdivision or country. With --maps also the map
that files have them in. The platform's declared maps, which come first when a query is answered, are not known here; gtmctl explain
tells with them.`,
		Example: `  gtmctl geo lookup 81.2.69.142 2a00:1450:4001::1
  gtmctl geo lookup 8.8.8.8 --geo GeoLite2-City.mmdb --geo GeoLite2-ASN.mmdb`,
		Args: needArgs(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			addresses, err := parseAddresses(args)
			if err != nil {
				return err
			}
			atlas, err := geo.Open(databases...)
			if err != nil {
				return err
			}
			files, err := mapfile.Open(maps...)
			if err != nil {
				return err
			}
			lists := geo.NewFileMaps(files)
			places := make([]found, len(addresses))
			for i, address := range addresses {
				place, network := atlas.Lookup(address)
				name, bits := lists.Lookup(address)
				network, _ = address.Prefix(max(network.Bits(), bits)) // of a valid address
				places[i] = found{address.String(), place.String(), place.ASN, network.String(),
					place.Point().String(), place.PointSource(), name}
			}
			return a.emit(places, func() { a.showPlaces(places, len(maps) > 0) })
		},
	}
	geoFlag(c, &databases)
	c.Flags().StringArrayVar(&maps, "maps", nil, "file of the networks of maps, as of gtmd --maps (repeatable)")
	return c
}

func geoFlag(c *cobra.Command, databases *[]string) {
	c.Flags().StringArrayVar(databases, "geo", nil, "MMDB file of GeoIP2 or GeoLite2 layout, instead of the built-in one (repeatable)")
	_ = c.MarkFlagFilename("geo", "mmdb")
}

func (a *app) showPlaces(places []found, maps bool) {
	rows := make([][]string, 0, len(places))
	for _, p := range places {
		asn := "-"
		if p.ASN != 0 {
			asn = fmt.Sprintf("AS%d", p.ASN)
		}
		point := orDash(p.Point)
		if p.From != "" {
			point += " (" + p.From + ")"
		}
		rows = append(rows, []string{p.Address, orDash(p.Place), asn, p.Network, point})
		if maps {
			rows[len(rows)-1] = append(rows[len(rows)-1], orDash(p.Map))
		}
	}
	header := []string{"address", "place", "asn", "network", "point"}
	if maps {
		header = append(header, "map")
	}
	a.table(header, rows)
}

func (a *app) geoBuildCmd() *cobra.Command {
	var ipv4, ipv6, output, date string
	c := &cobra.Command{
		Use:   "build --ipv4 FILE --ipv6 FILE -o FILE",
		Short: "Build a country database from the files of Debian's tor-geoipdb",
		Long: `Build a country database (MMDB) from the text files of Debian's package tor-geoipdb, which come from IPFire's location
database (CC BY-SA 4.0).`,
		Example: `  gtmctl geo build --ipv4 /usr/share/tor/geoip --ipv6 /usr/share/tor/geoip6 -o geo/country.mmdb`,
		Args:    needArgs(0, 0),
		RunE: func(*cobra.Command, []string) error {
			var made time.Time
			if date != "" {
				var err error
				if made, err = time.Parse(time.DateOnly, date); err != nil {
					return misusef("--date %s is not a date as in 2026-05-01", date)
				}
			}
			skipped, err := buildGeo(ipv4, ipv6, output, made)
			if err != nil {
				return err
			}
			atlas, err := geo.Open(output)
			if err != nil {
				return err
			}
			info := atlas.Info()[0]
			a.printf("%s: %d networks, data of %s, %s skipped\n", output, info.Networks, info.Built.Format("2006-01-02"),
				plural(skipped, "line"))
			return nil
		},
	}
	c.Flags().StringVar(&ipv4, "ipv4", "", "the file geoip")
	c.Flags().StringVar(&ipv6, "ipv6", "", "the file geoip6")
	c.Flags().StringVarP(&output, "output", "o", "", "the file to write") // stands here for the global flag of that name
	c.Flags().StringVar(&date, "date", "", "when the data was made, as in 2026-05-01 (default: what the files say)")
	need(c, "ipv4", "say where the IPv4 networks are, with --ipv4 FILE")
	need(c, "ipv6", "say where the IPv6 networks are, with --ipv6 FILE")
	need(c, "output", "say which file to write, with -o FILE")
	return c
}

// buildGeo writes the database beside output and then moves it there, so that a reader never sees half of it.
func buildGeo(ipv4, ipv6, output string, made time.Time) (skipped int, err error) {
	four, err := os.Open(ipv4)
	if err != nil {
		return 0, err
	}
	defer four.Close()
	six, err := os.Open(ipv6)
	if err != nil {
		return 0, err
	}
	defer six.Close()
	err = writeWhole(output, func(w io.Writer) error {
		return geo.Build(w, geo.BuildConfig{IPv4: four, IPv6: six, Date: made, Skipped: func(string, error) { skipped++ }})
	})
	return skipped, err
}

// writeWhole puts a file in place only when all of it was written.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	buffered := bufio.NewWriter(file)
	if err = write(buffered); err != nil {
		return err
	}
	if err = buffered.Flush(); err != nil {
		return err
	}
	if err = file.Chmod(0o644); err != nil {
		return err
	}
	if err = file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
