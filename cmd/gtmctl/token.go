package main

import (
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
		rows = append(rows, []string{t.Tenant + "/" + t.Name, t.Role, line(t.By), t.Created.UTC().Format(time.DateOnly), ends, used})
	}
	a.table([]string{"token", "role", "made by", "made", "ends", "used"}, rows)
}

func (a *app) tokenRevokeCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke TENANT/NAME",
		Short:   "Take a service token away",
		Long:    `Take a service token away: it opens nothing any more, at any control, within moments.`,
		Example: "  gtmctl token revoke shop/ci",
		Args:    needArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			tenant, name, ok := strings.Cut(args[0], "/")
			if !ok || tenant == "" || name == "" || strings.Contains(name, "/") {
				return misusef("%q is not TENANT/NAME", args[0])
			}
			var gone api.RevokedToken
			at := "tokens/" + url.PathEscape(tenant) + "/" + url.PathEscape(name)
			if err := a.call(c.Context(), http.MethodDelete, at, nil, nil, &gone); err != nil {
				return err
			}
			return a.emit(gone, func() { a.printf("%s/%s is revoked: it opens nothing any more\n", gone.Tenant, gone.Name) })
		},
	}
}
