package main

import (
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/cmd/gtmctl/fields"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) explainCmd() *cobra.Command {
	var subnet, resolver, rrtype, edge, at string
	var count int
	c := &cobra.Command{
		Use:   "explain HOST",
		Short: "Tell what a client gets for a steered name, and why",
		Long: `Tell what a client gets for a steered name, and why: its place and where that is known from, the rule and the policies
that led to its pools, what fences left out, how nearest and fastest put pools in order, the pools in turn, their endpoints with
weights and scores, what was left out, the scope of the answer and what made it that long, the TTL and what set it. An edge tells
it, by the code that answers queries, and dig shows the same lines below _explain. With --count it draws so many answers and
counts them beside the shares. With --at control tells what the client would have got, by the configuration and the verdicts of
then, which it keeps for a day.

The share of a pool is of all answers to that client, and so is that of an endpoint, which counts where it comes first; with
sticky and coherent, where the client's network decides, of all networks that the rule is for, and by label, of
all labels that a name below the wildcard may have.

The client is a --subnet, as a resolver sends it (EDNS Client Subnet), or else the --resolver itself.`,
		Example: `  gtmctl explain web.shop.gtm.example --subnet 81.2.69.0/24
  gtmctl explain web.shop.gtm.example --resolver 192.0.2.53 --type AAAA
  gtmctl explain web.shop.gtm.example --subnet 81.2.69.0/24 --count 1000
  gtmctl explain web.shop.gtm.example --subnet 81.2.69.0/24 --at 12:03
  gtmctl explain web.shop.gtm.example --subnet 2001:db8::/48 -o json`,
		Args: needArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			query, err := explainQuery(args[0], subnet, resolver, rrtype, edge)
			if err != nil {
				return err
			}
			if c.Flags().Changed("count") {
				if count < 1 || count > api.MostDraws {
					return misusef("--count %d is not from 1 to %d", count, api.MostDraws)
				}
				query.Set("count", strconv.Itoa(count))
			}
			if at != "" {
				then, err := timeAt("at", at, a.now())
				if err != nil {
					return err
				}
				if edge != "" {
					return misusef("--at and --edge do not go together: control tells of the past, no edge does")
				}
				query.Set("at", then.UTC().Format(time.RFC3339Nano))
			}
			var e api.Explanation
			if err := a.call(c.Context(), http.MethodGet, "explain", query, nil, &e); err != nil {
				return err
			}
			return a.emit(e, func() { a.showExplanation(&e) })
		},
	}
	c.Flags().StringVar(&subnet, "subnet", "", "the client's network, as in 81.2.69.0/24; an address means its /24 or /56")
	c.Flags().StringVar(&resolver, "resolver", "", "the resolver's address (default 127.0.0.1)")
	c.Flags().StringVar(&rrtype, "type", "A", "the type asked for")
	c.Flags().StringVar(&edge, "edge", "", "which edge to ask (default: the first that answers)")
	c.Flags().StringVar(&at, "at", "", "of when, as in 12:03, 2026-05-04T12:03:00Z or -2h (default: now)")
	c.Flags().IntVar(&count, "count", 0, "draw so many answers, up to 100000, and count what came of them")
	_ = c.RegisterFlagCompletionFunc("edge", func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.edgeIDs(c.Context(), func(*api.Edge) bool { return true }), cobra.ShellCompDirectiveNoFileComp
	})
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"A", "AAAA", "CNAME"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// explainQuery checks what was typed, so that a slip is told with its flag.
func explainQuery(host, subnet, resolver, rrtype, edge string) (url.Values, error) {
	query := url.Values{"host": {host}, "type": {strings.ToUpper(rrtype)}}
	if subnet != "" {
		prefix, err := parseSubnet(subnet)
		if err != nil {
			return nil, err
		}
		query.Set("subnet", prefix.String())
	}
	if resolver != "" {
		address, err := netip.ParseAddr(resolver)
		if err != nil {
			return nil, misusef("--resolver %s is not an address, as in 192.0.2.53", resolver)
		}
		query.Set("resolver", address.Unmap().String())
	}
	if edge != "" {
		query.Set("edge", edge)
	}
	return query, nil
}

