package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
)

func (a *app) explainCmd() *cobra.Command {
	var subnet, resolver, rrtype, edge string
	c := &cobra.Command{
		Use:   "explain HOST",
		Short: "Tell what a client gets for a steered name, and why",
		Long: `Tell what a client gets for a steered name, and why: its place, the rule that matched, the pools in their order, the
candidates with weights and scores, what was left out, the scope of the answer and the generation. An edge tells it, by
the code that answers queries. The share of a pool is of all answers to that client, and so is that of an endpoint, which counts where
it comes first; with sticky and coherent, where the client's network decides, of all networks that the rule is for, and by label, of
all labels that a name below the wildcard may have.

The client is a --subnet, as a resolver sends it (EDNS Client Subnet), or else the --resolver itself.`,
		Example: `  gtmctl explain web.shop.gtm.example --subnet 81.2.69.0/24
  gtmctl explain web.shop.gtm.example --resolver 192.0.2.53 --type AAAA
  gtmctl explain web.shop.gtm.example --subnet 2001:db8::/48 -o json`,
		Args: needArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			query, err := explainQuery(args[0], subnet, resolver, rrtype, edge)
			if err != nil {
				return err
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

func (a *app) showExplanation(e *api.Explanation) {
	a.printf("%s (service %s, %s, edge %s)\n\n", e.Host, e.Service, e.Generation, e.Edge)
	place := e.Client.Place
	if place == "" {
		place = "nowhere known"
	}
	a.printf("client   %s, the %s: %s", e.Client.Address, e.Client.Source, place)
	if e.Client.ASN != 0 {
		a.printf(", AS%d", e.Client.ASN)
	}
	if e.Client.Network != "" {
		a.printf(" (by %s)", e.Client.Network)
	}
	if e.Client.Point != "" {
		a.printf("\npoint    %s (%s)", e.Client.Point, e.Client.PointFrom)
	}
	if len(e.Client.Latency) > 0 {
		a.printf("\nlatency  %s", latencyText(e.Client.Latency))
	}
	a.printf("\nrule     %s\n", ruleText(e.Rule))
	a.printf("scope    /%d\n", e.Scope)
	if e.Fallback != "" {
		a.printf("fallback %s\n", a.paint(odd, e.Fallback))
	}
	records := strings.Join(e.Answer.Records, ", ")
	ttl := fmt.Sprintf("TTL %ds", e.Answer.TTL)
	if e.Answer.TTLFrom != "" {
		ttl += ", " + e.Answer.TTLFrom
	}
	a.printf("answer   %s %s (%s)\n", e.Answer.Type, orDash(records), ttl)
	for i := range e.Pools {
		a.showPoolInTurn(&e.Pools[i])
	}
	if len(e.Notes) > 0 {
		a.printf("\n")
	}
	for _, note := range e.Notes {
		a.printf("note: %s\n", note)
	}
}

func ruleText(r *api.MatchedRule) string {
	if r == nil {
		return "none matches"
	}
	position := ordinal(r.Index + 1)
	text := "the " + position
	if r.Name != "" && r.Name != fmt.Sprint(r.Index+1) {
		text = fmt.Sprintf("%s (%s)", r.Name, position)
	}
	if r.Matched != "" {
		text += ": " + r.Matched
	}
	return text
}

// ordinal writes 1st, 2nd, 3rd, 4th.
func ordinal(n int) string {
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprint(n) + suffix
}

func (a *app) showPoolInTurn(p *api.PoolInTurn) {
	up := "down"
	if p.Up {
		up = "up"
	}
	a.printf("\n%d. pool %s is %s", p.Step, p.Pool, a.state(up))
	turns := p.Turns
	if turns == "" { // an older edge
		turns = "chosen in " + percent(p.Share) + " of the answers"
	}
	if p.Share > 0 {
		turns = a.paint(good, turns)
	}
	a.printf(", %s", turns)
	if p.Why != "" {
		a.printf(": %s", p.Why)
	}
	a.printf("\n")
	if len(p.Endpoints) == 0 {
		return
	}
	rows := make([][]string, 0, len(p.Endpoints))
	for _, c := range p.Endpoints {
		where := strings.Join(c.Addresses, " ")
		if c.Host != "" {
			where = c.Host
		}
		note := firstOf(c.Out, c.Held, c.Note)
		if c.AsIfUp != "" {
			note = "as if up, though " + c.AsIfUp
		}
		rows = append(rows, []string{c.Name, where, fmt.Sprint(c.Weight), number(c.Score), a.state(c.State), number(c.Effective),
			percent(c.Share), orDash(note)})
	}
	a.table([]string{"endpoint", "where", "weight", "score", "state", "effective", "share", "note"}, rows)
}
