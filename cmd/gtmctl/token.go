package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) tokenCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke service tokens",
		Args:  a.subcommand,
		RunE:  showHelp,
	}
	c.AddCommand(a.tokenCreateCmd(), a.tokenListCmd(), a.tokenRevokeCmd())
	return c
}

func (a *app) tokenCreateCmd() *cobra.Command {
	var tenant string
	var in api.TokenRequest
	c := &cobra.Command{
		Use:   "create --tenant TENANT --role ROLE --name NAME",
		Short: "Make a service token, which is shown this once",
		Long: `Make a service token for a program: of one tenant, with a role there. It is shown this once, since only a hash of it is kept.
It holds for 90 days, unless --for or --forever says otherwise. An Access can give it roles in other tenants (token:TENANT/NAME).`,
		Example: `  gtmctl token create --tenant shop --role viewer --name ci
  gtmctl token create --tenant shop --role editor --name deploy --for 30d -o json`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var out api.NewToken
			if err := a.call(c.Context(), http.MethodPost, "tokens/"+url.PathEscape(tenant), nil, in, &out); err != nil {
				return err
			}
			return a.emit(out, func() {
				a.printf("%s\n", out.Secret)
				fmt.Fprintf(a.err,
					"this is %s/%s, %s of %s%s; it is shown this once: keep it in a file that nobody else can read (mode 0600), "+
						"for --token-file\n", out.Tenant, out.Name, out.Role, out.Tenant, tokenEnd(out.Expires))
			})
		},
	}
	c.Flags().StringVar(&tenant, "tenant", "", "whose token it is")
	c.Flags().StringVar(&in.Name, "name", "", "its name, as history shows it")
	c.Flags().StringVar(&in.Role, "role", "", strings.Join(spec.AccessRoles, ", "))
	c.Flags().StringVar(&in.For, "for", "", "how long it holds, as in 30d (default 90d)")
	c.Flags().BoolVar(&in.Forever, "forever", false, "until it is revoked")
	need(c, "tenant", "say whose token it is with --tenant")
	need(c, "name", "name it with --name, as in --name ci")
	need(c, "role", "say what it may do with --role: "+strings.Join(spec.AccessRoles, ", "))
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(spec.AccessRoles, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func tokenEnd(end time.Time) string {
	if end.IsZero() {
		return ", until it is revoked"
	}
	return " until " + end.UTC().Format(time.RFC3339)
}

func (a *app) tokenListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list [TENANT]",
		Short:   "List service tokens: whose, since when, used when",
		Example: "  gtmctl token list shop",
		Args:    needArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			query := url.Values{}
			if len(args) > 0 {
				query.Set("tenant", args[0])
			}
			var all api.Tokens
			if err := a.call(c.Context(), http.MethodGet, "tokens", query, nil, &all); err != nil {
				return err
			}
			return a.emit(all, func() { a.showTokens(all.Tokens) })
		},
	}
}

func (a *app) showTokens(all []api.Token) {
	if len(all) == 0 {
		fmt.Fprintln(a.err, "there are none in the tenants of which you are an admin")
		return
	}
	rows := make([][]string, 0, len(all))
	for i := range all {
		t := &all[i]
		ends, used := "never", "never"
		switch {
		case t.Expired:
			ends = a.paint(bad, "expired")
		case !t.Expires.IsZero():
			ends = t.Expires.UTC().Format(time.DateOnly)
		}
		if !t.Used.IsZero() {
			used = t.Used.UTC().Format("2006-01-02 15:04")
		}
		rows = append(rows, []string{t.Tenant + "/" + t.Name, t.Role, a.maker(t), t.Created.UTC().Format(time.DateOnly), ends, used})
	}
	a.table([]string{"token", "role", "made by", "made", "ends", "used"}, rows)
}

// maker names who made a token, and tells that they could not do so any more.
func (a *app) maker(t *api.Token) string {
	by := line(t.By)
	switch t.Maker {
	case api.MakerLost:
		return by + a.paint(odd, " (no admin any more)")
	case api.MakerUnknown:
		return by + " (by a group, or no admin any more)"
	}
	return by
}

func (a *app) tokenRevokeCmd() *cobra.Command {
	var maker string
	c := &cobra.Command{
		Use:   "revoke TENANT/NAME | --made-by WHO [TENANT]",
		Short: "Take a service token away, or all that somebody made",
		Long: `Take a service token away: it opens nothing any more, at any control, within moments, and streams that it opened end. A token
outlives the role of who made it: token list tells who that was, and whether they may still make some; --made-by takes all of theirs away
that you may, in one tenant or in all, and what those tokens made as well.`,
		Example: `  gtmctl token revoke shop/ci
  gtmctl token revoke --made-by user:mallory@example.org
  gtmctl token revoke --made-by token:shop/ci shop`,
		Args: needArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if maker != "" {
				return a.revokeMadeBy(c.Context(), maker, strings.Join(args, ""))
			}
			if len(args) == 0 {
				return misusef("name a token, as in shop/ci, or say whose with --made-by")
			}
			tenant, name, ok := strings.Cut(args[0], "/")
			if !ok || tenant == "" || name == "" || strings.Contains(name, "/") {
				return misusef("%q is not TENANT/NAME", args[0])
			}
			gone, err := a.revoke(c.Context(), tenant, name)
			if err != nil {
				return err
			}
			return a.emit(gone, func() { a.printf("%s/%s is revoked: it opens nothing any more\n", gone.Tenant, gone.Name) })
		},
	}
	c.Flags().StringVar(&maker, "made-by", "", "all that somebody made, as token list names them, and what those made")
	return c
}

func (a *app) revoke(ctx context.Context, tenant, name string) (gone api.RevokedToken, err error) {
	at := "tokens/" + url.PathEscape(tenant) + "/" + url.PathEscape(name)
	return gone, a.call(ctx, http.MethodDelete, at, nil, nil, &gone)
}

// revokeMadeBy revokes what somebody made, and what was made with that. An error says what was revoked before it.
func (a *app) revokeMadeBy(ctx context.Context, maker, tenant string) error {
	query := url.Values{}
	if tenant != "" {
		query.Set("tenant", tenant)
	}
	var all api.Tokens
	if err := a.call(ctx, http.MethodGet, "tokens", query, nil, &all); err != nil {
		return err
	}
	gone := []api.RevokedToken{}
	for _, t := range madeBy(all.Tokens, maker) {
		one, err := a.revoke(ctx, t.Tenant, t.Name)
		if err != nil {
			return fmt.Errorf("%s of them revoked, and then: %w; run it again", plural(len(gone), "token"), err)
		}
		gone = append(gone, one)
	}
	return a.emit(gone, func() {
		for _, g := range gone {
			a.printf("%s/%s is revoked: it opens nothing any more\n", g.Tenant, g.Name)
		}
		if len(gone) == 0 {
			fmt.Fprintf(a.err, "%s made none in the tenants of which you are an admin; gtmctl token list tells who did\n", line(maker))
		}
	})
}

// madeBy gives the tokens that somebody made, and those that were made with them, in that order.
func madeBy(all []api.Token, maker string) (list []api.Token) {
	makers := map[string]bool{maker: true}
	for found := true; found; {
		found = false
		for i := range all {
			name := spec.SubjectToken + all[i].Tenant + "/" + all[i].Name
			if makers[all[i].By] && !makers[name] {
				makers[name], found = true, true
				list = append(list, all[i])
			}
		}
	}
	return list
}