// timeAt reads a time: of the clock, the last such one, as in 12:03; whole, as in RFC 3339; or as long ago as -2h.
func timeAt(flag, text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if ago, is := strings.CutPrefix(text, "-"); is {
		if d, err := spec.ParseDuration(ago); err == nil && d >= 0 {
			return now.Add(-d), nil
		}
	}
	for _, form := range []string{"15:04", time.TimeOnly} {
		clock, err := time.Parse(form, text)
		if err != nil {
			continue
		}
		at := func(day int) time.Time {
			return time.Date(now.Year(), now.Month(), day, clock.Hour(), clock.Minute(), clock.Second(), 0, now.Location())
		}
		if t := at(now.Day()); !t.After(now) {
			return t, nil
		}
		return at(now.Day() - 1), nil
	}
	return time.Time{}, misusef("--%s %s is not a time, as in 12:03, 2026-05-04T12:03:00Z or -2h", flag, text)
}

// parseSubnet reads a network, or an address in the place of the network that resolvers usually send of it.
func parseSubnet(s string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(s); err == nil && address.Zone() == "" {
		address = address.Unmap()
		if address.Is4() {
			return address.Prefix(24)
		}
		return address.Prefix(56)
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, misusef("--subnet %s is not a network, as in 81.2.69.0/24", s)
	}
	return prefix.Masked(), nil
}

// showExplanation prints the lines that the edge tells, as _explain has them, but for the first, which the title says.
func (a *app) showExplanation(e *api.Explanation) {
	by := "edge " + e.Edge
	if e.At != nil {
		by = "as of " + e.At.UTC().Format(time.RFC3339)
	}
	a.printf("%s (service %s, %s, %s)\n\n", e.Host, e.Service, e.Generation, by)
	if len(e.Text) == 0 {
		a.printf("answer %s %s\n", e.Answer.Type, strings.Join(e.Answer.Records, " "))
		a.printf("note: the edge, or control, is older than gtmctl and sends no text; -o yaml shows all that it says\n")
		return
	}
	for _, text := range e.Text[1:] {
		for _, begins := range []string{"step ", "lastResort step ", "answer "} {
			if strings.HasPrefix(text, begins) {
				a.printf("\n")
			}
		}
		a.printf("%s\n", a.paintFact(text))
	}
}

// paintFact paints what is out of the ordinary.
func (a *app) paintFact(text string) string {
	switch {
	case strings.HasPrefix(text, "all down: "), strings.Contains(text, ", as if up, though "):
		return a.paint(odd, text)
	case strings.HasPrefix(text, "endpoint ") && strings.Contains(text, ", out: "):
		return a.paint(bad, text)
	}
	return text
}

func (a *app) explainFieldCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "explain-field KIND[.FIELD...]",
		Short: "Tell what the fields of resources mean",
		Long: `Tell what a kind of resources is like, or what a field of it means, what can be written there, and what it has. It asks no
server: gtmctl knows the fields of its own version.`,
		Example: `  gtmctl explain-field service
  gtmctl explain-field service.rules.when
  gtmctl explain-field Pool.endpoints.weight -o json`,
		Args:              needArgs(1, 1),
		ValidArgsFunction: completeField,
		RunE: func(_ *cobra.Command, args []string) error {
			path := strings.Split(args[0], ".")
			kind, err := parseKind(path[0])
			if err != nil {
				return err
			}
			f, err := fields.Explain(kind, path[1:])
			if err != nil {
				return misuse{err}
			}
			return a.emit(f, func() { a.showField(f) })
		},
	}
}

func (a *app) showField(f *fields.Field) {
	a.printf("%s%s\n", f.Path, map[bool]string{true: "  " + f.Type}[f.Type != ""])
	for _, said := range [][2]string{{"", f.Meaning}, {"told with ", f.With}, {"default: ", f.Default}, {"limits: ", f.Limits}} {
		if said[1] != "" {
			a.printf("  %s%s\n", said[0], said[1])
		}
	}
	if f.Example != "" {
		a.printf("\n%s\n", lines(f.Example))
	}
	if len(f.Fields) == 0 {
		return
	}
	var rows [][]string
	for _, sub := range f.Fields {
		meaning := sub.Meaning
		if sub.With != "" {
			meaning = "told with " + sub.With
		}
		rows = append(rows, []string{sub.Path[strings.LastIndex(sub.Path, ".")+1:], sub.Type, meaning, sub.Default, sub.Limits})
	}
	a.printf("\n")
	a.table([]string{"field", "type", "meaning", "default", "limits"}, rows)
}

// completeField gives kinds, and behind a dot what there is.
func completeField(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	const on = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	path := strings.Split(word, ".")
	kind, err := parseKind(path[0])
	if err != nil || len(path) == 1 {
		words := make([]string, len(spec.Kinds))
		for i, kind := range spec.Kinds {
			words[i] = string(kind)
		}
		return words, on
	}
	return fields.Names(kind, path[1:len(path)-1]), on
}
